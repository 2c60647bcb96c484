"""Worker processes on this machine, each of which lives over many runs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from holdfast.bench.claims import LEASE
from holdfast.bench.grid import Scope
from holdfast.bench.recipe import Recipe
from holdfast.core.errors import HoldfastError

DEATHS = 3
"""Times that a run may take its worker with it before it counts as failed."""
PATIENCE = 10.0
"""Seconds that workers have to end by themselves once they are told to."""


@dataclass(frozen=True)
class Task:
    """What every worker of a command needs to know.

    Attributes:
        recipe: what is compared.
        scope: which part of it, and where the data are.
        out: folder of the results.
        threads: of each run.
        lease: see ``holdfast.bench.claims``.
    """

    recipe: Recipe
    scope: Scope
    out: Path
    threads: int | None = 1
    lease: float = LEASE


def worker(task: Task, share: int) -> None:
    """A worker process: does runs until none is left, its parent is gone or a signal comes."""
    signal.signal(signal.SIGTERM, _stop)
    parent = os.getppid()
    if task.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(task.threads)  # before torch is imported
    from holdfast.bench.claims import Claims
    from holdfast.bench.plan import make_plan
    from holdfast.bench.work import Worker

    try:
        plan = make_plan(task.recipe, task.scope, task.out, writes=True)
        gpus = visible_gpus()
        if len(gpus) > 1 and not plan.grid.spreads():
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[share % len(gpus)]  # before torch looks for devices
        with Claims(plan.store.claims, task.lease) as claims:
            Worker(plan, claims, threads=task.threads, share=share, goes_on=lambda: os.getppid() == parent).work()
    except (HoldfastError, OSError) as error:
        sys.exit(f"worker {share}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def visible_gpus() -> Sequence[str]:
    """Names of the NVIDIA devices that this process may use, found without loading torch."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is not None:
        return [name for name in asked.split(",") if name]
    with contextlib.suppress(OSError):
        return [str(place) for place in range(len(os.listdir("/proc/driver/nvidia/gpus")))]
    return []


class Crew:
    """The workers of one command. A worker that dies is replaced, unless its run has cost too many.

    Args:
        task: what they do.
        size: how many there are.
        fail: writes down that a run, by its name, took its workers with it.
        held: names claimed by a process of this machine, by its number.
    """

    def __init__(
        self, task: Task, size: int, fail: Callable[[str, str], None], held: Callable[[int], list[str]]
    ) -> None:
        self._task, self._fail, self._held = task, fail, held
        self._context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self._processes = [self._begin(share) for share in range(size)]
        self._deaths: Counter[str] = Counter()
        self.errors: dict[int, str] = {}

    def _begin(self, share: int) -> BaseProcess:
        process = self._context.Process(target=worker, args=(self._task, share))
        process.start()
        return process

    def tend(self) -> bool:
        """Replace the dead; whether anybody is still at work."""
        for share, process in enumerate(self._processes):
            if process.is_alive() or process.exitcode == 0:
                continue
            code = process.exitcode
            assert code is not None
            if code < 0 and self._mourned(self._held(process.pid or 0), signal.Signals(-code).name):
                self._processes[share] = self._begin(share)
            else:
                self.errors[share] = f"worker {share} ended with code {code}"
        return any(process.is_alive() for process in self._processes)

    def _mourned(self, runs: list[str], died: str) -> bool:
        """Note what a dead worker held; whether another may take its place."""
        for name in runs or [""]:
            self._deaths[name] += 1
            if name and self._deaths[name] >= DEATHS:
                self._fail(name, f"its worker was killed {DEATHS} times ({died}); is the memory too small?")
        return self._deaths[""] < DEATHS

    def stop(self) -> None:
        """Have everybody end; their runs in flight can be resumed."""
        for process in self._processes:
            if process.is_alive():
                process.terminate()
        until = time.monotonic() + PATIENCE
        for process in self._processes:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


@contextlib.contextmanager
def crew(task: Task, size: int, fail: Callable[[str, str], None], held: Callable[[int], list[str]]) -> Iterator[Crew]:
    """Workers within a block; none outlives it."""
    with _terminated():
        made = Crew(task, size, fail, held)
        try:
            yield made
        finally:
            made.stop()


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM as an interruption within the block, so that the workers are told."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
