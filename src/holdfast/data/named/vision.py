"""The data sets that torchvision reads: its classes give paths and labels, we give the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from holdfast.core.errors import DataError
from holdfast.data.atomic import atomic_writer

Found = dict[str, Any]
"""``classes`` in the order of the labels; ``parts``: pairs of absolute path and label."""


def flowers102(root: Path) -> Found:
    """``setid.mat`` and ``imagelabels.mat``; checks their MD5."""
    from torchvision.datasets import Flowers102 as Vision

    classes = getattr(Vision, "classes", None) or [f"{number:03}" for number in range(1, 103)]  # torchvision < 0.22
    return {"classes": classes, "parts": {p: _pairs(_open(Vision, root, split=p)) for p in ("train", "val", "test")}}


def food101(root: Path) -> Found:
    """``meta/train.json`` and ``meta/test.json``."""
    from torchvision.datasets import Food101 as Vision

    opened = {part: _open(Vision, root, split=part) for part in ("train", "test")}
    return {"classes": opened["train"].classes, "parts": {part: _pairs(found) for part, found in opened.items()}}


def cars(root: Path) -> Found:
    """``devkit/cars_train_annos.mat`` and ``cars_test_annos_withlabels.mat``."""
    from torchvision.datasets import StanfordCars as Vision

    opened = {part: _open(Vision, root, split=part) for part in ("train", "test")}
    return {"classes": opened["train"].classes, "parts": {part: found._samples for part, found in opened.items()}}


def aircraft(root: Path) -> Found:
    """``data/images_variant_*.txt``."""
    from torchvision.datasets import FGVCAircraft as Vision

    opened = {part: _open(Vision, root, split=part) for part in ("train", "val", "test")}
    return {"classes": opened["train"].classes, "parts": {part: _pairs(found) for part, found in opened.items()}}


def dtd(root: Path) -> Found:
    """``labels/train1.txt``, ``val1.txt`` and ``test1.txt``."""
    from torchvision.datasets import DTD as Vision  # noqa: N811

    opened = {part: _open(Vision, root, split=part, partition=1) for part in ("train", "val", "test")}
    return {"classes": opened["train"].classes, "parts": {part: _pairs(found) for part, found in opened.items()}}


def caltech256(root: Path) -> Found:
    """One folder per class, pictures by number."""
    from torchvision.datasets import Caltech256 as Vision

    found = _open(Vision, root)
    base = Path(found.root) / "256_ObjectCategories"
    files = [
        (base / found.categories[label] / f"{label + 1:03d}_{number:04d}.jpg", label)
        for label, number in zip(found.y, found.index, strict=True)
    ]
    return {"classes": found.categories, "parts": {"all": files}}


def places365(root: Path) -> Found:
    """``places365_train_standard.txt`` and ``places365_val.txt``; checks their MD5."""
    from torchvision.datasets import Places365 as Vision

    splits = {"train": "train-standard", "val": "val"}
    opened = {part: _open(Vision, root / "places365", split=split, small=True) for part, split in splits.items()}
    labels = opened["train"].class_to_idx
    return {"classes": sorted(labels, key=labels.get), "parts": {part: found.imgs for part, found in opened.items()}}


def cifar10(root: Path) -> Found:
    """The PNG files that ``write_cifar10`` has made, by class and number."""
    base = root / "cifar10-png"
    classes = (base / "classes.txt").read_text(encoding="utf-8").split()
    parts = {
        part: [(file, label) for label, name in enumerate(classes) for file in (base / part / name).glob("*.png")]
        for part in ("train", "test")
    }
    return {"classes": classes, "parts": parts}


FILES: dict[str, Callable[[Path], Found]] = {
    f.__name__: f for f in (flowers102, food101, cars, aircraft, dtd, caltech256, places365, cifar10)
}


def write_cifar10(root: Path) -> str:
    """Write the arrays of CIFAR-10 as PNG files, ``cifar10-png/PART/CLASS/NUMBER.png``, after torchvision's MD5 check.

    Returns:
        what was done, in one line.
    """
    from PIL import Image
    from torchvision.datasets import CIFAR10 as Vision  # noqa: N811

    base = root / "cifar10-png"
    for part in ("train", "test"):
        found = _open(Vision, root, train=part == "train")
        for number, (pixels, label) in enumerate(zip(found.data, found.targets, strict=True)):
            file = base / part / found.classes[label] / f"{number:05}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                # written beside its place first: a killed command leaves no half picture
                aside = file.with_suffix(".tmp")
                Image.fromarray(pixels).save(aside, format="PNG")
                os.replace(aside, file)
    with atomic_writer(base / "classes.txt") as handle:
        handle.write("\n".join(found.classes).encode())
    return f"{base}: the pictures as PNG files"


def _open(vision: Callable[..., Any], root: Path, **options: Any) -> Any:
    """Open torchvision's data set; what it says of broken files is turned into a line of ours."""
    try:
        return vision(root, **options)
    except RuntimeError as error:
        raise DataError(
            f"torchvision cannot read {vision.__name__} below {root} ({' '.join(str(error).split())}): a list is "
            "missing or not its authors'; fetch and unpack it again"
        ) from error


def _pairs(found: Any) -> Iterable[tuple[Any, int]]:
    return zip(found._image_files, found._labels, strict=True)
