"""Step time of DTNH against TorchJD's nearest aggregator, on the same two losses, network and batch.

The nearest is PCGrad: of two losses it projects each gradient off the other where they conflict, while DTNH projects
the penalty's alone; without a conflict both give the sum. It needs no quadratic program, so it is TorchJD's cheapest
surgery too. TorchJD runs as its documentation shows (`default`), and with what makes it fastest here (`tuned`: rows of
the Jacobian one after the other in place of vmap, and its optimised Gramian). The penalties are those of know_dist,
with our teacher, and of l2_sp, written as a sum over tensors as one would. Rounds are interleaved as in overhead.py.

    pip install torchjd
    python benchmarks/against_torchjd.py --out results/torchjd-cpu.json
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import platform
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from overhead import interval, make_batch, processor, timed
from torch import Tensor, nn

import holdfast
from holdfast.core import hooks

try:
    from torchjd.aggregation import PCGrad
    from torchjd.autojac import backward, jac_to_grad
except ImportError as error:
    raise SystemExit("this comparison needs TorchJD, which holdfast itself does not: pip install torchjd") from error

WANTED = {"know_dist": 1.2, "l2_sp": 2.0}
"""How many times faster DTNH should be."""
ALPHA, BETA, RATE = 0.1, 0.01, 1e-5
TEXTS = {"know_dist": "know_dist(lam=0.01)", "l2_sp": f"l2_sp(alpha={ALPHA}, beta={BETA})"}
RUNS = ("dtnh", "torchjd default", "torchjd tuned")
Step = Callable[[], None]


def network(args: argparse.Namespace) -> nn.Module:
    """The same network for every variant."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(args.model, num_classes=20).to(args.device).train()
    return model.to(memory_format=torch.channels_last) if args.channels_last else model


def prepared(text: str, args: argparse.Namespace) -> tuple[nn.Module, holdfast.Composition, torch.optim.Optimizer]:
    """A network with methods bound to it and SGD at a rate that keeps every variant at about the same weights."""
    model, methods = network(args), holdfast.compose(text)
    methods.prepare(model)
    return model, methods, torch.optim.SGD(methods.param_groups(model, lr=RATE), momentum=0.9)


def dtnh(penalty: str, args: argparse.Namespace, batch: tuple[Tensor, Tensor]) -> Step:
    """A closure that makes one step of ours."""
    model, methods, optimizer = prepared(f"dtnh({TEXTS[penalty]})", args)
    x, y = batch

    def step() -> None:
        optimizer.zero_grad()
        methods.loss(F.cross_entropy(model(x), y)).backward()
        optimizer.step()
        methods.step(optimizer)

    return step


def losses(
    penalty: str, args: argparse.Namespace
) -> tuple[nn.Module, torch.optim.Optimizer, Callable[..., list[Tensor]]]:
    """The network, its optimiser, and a function that gives J and Ω with their graphs."""
    if penalty == "know_dist":
        model, methods, optimizer = prepared(TEXTS[penalty], args)

        def both(x: Tensor, y: Tensor) -> list[Tensor]:
            J = F.cross_entropy(model(x), y)
            (omega,) = hooks.penalties(methods._members, methods._open_step(J))[1]
            assert isinstance(omega, Tensor)
            return [J, omega]
    else:
        model = network(args)
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
        head = {id(p) for p in model.get_submodule("fc").parameters()}
        start = [(p, p.detach().clone()) for p in model.parameters() if id(p) not in head]

        def both(x: Tensor, y: Tensor) -> list[Tensor]:
            body = torch.stack([(p - p0).square().sum() for p, p0 in start]).sum()
            fresh = torch.stack([p.square().sum() for p in model.parameters() if id(p) in head]).sum()
            return [F.cross_entropy(model(x), y), 0.5 * ALPHA * body + 0.5 * BETA * fresh]

    return model, optimizer, both


def torchjd(penalty: str, args: argparse.Namespace, batch: tuple[Tensor, Tensor], *, tuned: bool) -> Step:
    """A closure that makes one step of TorchJD's."""
    model, optimizer, both = losses(penalty, args)
    rule = PCGrad()

    def step() -> None:
        optimizer.zero_grad()
        backward(both(*batch), parallel_chunk_size=1 if tuned else None)
        jac_to_grad(model.parameters(), rule, optimize_gramian_computation=tuned)
        optimizer.step()

    return step


def variants(args: argparse.Namespace, batch: tuple[Tensor, Tensor]) -> dict[str, Step]:
    """Every run of every penalty, and plain fine-tuning."""
    model = network(args)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)

    def plain() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    found: dict[str, Step] = {"plain": plain}
    for penalty in TEXTS:
        found[f"{penalty}: dtnh"] = dtnh(penalty, args, batch)
        for tuned in (False, True):
            found[f"{penalty}: torchjd {'tuned' if tuned else 'default'}"] = torchjd(penalty, args, batch, tuned=tuned)
    return found


def check(args: argparse.Namespace, batch: tuple[Tensor, Tensor]) -> None:
    """Both sides see the same two losses: their sum is the value of ours, J + Ω."""
    for penalty in TEXTS:
        model, methods, _ = prepared(f"dtnh({TEXTS[penalty]})", args)
        ours = methods.loss(F.cross_entropy(model(batch[0]), batch[1])).item()
        theirs = sum(value.item() for value in losses(penalty, args)[2](*batch))
        if abs(ours - theirs) > 1e-3 * abs(ours):
            raise SystemExit(
                f"{penalty}: our loss is {ours}, theirs {theirs}: the two sides differ, nothing was measured"
            )


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds of every variant, round by round, relative to plain and to DTNH around the same penalty."""
    batch = make_batch(args)
    check(args, batch)
    steps = variants(args, batch)
    for _ in range(args.warmup):
        for step in steps.values():
            step()
    gc.disable()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order = random.Random(1)
    for _ in range(args.rounds):
        for name in order.sample(list(steps), len(steps)):
            seconds[name].append(timed(steps[name], args.device))
    rows = {}
    for name, mine in seconds.items():
        ours = seconds.get(f"{name.partition(':')[0]}: dtnh", mine)
        times = [a / b for a, b in zip(mine, ours, strict=True)]
        plain = [a / b for a, b in zip(mine, seconds["plain"], strict=True)]
        low, high = interval(times)
        rows[name] = {
            "times_dtnh": statistics.median(times),
            "low": low,
            "high": high,
            "ratio": statistics.median(plain),
            "seconds": statistics.median(mine),
        }
    return rows


def verdicts(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, Any]]:
    """For each penalty the faster of TorchJD's two runs against what is wanted."""
    found = {}
    for penalty, wanted in WANTED.items():
        run = min(RUNS[1:], key=lambda name: rows[f"{penalty}: {name}"]["seconds"])
        times = rows[f"{penalty}: {run}"]["times_dtnh"]
        found[penalty] = {"torchjd": run, "times_dtnh": times, "wanted": wanted, "reached": times >= wanted}
    return found


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50", help="of torchvision, with its head at fc")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=42, help="at least 30")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = measure(args)
    print(f"{'variant':28} {'× dtnh':>8} {'95 % interval':>18} {'× plain':>8} {'s/step':>8}")
    for name, r in rows.items():
        interval_ = f"[{r['low']:.3f}, {r['high']:.3f}]"
        print(f"{name:28} {r['times_dtnh']:8.3f} {interval_:>18} {r['ratio']:8.3f} {r['seconds']:8.3f}")
    found = verdicts(rows)
    for penalty, v in found.items():
        print(f"{penalty}: {v['torchjd']} takes {v['times_dtnh']:.2f} times as long as dtnh, {v['wanted']} wanted")
    if args.out:
        machine = {"torch": torch.__version__, "python": platform.python_version(), "processor": processor(args.device)}
        machine["torchjd"] = importlib.metadata.version("torchjd")
        settings = {k: v for k, v in vars(args).items() if k != "out"}
        content = {"settings": settings, "machine": machine, "methods": rows, "verdicts": found}
        args.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
