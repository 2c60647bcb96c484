"""The split, written down: part, path, label and digest of every picture, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from holdfast.core.errors import DataError
from holdfast.data.atomic import atomic_writer
from holdfast.data.examine import file_digest
from holdfast.data.index import PARTS, FolderIndex, Sample, Skipped

FORMAT = "holdfast split 1"


def save_split(index: FolderIndex, file: str | Path) -> None:
    """Write an index to a JSON file, atomically.

    Raises:
        DataError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "root": str(index.root),
        "classes": index.classes,
        "parts": {
            part: [{"path": s.path, "label": s.label, "digest": s.digest} for s in samples]
            for part, samples in index.parts.items()
        },
        "skipped": [{"path": s.path, "reason": s.reason} for s in index.skipped],
        "notes": index.notes,
    }
    try:
        with atomic_writer(Path(file)) as handle:
            handle.write(json.dumps(content, indent=1).encode())
    except OSError as error:
        raise DataError(
            f"cannot write the split to {file}: {error.strerror}; free space or choose another folder"
        ) from error


def load_split(file: str | Path, *, root: str | Path | None = None, check: bool = False) -> FolderIndex:
    """Read what ``save_split`` wrote.

    Args:
        file: the JSON file.
        root: the data folder where it lies now; None takes the one written down.
        check: read every picture and compare its digest.

    Raises:
        DataError: the file is missing or no split, or ``check`` finds a picture missing or changed.
    """
    try:
        index = _parse(json.loads(Path(file).read_text("utf-8")), root)
    except OSError as error:
        raise DataError(f"cannot read the split {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is no split that holdfast wrote ({type(error).__name__}: {error})") from error
    if check:
        check_pictures(index, Path(file))
    return index


def _parse(content: Any, root: str | Path | None) -> FolderIndex:
    if content["format"] != FORMAT:
        raise ValueError(f"expected format {FORMAT!r}, found {content['format']!r}")
    classes = tuple(map(str, content["classes"]))
    parts = {
        part: tuple(Sample(str(s["path"]), int(s["label"]), str(s["digest"])) for s in content["parts"][part])
        for part in PARTS
        if part in content["parts"]
    }
    if any(not 0 <= s.label < len(classes) for samples in parts.values() for s in samples):
        raise ValueError(f"a label outside 0…{len(classes) - 1}")
    skipped = tuple(Skipped(str(s["path"]), str(s["reason"])) for s in content["skipped"])
    return FolderIndex(Path(root or content["root"]), classes, parts, skipped, tuple(map(str, content["notes"])))


def check_pictures(index: FolderIndex, file: Path) -> None:
    """Read every picture of an index again and compare its digest.

    Args:
        index: or what is left of it after a choice of samples.
        file: the split that it comes from, for the message.

    Raises:
        DataError: a picture is missing or has changed.
    """
    for sample in index.samples():
        path = index.root / sample.path
        try:
            found = file_digest(path)
        except OSError as error:
            raise DataError(
                f"{path} is in the split {file} but cannot be read: {error.strerror}; put it back"
            ) from error
        if found != sample.digest:
            raise DataError(f"{path} has changed since the split {file} was written; restore it or start a new run")
