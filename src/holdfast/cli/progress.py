"""A bar for work that takes long, where somebody watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.data.examine import Progress


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """A bar on the error stream while the block lasts, and none where that is no terminal.

    Args:
        what: is counted, such as ``pictures``.

    Yields:
        what is to be called with the number done and the number in all.
    """
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn())
    times = (progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
    with progress.Progress(*columns, *times, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
