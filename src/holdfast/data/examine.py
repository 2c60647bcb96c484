"""Reading every file once: its digest, and whether it really is a picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.data.decode import UnreadableImageError, quiet_pillow, read_image

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.data.frame import Side

Progress = Callable[[int, int], None]
"""Called with the number done and the number in all."""


@dataclass(frozen=True)
class Examined:
    """What reading the files has shown.

    Attributes:
        digests: SHA-256 of each readable file's content, by path.
        reasons: why a content is no picture, by digest; why a file cannot be read, by path.
        images: pictures decoded on the way, by digest; empty unless a side was asked for.
    """

    digests: Mapping[str, str]
    reasons: Mapping[str, str]
    images: Mapping[str, Tensor]

    def reason(self, path: str) -> str | None:
        """Why the file cannot be used, or None."""
        if path not in self.digests:
            return self.reasons[path]
        return self.reasons.get(self.digests[path])


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def examine(
    root: Path,
    paths: Collection[str],
    *,
    side: Side | None = None,
    known: Collection[str] = (),
    progress: Progress | None = None,
) -> Examined:
    """Digest all files and decode each distinct content once, in threads.

    Args:
        root: the data folder.
        paths: files, relative to it.
        side: keep the decoded pictures, shorter side resized to this; None keeps nothing and decodes JPEGs at
            reduced size, which reads every byte all the same.
        known: digests that were decoded before and need not be again.
        progress: told after each decoded picture.
    """
    digests: dict[str, str] = {}
    reasons: dict[str, str] = {}
    images: dict[str, Tensor] = {}
    with quiet_pillow(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for path, (digest, reason) in zip(paths, pool.map(lambda p: _digest(root / p), paths), strict=True):
            (digests if reason is None else reasons)[path] = digest if reason is None else reason
        first = {digest: path for path, digest in reversed(digests.items())}
        todo = [digest for digest in dict.fromkeys(digests.values()) if digest not in known]
        results = pool.map(lambda digest: _decode(root / first[digest], side), todo)
        for done, (digest, (image, reason)) in enumerate(zip(todo, results, strict=True), start=1):
            if reason is not None:
                reasons[digest] = reason
            if image is not None:
                images[digest] = image
            if progress is not None:
                progress(done, len(todo))
    return Examined(digests, reasons, images)


def _digest(path: Path) -> tuple[str, str | None]:
    try:
        return file_digest(path), None
    except OSError as error:
        return "", error.strerror or str(error)


def _decode(path: Path, side: Side | None) -> tuple[Tensor | None, str | None]:
    from holdfast.data.cache import read_resized

    try:
        if side is not None:
            return read_resized(path, side), None
        read_image(path, at_least=1)
    except UnreadableImageError as error:
        return None, error.reason
    return None, None
