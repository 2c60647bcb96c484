"""One seed of one reading of RIFLE's MLP experiment: a source model, and two that are fine-tuned from it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.analysis.theory.rifle_oracle.data import (
    Samples,
    Task,
    batches,
    draw_anew,
    draw_task,
    draws,
    oracles,
    student,
)
from holdfast.analysis.theory.rifle_oracle.readings import Reading
from holdfast.analysis.theory.rifle_oracle.transport import transport
from holdfast.core.compose import Composition, compose
from holdfast.core.errors import UsageError


@dataclass(frozen=True)
class Arm:
    """What was measured of one network.

    Attributes:
        test: mean squared error on the target's clean labels.
        train: on the target's training samples.
        distance: of its first layer from the oracles', by ground cost.
    """

    test: float
    train: float
    distance: dict[str, float]


@dataclass(frozen=True)
class Run:
    """One seed of one reading.

    Attributes:
        seed: of everything that is drawn.
        arms: ``start``, the source model before fine-tuning, then ``l2`` and ``rifle``.
        source_error: mean squared error of the source model on its own task's clean labels.
        variance: of the target's clean labels.
        seconds: that it took.
    """

    seed: int
    arms: dict[str, Arm]
    source_error: float
    variance: float
    seconds: float

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @staticmethod
    def from_data(data: dict[str, Any]) -> Run:
        """Back from JSON."""
        return Run(**{**data, "arms": {name: Arm(**arm) for name, arm in data["arms"].items()}})


def run(reading: Reading, seed: int) -> Run:
    """Do the experiment once; what is compared shares all but the method.

    Raises:
        UsageError: a training diverged.
    """
    started = time.perf_counter()
    first, *seconds = oracles(reading, seed)
    source, target = (
        draw_task(reading, seed, name, first, second)
        for name, second in zip(("source", "target"), seconds, strict=True)
    )
    model = source_model(reading, seed, source.train)
    arms = {"start": _measure(model, target, first)}
    for name, method in reading.arms.items():
        arms[name] = _measure(finetuned(reading, seed, model, target.train, method), target, first)
    variance = float(target.test.y.var())
    return Run(seed, arms, _error(model, source.test), variance, time.perf_counter() - started)


def source_model(reading: Reading, seed: int, samples: Samples) -> nn.Module:
    """A network trained from scratch on the source task, by SGD alone."""
    model, methods = student(reading, seed), compose("")
    methods.prepare(model, head="head")
    optimizer = torch.optim.SGD(model.parameters(), lr=reading.source_lr)
    order = batches(reading, seed, "source", reading.source_epochs)
    _fit(model, samples, order, methods, optimizer, None)
    return _trained(model, methods, f"reading {reading.name!r}, seed {seed}, source model")


def finetuned(reading: Reading, seed: int, start: nn.Module, samples: Samples, method: str) -> nn.Module:
    """The source model fine-tuned with a method; the source model stays as it is."""
    model, methods = student(reading, seed), compose(method)
    model.load_state_dict(start.state_dict())
    if reading.fresh_head:
        draw_anew(model.get_submodule("head"), draws(seed, "fresh head"))
    steps = math.ceil(reading.samples / reading.batch)
    total = steps * reading.epochs
    methods.prepare(model, head="head", total_steps=total, steps_per_epoch=steps, seed=seed)
    optimizer = _optimizer(reading, methods.param_groups(model, lr=reading.lr))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total) if reading.cosine else None
    _fit(model, samples, batches(reading, seed, "target", reading.epochs), methods, optimizer, schedule)
    return _trained(model, methods, f"reading {reading.name!r}, seed {seed}, {method}")


def _optimizer(reading: Reading, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if reading.optimizer == "adam":
        return torch.optim.Adam(groups)
    return torch.optim.SGD(groups, momentum=reading.momentum)


def _fit(
    model: nn.Module,
    samples: Samples,
    order: Iterator[Tensor],
    methods: Composition,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler | None,
) -> None:
    for rows in order:
        loss = methods.loss(F.mse_loss(model(samples.x[rows])[:, 0], samples.y[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        methods.step(optimizer)
        if schedule is not None:
            schedule.step()


def _trained(model: nn.Module, methods: Composition, what: str) -> nn.Module:
    methods.remove()
    if not all(bool(param.isfinite().all()) for param in model.parameters()):
        raise UsageError(f"{what}: the training diverged; expected finite weights, so take smaller rates")
    return model


@torch.no_grad()
def _error(model: nn.Module, samples: Samples) -> float:
    return float(F.mse_loss(model(samples.x)[:, 0], samples.y))


def _measure(model: nn.Module, task: Task, first: Tensor) -> Arm:
    distance = transport(model.get_parameter("body.weight"), first)
    return Arm(_error(model, task.test), _error(model, task.train), distance)
