from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


def paint(path: Path, seed: int, *, size: tuple[int, int] = (20, 16)) -> Path:
    """A picture of noise that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write ``counts`` pictures: {"cat": 5} or {"train/cat": 5}, each of its own content."""
    seeds = iter(range(1_000_000))

    def make(counts: Mapping[str, int], *, name: str = "photos") -> Path:
        root = tmp_path / name
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                paint(root / folder / f"{number:03}.png", next(seeds))
        return root

    return make
