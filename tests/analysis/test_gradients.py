"""``holdfast analyse gradients``: ratios around resets, what is said, and a real run from end to end."""

import json

import pytest

from analysis.logged_folders import make_logged_run
from holdfast.analysis.course.gradients import gradients
from holdfast.core.errors import DataError

DEEP, TOP = "layer1.0.conv2 3x3", "layer4.0.conv2 3x3"
FALLING = [(0.8, 1.0), (0.4, 0.5), (0.2, 0.1), (0.1, 0.05)]
REVIVED = [(0.5, 1.0), (0.25, 0.5), (1.0, 1.0), (0.5, 0.25)]


def rows(norms, resets=(0, 0, 0, 0)):
    return [
        {"epoch": e, "step": 3 * e - 3, "resets": r, DEEP: a, TOP: b}
        for e, ((a, b), r) in enumerate(zip(norms, resets, strict=True), start=1)
    ]


@pytest.fixture
def pair(tmp_path):
    plain = make_logged_run(tmp_path / "l2", "l2(alpha=0.01)", gradients=rows(FALLING))
    rifle = make_logged_run(tmp_path / "rifle", "l2(alpha=0.01)+rifle", gradients=rows(REVIVED, (0, 0, 1, 1)))
    return plain, rifle


def test_ratios_are_those_around_the_reset(pair):
    finding = gradients(pair)
    plain, rifle = finding.data["runs"]
    assert plain["resets_before_epoch"] == []
    assert rifle["resets_before_epoch"] == [3]
    assert rifle["layers"][DEEP]["after_over_before_resets"] == [4.0]
    assert rifle["layers"][TOP]["after_over_before_resets"] == [2.0]
    assert rifle["layers"][TOP] == {"epoch": [1, 2, 3, 4], "norm": [1, 0.5, 1, 0.25], "after_over_before_resets": [2.0]}
    assert f"{DEEP} 0.8 to 0.1, {TOP} 1 to 0.05" in finding.text
    assert "lowest at the first stage in 2 of 4 epochs" in finding.text  # plain
    assert "After the 1 re-initialisation of the head it was 3 times that of one epoch earlier" in finding.text
    assert f"at {TOP} 2 times" in finding.text


def test_one_panel_for_each_run_on_one_axis(pair):
    (figure,) = gradients(pair).figures
    svg = figure.svg.decode()
    assert svg.count("epoch</text>") == 2
    assert svg.count("Frobenius norm of the gradient</text>") == 1
    assert "head drawn anew before epochs 3" in figure.label
    assert "2 runs, one seed each" in figure.caption


def test_layers_that_slept_or_vanished_are_left_out_where_they_did(tmp_path):
    written = rows(FALLING, (0, 1, 2, 2))
    del written[0][DEEP]
    written[1][TOP] = 0.0
    (run,) = gradients([make_logged_run(tmp_path / "run", gradients=written)]).data["runs"]
    assert run["layers"][DEEP]["epoch"] == [2, 3, 4]
    assert run["resets_before_epoch"] == [2, 3]
    assert run["layers"][DEEP]["after_over_before_resets"] == [0.5]
    assert run["layers"][TOP]["after_over_before_resets"] == []


def test_a_table_without_layers_is_one_line(tmp_path):
    empty = [{name: row[name] for name in ("epoch", "step", "resets")} for row in rows(FALLING)]
    run = make_logged_run(tmp_path / "run", gradients=empty)
    with pytest.raises(DataError, match=r"found none with a number in .*run: train again with --log-gradients"):
        gradients([run])


def test_the_command_reads_what_training_wrote(holdfast, train, photos, tmp_path):
    flags = ("--method", "rifle(periods=2, variant='A')", "--log-gradients", "--progress", "off")
    assert train(photos, *flags).code == 0
    done = holdfast("analyse", "gradients", tmp_path / "run", "--out", tmp_path / "found", "--json")
    assert done.code == 0
    (run,) = json.loads(done.out)["data"]["runs"]
    assert run["resets_before_epoch"] == [2]
    assert all(len(layer["norm"]) == 2 for layer in run["layers"].values())
    assert (tmp_path / "found" / "gradients-stages.png").is_file()
