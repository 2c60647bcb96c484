"""What lets an oracle and a method run side by side: the same draws, and a comparison of whole trajectories."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.functional.dropping import kept
from holdfast.functional.noise import generator, pseudo_targets
from methods.loop import HEAD_LR, LR, Loop, assert_close, image_batches
from reference.networks import HEAD
from reference.training import Trajectory, train

SEED = 0
OPTIONS: dict[str, Any] = {"lr": LR, "head_lr": HEAD_LR, "momentum": 0.9}


def batches():
    """The loop's batches."""
    return image_batches(3, 8)


def ptr_targets(m: float, kind: str = "element", key: str = "ptr") -> Callable[[int, Tensor], Tensor]:
    """The targets that PtR draws in each step of a run without accumulation."""

    def at(step: int, rep: Tensor) -> Tensor:
        return pseudo_targets(rep.detach(), m, kind, generator("cpu", SEED, step, 0, key))

    return at


def rifle_draw(
    total: int, periods: int, std: float | None = None, key: str = "rifle"
) -> Callable[[int, Tensor], Tensor]:
    """The weights that RIFLE draws at its k-th re-initialisation."""

    def at(k: int, weight: Tensor) -> Tensor:
        step = k * (total // periods)
        drawn = torch.randn(weight.shape, generator=generator("cpu", SEED, step, key), dtype=weight.dtype)
        return drawn * ((3 * weight.shape[1]) ** -0.5 if std is None else std)

    return at


def coins(shape: Sequence[int], q: float, method: str, path: str, step: int, *name: str, before: int = 0) -> Tensor:
    """What a method inside the network draws for its module's pass in a step without accumulation, in float64."""
    return kept(shape, q, generator("cpu", SEED, step, 0, method, path, before, *name)).double()


def follow(
    text: str, make: Callable[[], nn.Module], oracle: Trajectory | dict[str, Any], steps: int = 8, **options
) -> Loop:
    """Run both and compare every parameter, those of modules that a method adds too, and every buffer after every step.

    Args:
        text: the methods.
        make: gives the network.
        oracle: its trajectory, or what ``reference.training.train`` needs to make it.
        steps: their number.
        options: of the loop.
    """
    if isinstance(oracle, dict):
        oracle = train(make(), HEAD, batches(), steps=steps, **OPTIONS, **oracle)
    loop = Loop(text, make, seed=SEED, **options)
    for t in range(steps):
        loop.train(1)
        assert_close(loop.weights() | loop.added(), oracle.weights[t + 1] | oracle.buffers[t + 1], rtol=1e-9)
    return loop
