"""What a run writes down of its course, and that it trains the same."""

import csv
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import holdfast
from holdfast.core.clock import Clock
from holdfast.core.errors import UsageError
from holdfast.train.logged import StageGradients
from holdfast.train.stage_layers import StageLayer
from train.ranks import on_two
from train.test_resume import METHODS, curve, cut_short, figures, weights

LOGS = {"log_angles": 2, "log_gradients": True, "log_test_loss": True}
TABLES = ("steps.csv", "gradients.csv", "test_loss.csv")


def table(folder, name):
    with (folder / name).open(newline="") as handle:
        return [{key: float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(handle)]


@pytest.mark.parametrize(
    "change",
    [
        {"method": METHODS},
        {"method": "l2_sp(alpha=0.1)+know_dist(0.01)", "bn": "train", "accumulate": 2},
        {"method": "plain", "drop_rate": 0.5, "workers": 2},
    ],
)
def test_a_run_that_writes_its_course_ends_at_the_same_bits(tiny, tmp_path, change):
    bare = holdfast.fit(**{**tiny, **change, "out": tmp_path / "bare"})
    logged = holdfast.fit(**{**tiny, **change, **LOGS})
    assert weights(logged) == weights(bare)
    assert figures(logged) == figures(bare)
    assert curve(logged) == curve(bare)
    assert not any((bare.folder / name).exists() for name in TABLES)
    assert all((logged.folder / name).is_file() for name in TABLES)


@pytest.mark.parametrize("after", [1, 2])
def test_a_resumed_run_has_each_row_once(tiny, tmp_path, monkeypatch, after):
    settings = {**tiny, **LOGS, "method": METHODS}
    whole = holdfast.fit(**{**settings, "out": tmp_path / "whole"})
    cut_short(monkeypatch, settings, after=after)
    assert len(table(tiny["out"], "gradients.csv")) == after
    resumed = holdfast.fit(**settings)
    for name in TABLES:
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert [row["step"] for row in table(resumed.folder, "steps.csv")] == [0, 2, 4, 6, 8]


def test_losses_of_all_steps_average_to_the_epochs(tiny):
    run = holdfast.fit(**tiny, method="dtnh(l2_sp(alpha=0.1))", log_angles=1, bn="train", lr=0.01)
    rows, epochs = table(run.folder, "steps.csv"), table(run.folder, "metrics.csv")
    assert len(rows) == 9
    assert {"angle", "conflict", "angle1", "angle2", "angle3", "angle4"} < set(rows[-1])
    for number, epoch in enumerate(epochs):
        batches = [row["loss"] for row in rows[3 * number : 3 * number + 3]]  # of six pictures each
        assert sum(batches) / 3 == pytest.approx(epoch["train.loss"], rel=1e-6)
    assert [row["epochs"] for row in rows[:4]] == pytest.approx([0, 1 / 3, 2 / 3, 1], rel=1e-6)
    for row in rows:
        assert row["conflict"] == (row["angle"] > 90)
        assert row["angle1"] <= row["angle3"] + 0.05  # angles near 0 are known to some 0.03° in float32


def test_a_step_of_several_batches_has_their_mean_loss(tiny):
    """Plain training at no rate: what is logged of two batches is the mean of what is logged of each."""
    still = {"lr": 1e-30, "head_lr": 1e-30, "log_angles": 1, "augment": False, "epochs": 1, "batch_size": 9}
    apart = holdfast.fit(**{**tiny, **still})
    joined = holdfast.fit(**{**tiny, **still, "accumulate": 2, "out": tiny["out"] / "joined"})
    (row,), parts = table(joined.folder, "steps.csv"), table(apart.folder, "steps.csv")
    assert row["loss"] == pytest.approx(sum(part["loss"] for part in parts) / 2, rel=1e-6)
    assert parts[0]["loss"] != parts[1]["loss"]
    assert "angle" not in row


def test_resets_are_counted_where_the_head_is_drawn_anew(tiny):
    run = holdfast.fit(**tiny, method="rifle(periods=3, variant='A')", log_gradients=True)
    rows = table(run.folder, "gradients.csv")
    assert [row["resets"] for row in rows] == [0, 1, 2]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in rows] == [0, 3, 6]
    # in the first step timm's residual branches end in a factor of 0, and get no gradient
    assert all(row[name] > 0 for row in rows[1:] for name in row if " " in name)


def test_sleeping_layers_have_no_norm(tiny):
    run = holdfast.fit(**tiny, method="lp_ft(0.4)", log_gradients=True)
    first, *_, last = table(run.folder, "gradients.csv")
    assert set(first) == {"epoch", "step", "resets"}
    assert set(first) < set(last)


def test_norms_are_those_of_the_first_step_with_finite_gradients():
    """A closed form: gradients of all ones have norm √n; a step with an overflow does not count."""
    model = nn.ModuleDict({"conv": nn.Conv2d(2, 3, 3, bias=False), "rest": nn.Linear(2, 2)})
    module = SimpleNamespace(model=model, methods=SimpleNamespace(clock=Clock(step=4, head_resets=1)))
    trainer = SimpleNamespace(current_epoch=2)
    log = StageGradients(None, [StageLayer("conv", "3x3")])
    for batch, value in ((0, math.inf), (1, 1.0), (2, 5.0)):
        model["conv"].weight.grad = torch.full((3, 2, 3, 3), value)
        log.on_train_batch_start(trainer, module, None, batch)
        log.on_before_optimizer_step(trainer, module, None)
    (row,) = log.rows
    assert row == {"epoch": 3, "step": 4, "resets": 1, "conv 3x3": pytest.approx(math.sqrt(54), rel=1e-6)}


def test_the_last_test_loss_is_that_of_the_end(tiny):
    run = holdfast.fit(**tiny, log_test_loss=True, keep="last", bn="train", lr=0.01)
    rows = table(run.folder, "test_loss.csv")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 3), (2, 6), (3, 9)]
    assert rows[-1]["loss"] == pytest.approx(run["test.nll"], rel=1e-7)
    assert len({row["loss"] for row in rows}) == 3


def test_the_test_part_is_not_looked_at_where_it_is_to_be_left_alone(tiny):
    with pytest.raises(UsageError, match="log_test_loss needs the test part, and measure_test is off"):
        holdfast.fit(**tiny, log_test_loss=True, measure_test=False)
    with pytest.raises(UsageError, match="log_test_loss needs the test part, and the data have none"):
        holdfast.fit(**tiny, log_test_loss=True, test_fraction=0)


@pytest.mark.slow
def test_two_processes_log_the_angles_of_the_whole_batch(tiny, tmp_path):
    """Of penalties without a gradient rule, measured within DistributedDataParallel's backward pass."""
    tiny |= {"model": "timm:test_vit", "image_size": 64, "keep": "last", "epochs": 1, "log_angles": 1}
    tiny |= {"method": "l2_sp(alpha=0.1)+know_dist(0.01)", "augment": False, "log_gradients": True}
    one = holdfast.fit(**{**tiny, "out": tmp_path / "one"})
    on_two({**tiny, "batch_size": 3, "out": tmp_path / "two"})
    for name in ("steps.csv", "gradients.csv"):
        rows = table(tmp_path / "two", name)
        assert rows
        for found, wanted in zip(rows, table(one.folder, name), strict=True):
            assert found == pytest.approx(wanted, rel=2e-3)
