"""A real training that dies after its first checkpoint is taken up by another runner where it was."""

import json
import os

import pytest
import yaml

from cli.conftest import paint
from holdfast.bench.claims import Claims
from holdfast.bench.grid import Scope
from holdfast.bench.plan import make_plan
from holdfast.bench.recipe import Recipe
from holdfast.bench.work import Worker
from holdfast.train.checkpoint import Keeper

RECIPE = """
title: One way
data: {photos: {data: photos}}
models: {tiny: {model: "timm:test_resnet"}}
methods: {plain: {method: "l2_sp(alpha=0.1)"}}
seeds: 1
settings: {pretrained: false, image_size: 32, epochs: 3, batch_size: 6, checkpoint_every: 1}
"""


class PowerCutError(BaseException):
    """Leaves no time to tidy up."""


def test_a_run_goes_on_from_its_checkpoint_under_another_owner(tmp_path, monkeypatch):
    paint(tmp_path / "photos")
    recipe, ends = Recipe.model_validate(yaml.safe_load(RECIPE)), []
    ended = Keeper.on_train_epoch_end

    def counted(self, *args):
        ended(self, *args)
        ends.append(len(self._history.rows))
        if len(ends) == 2:
            raise PowerCutError

    monkeypatch.setattr(Keeper, "on_train_epoch_end", counted)

    def work(out):
        plan = make_plan(recipe, Scope(tmp_path), tmp_path / out, writes=True)
        with Claims(plan.store.claims) as claims:
            Worker(plan, claims).work()
        (job,) = plan.final()
        return plan, job

    with pytest.raises(PowerCutError):
        work("cut")
    plan = make_plan(recipe, Scope(tmp_path), tmp_path / "cut", writes=True)
    (job,) = plan.final()
    dead = plan.store.claims / f"{job.name}.0"  # the claim that a killed owner on another machine leaves
    dead.write_text(json.dumps({"machine": "far", "pid": 1, "locked": True}))
    os.utime(dead, (0, 0))
    work("cut")
    assert ends == [1, 2, 3]  # no epoch twice
    whole, _ = work("whole")
    assert ends[3:] == [1, 2, 3]
    first, second = (p.result(job)["figures"] for p in (plan, whole))
    for name in ("val.nll", "test.nll", "test.accuracy"):
        assert first[name] == second[name]
    assert list(plan.store.work.iterdir()) == []
