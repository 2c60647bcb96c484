"""Five ways to fine-tune on real photographs, many seeds, and the table that comes out.

Three stages, each resumable: `defaults` compares rates and batch-norm modes of plain fine-tuning, and `tune` every
method's strengths, both on validation and with seeds of their own; `run` trains with ten other seeds, the same
subsets for every method, and uses each test part once per run. One JSON per run is kept; the tables are made of
these alone.

    python benchmarks/real_images.py tune run table --data ../shared/data --weights ../shared/weights
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGETS = {"flowers17": 5, "clothing": 10}
GRID = {
    "plain": ["plain"],
    "l2_sp": [f"l2_sp(alpha={a})" for a in (0.01, 0.1, 1)],
    "ptr": [f"ptr(R={r})" for r in (1, 3, 10)],
    "rifle": [f"rifle(periods={p})" for p in (2, 3, 4)],
    "dtnh(l2_sp)": [f"dtnh(l2_sp(alpha={a}))" for a in (0.01, 0.1, 1)],
}
RATES = [  # body rate, head rate, batch-norm mode
    (1e-4, 1e-2, "frozen"),
    (3e-4, 1e-2, "frozen"),
    (1e-3, 1e-2, "frozen"),
    (3e-4, 3e-2, "frozen"),
    (1e-3, 1e-2, "train"),
    (1e-2, 1e-2, "train"),
]
SEEDS = {"defaults": range(100, 103), "tune": range(100, 101), "run": range(10)}
SETTINGS = {
    "model": "torchvision:mobilenet_v2",
    "image_size": 96,
    "precision": "32",
    "threads": 1,
    "keep": "last",
    "val_every": 0,
    "checkpoint_every": 0,
    "tensorboard": False,
    "progress": "off",
}
KEPT = ("test.accuracy", "test.mean_class_accuracy", "test.nll", "test.ece", "val.accuracy", "val.nll", "seconds")


@dataclass(frozen=True)
class Job:
    """One run: a stage's method on a target's subset, with settings of its own where the stage compares them."""

    stage: str
    target: str
    method: str
    seed: int
    rates: tuple[float, float, str] | None = None

    def file(self, results: Path) -> Path:
        """Where the run's figures are kept."""
        rates = "" if self.rates is None else "-lr{:g}-head{:g}-{}".format(*self.rates)
        return results / self.stage / self.target / f"{self.method}{rates}-s{self.seed}.json"

    def settings(self) -> dict[str, Any]:
        """What the run is asked to do beside its data, method and seed."""
        return SETTINGS | ({} if self.rates is None else dict(zip(("lr", "head_lr", "bn"), self.rates, strict=True)))


def jobs(stage: str, results: Path) -> Iterator[Job]:
    """The runs of a stage, seed after seed; those of `run` once the strengths are chosen."""
    for seed in SEEDS[stage]:
        for target in TARGETS:
            if stage == "defaults":
                yield from (Job(stage, target, "plain", seed, rates) for rates in RATES)
            for name, texts in GRID.items() if stage != "defaults" else ():
                if stage == "run":
                    yield Job(stage, target, chosen(results, target, name), seed)
                elif len(texts) > 1:
                    yield from (Job(stage, target, text, seed) for text in texts)


def chosen(results: Path, target: str, name: str) -> str:
    """The strength with the best mean validation accuracy, ties by negative log-likelihood."""
    texts = GRID[name]
    if len(texts) == 1:
        return texts[0]

    def score(text: str) -> tuple[float, float]:
        rows = [json.loads(Job("tune", target, text, s).file(results).read_text()) for s in SEEDS["tune"]]
        return sum(r["val.accuracy"] for r in rows), -sum(r["val.nll"] for r in rows)

    return max(texts, key=score)


def do(job: Job, args: argparse.Namespace) -> None:
    """One run, unless its figures are there or another worker is at it."""
    file = job.file(args.results)
    claim = file.with_suffix(".claim")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    try:
        if not file.exists():
            figures = train(args, job)
            file.write_text(json.dumps(figures, indent=1) + "\n")
            print(f"{file.relative_to(args.results)}: val {figures['val.accuracy']:.3f}", flush=True)
    finally:
        claim.unlink()


def train(args: argparse.Namespace, job: Job) -> dict[str, Any]:
    """Figures of one run through the library's own entry; those of the test part in the last stage only."""
    import holdfast

    weights = args.weights / "mobilenet_v2-imagenet1k.safetensors"
    settings = job.settings() | {"samples_per_class": TARGETS[job.target]}
    folder = Path(tempfile.mkdtemp(prefix="holdfast-"))
    try:
        result = holdfast.fit(
            args.data / job.target, weights=weights, method=job.method, seed=job.seed, out=folder / "run", **settings
        )
    finally:
        shutil.rmtree(folder)
    kept = {k: v for k, v in result.figures.items() if k in KEPT and (job.stage == "run" or not k.startswith("test."))}
    versions = {k: v for k, v in result.figures.items() if k.startswith("versions.")}
    return {"target": job.target, "method": job.method, "seed": job.seed, **kept, "settings": settings, **versions}


def work(share: int, args: argparse.Namespace) -> None:
    """One worker's turn through all jobs, beginning at its own place; the process lives over many runs."""
    os.environ["OMP_NUM_THREADS"] = "1"
    todo = list(jobs(args.stage, args.results))
    for job in todo[share :: args.workers] + todo:
        do(job, args)


def defaults_table(results: Path) -> str:
    """Mean validation accuracy of plain fine-tuning by rates and batch-norm mode, as Markdown."""
    lines = [
        "| body rate | head rate | batch norm | " + " | ".join(TARGETS) + " |",
        "|---|---|---|" + "---|" * len(TARGETS),
    ]
    for rates in RATES:
        cells = ["{:g} | {:g} | {}".format(*rates)]
        for target in TARGETS:
            files = [Job("defaults", target, "plain", s, rates).file(results) for s in SEEDS["defaults"]]
            found = [json.loads(f.read_text())["val.accuracy"] * 100 for f in files if f.exists()]
            cells.append(f"{sum(found) / len(found):.1f}" if found else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table(results: Path) -> str:
    """Mean ± standard deviation and the paired gain over plain with its 95 % interval, as Markdown."""
    from holdfast.bench.statistics import mean, paired_difference, sample_std

    lines = ["| target | method | seeds | accuracy, % | gain over plain | 95 % interval | NLL | ECE | seconds |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for target, per_class in TARGETS.items():
        plain = {r["seed"]: r["test.accuracy"] * 100 for r in read(results, target, "plain")}
        for name in GRID:
            found = {r["seed"]: r for r in read(results, target, name)}
            accuracy = {seed: r["test.accuracy"] * 100 for seed, r in found.items()}
            pairs = sorted(accuracy.keys() & plain.keys())
            if len(pairs) < 2:
                continue
            values = list(accuracy.values())
            seeds = f"{len(values)} of {len(SEEDS['run'])}" if len(values) < len(SEEDS["run"]) else f"{len(values)}"
            cells = [f"{target}, {per_class} per class", f"`{chosen(results, target, name)}`", seeds]
            cells.append(f"{mean(values):.1f} ± {sample_std(values):.1f}")
            gain = paired_difference([accuracy[s] for s in pairs], [plain[s] for s in pairs])
            cells += ["", ""] if name == "plain" else [f"{gain.mean:+.1f}", f"{gain.low:+.1f} to {gain.high:+.1f}"]
            for key, digits in (("test.nll", 2), ("test.ece", 3), ("seconds", 0)):
                cells.append(f"{mean([r[key] for r in found.values()]):.{digits}f}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read(results: Path, target: str, name: str) -> list[dict[str, Any]]:
    """The finished runs of a method, by seed; none before its strength is chosen."""
    if len(GRID[name]) > 1 and not all(
        Job("tune", target, text, s).file(results).exists() for text in GRID[name] for s in SEEDS["tune"]
    ):
        return []
    files = [Job("run", target, chosen(results, target, name), s).file(results) for s in SEEDS["run"]]
    return [json.loads(f.read_text()) for f in files if f.exists()]


def main() -> None:
    """Do the stages asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=["defaults", "tune", "run", "table"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--results", type=Path, default=Path("results/real-images"))
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    args = parser.parse_args()
    for stage in ("defaults", "tune", "run"):
        if stage in args.stages:
            one = argparse.Namespace(**vars(args), stage=stage)
            workers = [multiprocessing.Process(target=work, args=(i, one)) for i in range(args.workers)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            if any(worker.exitcode for worker in workers):
                raise SystemExit(f"{stage}: a worker failed; the same command goes on where it stopped")
    if "table" in args.stages:
        print(defaults_table(args.results), table(args.results), sep="\n\n")


if __name__ == "__main__":
    main()
