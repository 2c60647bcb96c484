"""The source task of a finished run: the head of its weights, that head's classes, and labelled pictures of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from holdfast.core.errors import DataError, ModelError, UsageError
from holdfast.core.registry import nearest
from holdfast.data.named.catalogue import is_named
from holdfast.train.labelled import Labelled, class_folders, pictures_in
from holdfast.train.origin import Origin

_LISTED = 20
"""Classes that a message may name."""


@dataclass(frozen=True)
class SourcePart:
    """Labelled pictures of the source task.

    Attributes:
        pictures: labels are rows of the source head.
        classes: how many of the head's classes they are of.
        matched: how folders were matched with rows, in words.
    """

    pictures: Labelled
    classes: int
    matched: str


def source_head(origin: Origin) -> nn.Linear:
    """The head of the task that the run's weights were trained for.

    Raises:
        ModelError: the weights bring none.
    """
    if origin.source_head is None:
        what = "random weights" if origin.weights is None else f"{origin.weights.location}, which brings no head"
        raise ModelError(f"the run began with {what}: there is no source task whose accuracy could be lost")
    return origin.source_head


def source_folder(origin: Origin) -> Path:
    """The folder of source pictures that the run was given with ``--source``.

    Raises:
        UsageError: it was given none, or a data set by its name.
    """
    if origin.source is None or is_named(origin.source):
        found = "none" if origin.source is None else f"the data set {origin.source}"
        raise UsageError(f"expected a folder of pictures of the source task, found {found}: name it with --data FOLDER")
    return Path(origin.source)


def source_pictures(
    data: Path, origin: Origin, *, names: Sequence[str] | None = None, part: str = "test", strict: bool = False
) -> SourcePart:
    """Read a folder of pictures of the source task and match its class folders with the rows of the source head.

    Args:
        data: the folder.
        origin: whose source head.
        names: of the head's classes in its order; where None, those of the run that the weights are from, if they lie
            in its folder, else see ``head_rows``.
        part: which one, where the folder has parts.
        strict: an unreadable file is an error instead of being skipped.

    Raises:
        ModelError: there is no source head.
        DataError: no such folder, a folder that is no class of the head, an unreadable file with ``strict``.
        UsageError: other names than the head has classes; no part of that name.
    """
    rows = source_head(origin).out_features
    folders = class_folders(data, part)
    places, matched = head_rows(folders, rows, names or origin.source_classes)
    found = pictures_in(data, folders, part, strict=strict)
    samples = [replace(sample, label=places[folders[sample.label]]) for sample in found.samples]
    return SourcePart(replace(found, samples=samples), len(folders), matched)


def read_classes(file: Path) -> tuple[str, ...]:
    """Names of classes in the order of a head, from a file that a user gives.

    A text file has one name in each line. A JSON file is a list of names, or has one under ``classes``, as a run's
    ``preprocessing.json``.

    Raises:
        UsageError: there is no such file, or it holds no names.
    """
    try:
        text = file.read_text(encoding="utf-8")
        found = _listed(json.loads(text)) if file.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read the classes in {file} ({reason}); expected one name in each line") from error
    names = tuple(name.strip() for name in found if name.strip())
    if not names:
        raise UsageError(f"{file} names no classes; expected one name in each line, in the order of the head")
    return names


def _listed(content: Any) -> list[str]:
    names = content.get("classes") if isinstance(content, dict) else content
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("no list of names")
    return names


def head_rows(folders: Sequence[str], rows: int, names: Sequence[str] | None = None) -> tuple[dict[str, int], str]:
    """The row of a head that each class folder belongs to, and how it was told.

    With names, by name; some of the classes are enough. Without, a folder called by a whole number belongs to that row,
    from 0; else there are as many folders as rows, and their sorted names are in the head's order, as those of ImageNet
    are under their WordNet numbers.

    Args:
        folders: names of the folders.
        rows: of the head's weight: its classes.
        names: of the head's classes, in its order.

    Raises:
        UsageError: other names than rows, or one that stands twice.
        DataError: a folder that is none of the classes, or folders that cannot be told apart without names.
    """
    if names is not None:
        return _by_name(folders, rows, names), "by the names of the head's classes"
    if all(name.isdecimal() for name in folders):
        return _by_number(folders, rows), "by their numbers"
    if len(folders) == rows:
        return {name: row for row, name in enumerate(sorted(folders))}, "by the order of their names"
    raise DataError(
        f"the source head has {rows} classes whose names are not known, and the pictures have {len(folders)} class "
        "folders; name all of the head's classes, one in each line and in its order, with --classes FILE"
    )


def _by_number(folders: Sequence[str], rows: int) -> dict[str, int]:
    numbers = {name: int(name) for name in folders}
    if max(numbers.values()) >= rows or len(set(numbers.values())) < len(numbers):
        raise DataError(
            f"expected folders called by different rows, 0 to {rows - 1}, of the source head, found "
            f"{', '.join(folders[:5])}{' …' if len(folders) > 5 else ''}; name the head's classes with --classes FILE"
        )
    return numbers


def _by_name(folders: Sequence[str], rows: int, names: Sequence[str]) -> dict[str, int]:
    different = len(set(names))
    if len(names) != rows or different != rows:
        raise UsageError(
            f"expected the names of the source head's {rows} classes, found {len(names)}, {different} of them different"
        )
    places = {name: row for row, name in enumerate(names)}
    unknown = [name for name in folders if name not in places]
    if unknown:
        near = nearest(unknown[0], list(names))
        hint = near if rows <= _LISTED or "did you mean" in near else f", such as {names[0]!r}"
        raise DataError(f"the folder {unknown[0]!r} is none of the source head's {rows} classes{hint}")
    return {name: places[name] for name in folders}
