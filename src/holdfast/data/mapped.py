"""One file of decoded pictures, mapped into memory.

Layout: the pictures' bytes one after another, then a JSON table ``{digest: [offset, height, width]}``, then the
table's length (8 bytes, little-endian) and ``MAGIC``. Files are written atomically and recognised by their end, so
that an incomplete one is never read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import PIL
import torch
from torch import Tensor

from holdfast.data.atomic import atomic_writer
from holdfast.data.frame import Side
from holdfast.data.index import Sample

MAGIC = b"HFIMAGE1"
TAIL = 8 + len(MAGIC)
Table = dict[str, tuple[int, int, int]]


def cached_file(folder: Path, digests: Iterable[str], side: Side) -> Path:
    """Where the pictures with these digests lie at this side; another Pillow may decode to other bytes."""
    key = hashlib.sha256("\n".join([f"{MAGIC.decode()} {PIL.__version__} {side}", *sorted(set(digests))]).encode())
    return folder / f"images-{side}px-{key.hexdigest()[:32]}.bin"


def write_images(file: Path, images: Iterable[tuple[str, Tensor]]) -> None:
    """Write pictures by digest, uint8 (3, H, W) each.

    Raises:
        OSError: the disk is full or the folder cannot be written to.
    """
    table: Table = {}
    offset = 0
    with atomic_writer(file) as handle:
        for digest, image in images:
            handle.write(image.numpy().tobytes())
            table[digest] = (offset, image.shape[1], image.shape[2])
            offset += image.numel()
        encoded = json.dumps(table).encode()
        handle.write(encoded + len(encoded).to_bytes(8, "little") + MAGIC)


def read_table(file: Path) -> Table | None:
    """The table at the file's end, or None where there is no file or no whole one."""
    try:
        size = file.stat().st_size
        with file.open("rb") as handle:
            handle.seek(max(0, size - TAIL))
            tail = handle.read()
            length = int.from_bytes(tail[:8], "little")
            if tail[8:] != MAGIC:
                return None
            handle.seek(size - TAIL - length)
            table: Table = {key: tuple(place) for key, place in json.loads(handle.read(length)).items()}
    except (OSError, ValueError):
        return None
    end = max((offset + 3 * height * width for offset, height, width in table.values()), default=0)
    return table if end == size - TAIL - length else None


def open_cached(file: Path) -> MappedImages | None:
    """The pictures of an earlier run, or None."""
    return None if read_table(file) is None else MappedImages(file)


def cached_digests(folder: str | Path, side: Side) -> frozenset[str]:
    """Digests of all pictures that files of a cache folder hold at this side: they have been decoded before."""
    tables = (read_table(file) for file in sorted(Path(folder).glob(f"images-{side}px-*.bin")))
    return frozenset(digest for table in tables if table is not None for digest in table)


class MappedImages:
    """Pictures by digest in a mapped file; other processes get the file's name and map it themselves."""

    def __init__(self, file: Path) -> None:
        table = read_table(file)
        if table is None:
            raise FileNotFoundError(f"{file} is missing or incomplete")
        self._file = file
        self._table = table
        # A private mapping: the file is opened for reading and cannot be changed through it.
        self._bytes = torch.from_file(os.fspath(file), shared=False, size=file.stat().st_size, dtype=torch.uint8)

    def image(self, sample: Sample) -> Tensor:
        """A view into the mapping: do not write to it."""
        offset, height, width = self._table[sample.digest]
        return self._bytes[offset : offset + 3 * height * width].view(3, height, width)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._file,)
