"""What a comparison says, in sentences: which method, over what, how sure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.bench.statistics import LEVEL
from holdfast.report.groups import Group
from holdfast.report.measures import Measure, counted


def settled(group: Group) -> bool:
    """Whether the gain is beyond chance, all comparisons allowed for."""
    return group.holm is not None and group.holm < LEVEL


def summary(named: Sequence[tuple[str, Group]], what: Measure) -> Iterator[str]:
    """What is settled and what is not, of groups with the names that the sentences give them."""
    against = [(name, group) for name, group in named if group.against is not None]
    compared = [(name, group) for name, group in against if group.holm is not None]
    if against and not compared:
        yield "Without two seeds shared with the baseline nothing is settled: add seeds to see how far chance reaches."
    told: dict[str, list[str]] = {}
    for name, group in compared:
        if settled(group):
            told.setdefault(_than(group, what), []).append(name)
    if told:
        said = "; ".join(f"{how}: {', '.join(names)}" for how, names in told.items())
        yield f"Beyond chance, with {counted(len(compared), 'comparison')} allowed for: {said}."
    opened: dict[str, list[str]] = {}
    for name, group in compared:
        if not settled(group):
            opened.setdefault(str(group.against), []).append(name)
    for base, names in opened.items():
        yield f"Not told apart from {base} by these runs: {', '.join(names)}."


def _direction(group: Group, what: Measure) -> str:
    """``better``, ``worse`` or ``different`` where the interval excludes zero, else ``open``."""
    if group.gain is None or group.gain.interval is None:
        return "open"
    low, high = group.gain.interval
    if low <= 0 <= high:
        return "open"
    if what.higher_is_better is None:
        return "different"
    return "better" if (low > 0) == what.higher_is_better else "worse"


def _than(group: Group, what: Measure) -> str:
    direction = _direction(group, what)
    return f"{direction} {'from' if direction == 'different' else 'than'} {group.against}"


def verdict(group: Group, what: Measure) -> str:
    """How sure a gain is, in words."""
    gain = group.gain
    if gain is None:
        return f"{group.name} shares no seed with {group.against}: no gain can be given."
    unit = f" {what.gain_unit}" if what.gain_unit else ""
    shown = f"{what.signed(gain.mean)}{unit}"
    if gain.interval is None:
        return f"{group.name}: {shown} in one pair of runs, which cannot tell a gain from chance."
    low, high = gain.interval
    shown += f" (95 % interval {what.signed(low)} to {what.signed(high)}, {gain.pairs} pairs of runs)"
    if _direction(group, what) == "open":
        return f"{group.name}: {shown}. The interval includes zero: these runs do not settle whether it helps or harms."
    if settled(group):
        return f"{group.name} is {_than(group, what)}: {shown}, also after Holm's correction."
    return (
        f"{group.name}: {shown}. Taken by itself {_than(group, what)}, but not after Holm's "
        "correction: a hint, no proof."
    )


def caution(comparisons: int, of: str) -> str:
    """What the intervals and the correction cover; ``of`` is where the comparisons stand, such as ``this page``."""
    return (
        "A gain is the mean difference between runs with the same seed; its interval is Student's, for that one "
        f"comparison by itself. Holm's correction takes the {counted(comparisons, 'comparison')} of {of} together. "
        "Both cover what changes with the seed, not other data, networks or strengths."
    )
