"""A run's folder: the names of its files, what state it is in, and writing that is whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

from holdfast.core.errors import HoldfastError, UsageError
from holdfast.data.atomic import atomic_writer
from holdfast.train.settings import Settings, read_yaml

State = Literal["empty", "interrupted", "finished"]
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RunFolder:
    """The files of one run.

    A run is finished once ``result.json`` is there; every other file is written before it, the report excepted.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.settings = self.path / "settings.yaml"
        self.split = self.path / "split.json"
        self.metrics = self.path / "metrics.csv"
        self.steps = self.path / "steps.csv"
        self.gradients = self.path / "gradients.csv"
        self.test_loss = self.path / "test_loss.csv"
        self.result = self.path / "result.json"
        self.predictions = self.path / "predictions.csv"
        self.model = self.path / "model.safetensors"
        self.preprocessing = self.path / "preprocessing.json"
        self.report = self.path / "report.html"
        self.onnx = self.path / "model.onnx"
        self.checkpoints = self.path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.logs = self.path / "logs"

    @property
    def state(self) -> State:
        """What an earlier command left."""
        if self.result.is_file():
            return "finished"
        return "interrupted" if self.settings.is_file() else "empty"

    def claim(self, settings: Settings) -> State:
        """Check that the folder is free, or of a run with these very settings.

        Raises:
            UsageError: it holds something else, or a run whose settings differ; the message names them.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; choose a folder with --out")
        if self.state == "empty":
            strange = [p.name for p in self.path.iterdir() if not p.name.startswith(".")] if self.path.exists() else []
            if strange:
                raise UsageError(f"{self.path} holds {strange[0]!r} and is no run folder; choose another with --out")
            return "empty"
        differing = differences(settings, read_yaml(self.settings)[0])
        if differing:
            raise UsageError(
                f"{self.path} is a run with other settings: {'; '.join(differing)}. Repeat it with those, or choose "
                "another folder with --out"
            )
        return self.state

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out; released even when this one is killed. A folder that stays empty goes again.

        Raises:
            UsageError: another process is at work in the folder.
        """
        made = [p for p in (self.path, *self.path.parents) if not p.exists()]
        file = self.path / ".lock"
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = file.open("wb")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"another process is at work in {self.path}; wait for it, or choose --out") from None
            for left_over in [*self.path.glob(".*.tmp"), *self.checkpoints.glob(".*.tmp")]:
                left_over.unlink(missing_ok=True)
            try:
                yield
            finally:
                if list(self.path.iterdir()) == [file]:  # refused before anything was written
                    file.unlink()
                    with suppress(OSError):  # a folder above may have come into use
                        for folder in made:
                            folder.rmdir()


def differences(settings: Settings, written: dict[str, Any]) -> list[str]:
    """The settings that make this another run than the one written down, as ``name: there … here …``."""
    here = settings.identity()
    there = Settings.of(**{"data": settings.data, **written}).identity()
    return [f"{name} is {there[name]} there and {here[name]} here" for name in here if there[name] != here[name]]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write into one line.

    Raises:
        HoldfastError: the disk is full, or the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise HoldfastError(
                f"no space left for {path}; what was there is untouched: free some space and repeat the command, "
                "which resumes from the last checkpoint"
            ) from error
        raise HoldfastError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears whole, and stays after a power cut, or not at all.

    Raises:
        HoldfastError: the disk is full, or the folder cannot be written to.
    """
    with writing(path):
        with atomic_writer(path) as handle:
            yield handle
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as handle:
        handle.write(text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
