"""Accuracy lost on the source task."""

import json
import math
import shutil

import pytest
import torch
from scipy import stats

from holdfast.analysis.trained.source_drop import compared
from holdfast.core.errors import UsageError
from holdfast.data.augment import EvalTransform, eval_side, normalise
from holdfast.data.cache import load_image
from holdfast.train.loaded import load_run

from .conftest import paint


def test_points_and_their_interval_by_hand():
    start = torch.tensor([True] * 8 + [False] * 2)
    tuned = torch.tensor([True] * 5 + [False] * 4 + [True])
    drop = compared(start, tuned)  # three lost, one gained, of ten
    assert (drop.images, drop.start, drop.tuned, drop.lost, drop.gained) == (10, 8, 6, 3, 1)
    # d has the mean 20 and the sum of squares 4 · 100² − 10 · 20²
    half = stats.t.ppf(0.975, 9) * math.sqrt((40000 - 4000) / 9 / 10)
    assert (drop.points.mean, drop.points.low, drop.points.high) == pytest.approx((20, 20 - half, 20 + half))


def test_one_picture_is_too_few():
    with pytest.raises(UsageError, match="at least 2"):
        compared(torch.tensor([True]), torch.tensor([False]))


def drop_of(holdfast, run, data, out, *flags):
    done = holdfast("analyse", "source-drop", run, "--data", data, "--out", out, "--json", *flags)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_an_untouched_run_has_lost_nothing(holdfast, untouched, trained, tmp_path):
    found = drop_of(holdfast, untouched, trained[1], tmp_path)
    assert found["data"]["points"]["mean"] == 0
    assert (found["data"]["lost"], found["data"]["gained"]) == (0, 0)
    assert found["data"]["start"] > 20  # of 30: the source run has learnt its classes
    assert "includes zero" in found["text"]
    assert any("up to about 10.0 %" in note for note in found["notes"])  # 3 in 30


def literal(run, head, data):
    """How many pictures a finished run's body with a head gets right, one by one."""
    p, right = run.preprocessing, 0
    run.model.fc = head
    for row, name in enumerate(("blue", "green", "red")):
        for file in (data / name).iterdir():
            picture = EvalTransform(p.size, p.crop)(load_image(file, eval_side(p.size, p.crop)))
            with torch.no_grad():
                right += int(run.model(normalise(picture[None], p.mean, p.std)).argmax() == row)
    return right


def test_both_bodies_are_measured_with_the_original_head(holdfast, tuned, trained, tmp_path):
    found = drop_of(holdfast, tuned, trained[1], tmp_path)["data"]
    source = load_run(trained[0])
    head = source.model.fc
    assert found["start"] == literal(source, head, trained[1])
    assert found["tuned"] == literal(load_run(tuned), head, trained[1])
    assert found["lost"] - found["gained"] == found["start"] - found["tuned"]
    assert found["lost"] > 0  # else the test would not tell the bodies apart


def test_some_of_the_classes_are_enough_and_are_told_by_name(holdfast, tuned, trained, tmp_path):
    data = tmp_path / "some"
    shutil.copytree(trained[1] / "red", data / "red")
    found = drop_of(holdfast, tuned, data, tmp_path / "a")
    assert (found["inputs"]["classes"], found["inputs"]["head_classes"], found["inputs"]["images"]) == (1, 3, 10)
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")  # red where the head has blue
    other = drop_of(holdfast, tuned, data, tmp_path / "b", "--classes", tmp_path / "names.txt")
    assert found["data"]["start"] > other["data"]["start"]


def test_without_names_as_many_folders_as_rows_are_taken_in_their_order(holdfast, tuned, trained, tmp_path):
    moved = shutil.copy(trained[0] / "model.safetensors", tmp_path / "weights.safetensors")
    run = shutil.copytree(tuned, tmp_path / "run")
    found = drop_of(holdfast, run, trained[1], tmp_path / "a", "--weights", moved)
    assert found["inputs"]["matched"] == "by the order of their names"
    assert found["data"] == drop_of(holdfast, run, trained[1], tmp_path / "b")["data"]


def test_runs_and_folders_that_cannot_be_used_are_refused_in_one_line(holdfast, tuned, trained, tmp_path):
    paint(tmp_path / "other", counts=2, classes=("blue", "pink"))
    for words, said in (
        ((trained[0], "--data", trained[1]), "began with random weights: there is no source task"),
        ((tuned,), "name it with --data FOLDER"),
        ((tuned, "--data", tmp_path / "nowhere"), "does not exist"),
        ((tuned, "--data", tmp_path / "other"), "the folder 'pink' is none of the source head's 3 classes"),
        ((tuned, "--data", trained[1], "--classes", tmp_path / "nowhere.txt"), "cannot read the classes in"),
        ((tmp_path, "--data", trained[1]), "expected a finished run with a result.json, found none"),
        ((trained[0].with_name("rnu"), "--data", trained[1]), "did you mean 'run'"),
    ):
        done = holdfast("analyse", "source-drop", *words, "--out", tmp_path / "out")
        assert done.code == 2
        assert said in done.error
    assert not (tmp_path / "out").exists()
