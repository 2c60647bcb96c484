import csv
import io
import json
import os

import pytest

from holdfast.cli import main
from holdfast.train import predict as predicting

from .conftest import paint


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_predictions_are_those_of_the_run(holdfast, trained):
    run, photos = trained
    written = [row for row in rows((run / "predictions.csv").read_text()) if row["part"] == "test"]
    done = holdfast("predict", run, *(photos / row["path"] for row in written))
    assert (done.code, done.err) == (0, "")
    found = rows(done.out)
    assert [row["path"] for row in found] == [str(photos / row["path"]) for row in written]
    assert [row["predicted"] for row in found] == [row["predicted"] for row in written]
    probabilities = [float(row["probability_1"]) for row in found]
    assert probabilities == pytest.approx([float(row["probability_1"]) for row in written], abs=1e-5)


def test_a_folder_is_read_to_its_bottom_in_groups(holdfast, trained, monkeypatch):
    run, photos = trained
    whole = rows(holdfast("predict", run, photos).out)
    assert sorted(row["path"] for row in whole) == sorted(str(p) for p in photos.rglob("*.png"))
    monkeypatch.setattr(predicting, "AT_ONCE", 7)
    parts = rows(holdfast("predict", run, photos).out)
    assert [(r["path"], r["predicted"]) for r in parts] == [(r["path"], r["predicted"]) for r in whole]


def test_json_says_the_same(holdfast, trained):
    run, photos = trained
    shown = json.loads(holdfast("predict", run, photos / "red", "--json").out)
    listed = rows(holdfast("predict", run, photos / "red").out)
    assert [(each["path"], each["predicted"]) for each in shown] == [(r["path"], r["predicted"]) for r in listed]
    for each in shown:
        assert each["top"][0] == {"class": each["predicted"], "probability": each["confidence"]}
        assert sum(top["probability"] for top in each["top"]) == pytest.approx(1)


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(holdfast, trained, tmp_path):
    run, photos = trained
    (tmp_path / "broken.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    files = [tmp_path / "broken.png", photos / "red" / "0.png", tmp_path / "gone.png", tmp_path / "empty.png"]
    done = holdfast("predict", run, *files)
    assert done.code == 0
    assert [row["path"] for row in rows(done.out)] == [str(photos / "red" / "0.png")]
    told = done.err.splitlines()
    assert [line.split(":")[0] for line in told] == [f"skipped {files[i]}" for i in (0, 2, 3)]
    strict = holdfast("predict", run, *files, "--strict")
    assert strict.code == 2
    assert rows(strict.out) == rows(done.out)
    assert strict.err.splitlines()[-1].startswith("error: 3 file(s)")


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_nothing_readable_is_an_error(holdfast, trained, tmp_path, extra):
    (tmp_path / "broken.png").write_text("no picture")
    done = holdfast("predict", trained[0], tmp_path / "broken.png", *extra)
    assert done.code == 2
    assert done.out == ""
    assert done.err.splitlines()[-1].startswith("error: none of the 1 file(s)")


def test_an_empty_folder_is_an_error(holdfast, trained, tmp_path):
    (tmp_path / "empty").mkdir()
    done = holdfast("predict", trained[0], tmp_path / "empty")
    assert done.code == 2
    assert "no files" in done.error


def test_names_with_commas_and_quotes_survive(holdfast, trained, tmp_path):
    folder = paint(tmp_path / "new", counts=1, classes=('a, "b"',))
    done = holdfast("predict", trained[0], folder)
    assert rows(done.out)[0]["path"] == str(folder / 'a, "b"' / "0.png")


def test_names_that_are_no_text_come_out_as_they_went_in(trained, tmp_path, monkeypatch, capsysbinary):
    run, photos = trained
    name = os.fsencode(tmp_path) + b"/\xff.png"
    with open(name, "wb") as file:
        file.write((photos / "red" / "0.png").read_bytes())
    monkeypatch.setattr("sys.argv", ["holdfast", "predict", str(run), os.fsdecode(name)])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 0
    assert capsysbinary.readouterr().out.splitlines()[1].startswith(name + b",red,")
