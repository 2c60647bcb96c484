r"""How sharply penalties that are least at the starting point bend there, and the largest strength that a rate bears.

Heavy-ball SGD is stable on a quadratic where :math:`\eta\lambda_{max} < 2(1+\mu)`; beyond it the penalty drives the
network away from the very point where it is least. :math:`\lambda_{max}` of a penalty's Hessian over the body's
parameters is found by power iteration at w⁰, on one batch of real pictures, with batch-norm statistics frozen; Hv by
central differences of the gradient, in float64.

    python benchmarks/curvature.py --root ../shared
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

import holdfast
from holdfast.data.augment import normalise
from holdfast.models.batchnorm import freeze_batchnorm
from holdfast.train.datamodule import loaders_of
from holdfast.train.plan import Plan, make_plan
from holdfast.train.settings import Settings

UNITS = (  # each at strength 1; l2_sp, whose Hessian is the identity, checks the measurement
    "l2_sp(alpha=1)",
    "l2_sp_fisher(alpha=1)",
    "lwf(lam=1, warmup=0)",
    "delta(alpha=1, batches=1)",
    "know_dist(lam=1)",
)
MOMENTUM = 0.9
RATES = (1e-4, 3e-4, 1e-3)
STEP = 1e-5
CLOSE = 1e-3


def planned(root: Path, seed: int) -> Plan:
    """The study's network and pictures: flowers17, five of each class, MobileNetV2 from ImageNet at 96 px."""
    return make_plan(
        Settings.of(
            data=root / "data" / "flowers17",
            samples_per_class=5,
            seed=seed,
            image_size=96,
            model="torchvision:mobilenet_v2",
            weights=root / "weights" / "mobilenet_v2-imagenet1k.safetensors",
            augment=False,
            drop_rate=0.0,
            out=Path("unused"),
        )
    )


class Sharpness:
    """A penalty's gradient at points around the starting point.

    Args:
        text: of the method.
        root: with data and weights.
        seed: of the subset, the head and the batch.
    """

    def __init__(self, text: str, root: Path, seed: int) -> None:
        plan = planned(root, seed)
        with tempfile.TemporaryDirectory() as cache:
            train = loaders_of(plan, Path(cache))["train"]
            p = plan.built.preprocessing
            batches = [(normalise(x, p.mean, p.std).double(), y, index) for x, y, index in train]
        self._model = plan.built.model.double()
        freeze_batchnorm(self._model)
        self._methods = holdfast.compose(text)
        source = None if plan.built.source_head is None else plan.built.source_head.double()
        self._methods.prepare(self._model, total_steps=100, steps_per_epoch=5, seed=seed, source_head=source)
        self._methods.calibrate(batches)
        self._model.train()
        self._x, self._y, self._index = batches[0]
        groups = self._methods.param_groups(self._model, lr=1.0)
        self._body = [p for group in groups if group["name"].startswith("body") for p in group["params"]]
        self._start = [p.detach().clone() for p in self._body]

    def along(self, v: list[Tensor]) -> list[Tensor]:
        """Hv."""
        ahead, behind = self._gradient(v, STEP), self._gradient(v, -STEP)
        return [(a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]

    def random(self, seed: int) -> list[Tensor]:
        """A direction to begin with."""
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in self._body]

    def _gradient(self, v: list[Tensor], step: float) -> list[Tensor]:
        with torch.no_grad():
            for p, start, direction in zip(self._body, self._start, v, strict=True):
                p.copy_(start + step * direction)
                p.grad = None
        x, _ = self._methods.on_batch(self._x, self._y, self._index)
        self._methods.loss(0 * self._model(x).sum()).backward()  # a task without a gradient leaves the penalty's
        return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self._body]


def largest(along: Callable[[list[Tensor]], list[Tensor]], v: list[Tensor], most: int) -> Iterator[float]:
    """Estimates of the largest eigenvalue by power iteration, until one is close to the last."""
    before = math.inf
    for _ in range(most):
        length = math.sqrt(sum(float(each.square().sum()) for each in v))
        v = [each / length for each in v]
        Hv = along(v)
        now = sum(float((a * b).sum()) for a, b in zip(v, Hv, strict=True))
        yield now
        if abs(now - before) <= CLOSE * abs(now):
            return
        before, v = now, Hv


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("../shared"), help="folder with data/ and weights/")
    parser.add_argument("--seed", type=int, default=1000, help="of the subset; the study's trials have 1000")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("results/curvature.json"))
    args = parser.parse_args()
    found = {}
    for text in UNITS:
        sharpness = Sharpness(text, args.root, args.seed)
        *_, top = largest(sharpness.along, sharpness.random(args.seed), args.iterations)
        bears = {f"{rate:g}": 2 * (1 + MOMENTUM) / (rate * top) for rate in RATES}
        found[text] = {"largest_eigenvalue": top, "largest_strength_at_rate": bears}
        print(text, f"{top:.4g}", {rate: f"{strength:.2g}" for rate, strength in bears.items()}, flush=True)
    settings = {"seed": args.seed, "momentum": MOMENTUM, "model": "torchvision:mobilenet_v2", "image_size": 96}
    args.out.write_text(json.dumps({"settings": settings, "penalties": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
