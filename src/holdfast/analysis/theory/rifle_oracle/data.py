"""What RIFLE's MLP experiment draws: oracles, samples, the student's fresh weights, the order of batches."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from holdfast.analysis.theory.rifle_oracle.readings import Reading
from holdfast.functional.noise import generator

TEST_SAMPLES = 10_000
"""Fresh samples that errors are measured on, their labels free of noise: ten times the training set, for precision."""


@dataclass(frozen=True)
class Samples:
    """Inputs (n, inputs) and labels (n,)."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Task:
    """Training samples with noisy labels, test samples with clean ones."""

    train: Samples
    test: Samples


def draws(seed: int, *what: object) -> torch.Generator:
    """The numbers of one thing that a seed draws, the same in every reading."""
    return generator("cpu", "rifle-oracle", seed, *what)


def weights(kind: str, fan_in: int, fan_out: int, gen: torch.Generator) -> Tensor:
    """A matrix (fan_out, fan_in) of ``layer``, ``scaled`` or ``unit`` weights, see ``Reading.weights``."""
    if kind == "layer":
        return (2 * torch.rand(fan_out, fan_in, generator=gen, dtype=torch.float64) - 1) / math.sqrt(fan_in)
    drawn = torch.randn(fan_out, fan_in, generator=gen, dtype=torch.float64)
    return drawn / math.sqrt(fan_in) if kind == "scaled" else drawn


def oracles(reading: Reading, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The shared first layer (hidden, inputs), and the second layers (1, hidden) of source and target."""
    first = weights(reading.weights, reading.inputs, reading.hidden, draws(seed, "W1"))
    source, target = (weights(reading.weights, reading.hidden, 1, draws(seed, name)) for name in ("W2", "W3"))
    return first, source, target


def draw_task(reading: Reading, seed: int, name: str, first: Tensor, second: Tensor) -> Task:
    """Samples from a standard normal distribution, labelled by the oracle of these two layers."""
    gen = draws(seed, "samples", name)

    def labelled(count: int, noise: float) -> Samples:
        x = torch.randn(count, reading.inputs, generator=gen, dtype=torch.float64)
        y = (F.relu(x @ first.T) @ second.T)[:, 0]
        return Samples(x, y + noise * torch.randn(count, generator=gen, dtype=torch.float64))

    return Task(labelled(reading.samples, reading.noise), labelled(TEST_SAMPLES, 0.0))


def student(reading: Reading, seed: int) -> nn.Sequential:
    """A fresh network of the oracles' shape, drawn as linear layers are, whatever the oracles' scale."""
    body, head = (
        skip_init(nn.Linear, *sizes, bias=False, dtype=torch.float64)
        for sizes in ((reading.inputs, reading.hidden), (reading.hidden, 1))
    )
    for layer, name in ((body, "first layer"), (head, "second layer")):
        draw_anew(layer, draws(seed, "student", name))
    return nn.Sequential(OrderedDict(body=body, relu=nn.ReLU(), head=head))


@torch.no_grad()
def draw_anew(layer: nn.Module, gen: torch.Generator) -> None:
    """Give a linear layer fresh weights."""
    assert isinstance(layer, nn.Linear)
    layer.weight.copy_(weights("layer", layer.in_features, layer.out_features, gen))


def batches(reading: Reading, seed: int, task: str, epochs: int) -> Iterator[Tensor]:
    """The rows of each step; every epoch is shuffled anew, and its last batch may be smaller."""
    for epoch in range(epochs):
        order = torch.randperm(reading.samples, generator=draws(seed, "order", task, epoch))
        yield from order.split(reading.batch)
