"""What ``analyse predictions`` says of its figures."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.analysis.finished import differing, method_of
from holdfast.analysis.pair.compared import Compared
from holdfast.analysis.pair.paired_runs import Asked, Pair
from holdfast.bench.statistics import LEVEL, Paired
from holdfast.report.measures import MINUS, fixed, measure


def paragraph(pair: Pair, found: Compared) -> str:
    """The numbers that matter and how sure they are."""
    N, changes = len(pair.labels), found.changes
    who = " and ".join(f"{each.letter} ({method_of(each.record)}, {each.record.folder})" for each in (pair.a, pair.b))
    right = [f"{N - wrong} ({fixed(100 * (N - wrong) / N, 1)} %)" for wrong in changes.errors]
    differ = "differ beyond what chance gives" if changes.p < LEVEL else "do not differ beyond what chance gives"
    return " ".join(
        [
            f"Of the {N} {pair.part} pictures of {len(pair.classes)} classes that {who} share, A names {right[0]} "
            f"rightly and B {right[1]}.",
            f"B rectifies {len(changes.true)} of A's {changes.errors[0]} mistakes and makes {len(changes.false)} where "
            f"A is right: the two counts {differ} (exact McNemar test, {_probability(changes.p)}). {_reduction(found)}",
            _certainty(pair, found),
            _entropy(found),
            f"The expected calibration error is {measure('ece').text(found.errors[0])} for A and "
            f"{measure('ece').text(found.errors[1])} for B.",
        ]
    )


def notes(pair: Pair, found: Compared) -> list[str]:
    """What a reader must know beside the paragraph."""
    made = [
        f"The diagonal of C sums to S, the rest to N {MINUS} S by construction, with N = {len(pair.labels)} "
        "pictures: it adds nothing to S.",
        "There is one run of each: intervals and test cover the draw of the pictures, not that of seeds and training "
        "pictures.",
    ]
    others = differing([pair.a.record, pair.b.record])
    if others:
        made.append(f"The runs differ in {', '.join(others)} too, so what is found need not be the method's doing.")
    for asked in (pair.a, pair.b):
        made += _of_run(pair, asked, found)
    return made


def _of_run(pair: Pair, asked: Asked, found: Compared) -> Iterator[str]:
    N, total = len(asked.samples), len(asked.index.parts[pair.part])
    if total > N:
        yield f"{total - N} of {asked.letter}'s {total} {pair.part} pictures are not the other's too and are left out."
    if not asked.computed:
        yield f"{asked.letter}'s probabilities are those of its predictions.csv, which are rounded to six decimals."
    stored = asked.record.result.get(f"{pair.part}.accuracy")
    if total == N and isinstance(stored, int | float):
        right = N - found.changes.errors["AB".index(asked.letter)]
        # Less than half a picture apart is rounding.
        if abs(stored * N - right) >= 0.5:
            yield (
                f"{asked.letter} named {stored * N:.0f} pictures rightly when it was trained and {right} now: another "
                "device or precision may tip a few."
            )


def _reduction(found: Compared) -> str:
    share = found.changes.error_reduction
    if share is None:
        return "A makes no mistakes, so there is no error rate to reduce."
    if share < 0:
        return f"B's error rate is {fixed(-100 * share, 1)} % higher than A's."
    return f"That reduces the error rate by {fixed(100 * share, 1)} %."


def _certainty(pair: Pair, found: Compared) -> str:
    N = len(pair.labels)
    a, b = (each.total for each in found.certainties)
    sums = f"The probabilities of the true classes sum to S = {fixed(a, 1)} with A and {fixed(b, 1)} with B"
    return f"{sums}, per picture a change of {_signed(found.gain, (b - a) / N, 100, 1, ' points')}."


def _entropy(found: Compared) -> str:
    a, b = found.entropies
    return (
        f"The predictions' mean entropy is {fixed(a, 2)} bits with A and {fixed(b, 2)} bits with B, a change of "
        f"{_signed(found.clearing, b - a, 1, 2, ' bits')}."
    )


def _signed(found: Paired | None, mean: float, factor: float, digits: int, unit: str) -> str:
    plus = "+" if mean > 0 else ""
    shown = f"{plus}{fixed(factor * mean, digits)}{unit}"
    if found is None:
        return f"{shown} (a single picture, so no interval)"
    return f"{shown} (95 % interval {fixed(factor * found.low, digits)} to {fixed(factor * found.high, digits)})"


def _probability(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {fixed(p, 3)}"
