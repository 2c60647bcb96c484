import io

import pytest
from rich.console import Console

from holdfast.bench.claims import Claims
from holdfast.bench.runner import Shown
from holdfast.bench.status import Counts, Status, Watch
from holdfast.bench.work import Worker

from .conftest import figures


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (Status(4, {"a": Counts(1, 2, 0)}), "1 of 4 runs done, 2 running"),
        (Status(4, {"a": Counts(1, 0, 1)}, left=30.0), "1 of 4 runs done, 1 failed, about 30 s left"),
        (Status(2, {"a": Counts(1), "b": Counts(0, 0, 1)}, left=30.0), "1 of 2 runs done, 1 failed"),
    ],
)
def test_the_line(status, line):
    assert status.line == line


def test_a_look_counts_by_row_and_estimates_from_what_ended_meanwhile(recipe, planned):
    plan = planned(recipe, only="plain and reds")
    watch = Watch(plan)
    assert watch.look(()).left is None
    first, second = plan.trials()
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=figures).attempt(first)
    row = plan.store.read(first.name)
    plan.store.settle(first.name, {**row, "wall_seconds": 10.0})
    status = watch.look({second.name})
    assert status.rows == {"plain": Counts(done=1, running=1)}
    assert (status.total, status.left) == (5, 40.0)


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_shown(recipe, planned, terminal):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=60)
    with Shown(planned(recipe), console) as show:
        show.update()
        show.update()
    assert "0 of 30 runs done" in text.getvalue()
    assert ("method" in text.getvalue()) is terminal
