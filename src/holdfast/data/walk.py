"""Reading directories: what counts as a class, a part or a picture, and what is passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.core.errors import DataError
from holdfast.data.index import PARTS, Skipped

PART_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
LITTER = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "lost+found", "$recycle.bin", "__pycache__"}
)
UNSPLIT = ""

Files = dict[str, dict[str, list[str]]]
"""part → class → paths relative to the root; the part of a folder that is not split yet is ``UNSPLIT``."""


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden or left behind by an operating system."""
    return name.startswith(".") or name.lower() in LITTER


@dataclass
class Tree:
    """Directory reading that never leaves the root; what it passes over is recorded.

    Attributes:
        root: the data folder.
        outside: links that lead out of the root or back to a folder above them.
        skipped: entries that cannot be read.
    """

    root: Path
    outside: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._real_root = self.root.resolve()
        self._seen: dict[str, list[os.DirEntry[str]]] = {}

    def entries(self, folder: str) -> list[os.DirEntry[str]]:
        """The usable entries of a folder, sorted by name."""
        if folder not in self._seen:
            self._seen[folder] = self._read(folder)
        return self._seen[folder]

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly inside."""
        return [entry.name for entry in self.entries(folder) if entry.is_dir()]

    def files(self, folder: str) -> Iterator[str]:
        """Paths of all files below, relative to the root."""
        for entry in self.entries(folder):
            path = _join(folder, entry.name)
            if entry.is_dir():
                yield from self.files(path)
            elif entry.is_file():
                yield path
            else:
                self.skipped.append(Skipped(path, "neither a file nor a folder"))

    def _read(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / folder) as found:
                entries = sorted((e for e in found if not is_ignored(e.name)), key=lambda entry: entry.name)
        except OSError as error:
            self.skipped.append(Skipped(folder, error.strerror or str(error)))
            return []
        return [entry for entry in entries if not entry.is_symlink() or self._stays_inside(_join(folder, entry.name))]

    def _stays_inside(self, link: str) -> bool:
        path = self.root / link
        try:
            target = path.resolve()
            above = {parent.resolve() for parent in path.parents}
        except (OSError, RuntimeError):  # a link to itself; Python 3.13 no longer raises RuntimeError
            self.skipped.append(Skipped(link, "a link that leads nowhere"))
            return False
        inside = target.is_relative_to(self._real_root) and target not in above
        if not inside:
            self.outside.append(link)
        return inside


def read_tree(tree: Tree) -> tuple[Files, list[str]]:
    """Find the layout of a data folder and list the files of every class.

    Returns:
        the files by part and class, and notes on what was passed over.

    Raises:
        DataError: no such folder, not a folder, no class folders, parts without a train part.
    """
    if not tree.root.exists():
        raise DataError(f"no such folder: {tree.root}; expected a folder with one sub-folder of pictures per class")
    if not tree.root.is_dir():
        raise DataError(f"{tree.root} is a file; expected a folder with one sub-folder of pictures per class")
    parts, notes = _find_parts(tree)
    files: Files = {}
    for part, folder in parts.items():
        classes = tree.folders(folder)
        if not classes:
            raise DataError(_no_classes(tree, folder))
        loose = sum(entry.is_file() for entry in tree.entries(folder))
        if loose:
            notes.append(f"{loose} file(s) directly in {folder or 'the data folder'} belong to no class: ignored")
        files[part] = {name: list(tree.files(_join(folder, name))) for name in classes}
    if tree.outside:
        notes.append(f"links that lead out of the data folder or in a circle are not followed: {_some(tree.outside)}")
    return files, notes


def _find_parts(tree: Tree) -> tuple[dict[str, str], list[str]]:
    names = tree.folders("")
    parts: dict[str, str] = {}
    for name in names:
        part = PART_NAMES.get(name.lower())
        if part in parts:
            raise DataError(f"two folders for the part {part!r}: {parts[part]} and {name}; keep one")
        if part is not None:
            parts[part] = name
    others = [name for name in names if name not in parts.values()]
    if "train" in parts and len(parts) > 1:
        notes = [f"folders that are no part are ignored: {_some(others)}"] if others else []
        return {part: parts[part] for part in PARTS if part in parts}, notes
    if "train" in parts and not others and tree.folders(parts["train"]):
        return {UNSPLIT: parts["train"]}, []
    if parts and not others and "train" not in parts:
        raise DataError(
            f"{tree.root} has {_some(list(parts.values()))} but no train folder; name the training part train"
        )
    return {UNSPLIT: ""}, []


def _no_classes(tree: Tree, folder: str) -> str:
    found = sum(entry.is_file() for entry in tree.entries(folder))
    linked = f"; links out of it are not followed ({_some(tree.outside)})" if tree.outside else ""
    return (
        f"no class folders in {tree.root / folder}: expected one sub-folder of pictures per class, "
        f"found {found} file(s){linked}"
    )


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _some(names: list[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
