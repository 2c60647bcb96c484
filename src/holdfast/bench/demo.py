"""The demo: methods compared on written digits, from a network that was pre-trained on printed letters.

Every run of one seed shares the training pictures and the new head's first values, so that methods can be compared in
pairs. Strengths and rates were chosen on the validation part by ``scripts/tune_demo.py``; the test part is read once
per run, after training.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from holdfast.bench.statistics import mean, paired_difference, sample_std
from holdfast.core.compose import Composition, compose
from holdfast.data.atomic import atomic_writer
from holdfast.data.digits import CLASSES, Part, digits, draw
from holdfast.models.batchnorm import freeze_batchnorm
from holdfast.models.embedded import EMBEDDED
from holdfast.models.glyphnet import GlyphNet
from holdfast.train.metrics import measures
from holdfast.train.versions import versions

SCRATCH = "scratch"
BASELINE = "plain"


@dataclass(frozen=True)
class Setting:
    """One way of training, complete but for the seed.

    Attributes:
        name: what tables call it.
        method: text form for ``holdfast.compose``; empty for none.
        lr: rate of the body.
        head_lr: rate of the head.
        pretrained: start from the shipped weights and keep their batch-norm statistics.
        steps: full-batch steps of SGD with momentum 0.9, the rate on a cosine.
        per_class: labels per class.
    """

    name: str
    method: str = ""
    lr: float = 0.01
    head_lr: float = 0.1
    pretrained: bool = True
    steps: int = 100
    per_class: int = 2


# Chosen on the validation part, seeds 100 to 109, by scripts/tune_demo.py; its figures are in results/demo.
SETTINGS = (
    Setting(SCRATCH, lr=0.02, head_lr=0.02, pretrained=False),
    Setting(BASELINE),
    Setting("l2_sp", "l2_sp(alpha=0.1, beta=0.01)"),
    Setting("ptr", "ptr(R=3, m=1, T=inf)"),
    Setting("rifle", "rifle(periods=2)"),
    Setting("dtnh", "dtnh(l2_sp(alpha=1.0, beta=0.01))"),
)
# With twenty labels nobody can tune a rate: the second comparison shows what a much too high one does.
BOLD = 10


@dataclass(frozen=True)
class Comparison:
    """Settings that are compared with one another.

    Attributes:
        name: stem of its files.
        title: heading of its table and page.
        settings: the compared ones; the baseline among them.
        notes: what a reader should know beside the figures.
    """

    name: str
    title: str
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]

    def run(self, seeds: range, done: Callable[[], None], workers: int | None = None) -> list[dict[str, Any]]:
        """Run every setting with every seed; one worker process per core, at most four."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return run_all(self.settings, seeds, workers or min(cores, 4), done)

    def write(self, results: list[dict[str, Any]], out: Path) -> None:
        """Write one JSON file per run into the comparison's folder, with the versions that made it."""
        made_with = versions()
        for result in results:
            with atomic_writer(out / self.name / f"{result['method']}-{result['seed']}.json") as file:
                file.write(json.dumps({**result, "versions": made_with}, indent=1).encode())


def comparisons() -> tuple[Comparison, Comparison]:
    """At the rate chosen on validation, and at ten times that body rate for what starts pre-trained."""
    bold = tuple(replace(setting, lr=BOLD * setting.lr) for setting in SETTINGS if setting.pretrained)
    shared = (
        "Written digits (scikit-learn), two labels per class; the network was pre-trained on printed letters and never "
        "saw a digit. Runs of one seed share the training pictures and the new head's first values.",
    )
    chosen = "Rates and strengths were chosen on the validation part; the test part is read once, after training."
    rated = f"The body's rate is {BOLD} times the chosen one, everything else as chosen: no setting was tuned for it."
    return (
        Comparison("chosen-rate", "Two labels per class, rate chosen on validation", SETTINGS, (*shared, chosen)),
        Comparison("bold-rate", f"The same with {BOLD} times the body's rate", bold, (*shared, rated)),
    )


def compare(results: Sequence[Mapping[str, Any]], metric: str = "test.accuracy") -> list[dict[str, Any]]:
    """Reduce runs to one row per method: mean, sample standard deviation, paired gain over plain, seconds.

    Args:
        results: from ``run_all``, at least two seeds of each method, the baseline's among them.
        metric: the compared figure.
    """
    by_method: dict[str, dict[int, Mapping[str, Any]]] = {}
    for result in results:
        by_method.setdefault(result["method"], {})[result["seed"]] = result
    control = by_method[BASELINE]
    rows = []
    for name, runs in by_method.items():
        values = [run[metric] for run in runs.values()]
        gain = None if name == BASELINE else paired_difference(values, [control[seed][metric] for seed in runs])
        seconds = mean([run["seconds"] for run in runs.values()])
        spread = {"mean": mean(values), "std": sample_std(values), "runs": len(values)}
        rows.append({"method": name, **spread, "gain": gain and asdict(gain), "seconds": seconds})
    return rows


def run(setting: Setting, seed: int, part: Part = "test") -> dict[str, Any]:
    """Train once and measure on a part.

    Args:
        setting: what to train.
        seed: draws the training pictures and the head's first values, for every setting alike.
        part: ``val`` to choose settings, ``test`` to show them.

    Returns:
        ``method``, ``seed``, ``<part>.accuracy`` and the other figures as fractions, ``seconds``, ``settings``.
    """
    started = time.perf_counter()
    model = _network(setting, seed)
    train = draw(setting.per_class, seed)
    methods = compose(setting.method)
    model = methods.prepare(model, head="fc", total_steps=setting.steps, steps_per_epoch=1, seed=seed)
    _train(model, methods, setting, train.images, train.labels)
    seconds = time.perf_counter() - started
    asked = digits(part)
    model.eval()
    with torch.no_grad():
        figures = measures(F.log_softmax(model(asked.images), dim=1), asked.labels)
    return {
        "method": setting.name,
        "seed": seed,
        **{f"{part}.{name}": value for name, value in figures.items()},
        "seconds": seconds,
        "settings": asdict(setting),
    }


def run_all(
    chosen: tuple[Setting, ...], seeds: range, workers: int, done: Callable[[], None], part: Part = "test"
) -> list[dict[str, Any]]:
    """Run every setting with every seed, one thread per worker process.

    Args:
        chosen: the settings.
        seeds: of the runs.
        workers: processes; 1 runs in this one.
        done: called after each run.
        part: what to measure on.

    Returns:
        the results, by setting in the order given and then by seed, however the runs came to an end.
    """
    jobs = [(setting, seed, part) for setting in chosen for seed in seeds]
    if workers == 1:
        return list(_one_by_one(jobs, done))
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(run, *job) for job in jobs]
        for future in as_completed(futures):
            future.result()  # an error ends the demo now, not after the last run
            done()
        return [future.result() for future in futures]


def _one_by_one(jobs: list[tuple[Setting, int, Part]], done: Callable[[], None]) -> Iterator[dict[str, Any]]:
    for job in jobs:
        yield run(*job)
        done()


def _network(setting: Setting, seed: int) -> nn.Module:
    """The network before training; the head's first values depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(GlyphNet().fc.in_features, CLASSES)
        model = GlyphNet()
    if setting.pretrained:
        model.load_state_dict(load_file(EMBEDDED["glyphnet"].weights))
        freeze_batchnorm(model)
    model.fc = head
    return model.train()


def _train(model: nn.Module, methods: Composition, setting: Setting, x: Tensor, y: Tensor) -> None:
    groups = methods.param_groups(model, lr=setting.lr, head_lr=setting.head_lr, weight_decay=0.0)
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, setting.steps)
    for _ in range(setting.steps):
        inputs, labels = methods.on_batch(x, y)
        loss = methods.loss(F.cross_entropy(model(inputs), labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        methods.step(optimizer)
        schedule.step()
