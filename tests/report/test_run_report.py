"""The page of a run, built from synthetic folders and read back as HTML."""

import base64
import hashlib
import io
import json
import re

import pytest
from PIL import Image

from holdfast.core.errors import DataError
from holdfast.report.gallery import SIDE, pictures
from holdfast.report.quality import wilson
from holdfast.report.records import Prediction
from holdfast.report.run import write_run_report

from .folders import Page, make_pictures, make_run, write_rows


def built(folder):
    path = write_run_report(folder)
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def headings(page):
    return [attrs["id"] for attrs in page.all("h2")]


def test_page_has_its_parts_with_the_summary_first(tmp_path):
    make_run(tmp_path / "run")
    _, page = built(tmp_path / "run")
    assert headings(page) == ["summary", "curves", "confusion", "mistakes", "calibration", "settings"]
    low, high = (f"{100 * end:.1f}" for end in wilson(18, 24))
    assert "18 of 24 test images are classified correctly: 75.0 %" in page.text
    assert f"95 % Wilson interval for that many images runs from {low} to {high} %" in page.text
    assert "fine-tuning with l2_sp(alpha=0.1) to 3 classes" in page.text
    assert page.text.index("18 of 24") < page.text.index("Learning curves")
    assert "result.json says" not in page.text
    assert list(tmp_path.joinpath("run").glob(".*.tmp")) == []


def test_every_figure_and_picture_has_a_text_alternative(tmp_path):
    data = tmp_path / "data"
    make_pictures(data, make_run(tmp_path / "run", data=data))
    _, page = built(tmp_path / "run")
    drawings = page.all("svg")
    # Loss, negative log-likelihood, accuracy, learning rate, the method's own figure; confusion; calibration.
    assert len(drawings) == 7
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 20 for attrs in drawings)
    assert len({attrs["aria-label"] for attrs in drawings}) == 7
    assert all(attrs["alt"] for attrs in page.all("img"))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_page_refers_to_nothing_outside_itself(tmp_path):
    data = tmp_path / "data"
    make_pictures(data, make_run(tmp_path / "run", data=data))
    text, page = built(tmp_path / "run")
    for tag, attrs in page.elements:
        for key in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert attrs.get(key, "#").startswith(("#", "data:")), (tag, attrs)
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    policy = next(attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_and_paths_are_shown_and_never_run(tmp_path):
    hostile = ("<script>alert('a')</script>", '"><img src=x onerror=alert(1)>', "tom & jerry", "花 'x' {{ 7 * 7 }}")
    make_run(tmp_path / "run", classes=hostile, method="<b>ptr</b>")
    rows = [("<svg onload=alert(1)>.png", hostile[0], hostile[1], 0.9), ("b.png", hostile[2], hostile[3], 0.8)]
    write_rows(tmp_path / "run" / "predictions.csv", ("path", "true", "predicted", "confidence"), rows)
    text, page = built(tmp_path / "run")
    assert text.count("<script") == 1
    assert not any(key.startswith("on") for _, attrs in page.elements for key in attrs)
    assert page.all("b") == [{}, {}]  # the gallery's own
    for name in (*hostile, "<svg onload=alert(1)>.png"):
        assert name in page.text


def test_gallery_embeds_small_pictures_of_the_surest_mistakes(tmp_path):
    data = tmp_path / "data"
    predictions = make_run(tmp_path / "run", data=data)
    make_pictures(data, predictions)
    _, page = built(tmp_path / "run")
    wrong = sorted((row for row in predictions if row[1] != row[2]), key=lambda row: -row[3])
    shown = page.all("img")
    assert [attrs["alt"].split(":")[0] for attrs in shown] == [row[0] for row in wrong]
    kind, _, content = shown[0]["src"].partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert kind == "data:image/jpeg;base64"
    assert image.size == (SIDE, SIDE * 150 // 200)
    assert page.text.index(f"{100 * wrong[0][3]:.0f} %") > 0


def test_pictures_that_are_gone_are_said_to_be(tmp_path):
    make_run(tmp_path / "run")
    _, page = built(tmp_path / "run")
    assert page.all("img") == []
    assert page.text.count("picture not found") == 6


def test_pictures_outside_the_data_folder_stay_outside(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    outside = tmp_path / "outside.png"
    Image.new("RGB", (8, 8)).save(outside)
    Image.new("RGB", (8, 8)).save(data / "inside.png")
    (data / "link.png").symlink_to(outside)
    (data / "torn.png").write_bytes(outside.read_bytes()[:20])
    paths = ["inside.png", "../outside.png", str(outside), "link.png", "torn.png", "", "null\0.png", "."]
    found = pictures([Prediction(path, "a", "b", 0.9) for path in paths], data)
    assert [picture.source is not None for picture in found] == [True] + [False] * 7


@pytest.mark.parametrize("missing", ["settings.yaml", "metrics.csv", "predictions.csv", "preprocessing.json"])
def test_a_missing_file_is_noted_and_the_rest_is_shown(tmp_path, missing):
    make_run(tmp_path / "run")
    (tmp_path / "run" / missing).unlink()
    _, page = built(tmp_path / "run")
    assert f"{missing} is missing from the run folder." in page.text
    assert "75.0 %" in page.text
    assert ("curves" in headings(page)) == (missing != "metrics.csv")
    assert ("confusion" in headings(page)) == (missing != "predictions.csv")
    if missing == "predictions.csv":
        assert "no interval can be given" in page.text


def test_optional_columns_empty_cells_and_other_parts_do_no_harm(tmp_path):
    make_run(tmp_path / "run")
    columns = ("part", "path", "true", "predicted", "confidence", "top1", "top1_probability")
    rows = [
        ("test", "a.png", "daisy", "daisy", 0.9, "daisy", 0.9),
        ("val", "b.png", "daisy", "iris", 0.8, "iris", 0.8),
        ("test", "c.png", "", "iris", 0.8, "iris", 0.8),
    ]
    write_rows(tmp_path / "run" / "predictions.csv", columns, rows)
    write_rows(tmp_path / "run" / "metrics.csv", ("epoch", "train.loss", "val.loss"), [(1, 2.0, ""), (2, "nan", 1.5)])
    _, page = built(tmp_path / "run")
    assert "1 of 1 test images" in page.text
    assert "No test image was classified wrongly." in page.text
    assert len(page.all("svg")) == 3


def test_files_of_two_runs_do_not_pass_for_one(tmp_path):
    predictions = make_run(tmp_path / "run")
    right = [row for row in predictions if row[1] == row[2]]
    write_rows(tmp_path / "run" / "predictions.csv", ("path", "true", "predicted", "confidence"), right)
    _, page = built(tmp_path / "run")
    assert "result.json says 75.0 % test accuracy, the rows of predictions.csv 100.0 %." in page.text


def test_many_classes_keep_the_page_small_and_their_table_folded(tmp_path):
    make_run(tmp_path / "run", classes=[f"class {number:03}" for number in range(120)], per_class=4)
    text, page = built(tmp_path / "run")
    assert "Each of the 120 classes" in page.text
    assert page.text.count("class 077") >= 2
    assert len(page.all("details")) == 2
    assert len(text) < 1_000_000


def test_what_is_no_finished_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="found no folder"):
        write_run_report(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"finished run with a result\.json"):
        write_run_report(tmp_path)
    (tmp_path / "result.json").write_text("{torn", encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot parse .*result\.json"):
        write_run_report(tmp_path)
    (tmp_path / "result.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(DataError, match="expected keys and values"):
        write_run_report(tmp_path)
    (tmp_path / "result.json").write_text(json.dumps({"test.accuracy": 0.5}), encoding="utf-8")
    write_rows(tmp_path / "predictions.csv", ("path", "label"), [("a.png", "x")])
    with pytest.raises(DataError, match="expected the columns confidence, predicted, true"):
        write_run_report(tmp_path)


def test_a_page_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    make_run(tmp_path / "run")
    (tmp_path / "run" / "report.html").write_text("old", encoding="utf-8")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_run_report(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").glob("*report*")) == ["report.html"]
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8") == "old"
