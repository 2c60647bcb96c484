"""Who is at work on what: claims in a folder that any number of runners share, on one machine or several.

A claim is a file ``NAME.GENERATION`` that exactly one process can create. Its owner holds a lock on it and renews its
time; when the owner dies, the next generation's file is what one other process can create. So no claim is ever removed
that somebody might hold, and two that find the same dead owner cannot both succeed it.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

LEASE = 120.0
"""Seconds without a sign of life after which an owner on another machine is taken for dead."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def this_machine() -> str:
    """A name that processes share if and only if locks between them are certain to work: one running kernel."""
    return _BOOT.read_text().strip() if _BOOT.is_file() else platform.node()


class Claim:
    """One held claim.

    Attributes:
        name: of what is claimed.
        generation: how many owners died before this one.
    """

    def __init__(self, path: Path, name: str, generation: int, handle: int) -> None:
        self.path, self.name, self.generation, self._handle = path, name, generation, handle
        self._lost = False

    def renew(self) -> None:
        """Show that the owner lives; notices that another process has taken the claim over."""
        try:
            os.utime(self.path)
            same = os.stat(self.path).st_ino == os.fstat(self._handle).st_ino
        except FileNotFoundError:
            same = False
        self._lost = self._lost or not same or _path(self.path.parent, self.name, self.generation + 1).exists()

    @property
    def lost(self) -> bool:
        """Whether this process was taken for dead, and another is at work now."""
        self.renew()
        return self._lost

    def release(self) -> None:
        """Give the claim up; what it was for may be claimed again."""
        if not self.lost:
            # downwards, so that what is left is never taken for the claim of a living owner
            for generation in range(self.generation, -1, -1):
                _path(self.path.parent, self.name, generation).unlink(missing_ok=True)
        os.close(self._handle)


class Claims:
    """The claims of one process; a thread renews them while the object is entered.

    Args:
        folder: shared with the other runners.
        lease: seconds without a sign of life after which an owner on another machine is taken for dead.
    """

    def __init__(self, folder: Path, lease: float = LEASE) -> None:
        self.folder, self._lease = folder, lease
        self._held: set[Claim] = set()
        self._stop = threading.Event()
        self._machine = this_machine()
        folder.mkdir(parents=True, exist_ok=True)
        self._clock = folder / f".clock-{self._machine}"
        self._beating = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._beating.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._beating.join()
        for claim in list(self._held):
            self.release(claim)
        self._clock.unlink(missing_ok=True)

    def take(self, name: str) -> Claim | None:
        """Claim something that nobody, or a dead process, holds; None where a live one does."""
        latest = self._latest(name)
        if latest is None:
            return self._create(name, 0)
        return self._create(name, latest + 1) if self._dead(_path(self.folder, name, latest)) else None

    def release(self, claim: Claim) -> None:
        """Give a claim up."""
        self._held.discard(claim)
        claim.release()

    def _latest(self, name: str) -> int | None:
        return max((g for n, g in _entries(self.folder) if n == name), default=None)

    def _create(self, name: str, generation: int) -> Claim | None:
        path = _path(self.folder, name, generation)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            return None
        locked = _lock(handle)
        owner = {"machine": self._machine, "host": platform.node(), "pid": os.getpid(), "locked": locked}
        os.write(handle, json.dumps(owner).encode())
        claim = Claim(path, name, generation, handle)
        self._held.add(claim)
        return claim

    def _dead(self, path: Path) -> bool:
        """Whether a claim's owner is gone: by its lock on this machine, by its silence on another."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False  # released this moment
        try:
            owner = json.loads(os.read(handle, 4096) or b"{}")
            if owner.get("machine") == self._machine and owner["locked"]:
                return _lock(handle)
            return self._now() - os.fstat(handle).st_mtime > self._lease
        finally:
            os.close(handle)

    def _now(self) -> float:
        """The time by the clock that stamps the claims: the file system's, which is no runner's own."""
        self._clock.touch()
        os.utime(self._clock)
        return self._clock.stat().st_mtime

    def _beat(self) -> None:
        while not self._stop.wait(self._lease / 4):
            for claim in list(self._held):
                with suppress(OSError):  # a file system that is away for a moment: the next beat tries again
                    claim.renew()


def claimed(folder: Path) -> set[str]:
    """Names that are claimed, by the living or the dead."""
    return {name for name, _ in _entries(folder)}


def held_by(folder: Path, pid: int) -> list[str]:
    """What a process of this machine claims, or claimed when it died."""
    found = []
    for name, generation in _entries(folder):
        with suppress(OSError, ValueError):
            owner = json.loads(_path(folder, name, generation).read_text())
            if (owner["machine"], owner["pid"]) == (this_machine(), pid):
                found.append(name)
    return found


def _entries(folder: Path) -> list[tuple[str, int]]:
    """Name and generation of every claim."""
    parts: list[tuple[str, str, str]] = []
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        parts = [entry.name.rpartition(".") for entry in found if not entry.name.startswith(".")]
    return [(name, int(generation)) for name, _, generation in parts if generation.isdigit()]


def _path(folder: Path, name: str, generation: int) -> Path:
    return folder / f"{name}.{generation}"


def _lock(handle: int) -> bool:
    """Whether the lock was to be had; it goes with the process."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
