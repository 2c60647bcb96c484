"""Running a recipe: workers on this machine or over Ray, watched until all is settled."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live

from holdfast.bench.claims import claimed, held_by
from holdfast.bench.local import Task, crew
from holdfast.bench.plan import Plan, make_plan
from holdfast.bench.status import Status, Watch
from holdfast.core.errors import HoldfastError, UsageError

LOOK = 1.0
"""Least seconds between two looks at the folder."""
SHARE = 100
"""A look may take one part in so many of the time."""
SAID = 30.0
"""Seconds between lines where the output is no terminal."""


@dataclass(frozen=True)
class Machines:
    """Where runs are executed.

    Attributes:
        executor: ``local`` processes, or ``ray``.
        workers: of this command; None takes one per core, or, with Ray, what its machines hold.
        address: of the Ray cluster; None starts one here.
        gpus: devices of each run, or a fraction of one; Ray's alone.
    """

    executor: str = "local"
    workers: int | None = None
    address: str | None = None
    gpus: float = 0.0


def run_bench(task: Task, machines: Machines, console: Console) -> Status:
    """Do all runs of a recipe that are not settled; any number of commands may do so on one folder.

    Args:
        task: what, and where results go.
        machines: where.
        console: told how far it is.

    Returns:
        the state at the end.

    Raises:
        HoldfastError: nothing can be run, or all workers came to an end before the runs did.
        KeyboardInterrupt: stopped; the same command goes on.
    """
    plan = make_plan(task.recipe, task.scope, task.out, writes=True)
    _check(plan, machines)
    for what, reason in plan.left_out.items():
        console.print(f"not run: {what}: {reason}", soft_wrap=True, highlight=False, markup=False)
    show = Shown(plan, console)
    if not any(True for _ in plan.ready()):
        return show.look()
    with show:
        if machines.executor == "ray":
            from holdfast.bench.on_ray import run_on_ray

            run_on_ray(plan, task, machines, show.update)
        else:
            _run_locally(plan, task, machines.workers, show.update)
    return show.look()


def _check(plan: Plan, machines: Machines) -> None:
    """Refuse before hours of work what would fail in it."""
    from holdfast.core.compose import compose

    for cell in plan.grid.cells:
        try:
            compose(plan.grid.method(cell, plan.grid.first(cell)))
        except UsageError as error:
            raise UsageError(f"methods.{cell.row}: {error}") from error
    tuning = plan.grid.recipe.tuning
    for package, needed in (
        ("optuna", tuning is not None and tuning.by == "optuna"),
        ("ray", machines.executor == "ray"),
    ):
        if needed and importlib.util.find_spec(package) is None:
            raise UsageError(f"{package} is not installed: pip install 'holdfast[{package}]'")


def _run_locally(plan: Plan, task: Task, workers: int | None, update: Callable[[], None]) -> None:
    def fail(name: str, reason: str) -> None:
        jobs = {job.name: job for job in (*plan.trials(), *plan.final())}
        if name in jobs and not plan.store.settled(name):
            from holdfast.bench.work import described

            plan.store.settle(name, {**described(jobs[name]), "reason": reason})

    with crew(task, workers or cores(), fail, lambda pid: held_by(plan.store.claims, pid)) as team:
        while team.tend():
            update()
            time.sleep(LOOK / 4)
    if any(True for _ in plan.ready()) and team.errors:
        raise HoldfastError(f"{'; '.join(team.errors.values())}; what is done stays done, and the same command goes on")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Shown:
    """The state on a console: a live table on a terminal, else a line now and then.

    Args:
        plan: what is watched.
        console: where to.
    """

    def __init__(self, plan: Plan, console: Console) -> None:
        self._claims, self._watch, self._console = plan.store.claims, Watch(plan), console
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._next, self._said, self._line = 0.0, 0.0, ""

    def __enter__(self) -> Shown:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.stop()

    def look(self) -> Status:
        """The state now."""
        return self._watch.look(claimed(self._claims))

    def update(self) -> None:
        """Show the state, unless it was a moment ago."""
        now = time.monotonic()
        if now < self._next:
            return
        status = self.look()
        self._next = now + max(LOOK, SHARE * self._watch.cost)
        if self._live is not None:
            self._live.update(status.shown())
        elif now - self._said >= SAID and status.line != self._line:
            self._console.print(status.line, soft_wrap=True, highlight=False)
            self._said, self._line = now, status.line
