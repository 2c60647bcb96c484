"""``holdfast analyse angles``: what is computed of hand-made logs, what is said, and real runs from end to end."""

import json

import numpy as np
import pytest

from analysis.logged_folders import make_logged_run, step_rows
from holdfast.analysis.course.angle_figures import smooth
from holdfast.analysis.course.angles import angles, trajectory
from holdfast.analysis.course.logged_runs import logged_runs
from holdfast.core.errors import DataError, UsageError

ANGLES, LOSSES = (60, 120, 100, 80, 140, 95, 91, 30), (4.0, 3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.25)


@pytest.fixture
def bare(tmp_path):
    return make_logged_run(tmp_path / "bare", steps=step_rows(ANGLES, LOSSES))


@pytest.fixture
def ruled(tmp_path):
    more = {"angle1": [10 + k for k in range(8)], "angle2": [80] * 8}
    losses = [loss - (0.1 if k < 6 else -0.1) for k, loss in enumerate(LOSSES)]
    return make_logged_run(tmp_path / "ruled", "dtnh(l2_sp(alpha=0.1))", steps=step_rows(ANGLES, losses, **more))


def test_shares_and_medians_are_those_of_the_rows(bare, ruled):
    finding = angles([bare, ruled])
    one, other = finding.data["runs"]
    assert (one["in_conflict"], one["with_both_gradients"], one["logged_steps"]) == (5, 8, 8)
    assert one["median_degrees"]["angle"] == 93
    assert one["median_degrees_in_conflict"]["angle"] == 100  # of 91, 95, 100, 120, 140
    assert one["median_degrees_in_conflict"]["angle3"] == 50
    assert other["median_degrees_in_conflict"]["angle1"] == 14  # at steps 1, 2, 4, 5 and 6
    assert other["median_degrees_in_conflict"]["gap"] == 38  # of 29.5, 32.5, 38, 49, 56
    assert "lay 38.00° closer to ∇J" in finding.text
    assert "angle1" not in one["angles"]
    assert "gap" not in one["median_degrees"]
    assert "5 of 8 logged steps (62.5 %)" in finding.text
    assert "of the direction taken was 14.00° to ∇J (angle 1) and 80.00° to ∇Ω (angle 2)" in finding.text
    assert "was above that of dtnh(l2_sp(alpha=0.1)) in 6 of 8 logged steps for J" in finding.text
    assert "in 0 of 5 epochs for the validation loss" in finding.text


def test_epochs_are_placed_at_their_last_step(bare):
    finding = angles([bare])
    validation = finding.data["runs"][0]["validation_loss"]
    assert validation["step"] == [4, 8, 12, 16, 20]
    assert validation["loss"] == pytest.approx([2.2 / e for e in range(1, 6)])
    assert finding.data["runs"][0]["test_loss"] == {"step": [], "loss": []}


def test_a_gradient_of_nought_has_no_angle_and_no_conflict(tmp_path):
    rows = step_rows(ANGLES, LOSSES)
    for name in ("angle", "angle3", "angle4"):
        del rows[1][name]
    found = trajectory(logged_runs([make_logged_run(tmp_path / "run", steps=rows)], "steps", "step", "")[0])
    assert found.conflicts == (4, 7)
    assert found.angles["conflict"]["step"] == [0, 2, 3, 4, 5, 6, 7]


def test_plain_training_has_losses_alone(tmp_path):
    run = make_logged_run(tmp_path / "run", "plain", steps=step_rows([None] * 8, LOSSES))
    finding = angles([run])
    assert [figure.name for figure in finding.figures] == ["angles-losses"]
    assert "there are no angles" in finding.text
    assert "median_degrees" not in finding.data["runs"][0]


def test_a_test_loss_is_drawn_and_said_to_be_for_looking(tmp_path):
    tested = [{"epoch": e, "step": 4 * e, "loss": 3 - e / 4} for e in range(1, 6)]
    run = make_logged_run(tmp_path / "run", steps=step_rows(ANGLES, LOSSES), test_loss=tested)
    finding = angles([run])
    assert finding.data["runs"][0]["test_loss"]["loss"] == [2.75, 2.5, 2.25, 2.0, 1.75]
    assert any("is for looking: nothing was chosen by it" in note for note in finding.notes)
    assert "test loss from 2.750 to 1.750" in finding.figures[0].label


def test_figures_name_their_axes_and_say_the_numbers(bare, ruled):
    finding = angles([bare, ruled])
    assert [figure.name for figure in finding.figures] == [
        "angles-losses", "angles-task", "angles-penalty", "angles-between"
    ]  # fmt: skip
    task = finding.figures[1]
    assert "l2_sp(alpha=0.1), plain sum (angle 3): median 46.5°" in task.label
    assert "dtnh(l2_sp(alpha=0.1)), direction taken (angle 1): median 13.5°" in task.label
    for figure in finding.figures:
        svg = figure.svg.decode()
        assert "optimiser steps taken" in svg
        assert "degrees" in svg or "nats" in svg
        assert "2 runs" in figure.caption


@pytest.mark.parametrize(("count", "window"), [(1, 1), (79, 1), (80, 3), (800, 21)])
def test_lines_are_running_medians(count, window):
    values = np.random.default_rng(0).normal(size=count)
    line, found = smooth(values)
    assert found == window
    half, padded = window // 2, np.pad(values, window // 2, mode="edge")
    assert line == pytest.approx([np.median(padded[k : k + 2 * half + 1]) for k in range(count)])


def test_runs_of_one_method_are_told_apart_and_differing_settings_named(tmp_path):
    runs = [make_logged_run(tmp_path / f"s{seed}", seed=seed, steps=step_rows(ANGLES, LOSSES)) for seed in (0, 1)]
    finding = angles(runs)
    assert "l2_sp(alpha=0.1) (s0): " in finding.text
    assert any("more than the method" in note and "seed (0, 1)" in note for note in finding.notes)
    assert any("another seed" in note for note in finding.notes)


def test_mistakes_are_one_line_that_says_what_to_do(tmp_path, bare):
    silent = make_logged_run(tmp_path / "silent")
    with pytest.raises(
        DataError, match=r"wrote steps.csv, found none in .*silent: train again with --log-angles 10 and"
    ):
        angles([silent])
    with pytest.raises(UsageError, match=r"found .*bare twice"):
        angles([bare, tmp_path / "silent" / ".." / "bare"])
    with pytest.raises(UsageError, match="at least one run"):
        angles([])
    other = make_logged_run(tmp_path / "other", classes=("a", "b", "c"), steps=step_rows(ANGLES, LOSSES))
    with pytest.raises(DataError, match=r"2 classes in .*bare and 3 in .*other"):
        angles([bare, other])
    short = make_logged_run(tmp_path / "short", steps=step_rows(ANGLES[:1], LOSSES[:1]))
    with pytest.raises(DataError, match=r"found one in .*short: train longer, or with fewer --log-angles"):
        angles([short])
    with pytest.raises(DataError, match="did you mean 'bare'"):
        angles([tmp_path / "bar"])


def test_the_command_reads_what_training_wrote(holdfast, train, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs = ("--log-angles", 1, "--log-test-loss", "--progress", "off")
    assert train(photos, "--method", "dtnh(l2_sp(alpha=0.1))", *logs).code == 0
    done = holdfast("analyse", "angles", tmp_path / "run", "--json")
    assert done.code == 0
    (run,) = json.loads(done.out)["data"]["runs"]
    assert run["with_both_gradients"] == run["logged_steps"]
    assert len(run["test_loss"]["loss"]) == len(run["validation_loss"]["loss"]) == 2
    assert {path.suffix for path in (tmp_path / "analysis" / "angles").iterdir()} == {".json", ".png", ".svg"}


def test_the_command_says_what_is_missing(holdfast, train, photos, tmp_path):
    assert train(photos, "--progress", "off").code == 0
    for name, flag in (("angles", "--log-angles 10"), ("gradients", "--log-gradients")):
        done = holdfast("analyse", name, tmp_path / "run")
        assert done.code == 2
        assert f"train again with {flag}" in done.error
