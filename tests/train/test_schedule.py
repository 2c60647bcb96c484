"""The course of the rates: by step, by plateaus, in iterations; the same when a run is resumed."""

import csv
import math
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer

import holdfast
from holdfast.core.errors import UsageError
from holdfast.train.history import History
from holdfast.train.plan import make_plan
from holdfast.train.run_folder import RunFolder
from holdfast.train.schedule import factor, in_words, plateaus
from holdfast.train.settings import Settings

STEP = {"decay_at": (3, 6), "decay": 0.1, "cuts": 0}


def rows_of(result):
    return list(csv.DictReader((result.folder / "metrics.csv").read_text().splitlines()))


def validated(*pairs):
    return [{"val.nll": nll, "val.accuracy": accuracy} for nll, accuracy in pairs]


def test_factors_by_hand():
    assert [factor("step", t, 9, **STEP) for t in range(8)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])
    assert [factor("cosine", t, 4, **STEP) for t in (0, 1, 2, 4, 9)] == pytest.approx(
        [1, 0.5 + math.sqrt(0.125), 0.5, 0, 0]
    )
    assert factor("constant", 5, 9, **STEP) == 1
    assert [factor("plateau", 5, 9, decay_at=(), decay=0.1, cuts=c) for c in range(3)] == pytest.approx([1, 0.1, 0.01])


def test_a_plateau_is_progress_in_neither_figure():
    assert plateaus([], 2) == 0
    assert plateaus(validated((1, 0.5), (1, 0.5), (1, 0.5)), 2) == 1
    assert plateaus(validated((1, 0.5), (1, 0.5), (0.9, 0.5)), 2) == 0
    assert plateaus(validated((1, 0.5), (2, 0.6), (3, 0.7)), 1) == 0  # accuracy still progresses
    # against the best so far, not against the epoch before
    assert plateaus(validated((1, 0.5), (3, 0.4), (2, 0.45)), 2) == 1
    # counting begins anew after each
    assert [plateaus(validated(*[(1, 0.5)] * n), 2) for n in range(1, 8)] == [0, 0, 1, 1, 2, 2, 3]
    assert plateaus([*validated((1, 0.5)), {"train.loss": 1.0}, *validated((1, 0.5))], 1) == 1


def test_rates_are_cut_after_these_steps(tiny):
    seen = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            seen.append(self.param_groups[0]["lr"])
            return super().step(closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.train.module.SGD", Watched)
        holdfast.fit(**tiny, schedule="step", decay_at="4,7", lr=0.01)
    assert seen == pytest.approx([0.01] * 4 + [0.001] * 3 + [0.0001] * 2)


def test_iterations_are_whole_epochs(tiny):
    plan = make_plan(Settings.of(**tiny, iterations=7))
    assert (plan.steps_per_epoch, plan.epochs, plan.total_steps) == (3, 3, 9)
    assert make_plan(Settings.of(**tiny, iterations=6)).epochs == 2
    assert holdfast.fit(**{**tiny, "epochs": 30}, iterations=4)["epochs"] == 2


def test_penalties_fade_from_epoch_to_epoch(tiny):
    still = {"lr": 1e-12, "head_lr": 1e-12, "momentum": 0.0, "method": "l2_sp(alpha=0.1)"}
    penalties = [float(row["l2_sp.penalty"]) for row in rows_of(holdfast.fit(**tiny, **still, penalty_decay=0.5))]
    assert penalties[0] > 0
    assert penalties == pytest.approx([penalties[0], penalties[0] / 2, penalties[0] / 4], rel=1e-5)


@pytest.fixture
def stuck(tiny):
    """A run whose validation never progresses after its first epoch."""
    return {**tiny, "epochs": 20, "schedule": "plateau", "plateau": 2, "keep": "last", "lr": 1e-12, "head_lr": 1e-12}


def test_plateaus_cut_twice_and_the_third_stops(stuck):
    result = holdfast.fit(**stuck, momentum=0.0)
    rates = [float(row["lr"]) / 1e-12 for row in rows_of(result)]
    # epoch 1 is the best; plateaus are reached after epochs 3, 5 and 7
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert (result["epochs"], result["kept_epoch"]) == (7, 7)


@pytest.mark.parametrize("stop_after", [3, 4])
def test_a_resumed_run_cuts_where_the_uninterrupted_one_does(stuck, tmp_path, stop_after):
    whole = holdfast.fit(**stuck)

    class StopError(Exception):
        pass

    ended = History.on_train_batch_start

    def stop(self, trainer, pl_module, batch, batch_idx):
        if len(self.rows) == stop_after:
            raise StopError
        ended(self, trainer, pl_module, batch, batch_idx)

    other = {**stuck, "out": tmp_path / "other"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(History, "on_train_batch_start", stop)
        with pytest.raises(StopError):
            holdfast.fit(**other)
    again = holdfast.fit(**other)
    assert [row["lr"] for row in rows_of(again)] == [row["lr"] for row in rows_of(whole)]
    assert (again.folder / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()


def test_the_cut_acts_from_the_first_step_of_the_next_epoch(tmp_path):
    history = History(RunFolder(tmp_path), seed=0, patience=None, plateau=1, cuts=1)
    told = []
    module = SimpleNamespace(cut=told.append, cuts=None)
    history.rows = validated((1, 0.5), (1, 0.5))
    history.on_train_start(Trainer.__new__(Trainer), module)
    assert module.cuts == 1
    assert not history.stopped
    history.rows += validated((1, 0.5))
    history.on_train_start(Trainer.__new__(Trainer), module)
    assert module.cuts == 1
    assert history.stopped


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"schedule": "step"}, "'step' needs decay_at"),
        ({"decay_at": 3}, "other schedules take none"),
        ({"schedule": "plateau", "val_every": 0}, "plateau needs validation pictures"),
        ({"decay_at": "6,3"}, "rising order"),
        ({"decay_at": "soon"}, "decay_at: should be a valid integer"),
    ],
)
def test_schedules_that_cannot_be_are_refused(tiny, values, said):
    with pytest.raises(UsageError, match=said):
        make_plan(Settings.of(**tiny, **values))


def test_steps_are_read_from_text_and_written_back(tmp_path):
    settings = Settings.of(data="x", schedule="step", decay_at="6000,8000")
    assert settings.decay_at == (6000, 8000)
    assert Settings.of(data="x", decay_at=[6000]).decay_at == Settings.of(data="x", decay_at=6000).decay_at == (6000,)
    assert Settings.of(data="x", decay_at="none").decay_at is None
    file = tmp_path / "settings.yaml"
    file.write_text(settings.to_yaml({}))
    assert Settings.read(file) == settings
    assert in_words(settings) == "step: × 0.1 after 6000, 8000 steps"
    assert in_words(Settings.of(data="x", schedule="plateau")).startswith("plateau: × 0.1 after 5 validations")
    assert in_words(Settings.of(data="x")) == "cosine"
