"""A run with a paper's pictures: prepared, tested, evaluated again and predicted in the same way."""

import csv
import json

import pytest

import holdfast
from holdfast.data.frame import Frame
from holdfast.train.evaluate import evaluate
from holdfast.train.labelled import part_of_run
from holdfast.train.loaded import load_run
from holdfast.train.plan import make_plan
from holdfast.train.predict import predict
from holdfast.train.settings import Settings


@pytest.mark.parametrize(
    ("name", "fit", "ten_crop"),
    [("zhong2020", "padded", True), ("li2018", "square", False), ("li2018-star", "shorter", True)],
)
def test_a_run_is_tested_as_its_protocol_says(tiny, name, fit, ten_crop):
    result = holdfast.fit(**{**tiny, "epochs": 1}, transform=name)
    written = json.loads((result.folder / "preprocessing.json").read_text())
    side = 36 if name == "zhong2020" else 37
    assert (written["fit"], written["ten_crop"], written["resize_shorter_side"]) == (fit, ten_crop, side)
    loaded = load_run(result.folder)
    again = evaluate(loaded, part_of_run(loaded.folder, "test")).measures()
    assert again["nll"] == pytest.approx(result["test.nll"], rel=1e-5)
    lines = (result.folder / "predictions.csv").read_text(encoding="utf-8").splitlines()
    rows = [row for row in csv.DictReader(lines) if row["part"] == "test"]
    root = part_of_run(loaded.folder, "test").root
    shown = list(predict(loaded, [root / row["path"] for row in rows]))
    assert [p.top[0][1] for p in shown] == pytest.approx([float(row["confidence"]) for row in rows], abs=1e-5)


def test_a_plan_decodes_into_the_protocols_frame(tiny):
    plan = make_plan(Settings.of(**{**tiny, "image_size": None}, transform="wan2019"))
    assert plan.size == 224
    assert plan.index.decoded.side == Frame(256, "square")
    assert any("as in wan2019: square at 256 px" in line for line in plan.describe())
    plain = make_plan(Settings.of(**tiny))
    assert isinstance(plain.index.decoded.side, int)
    assert (plain.built.preprocessing.fit, plain.built.preprocessing.ten_crop) == ("shorter", False)


def test_protocols_are_other_runs(tiny):
    assert Settings.of(**tiny).identity() != Settings.of(**tiny, transform="li2020").identity()
