"""The labelled pictures on which a finished run is evaluated: a part of its own, or another folder's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import DataError, UsageError
from holdfast.data.examine import examine, file_digest
from holdfast.data.folder import load_split
from holdfast.data.index import PARTS, Sample, Skipped
from holdfast.data.walk import PART_NAMES, Tree
from holdfast.train.run_folder import RunFolder


@dataclass(frozen=True)
class Labelled:
    """Pictures with their classes.

    Attributes:
        root: folder to which the paths are relative.
        samples: labels are positions in the run's classes.
        part: ``train``, ``val`` or ``test``; empty for a folder without parts.
        skipped: files that cannot be read as pictures.
    """

    root: Path
    samples: Sequence[Sample]
    part: str
    skipped: Sequence[Skipped] = ()


def part_of_run(folder: RunFolder, part: str) -> Labelled:
    """A part of the pictures that the run was made with, found again unchanged.

    Raises:
        UsageError: the run has no such part.
        DataError: a picture is missing or has changed since.
    """
    _check(part)
    index = load_split(folder.split)
    if part not in index.parts:
        raise UsageError(f"{folder.path} has no {part} part; it has {', '.join(index.parts)}: choose with --part")
    for sample in index.parts[part]:
        path = index.root / sample.path
        try:
            changed = file_digest(path) != sample.digest
        except OSError as error:
            raise DataError(
                f"{path} was in the run's {part} part and cannot be read ({error.strerror}); "
                "name the folder where the pictures are now as DATA"
            ) from error
        if changed:
            raise DataError(f"{path} has changed since the run; name a folder as DATA to evaluate what it holds now")
    return Labelled(index.root, index.parts[part], part)


def pictures_in(data: Path, classes: Sequence[str], part: str = "test", *, strict: bool = False) -> Labelled:
    """All pictures of a folder of class folders, or of its part where it has parts.

    Args:
        data: the folder.
        classes: of the run; the folder must have exactly these.
        part: which one, where the folder has parts.
        strict: an unreadable file is an error instead of being skipped.

    Raises:
        UsageError: no part of that name is known.
        DataError: no such folder, a class too many or too few, a class without a readable picture, or an unreadable
            file with ``strict``.
    """
    _check(part)
    tree = _tree(data)
    base, found_part = _base(tree, classes, part)
    where = data / base
    found = tree.folders(base)
    _same_classes(where, found, classes)
    files = {name: list(tree.files(f"{base}/{name}" if base else name)) for name in classes}
    samples, unreadable = _readable(where, data, files)
    skipped = [*tree.skipped, *unreadable]
    if strict and skipped:
        first = skipped[0]
        raise DataError(f"{len(skipped)} file(s) cannot be used as pictures, such as {first.path} ({first.reason})")
    return Labelled(data, samples, found_part, skipped)


def class_folders(data: Path, part: str = "test") -> tuple[str, ...]:
    """Names of a folder's class folders, or of those of its part where it has parts, in order.

    Raises:
        UsageError: no part of that name is known.
        DataError: no such folder, no such part, or no class folders in it.
    """
    _check(part)
    tree = _tree(data)
    base, _ = _base(tree, (), part)
    found = tree.folders(base)
    if not found:
        raise DataError(f"{data / base} holds no folders; expected one sub-folder of pictures per class")
    return tuple(found)


def _tree(data: Path) -> Tree:
    if not data.is_dir():
        what = "is a file" if data.exists() else "does not exist"
        raise DataError(f"{data} {what}; expected a folder with one sub-folder of pictures per class")
    return Tree(data)


def _readable(where: Path, data: Path, files: Mapping[str, list[str]]) -> tuple[list[Sample], list[Skipped]]:
    """The pictures of each class, and the files that are none."""
    examined = examine(data, [path for listed in files.values() for path in listed])
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for label, (name, listed) in enumerate(files.items()):
        reasons = {path: examined.reason(path) for path in listed}
        good = [Sample(path, label, examined.digests[path]) for path, reason in reasons.items() if reason is None]
        if not good:
            raise DataError(f"class {name!r} in {where} is empty: none of its {len(listed)} file(s) is a picture")
        samples += good
        skipped += [Skipped(path, reason) for path, reason in reasons.items() if reason is not None]
    return samples, skipped


def _check(part: str) -> None:
    if part not in PARTS:
        raise UsageError(f"unknown part {part!r}; expected one of {', '.join(PARTS)}")


def _base(tree: Tree, classes: Sequence[str], part: str) -> tuple[str, str]:
    """The folder of class folders below the root, and which part it is."""
    names = tree.folders("")
    # A class may well be called test; parts are looked for only where the classes are not there themselves.
    if set(classes) & set(names):
        return "", ""
    parts = {PART_NAMES[name.lower()]: name for name in names if name.lower() in PART_NAMES}
    if parts and part not in parts:
        raise DataError(f"{tree.root} has no {part} folder; it has {', '.join(parts.values())}: choose with --part")
    return (parts[part], part) if parts else ("", "")


def _same_classes(where: Path, found: Sequence[str], classes: Sequence[str]) -> None:
    missing = [name for name in classes if name not in found]
    extra = [name for name in found if name not in classes]
    if missing:
        others = f"; it has {', '.join(found[:5])}{' …' if len(found) > 5 else ''}" if found else "; it has no folders"
        raise DataError(f"class {missing[0]!r} of the run has no folder in {where}{others}")
    if extra:
        raise DataError(f"class {extra[0]!r} in {where} is unknown to the run, which knows {', '.join(classes[:10])}")
