"""How far a comparison is: done, running, failed, time left."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from holdfast.bench.grid import Job
from holdfast.bench.plan import Plan
from holdfast.train.duration import in_words

RECENT = 20
"""Runs whose time the estimate is made of."""


@dataclass
class Counts:
    """Runs of one row by their state."""

    done: int = 0
    running: int = 0
    failed: int = 0


@dataclass
class Status:
    """A look at all runs.

    Attributes:
        total: runs in all, those included whose values are not known yet.
        rows: counts by row.
        left: seconds, estimated; None before the first run ended.
    """

    total: int
    rows: dict[str, Counts] = field(default_factory=dict)
    left: float | None = None

    def sum(self, state: str) -> int:
        """Runs in a state over all rows."""
        return sum(getattr(counts, state) for counts in self.rows.values())

    @property
    def line(self) -> str:
        """All in one line."""
        said = [f"{self.sum('done')} of {self.total} runs done"]
        said += [f"{self.sum(state)} {state}" for state in ("running", "failed") if self.sum(state)]
        if self.left is not None and self.sum("done") + self.sum("failed") < self.total:
            said.append(f"about {in_words(self.left)} left")
        return ", ".join(said)

    def shown(self) -> Group:
        """A row of counts for each method, and the line."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("method")
        for state in ("done", "running", "failed"):
            table.add_column(state, justify="right")
        for row, counts in self.rows.items():
            table.add_row(row, str(counts.done), str(counts.running or ""), str(counts.failed or ""))
        return Group(table, Text(self.line))


class Watch:
    """Looks at a plan's folder from time to time.

    Args:
        plan: what is watched.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known = plan.store.finished()
        self._times: list[float] = []
        self.cost = 0.0

    def look(self, claimed: Iterable[str]) -> Status:
        """The state of all runs now; ``cost`` says how long it took to find out."""
        since = time.monotonic()
        store = self._plan.store
        finished, failed, running = store.finished(), store.failed(), set(claimed)
        status = Status(self._plan.unknown(), {cell.row: Counts() for cell in self._plan.grid.cells})
        seen: set[str] = set()
        for job in self._jobs():
            if job.name in seen:  # two rows may come to the same run
                continue
            seen.add(job.name)
            status.total += 1
            counts = status.rows.setdefault(job.cell.row, Counts())
            counts.done += job.name in finished
            counts.failed += job.name in failed
            counts.running += job.name in running - finished - failed
        self._times += self._measured(finished - self._known)
        self._known = finished
        status.left = self._left(status)
        self.cost = time.monotonic() - since
        return status

    def _jobs(self) -> Iterable[Job]:
        yield from self._plan.trials()
        yield from self._plan.final()

    def _measured(self, names: set[str]) -> list[float]:
        rows = [self._plan.store.read(name) for name in names]
        return [row["wall_seconds"] for row in rows if row is not None]

    def _left(self, status: Status) -> float | None:
        if not self._times:
            return None
        open_runs = status.total - status.sum("done") - status.sum("failed")
        return statistics.mean(self._times[-RECENT:]) * open_runs / max(1, status.sum("running"))


def failures(plan: Plan) -> Counter[str]:
    """Reasons of the failed runs with the row and column of one each, and how often each stands."""
    failed = plan.store.failed()
    jobs = {job.name: job for job in (*plan.trials(), *plan.final()) if job.name in failed}
    reasons = ((job, plan.store.reason(name)) for name, job in jobs.items())
    return Counter(f"{job.cell.row}, {job.cell.column}: {reason}" for job, reason in reasons)
