"""The official lists of the data sets that torchvision does not know, and of those that are plain folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import DataError
from holdfast.data.named import vision
from holdfast.data.walk import Tree

ALL = "all"
"""Part of the pictures of a data set whose authors made no split."""


@dataclass(frozen=True)
class Listed:
    """What the official lists say.

    Attributes:
        classes: names in the order of the labels.
        parts: of each official part, pairs of path (relative to the data root) and label.
    """

    classes: tuple[str, ...]
    parts: dict[str, list[tuple[str, int]]]


def read(reader: str, root: Path, wanted: set[str]) -> Listed:
    """Read the official lists.

    Args:
        reader: name of one of the functions here.
        root: the data root.
        wanted: official parts that are needed.

    Raises:
        DataError: a list is missing, or not what its authors published.
    """
    try:
        return _READERS[reader](root, wanted)
    except OSError as error:
        raise DataError(f"cannot read the lists of {reader}: {error}; unpack its archive again") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"the lists of {reader} below {root} are not as their authors published them "
            f"({type(error).__name__}: {error}); unpack the archive again"
        ) from error


def cub200(root: Path, wanted: set[str]) -> Listed:
    """``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt`` and ``classes.txt``: number, value."""
    base = root / "CUB_200_2011"
    columns = [
        dict(line.split(maxsplit=1) for line in _lines(base / f"{name}.txt"))
        for name in ("images", "image_class_labels", "train_test_split", "classes")
    ]
    images, labels, trains, classes = columns
    parts: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for number, name in images.items():
        part = {"1": "train", "0": "test"}[trains[number]]
        parts[part].append((f"CUB_200_2011/images/{name}", int(labels[number]) - 1))
    return Listed(tuple(classes[str(k + 1)] for k in range(len(classes))), parts)


def indoor67(root: Path, wanted: set[str]) -> Listed:
    """``TrainImages.txt`` and ``TestImages.txt``: class/file."""
    files = {"train": "TrainImages.txt", "test": "TestImages.txt"}
    names = {part: _lines(root / "indoor67" / file) for part, file in files.items()}
    return _by_folder(names, "indoor67/Images")


def stanford40(root: Path, wanted: set[str]) -> Listed:
    """``ImageSplits/ACTION_train.txt`` and ``ACTION_test.txt``: file."""
    splits = root / "stanford40" / "ImageSplits"
    classes = sorted(f.name.removesuffix("_train.txt") for f in splits.glob("*_train.txt"))
    parts = {
        part: [
            (f"stanford40/JPEGImages/{name}", label)
            for label, action in enumerate(classes)
            for name in _lines(splits / f"{action}_{part}.txt")
        ]
        for part in ("train", "test")
    }
    return Listed(tuple(classes), parts)


def dogs(root: Path, wanted: set[str]) -> Listed:
    """``train_list.mat`` and ``test_list.mat``; part ``imagenet``: the same breeds in ImageNet's validation part."""
    from scipy.io import loadmat  # type: ignore[import-untyped]

    parts: dict[str, list[tuple[str, int]]] = {}
    for part in ("train", "test"):
        lists = loadmat(root / "stanford_dogs" / f"{part}_list.mat", squeeze_me=True)
        pairs = zip(lists["file_list"].tolist(), lists["labels"].tolist(), strict=True)
        parts[part] = [(f"stanford_dogs/Images/{name}", int(label) - 1) for name, label in pairs]
    names = {label: Path(path).parent.name for path, label in parts["train"]}
    classes = tuple(names[label] for label in range(len(names)))
    if "imagenet" in wanted:
        found = _folders(root, "imagenet/val")
        breeds = [name.partition("-")[0] for name in classes]
        parts["imagenet"] = [(path, label) for label, breed in enumerate(breeds) for path in found.get(breed, [])]
    return Listed(classes, parts)


def webface(root: Path, wanted: set[str]) -> Listed:
    """One folder of pictures per identity."""
    found = _folders(root, "CASIA-WebFace")
    files = [(path, label) for label, paths in enumerate(found.values()) for path in paths]
    return Listed(tuple(found), {ALL: files})


def imagenet(root: Path, wanted: set[str]) -> Listed:
    """``train`` and ``val`` with one folder per class, as ``torchvision.datasets.ImageNet`` leaves them."""
    found = {part: _folders(root, f"imagenet/{part}") for part in ("train", "val")}
    labels = {name: label for label, name in enumerate(found["train"])}
    parts = {
        part: [(path, labels[name]) for name, paths in folders.items() for path in paths]
        for part, folders in found.items()
    }
    return Listed(tuple(labels), parts)


def _by_torchvision(files: Callable[[Path], dict[str, Any]]) -> Callable[[Path, set[str]], Listed]:
    def read_it(root: Path, wanted: set[str]) -> Listed:
        found = files(root)
        parts = {
            part: [(Path(path).relative_to(root).as_posix(), int(label)) for path, label in pairs]
            for part, pairs in found["parts"].items()
        }
        return Listed(tuple(map(str, found["classes"])), parts)

    return read_it


_READERS: dict[str, Callable[[Path, set[str]], Listed]] = {
    **{f.__name__: f for f in (cub200, indoor67, stanford40, dogs, webface, imagenet)},
    **{name: _by_torchvision(files) for name, files in vision.FILES.items()},
}


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _by_folder(names: dict[str, list[str]], base: str) -> Listed:
    classes = sorted({name.split("/")[0] for listed in names.values() for name in listed})
    labels = {name: label for label, name in enumerate(classes)}
    parts = {
        part: [(f"{base}/{name}", labels[name.split("/")[0]]) for name in listed] for part, listed in names.items()
    }
    return Listed(tuple(classes), parts)


def _folders(root: Path, base: str) -> dict[str, list[str]]:
    """Files of each folder below ``base``, relative to the root, sorted."""
    if not (root / base).is_dir():
        raise DataError(f"no such folder: {root / base}; put its data set there")
    tree = Tree(root / base)
    return {name: [f"{base}/{path}" for path in sorted(tree.files(name))] for name in tree.folders("")}
