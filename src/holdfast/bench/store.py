"""The folder of a comparison's results: what is in it, and what a finished or a failed run leaves.

``runs/NAME.json`` holds a finished run's figures and everything that decided them, ``failed/NAME.json`` the reason of a
failure, ``asked/`` the recipe and what was asked of it, ``sources/`` what the data and the weights were, ``claims/``
who is at work, ``work/`` runs in progress. Whatever is written appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from holdfast.core.errors import DataError, UsageError
from holdfast.train.run_folder import write_json

FORMAT = 1
"""Of the JSON files; another number is another program's."""


def check_results(folder: Path) -> None:
    """See that a folder is one of results.

    Raises:
        DataError: there is none, or no run has ended in it.
    """
    if not (folder / "runs").is_dir():
        what = "has no runs in it" if folder.is_dir() else "does not exist"
        raise DataError(f"{folder} {what}; expected what 'holdfast bench run RECIPE' writes there")


class Store:
    """Results below one folder; several processes may use it at once.

    Args:
        root: the folder; made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.claims, self.work = self.root / "claims", self.root / "work"
        self._runs, self._failed = self.root / "runs", self.root / "failed"

    def settled(self, name: str) -> bool:
        """Whether a run has ended, well or badly."""
        return self._file(self._runs, name).is_file() or self._file(self._failed, name).is_file()

    def finished(self) -> set[str]:
        """Names of the finished runs."""
        return _stems(self._runs)

    def failed(self) -> set[str]:
        """Names of the failed runs."""
        return _stems(self._failed)

    def read(self, name: str) -> dict[str, Any] | None:
        """What a finished run left; None where it is not finished."""
        return _read(self._file(self._runs, name))

    def reason(self, name: str) -> str | None:
        """Why a run failed; None where it did not."""
        content = _read(self._file(self._failed, name))
        return None if content is None else str(content["reason"])

    def settle(self, name: str, content: dict[str, Any]) -> None:
        """Write down how a run ended, badly where ``content`` has a ``reason``, and remove what it left in progress."""
        failed = "reason" in content
        write_json(self._file(self._failed if failed else self._runs, name), {"format": FORMAT, **content})
        if not failed:
            self._file(self._failed, name).unlink(missing_ok=True)
        self.clear(name)

    def forgive(self, names: Iterable[str]) -> None:
        """Forget these runs' failures, so that they are tried again."""
        for name in names:
            self._file(self._failed, name).unlink(missing_ok=True)

    def run_folder(self, name: str, generation: int) -> Path:
        """Where a run of this claim works: what an earlier owner left there is moved, so that it cannot interfere."""
        mine = self.work / f"{name}.{generation}"
        for left in sorted(self.work.glob(f"{name}.*")):
            if left != mine:
                with suppress(OSError):
                    left.rename(mine)
        return mine

    def clear(self, name: str) -> None:
        """Remove what a run in progress has left."""
        for folder in self.work.glob(f"{name}.*"):
            shutil.rmtree(folder, ignore_errors=True)

    @cached_property
    def sources(self) -> Sources:
        """What data and weights were when the first run began."""
        return Sources(self.root / "sources")

    @staticmethod
    def _file(folder: Path, name: str) -> Path:
        return folder / f"{name}.json"


class Sources:
    """Fingerprints of data and weights by their place in the recipe, the same for all runners of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, place: str) -> str:
        """The fingerprint noted for a place."""
        found = self.get(place)
        if found is None:
            raise KeyError(place)
        return found

    def get(self, place: str) -> str | None:
        """The fingerprint noted for a place, if any."""
        content = _read(self._file(place))
        return None if content is None else str(content["sha256"])

    def note(self, place: str, found: str) -> None:
        """Note a fingerprint, or compare it with the one that was noted.

        Raises:
            UsageError: they differ.
        """
        before = self.get(place)
        if before is None:
            write_json(self._file(place), {"place": place, "sha256": found})
        elif before != found:
            raise UsageError(
                f"{place} is not what it was when {self._folder.parent} was begun; choose another folder with --out"
            )

    def _file(self, place: str) -> Path:
        name = place.replace("/", "%")
        if len(name.encode()) > 200:  # file systems take 255 bytes
            name = hashlib.sha256(name.encode()).hexdigest()
        return self._folder / f"{name}.json"


def _read(file: Path) -> dict[str, Any] | None:
    """The content of a file of ours; None where there is none.

    Raises:
        UsageError: it is not one of ours.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the result {file} ({error}); remove it, and its run is repeated") from error
    if isinstance(content, dict) and content.get("format", FORMAT) == FORMAT:
        return content
    raise UsageError(f"{file} is no result of this version's; choose another folder with --out")


def _stems(folder: Path) -> set[str]:
    return set(_json_files(folder))


def _json_files(folder: Path) -> Iterator[str]:
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        for entry in found:
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                yield entry.name.removesuffix(".json")
