"""Files as their authors publish them: whole or not, the right ones or not; and unpacking them safely."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from holdfast.core.errors import DataError
from holdfast.data.named.catalogue import UNKNOWN, File, Manifest

State = Literal["missing", "half", "wrong", "sound", "unverified"]
EXPANSION = 20
"""An archive may unpack to this many times its own size: pictures hardly shrink, lists do."""
LEAST_BOUND = 64 * 2**20
SPARE_MEMBERS = 10_000
"""Members allowed beside four per picture: lists, annotations, folders."""

Opened = tuple[str, int, bool, IO[bytes] | None]
"""Name, size, whether a folder, content."""


def state(file: File, root: Path) -> State:
    """What lies where a file should be; reads all of it where its checksum is known."""
    path = root / file.path
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    if size == 0 or (file.bytes is not None and size < file.bytes):
        return "half"
    if file.digest == UNKNOWN:
        return "unverified"
    return "sound" if digest(path, file.digest.partition(":")[0]) == file.digest else "wrong"


def digest(path: Path, kind: str) -> str:
    """A file's checksum as ``kind:hexadecimal``; ``md5`` or ``sha256``."""
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    return f"{kind}:{found}"


def check(file: File, root: Path) -> State:
    """``state``, where the file can be used.

    Raises:
        DataError: it is missing, half there, or another file than its authors'.
    """
    found, path = state(file, root), root / file.path
    where = f"fetch it from {file.url}" if file.url else "ask its authors for it"
    if found == "missing":
        raise DataError(f"missing file: {path}; {where}")
    if found == "half":
        wanted = f" of {file.bytes}" if file.bytes else ""
        raise DataError(f"half a download: {path} has {path.stat().st_size}{wanted} bytes; {where} again")
    if found == "wrong":
        got = digest(path, file.digest.partition(":")[0])
        raise DataError(f"wrong checksum: {path} is {got}, expected {file.digest}; remove it and {where} again")
    return found


def unpack(manifest: Manifest, root: Path) -> list[str]:
    """Check and unpack the archives of a data set; each appears whole or not at all.

    Returns:
        what was done, one line per file.

    Raises:
        DataError: a file is missing, half there or wrong; an archive holds links, leads out of its folder, or is
            larger than it may be; the disk is full.
    """
    states = {file.path: check(file, root) for file in manifest.files}  # all before the first is unpacked
    lines = []
    for file in manifest.files:
        checked = "checksum right" if states[file.path] == "sound" else "no known checksum"
        if file.into is None:
            lines.append(f"{file.path}: {checked}")
            continue
        try:
            names = _unpack(root / file.path, root / file.into, file.rename, 4 * manifest.pictures + SPARE_MEMBERS)
        except OSError as error:
            raise DataError(f"cannot unpack {root / file.path}: {error.strerror or error}; free space") from error
        lines.append(f"{file.path}: {checked}, unpacked to {', '.join(names)}")
    return lines


def _unpack(archive: Path, into: Path, rename: dict[str, str], most: int) -> list[str]:
    """Unpack beside the place, then move what is new there; what is there already stays as it is."""
    aside = into / f".{archive.name}.unpacking"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        bound = max(EXPANSION * archive.stat().st_size, LEAST_BOUND)
        _write(archive, aside, bound, most)
        names = {entry.name: rename.get(entry.name, entry.name) for entry in sorted(aside.iterdir())}
        for name, wanted in names.items():
            if not (into / wanted).exists():
                os.replace(aside / name, into / wanted)
        return list(names.values())
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(archive: Path, folder: Path, bound: int, most: int) -> None:
    try:
        total = 0
        for count, (name, size, is_folder, content) in enumerate(_members(archive), start=1):
            total += size
            if count > most or total > bound:
                raise DataError(
                    f"{archive} unpacks to more than {most} entries or {bound} bytes: refused, it is not what its "
                    "authors published"
                )
            place = _inside(folder, name, archive)
            (place if is_folder else place.parent).mkdir(parents=True, exist_ok=True)
            if content is not None:
                with place.open("wb") as handle:
                    shutil.copyfileobj(content, handle, 2**20)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"half a download: {archive} ends too early or is damaged ({error}); fetch it again") from error


def _members(archive: Path) -> Iterator[Opened]:
    if zipfile.is_zipfile(archive):
        yield from _of_zip(archive)
    else:
        yield from _of_tar(archive)


def _of_tar(archive: Path) -> Iterator[Opened]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                raise DataError(f"{archive} holds {member.name!r}, a link or a device: refused")
            try:
                safe = tarfile.data_filter(member, os.curdir)  # absolute paths, '..', odd modes
            except tarfile.FilterError as error:
                raise DataError(f"{archive} leads out of its folder ({error}): refused") from error
            yield safe.name, member.size, member.isdir(), tar.extractfile(member)


def _of_zip(archive: Path) -> Iterator[Opened]:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{archive} holds {member.filename!r}, a link or a device: refused")
            if member.is_dir():
                yield member.filename, 0, True, None
                continue
            with packed.open(member) as content:
                yield member.filename, member.file_size, False, content


def _inside(folder: Path, name: str, archive: Path) -> Path:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in name:
        raise DataError(f"{archive} leads out of its folder ({name!r}): refused")
    return folder / parts
