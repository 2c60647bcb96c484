"""One worker: takes runs that nobody is at, does them, writes down how they ended."""

from __future__ import annotations

import errno
import gc
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from holdfast.bench.claims import Claims
from holdfast.bench.grid import Job, recorded
from holdfast.bench.plan import Plan
from holdfast.bench.tuning import Ask
from holdfast.core.errors import HoldfastError
from holdfast.train.result import Result
from holdfast.train.run_folder import RunFolder, write_text
from holdfast.train.settings import Settings

Fit = Callable[[Settings], dict[str, Any]]
"""Trains and measures: settings, the folder among them, to figures."""

POLL = 1.0
"""Seconds between looks for work, while the others' runs decide what comes next."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def fit(settings: Settings) -> dict[str, Any]:
    """The figures of one run, trained in its folder from where it was.

    Several devices or processes are Lightning's to start, which repeats the command of the process: such a run is a
    command of its own.

    Raises:
        HoldfastError: the run failed in a way that its message says.
    """
    if settings.devices == 1:
        from holdfast.train.fit import run

        return run(settings, report=False).figures
    folder = RunFolder(settings.folder())
    asked = folder.path.with_name(f"{folder.path.name}.yaml")
    write_text(asked, settings.to_yaml({}))
    words = ["train", "--settings", str(asked), "--out", str(folder.path), "--progress", "off"]
    command = [sys.executable, "-m", "holdfast", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        asked.unlink()
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        raise HoldfastError(lines[-1].removeprefix("error: "))
    return Result.read(folder.path).figures


class Worker:
    """Does runs of a plan until none is left.

    Args:
        plan: what is to be done, and the folder of results.
        claims: of this process.
        fit: trains and measures one run.
        threads: of each run.
        share: place among several workers, so that they begin at different runs.
        goes_on: asked before each run; no ends the work.
    """

    def __init__(
        self,
        plan: Plan,
        claims: Claims,
        *,
        fit: Fit = fit,
        threads: int | None = 1,
        share: int = 0,
        goes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._plan, self._claims, self._fit, self._threads = plan, claims, fit, threads
        self._share, self._goes_on = share, goes_on
        self._proposals = Proposals(plan, claims)

    def work(self) -> None:
        """Do what can be done, wait for what others do, until all is settled.

        Raises:
            KeyboardInterrupt: stopped by a signal; the run in flight can be resumed.
            OSError: the disk is full.
        """
        while self._goes_on():
            todo = list(self._plan.ready())
            if not todo:
                return
            if not self._pass(todo) and self._goes_on():
                time.sleep(POLL)

    def _pass(self, todo: list[Job | Ask]) -> bool:
        """Go once through what could be done; whether anything was."""
        done = False
        start = self._share % len(todo)
        for item in todo[start:] + todo[:start]:
            if not self._goes_on():
                break
            for job in self._proposals.runs(item):
                done = self.attempt(job) or done
        return done

    def attempt(self, job: Job) -> bool:
        """Do a run, unless it is settled or another process is at it; whether it was done here."""
        store = self._plan.store
        if store.settled(job.name):
            return False
        claim = self._claims.take(job.name)
        if claim is None:
            return False
        try:
            if store.settled(job.name):
                return False
            folder = store.run_folder(job.name, claim.generation)
            ended = measured(executed(job.settings, folder, self._threads), self._fit)
            if not claim.lost:
                store.settle(job.name, {**described(job), **ended})
            return True
        finally:
            self._claims.release(claim)


class Proposals:
    """Turns what is ready into runs: for an open trial, Optuna is asked first.

    Args:
        plan: what is to be done.
        claims: of this process.
    """

    def __init__(self, plan: Plan, claims: Claims) -> None:
        self._plan, self._claims = plan, claims

    def runs(self, item: Job | Ask) -> list[Job]:
        """The runs of an item; none of a trial that another process is asking for."""
        if not isinstance(item, Ask):
            return [item]
        tuner, cell = self._plan.tuner, item.cell
        study = tuner.study(cell)
        claim = self._claims.take(f"{study}-ask")
        if claim is None:
            return []
        try:
            if tuner.trials.read(study, item.number) is None:
                tuner.tell(cell)
                tuner.trials.ask(study, item.number, self._plan.grid.recipe.search_of(cell.row))
        finally:
            self._claims.release(claim)
        trial = list(tuner.jobs(cell))[item.number]
        return [] if isinstance(trial, Ask) else trial


def measured(settings: Settings, fit: Fit) -> dict[str, Any]:
    """How a run ended: its figures and times, or the reason of its failure.

    Raises:
        OSError: the disk is full, which is no fault of the run.
        HoldfastError: so it is too.
    """
    began, since = time.time(), time.perf_counter()
    content = {"host": platform.node(), "began": round(began, 1)}
    try:
        figures = fit(settings)
    except Exception as error:
        if _disk_is_full(error):
            raise
        gc.collect()
        return {**content, **failure(error)}
    kept = {name: value for name, value in figures.items() if settings.measure_test or not name.startswith("test.")}
    ended = {**content, "figures": kept, "wall_seconds": round(time.perf_counter() - since, 3)}
    curve = Result(settings.folder(), figures).curve()
    return {**ended, **({"curve": curve} if curve else {})}


def executed(settings: Settings, folder: Path, threads: int | None) -> Settings:
    """A run's settings with what is the runner's: its folder, its threads, no words and no event files."""
    changes: dict[str, Any] = {"out": folder, "tensorboard": False, "progress": "off"}
    if settings.threads is None:
        changes["threads"] = threads
    if settings.cache == "disk" and settings.cache_dir is None:
        changes["cache_dir"] = folder.parents[1] / "cache"
    return settings.model_copy(update=changes)


def described(job: Job) -> dict[str, Any]:
    """What a result says of its run."""
    return {
        "stage": job.stage,
        "row": job.cell.row,
        "column": job.cell.column,
        "seed": job.seed,
        "values": dict(job.values),
        "settings": recorded(job.settings),
    }


def failure(error: BaseException) -> dict[str, str]:
    """The reason in one line; where it is no error of ours, the way to it too."""
    line = " ".join(str(error).split()) or "no message"
    if isinstance(error, HoldfastError):
        return {"reason": line}
    return {"reason": f"{type(error).__name__}: {line}", "traceback": "".join(traceback.format_exception(error))}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _disk_is_full(error: BaseException) -> bool:
    """No fault of the run: the next one would fail just the same."""
    return any(isinstance(each, OSError) and each.errno in _FULL for each in _chain(error))
