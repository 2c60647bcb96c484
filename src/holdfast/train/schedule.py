"""The course of the learning rates: a factor on each group's first rate, by step or by how validation goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from holdfast.train.settings import Settings

Kind = Literal["cosine", "constant", "step", "plateau"]
Row = dict[str, float]


def factor(kind: Kind, step: int, total: int, *, decay_at: Sequence[int], decay: float, cuts: int) -> float:
    r"""The factor on every rate before the optimiser's step of this number, counted from 0.

    .. math::
        \tfrac12(1 + \cos(\pi t/T)), \qquad 1, \qquad d^{|\{s \in S: s \le t\}|}, \qquad d^c

    for ``cosine``, ``constant``, ``step`` and ``plateau``; *where* t is the step, T ``total``, S ``decay_at``, d
    ``decay`` and c the cuts so far.
    """
    if kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(step, total) / total))
    if kind == "step":
        return decay ** sum(at <= step for at in decay_at)
    return decay**cuts if kind == "plateau" else 1.0


def plateaus(rows: Sequence[Row], patience: int) -> int:
    """How often validation has stopped progressing, from the rows of all epochs so far.

    A plateau is reached when ``patience`` validations in a row have brought neither a lower ``val.nll`` nor a higher
    ``val.accuracy`` than the best of all before them; counting begins anew after it. A function of the rows alone,
    so that a resumed run cuts where the uninterrupted one does.

    Args:
        rows: figures of each epoch; epochs without validation do not count.
        patience: at least 1.
    """
    best_nll, best_accuracy = math.inf, -math.inf
    reached = without = 0
    for row in rows:
        if "val.nll" not in row:
            continue
        better = row["val.nll"] < best_nll or row["val.accuracy"] > best_accuracy
        best_nll, best_accuracy = min(best_nll, row["val.nll"]), max(best_accuracy, row["val.accuracy"])
        without = 0 if better else without + 1
        if without == patience:
            reached, without = reached + 1, 0
    return reached


def in_words(settings: Settings) -> str:
    """The schedule with its numbers."""
    s = settings
    if s.schedule == "step":
        return f"step: × {s.decay_factor:g} after {', '.join(map(str, s.decay_at or ()))} steps"
    if s.schedule == "plateau":
        return (
            f"plateau: × {s.decay_factor:g} after {s.plateau} validations without progress, {s.cuts} times, then stop"
        )
    return s.schedule
