"""Time to load one training epoch from each image cache, relative to decoding every picture at every epoch.

Epochs of the three caches are interleaved in one process and their order is rotated; the ratio is the median over
rounds of off ÷ cache within a round. Without ``--data`` the pictures are made: JPEG, 500 × 375, smoothed noise.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image, ImageFilter

from holdfast.data.augment import eval_side
from holdfast.data.folder import scan
from holdfast.data.index import FolderIndex
from holdfast.data.loader import Loader, make_loaders, set_epoch

CACHES = ("ram", "disk", "off")


def make_photographs(root: Path, count: int) -> Path:
    generator = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        noise = Image.fromarray(generator.integers(0, 256, (375, 500, 3), dtype=np.uint8))
        noise.filter(ImageFilter.GaussianBlur(3)).save(folder / f"{number}.jpg", quality=90)
    return root


def epoch_seconds(loader: Loader, epoch: int) -> float:
    set_epoch(loader, epoch)
    start = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - start


def measure(index: FolderIndex, *, size: int, rounds: int, workers: int, cache_dir: str) -> dict[str, Any]:
    pictures = len(index.parts["train"])
    loaders, build = {}, {}
    for cache in CACHES:
        start = time.perf_counter()
        loaders[cache] = make_loaders(
            index, size=size, batch_size=20, seed=0, cache=cache, cache_dir=cache_dir, workers=workers
        )["train"]
        build[cache] = time.perf_counter() - start
        epoch_seconds(loaders[cache], 0)
    seconds: dict[str, list[float]] = {cache: [] for cache in CACHES}
    for number in range(rounds):
        turn = number % len(CACHES)
        for cache in CACHES[turn:] + CACHES[:turn]:
            seconds[cache].append(epoch_seconds(loaders[cache], number + 1))
    speedups = {cache: [off / one for off, one in zip(seconds["off"], seconds[cache], strict=True)] for cache in CACHES}
    return {
        cache: {
            "ms_per_picture": round(1e3 * statistics.median(seconds[cache]) / pictures, 4),
            "times_faster_than_decoding": round(statistics.median(speedups[cache]), 2),
            "least_and_most": [round(min(speedups[cache]), 2), round(max(speedups[cache]), 2)],
            "build_seconds": round(build[cache], 3),
        }
        for cache in CACHES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of images; without it pictures are made")
    parser.add_argument("--pictures", type=int, default=200, help="number of pictures to make")
    parser.add_argument("--size", type=int, default=96, help="side of the network's input")
    parser.add_argument("--rounds", type=int, default=9, help="epochs per cache")
    parser.add_argument("--workers", type=int, default=0, help="loading processes")
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data or make_photographs(Path(scratch) / "photographs", options.pictures)
        index = scan(data)
        caches = measure(
            index, size=options.size, rounds=options.rounds, workers=options.workers, cache_dir=f"{scratch}/cache"
        )
    report = {
        "what": "one training epoch loaded (decoded, augmented, batched); no network",
        "data": options.data.name if options.data else f"{options.pictures} made JPEGs, 500x375",
        "training_pictures": len(index.parts["train"]),
        "size": options.size,
        "kept_side": eval_side(options.size, 0.875),
        "rounds": options.rounds,
        "workers": options.workers,
        "caches": caches,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "pillow": PIL.__version__},
        "machine": {"architecture": platform.machine(), "threads": torch.get_num_threads()},
    }
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
