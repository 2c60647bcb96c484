"""Step time and memory of each method relative to plain fine-tuning, on the same network and batch.

All variants live in one process and take turns: in every round each makes one step, in an order drawn anew, so drift
of the machine, and what the step before left in the caches, fall on all alike. A second plain run (`null`) shows what
the measurement itself can tell apart.

    python benchmarks/overhead.py --group basic --out results/overhead-cpu-basic.json
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision

import holdfast
from holdfast.core.layers import STAGES, compared
from holdfast.core.locate import locate
from holdfast.core.tensorfile import write_tensors

GROUPS: dict[str, dict[str, str]] = {
    "basic": {
        "l2": "l2",
        "l2_sp": "l2_sp",
        "ptr": "ptr(T=inf)",
        "rifle": "rifle(periods=4)",
        "dtnh(l2_sp)": "dtnh(l2_sp)",
    },
    "parameters": {
        "l1_sp": "l1_sp",
        "l1_sp, proximal": "l1_sp(form='proximal')",
        "gl_sp": "gl_sp",
        "gl_sp, proximal": "gl_sp(form='proximal')",
        "l2_sp_fisher": "l2_sp_fisher",
        "gl_sp_fisher": "gl_sp_fisher",
        "bss": "bss",
    },
    "proximal": {
        "gl_sp_fisher, proximal": "gl_sp_fisher(form='proximal')",
    },
    "teacher": {
        "know_dist": "know_dist",
        "know_dist, teacher in bf16": "know_dist",
        "delta": "delta(attention='{attention}')",
        "attention_transfer": "attention_transfer",
        "fsp": "fsp",
        "lwf": "lwf(warmup=0)",
        "dtnh(know_dist)": "dtnh(know_dist)",
    },
    "others": {
        "fnp": "fnp",
        "pairwise_confusion": "pairwise_confusion",
        "co_tuning": "co_tuning",
        "bi_tuning": "bi_tuning",
        "dropout": "dropout",
        "drop_connect": "drop_connect",
        "conv_dropout": "conv_dropout",
        "stochastic_depth": "stochastic_depth",
        "stoch_norm": "stoch_norm",
        "mixout": "mixout",
        "lp_ft, first phase": "lp_ft(probe=1)",
    },
}
COMPARED_WITH = {"plain": "plain", "null": "plain"}
METHODS = COMPARED_WITH | {name: text for group in GROUPS.values() for name, text in group.items()}
PREPARED_WITH: dict[str, dict[str, Any]] = {"know_dist, teacher in bf16": {"teacher_dtype": torch.bfloat16}}
WEIGHT_DECAY = 1e-4
CLASSES = 20


def attention_file(model: torch.nn.Module) -> Path:
    """Loss rises for DELTA, drawn at random: measuring them takes hours here, and no step's time depends on them."""
    layers = compared(model, locate(model), STAGES, "delta", inside=True)
    file = Path(tempfile.mkdtemp()) / "attention.safetensors"
    widths = {layer.path: len(model.get_parameter(f"{layer.path}.weight")) for layer in layers}
    write_tensors(file, {path: torch.randn(width) for path, width in widths.items()}, {})
    return file


def variant(name: str, args: argparse.Namespace, batch: tuple[torch.Tensor, torch.Tensor]) -> Callable[[], None]:
    """A closure that makes one training step with these methods."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(args.model, num_classes=CLASSES).to(args.device).train()
    if args.channels_last:
        model = model.to(memory_format=torch.channels_last)
    text, steps = METHODS[name], args.rounds + args.warmup
    methods = holdfast.compose(text.format(attention=attention_file(model)) if "{attention}" in text else text)
    options = {"source_head": torch.nn.Linear(locate(model).in_features, 1000)} | PREPARED_WITH.get(name, {})
    methods.prepare(model, total_steps=steps, steps_per_epoch=steps, **options)
    # fixed small rates keep every variant at about the same weights; decay as plain fine-tuning has it
    groups = methods.param_groups(model, lr=1e-5, head_lr=1e-5, weight_decay=WEIGHT_DECAY)
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    # What is measured before training costs no step anything; it asks for an image of each class.
    methods.calibrate([(batch[0], torch.arange(len(batch[0])) % CLASSES)])
    cast = torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")

    def step() -> None:
        x, y = methods.on_batch(*batch)
        with cast:
            task_loss = F.cross_entropy(model(x), y)
        loss = methods.loss(task_loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        methods.step(optimizer)

    return step


def timed(step: Callable[[], None], device: str) -> float:
    """Seconds of one step."""
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def interval(ratios: list[float], level: float = 0.95, draws: int = 4000) -> tuple[float, float]:
    """Bootstrap interval of the median."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(draws))
    return medians[int((1 - level) / 2 * draws)], medians[int((1 + level) / 2 * draws) - 1]


def peak_memory(name: str, args: argparse.Namespace) -> float:
    """Peak memory in MiB of a fresh process (or of the GPU) that makes three steps with one method."""
    command = [
        sys.executable,
        __file__,
        "--memory-of",
        name,
        "--model",
        args.model,
        "--image-size",
        str(args.image_size),
    ]
    command += ["--batch-size", str(args.batch_size), "--device", args.device, "--precision", args.precision]
    command += ["--threads", str(args.threads)] + (["--channels-last"] if args.channels_last else [])
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(args: argparse.Namespace) -> None:
    """Print the peak of this process after three steps."""
    step = variant(args.memory_of, args, make_batch(args))
    for _ in range(3):
        step()
    if args.device == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def make_batch(args: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images and labels, the same for every variant."""
    gen = torch.Generator().manual_seed(1)
    x = torch.randn(args.batch_size, 3, args.image_size, args.image_size, generator=gen).to(args.device)
    if args.channels_last:
        x = x.to(memory_format=torch.channels_last)
    return x, torch.randint(0, 20, (args.batch_size,), generator=gen).to(args.device)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Times of all variants, round by round."""
    batch = make_batch(args)
    steps = {name: variant(name, args, batch) for name in (*COMPARED_WITH, *GROUPS[args.group])}
    for _ in range(args.warmup):
        for step in steps.values():
            step()
    gc.disable()
    names, seconds = list(steps), {name: [] for name in steps}
    order = random.Random(1)
    for _ in range(args.rounds):
        for name in order.sample(names, len(names)):
            seconds[name].append(timed(steps[name], args.device))
    rows = {}
    for name in names:
        ratios = [a / b for a, b in zip(seconds[name], seconds["plain"], strict=True)]
        low, high = interval(ratios)
        rows[name] = {
            "ratio": statistics.median(ratios),
            "low": low,
            "high": high,
            "seconds": statistics.median(seconds[name]),
            "method": METHODS[name],
        }
    return rows


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", default="basic", choices=list(GROUPS), help="which methods")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=42, help="pairs per method, at least 30")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="32", choices=["32", "bf16"])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--memory-of", choices=list(METHODS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        measure_memory(args)
        return
    memory = {name: peak_memory(name, args) for name in (*COMPARED_WITH, *GROUPS[args.group])}
    rows = measure(args)
    for name, row in rows.items():
        row["peak_memory_mib"] = memory[name]
        row["extra_memory_mib"] = memory[name] - memory["plain"]
    print(f"{'method':26} {'× plain':>8} {'95 % interval':>18} {'s/step':>8} {'MiB':>7} {'+MiB':>6}")
    for name, r in rows.items():
        print(
            f"{name:26} {r['ratio']:8.3f}   [{r['low']:.3f}, {r['high']:.3f}] {r['seconds']:8.3f} "
            f"{r['peak_memory_mib']:7.0f} {r['extra_memory_mib']:6.0f}"
        )
    if args.out:
        settings = {k: v for k, v in vars(args).items() if k not in ("out", "memory_of")}
        machine = {"torch": torch.__version__, "python": platform.python_version(), "processor": processor(args.device)}
        content = {"settings": settings, "machine": machine, "weight_decay_of_plain": WEIGHT_DECAY, "methods": rows}
        args.out.write_text(json.dumps(content, indent=1) + "\n")


def processor(device: str) -> str:
    """Name of what was measured."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
