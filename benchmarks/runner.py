"""What the runner of comparisons costs: its share of the runs' time, two workers against one, planning many runs.

    python benchmarks/runner.py --root ../shared

The runs are those of a user: MobileNetV2 on flowers, one thread each. What is left of a worker's time beside its runs
is the runner's: planning, claiming, writing down, looking for more. The import of torch, paid once in a worker's life,
is listed apart. The ratio of two workers to one means something on two cores that nobody else uses.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

RECIPE: dict[str, Any] = {
    "title": "Timing",
    "data": {"flowers17": {"data": "data/flowers17", "samples_per_class": 5}},
    "models": {
        "mobilenet_v2": {
            "model": "torchvision:mobilenet_v2",
            "weights": "weights/mobilenet_v2-imagenet1k.safetensors",
        }
    },
    "methods": {"plain": {"method": "plain"}, "l2_sp": {"method": "l2_sp(alpha=0.1)"}},
    "settings": {"image_size": 96, "keep": "last", "val_every": 0},
}


def work(out: Path, root: Path, seeds: int, epochs: int, share: int, times: Any) -> None:
    """One worker: seconds of importing, of all the rest, and of its runs."""
    os.environ["OMP_NUM_THREADS"] = "1"
    began = time.perf_counter()
    from holdfast.bench.claims import Claims
    from holdfast.bench.grid import Scope
    from holdfast.bench.plan import make_plan
    from holdfast.bench.recipe import Recipe
    from holdfast.bench.work import Worker, fit
    from holdfast.train import training  # noqa: F401  (imported now, so that it is timed apart)

    imported = time.perf_counter()
    inside = [0.0]

    def timed(settings: Any) -> dict[str, Any]:
        since = time.perf_counter()
        try:
            return fit(settings)
        finally:
            inside[0] += time.perf_counter() - since

    recipe = Recipe.model_validate({**RECIPE, "settings": {**RECIPE["settings"], "epochs": epochs}})
    plan = make_plan(recipe, Scope(root, seeds=seeds), out, writes=True)
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=timed, share=share).work()
    ended = time.perf_counter()
    times.put({"import": imported - began, "alive": ended - imported, "runs": inside[0]})


def crew(workers: int, root: Path, seeds: int, epochs: int) -> dict[str, Any]:
    """Wall time of all runs with so many workers, from the first one's being ready to the last one's end."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        times = context.Queue()
        told = (Path(folder), root, seeds, epochs)
        processes = [context.Process(target=work, args=(*told, share, times)) for share in range(workers)]
        for process in processes:
            process.start()
        found = [times.get() for _ in processes]
        for process in processes:
            process.join()
        runs = len(list((Path(folder) / "runs").glob("*.json")))
    wall = max(each["alive"] for each in found)
    spent = sum(each["runs"] for each in found)
    beside = sum(each["alive"] - each["runs"] for each in found)
    return {
        "workers": workers, "runs": runs, "wall": wall, "inside the runs": spent,
        "beside the runs": beside, "import": max(each["import"] for each in found),
    }  # fmt: skip


def listing(count: int = 10_000) -> float:
    """Seconds to plan so many runs and look which are settled."""
    from holdfast.bench.grid import Scope
    from holdfast.bench.plan import make_plan
    from holdfast.bench.recipe import Recipe

    rows = {f"l2_{n}": {"method": f"l2(alpha={0.001 * (n + 1):.3f})"} for n in range(count // 10)}
    content = {**RECIPE, "methods": {"plain": {"method": "plain"}, **rows}, "seeds": 10}
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        for place in ("data/flowers17", "weights"):
            (Path(folder) / place).mkdir(parents=True)
        (Path(folder) / "weights" / "mobilenet_v2-imagenet1k.safetensors").touch()
        began = time.perf_counter()
        plan = make_plan(Recipe.model_validate(content), Scope(Path(folder)), Path(folder) / "out", writes=False)
        assert sum(1 for _ in plan.ready()) >= count
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("../shared"), help="folder with data/ and weights/")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each of two methods")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("results/runner.json"))
    args = parser.parse_args()
    found = [crew(workers, args.root.absolute(), args.seeds, args.epochs) for workers in (1, 2)]
    result = {
        "crews": found,
        "runner's share of its runs, one worker": found[0]["beside the runs"] / found[0]["inside the runs"],
        "throughput of two over one": found[0]["wall"] / found[1]["wall"],
        "seconds to list 10 000 runs": listing(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    text = json.dumps(result, indent=1)
    args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
