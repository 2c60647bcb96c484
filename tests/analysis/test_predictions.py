"""``holdfast analyse predictions``: numbers by hand on hand-written runs, and a trained pair from end to end."""

import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from cli.conftest import TINY
from holdfast.analysis.pair.figures import farthest
from holdfast.analysis.pair.gallery import bar_classes, training_pictures
from holdfast.analysis.pair.paired_runs import paired
from holdfast.analysis.pair.predictions import predictions
from holdfast.cli.main import command
from holdfast.core.errors import UsageError
from holdfast.data.index import FolderIndex, Sample

from .written import FIRST, SECOND, paint_parts, write_pair, write_run


@pytest.fixture(scope="module")
def weak(tmp_path_factory, trained):
    """A run on the pictures of ``trained`` that has learnt little: its head hardly moves."""
    folder = tmp_path_factory.mktemp("weak") / "run"
    words = ["train", trained[1], *TINY, "--out", folder, "--progress", "off", "--method", "ptr"]
    words += ["--lr", 1e-6, "--head-lr", 1e-6, "--epochs", 1]
    assert command([str(word) for word in words]) == 0
    return folder


def entropy(rows):
    return sum(-p * math.log2(p) for row in rows for p in row if p) / len(rows)


def test_all_numbers_of_five_pictures(tmp_path):
    data = predictions(*write_pair(tmp_path)).data
    a, b = data["runs"]["A"], data["runs"]["B"]
    assert a["C"] == [[0.75, 1.0, 0.25], [0.125, 0.625, 0.25], [0.5, 0.25, 1.25]]
    assert b["C"] == [[1.25, 0.5, 0.25], [0.25, 0.5, 0.25], [0.75, 0.25, 1.0]]
    assert (a["S"], a["S_off"], b["S"], b["S_off"]) == (2.625, 2.375, 2.75, 2.25)
    assert [each["S_off"] for each in b["by_class"]] == [0.75, 0.5, 1.0]
    assert (a["accuracy"], b["accuracy"]) == (0.6, 0.8)
    assert a["entropy_bits"] == pytest.approx(entropy(FIRST), rel=1e-12)
    assert b["entropy_bits"] == pytest.approx(entropy(SECOND), rel=1e-12)
    # bins of 1/15: the two predictions of one half share one, those of three quarters another
    assert a["ece"] == pytest.approx((0.75 + 0.375) / 5, rel=1e-6)
    assert b["ece"] == pytest.approx((3 * (0.75 - 2 / 3) + 2 * 0.5) / 5, rel=1e-6)
    assert sum(each["total"] for each in a["reliability"]) == 5
    assert data["mcnemar"] == {"only_b_right": 2, "only_a_right": 1, "p": 1.0}
    assert (data["both_right"], data["neither_right"], data["error_reduction"]) == (2, 0, 0.5)
    # 2.75 − 2.625 over five pictures
    assert data["gain_in_true_class"]["mean"] == pytest.approx(0.025)
    assert data["gain_in_entropy_bits"]["mean"] == pytest.approx(entropy(SECOND) - entropy(FIRST))


def test_rectified_pictures_are_named_with_what_was_said(tmp_path):
    data = predictions(*write_pair(tmp_path), show=0).data
    assert data["true_rectifications"] == [
        {
            "path": "test/tulip/4.png",
            "true": "tulip",
            "a": {"class": "iris", "probability": 0.5},
            "b": {"class": "tulip", "probability": 0.75},
        },
        {
            "path": "test/iris/1.png",
            "true": "iris",
            "a": {"class": "rose", "probability": 0.75},
            "b": {"class": "iris", "probability": 0.5},
        },
    ]
    assert [each["path"] for each in data["false_rectifications"]] == ["test/tulip/3.png"]


def test_the_paragraph_says_the_numbers_and_how_sure_they_are(tmp_path):
    text = predictions(*write_pair(tmp_path)).text
    assert "A names 3 (60.0 %) rightly and B 4 (80.0 %)" in text
    assert "B rectifies 2 of A's 2 mistakes and makes 1 where A is right" in text
    assert "do not differ beyond what chance gives (exact McNemar test, p = 1.000)" in text
    assert "reduces the error rate by 50.0 %" in text
    assert "S = 2.6 with A and 2.8 with B, per picture a change of +2.5 points (95 % interval" in text


def test_figures_say_how_many_pictures_and_rows(tmp_path):
    finding = predictions(*write_pair(tmp_path), show=1)
    names = [figure.name.removeprefix("predictions-") for figure in finding.figures]
    assert names == ["matrices", "classes", "calibration", "true-rectifications", "false-rectifications"]
    assert all("5 test pictures" in figure.caption for figure in finding.figures[:3])
    assert "1 of 2, those whose predicted class B gives the highest probability" in finding.figures[3].caption
    assert "tulip, A says iris with 50 %, B says tulip with 75 %" in finding.figures[3].label
    assert "the diagonal holds 2.6 for A: plain and 2.8 for B: ptr(R=3)" in finding.figures[0].label


def test_no_gallery_where_nothing_is_rectified_or_asked_for(tmp_path):
    a, b = write_pair(tmp_path)
    assert len(predictions(a, b, show=0).figures) == 3
    same = predictions(a, write_run(tmp_path / "c", tmp_path / "photos", FIRST))
    assert len(same.figures) == 3
    assert same.data["mcnemar"]["p"] == 1.0
    assert same.data["error_reduction"] == 0.0
    with pytest.raises(UsageError, match="--show is -1"):
        predictions(a, b, show=-1)


def test_notes_name_what_else_differs_and_what_is_left_out(tmp_path):
    root = paint_parts(tmp_path / "photos")
    a = write_run(tmp_path / "a", root, FIRST)
    b = write_run(tmp_path / "b", root, SECOND[:3], keep=slice(0, 3), lr=0.5)
    notes = " ".join(predictions(a, b).notes)
    assert "The runs differ in lr (0.0003, 0.5) too" in notes
    assert "2 of A's 5 test pictures are not the other's too" in notes
    assert "of B's" not in notes
    assert "N \N{MINUS SIGN} S by construction, with N = 3" in notes


def test_a_result_of_other_predictions_is_noted(tmp_path):
    a, b = write_pair(tmp_path)
    (b / "result.json").write_text('{"test.accuracy": 0.4}')
    assert any(note.startswith("B named 2 pictures rightly when it was trained and 4 now") for note in
               predictions(a, b).notes)  # fmt: skip


def test_a_single_picture_has_no_interval(tmp_path):
    root = paint_parts(tmp_path / "photos")
    a = write_run(tmp_path / "a", root, FIRST[1:2], keep=slice(1, 2))
    b = write_run(tmp_path / "b", root, SECOND[1:2], keep=slice(1, 2))
    finding = predictions(a, b)
    assert finding.data["gain_in_true_class"] is None
    assert "a single picture, so no interval" in finding.text


def test_pictures_that_are_gone_leave_the_numbers(tmp_path):
    a, b = write_pair(tmp_path)
    before = predictions(a, b)
    shutil.rmtree(tmp_path / "photos")
    after = predictions(a, b)
    assert after.data == before.data
    assert after.figures[3].png != before.figures[3].png


def test_bars_are_of_both_networks_top_classes_and_the_true_one():
    a = np.array([0.4, 0.3, 0.2, 0.06, 0.04, 0.0])
    b = np.array([0.0, 0.1, 0.2, 0.4, 0.3, 0.0])
    assert bar_classes(a, b, 5) == [0, 3, 1, 4, 2, 5]
    assert bar_classes(a, a, 0) == [0, 1, 2]


def test_the_farthest_points_are_named_unless_names_collide():
    x = np.array([10.0, 50.0, 55.0, 90.0, 20.0])
    y = np.array([15.0, 90.0, 92.0, 60.0, 21.0])
    assert farthest(x, y) == [1, 3, 0]  # the third point lies beside the second


def test_training_pictures_are_those_of_the_smallest_digests():
    train = [Sample(str(n), n % 2, digest) for n, digest in enumerate("dbacfe")]
    index = FolderIndex("/nowhere", ("x", "y"), {"train": tuple(train)})
    assert [sample.path for sample in training_pictures(index, "x")] == ["2", "0"]
    assert [sample.path for sample in training_pictures(index, "y", most=9)] == ["1", "3", "5"]


def test_the_networks_are_asked_where_the_table_lacks_probabilities(trained, weak, tmp_path):
    """Without predictions.csv the stored networks give what training wrote there."""
    read = paired(weak, trained[0], "test")
    copies = [shutil.copytree(run, tmp_path / name) for run, name in ((weak, "a"), (trained[0], "b"))]
    for copy in copies:
        (copy / "predictions.csv").unlink()
    told = []
    asked = paired(*copies, "test", device="cpu", progress=lambda *each: told.append(each))
    assert asked.a.computed
    assert asked.b.computed
    assert not read.a.computed
    assert told[-1] == (12, 12)
    for one, other in ((asked.a, read.a), (asked.b, read.b)):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=2e-6)
        np.testing.assert_allclose(one.probabilities.sum(1), 1, rtol=1e-14)


def test_a_changed_picture_is_refused_by_the_command(holdfast, trained, weak, tmp_path):
    copy = shutil.copytree(weak, tmp_path / "a")
    (copy / "predictions.csv").unlink()
    split = json.loads((copy / "split.json").read_text())
    photos = shutil.copytree(trained[1], tmp_path / "photos")
    (copy / "split.json").write_text(json.dumps(split | {"root": str(photos)}))
    changed = photos / split["parts"]["test"][0]["path"]
    Image.new("RGB", (9, 9)).save(changed)
    done = holdfast("analyse", "predictions", copy, trained[0], "--out", tmp_path / "found")
    assert done.code == 2
    assert f"{changed} has changed since the split" in done.error


def test_the_command_writes_and_says_what_it_found(holdfast, trained, weak, tmp_path):
    done = holdfast("analyse", "predictions", weak, trained[0], "--out", tmp_path / "found", "--show", 2)
    assert (done.code, done.err) == (0, "")
    stored = json.loads((tmp_path / "found" / "predictions.json").read_text())
    accuracies = [json.loads((run / "result.json").read_text())["test.accuracy"] for run in (weak, trained[0])]
    assert [stored["data"]["runs"][letter]["accuracy"] for letter in "AB"] == pytest.approx(accuracies)
    assert accuracies[0] < accuracies[1]  # so that there is something to rectify
    assert stored["text"] in done.out
    for figure in stored["figures"]:
        with Image.open(tmp_path / "found" / figure["png"]) as image:
            assert min(image.size) > 300
    assert "predictions-true-rectifications" in [figure["name"] for figure in stored["figures"]]


def test_json_alone(holdfast, tmp_path):
    done = holdfast("analyse", "predictions", *write_pair(tmp_path), "--json", "--out", tmp_path / "found")
    assert json.loads(done.out) == json.loads((tmp_path / "found" / "predictions.json").read_text())
