"""Five ways to fine-tune on real photographs, many seeds, and the table that comes out.

Two stages, each resumable: `tune` chooses every method's strength on validation, with seeds of its own; `run` trains
with ten other seeds, the same subsets for every method, and uses each test part once per run. One JSON per run is
kept; the table is made of these alone.

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
TUNE_SEEDS, RUN_SEEDS = range(100, 102), range(10)
SETTINGS = {
    "model": "torchvision:mobilenet_v2",
    "image_size": 96,
    "precision": "bf16",
    "threads": 1,
    "keep": "last",
    "val_every": 0,
    "checkpoint_every": 0,
    "tensorboard": False,
    "progress": "off",
}
KEPT = ("test.accuracy", "test.mean_class_accuracy", "test.nll", "test.ece", "val.accuracy", "val.nll", "seconds")

Job = tuple[str, str, str, int]  # stage, target, method text, seed


def file_of(results: Path, job: Job) -> Path:
    """Where a run's figures are kept."""
    stage, target, method, seed = job
    return results / stage / target / f"{method}-s{seed}.json"


def jobs(stages: list[str], results: Path) -> Iterator[Job]:
    """The runs that a stage needs; those of `run` once the strengths are chosen."""
    for seed_stage, seeds in (("tune", TUNE_SEEDS), ("run", RUN_SEEDS)):
        if seed_stage not in stages:
            continue
        for seed in seeds:
            for target in TARGETS:
                for name, texts in GRID.items():
                    if seed_stage == "run":
                        yield "run", target, chosen(results, target, name), seed
                    elif len(texts) > 1:
                        yield from (("tune", target, text, seed) for text in texts)


def chosen(results: Path, target: str, name: str) -> str:
    """The strength with the best mean validation accuracy, ties by negative log-likelihood."""
    texts = GRID[name]
    if len(texts) == 1:
        return texts[0]

    def score(text: str) -> tuple[float, float]:
        rows = [json.loads(file_of(results, ("tune", target, text, s)).read_text()) for s in TUNE_SEEDS]
        return sum(r["val.accuracy"] for r in rows), -sum(r["val.nll"] for r in rows)

    return max(texts, key=score)


def do(job: Job, args: argparse.Namespace) -> None:
    """One run, unless its figures are there or another worker is at it."""
    file = file_of(args.results, job)
    claim = file.with_suffix(".claim")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    try:
        if not file.exists():
            _, target, method, seed = job
            figures = train(args, target, method, seed)
            file.write_text(json.dumps({"target": target, "method": method, "seed": seed, **figures}, indent=1) + "\n")
            print(f"{job[0]} {target} {method} seed {seed}: val {figures['val.accuracy']:.3f}", flush=True)
    finally:
        claim.unlink()


def train(args: argparse.Namespace, target: str, method: str, seed: int) -> dict[str, Any]:
    """Figures of one run through the library's own entry."""
    import holdfast

    weights = args.weights / "mobilenet_v2-imagenet1k.safetensors"
    folder = Path(tempfile.mkdtemp(prefix="holdfast-"))
    try:
        result = holdfast.fit(
            args.data / target,
            weights=weights,
            method=method,
            seed=seed,
            samples_per_class=TARGETS[target],
            out=folder / "run",
            **SETTINGS,
        )
    finally:
        shutil.rmtree(folder)
    versions = {k: v for k, v in result.figures.items() if k.startswith("versions.")}
    return {k: result.figures[k] for k in KEPT} | versions | {"settings": SETTINGS}


def work(share: int, args: argparse.Namespace) -> None:
    """One worker's turn through all jobs, beginning at its own place; the process lives over many runs."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for stage in args.stages:
        todo = list(jobs([stage], args.results))
        for job in todo[share :: args.workers] + todo:
            do(job, args)


def table(results: Path) -> str:
    """Mean ± standard deviation and the paired gain over plain with its 95 % interval, as Markdown."""
    from holdfast.bench.statistics import mean, paired_difference, sample_std

    lines = ["| target | method | accuracy, % | gain over plain | 95 % interval | NLL | ECE | seconds |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for target, per_class in TARGETS.items():
        rows = {name: read(results, target, name) for name in GRID}
        plain = [r["test.accuracy"] * 100 for r in rows["plain"]]
        for found in rows.values():
            if not found:
                continue
            accuracy = [r["test.accuracy"] * 100 for r in found]
            cells = [f"{target}, {per_class} per class", f"`{found[0]['method']}`"]
            cells.append(f"{mean(accuracy):.1f} ± {sample_std(accuracy):.1f}")
            if found[0]["method"] == "plain":
                cells += ["", ""]
            else:
                gain = paired_difference(accuracy, plain[: len(accuracy)])
                cells += [f"{gain.mean:+.1f}", f"{gain.low:+.1f} to {gain.high:+.1f}"]
            cells += [
                f"{mean([r[k] for r in found]):.{d}f}" for k, d in (("test.nll", 2), ("test.ece", 3), ("seconds", 0))
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read(results: Path, target: str, name: str) -> list[dict[str, Any]]:
    """The finished runs of a method, by seed."""
    files = [file_of(results, ("run", target, chosen(results, target, name), s)) for s in RUN_SEEDS]
    return [json.loads(f.read_text()) for f in files if f.exists()]


def main() -> None:
    """Do the stages asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=["tune", "run", "table"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--results", type=Path, default=Path("results/real-images"))
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    args = parser.parse_args()
    for stage in ("tune", "run"):
        if stage in args.stages:
            one = argparse.Namespace(**{**vars(args), "stages": [stage]})
            workers = [multiprocessing.Process(target=work, args=(i, one)) for i in range(args.workers)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            if any(worker.exitcode for worker in workers):
                raise SystemExit(f"{stage}: a worker failed; the same command goes on where it stopped")
    if "table" in args.stages:
        print(table(args.results))


if __name__ == "__main__":
    main()
