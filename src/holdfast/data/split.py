"""Stratified parts and nested subsets, as a function of the seed and the pictures' content alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from holdfast.core.errors import DataError, UsageError
from holdfast.data.index import Sample

ByClass = Mapping[str, Sequence[Sample]]


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Raise UsageError unless both fractions leave something for every part."""
    if not (0 < val_fraction < 1 and 0 <= test_fraction < 1 and val_fraction + test_fraction < 1):
        raise UsageError(
            "expected 0 < val_fraction, 0 <= test_fraction and a sum below 1, "
            f"found val_fraction={val_fraction} and test_fraction={test_fraction}"
        )


def hold_out(
    by_class: ByClass, fractions: Mapping[str, float], *, seed: int
) -> tuple[dict[str, list[Sample]], dict[str, list[Sample]]]:
    """Draw parts out of each class.

    Of n distinct pictures of a class, ``round(fraction · n)`` go to a part, at least one; copies of a picture
    stay together. The order of drawing is that of a hash of seed, class and content, so that neither the
    directory's order nor other classes matter.

    Args:
        by_class: samples by class name.
        fractions: share of each part to draw, for instance ``{"val": 0.2, "test": 0.2}``.
        seed: another seed draws another split.

    Returns:
        the drawn samples by part, and what remains by class.

    Raises:
        DataError: a class has too few distinct pictures to leave one for training.
    """
    drawn: dict[str, list[Sample]] = {part: [] for part in fractions}
    rest: dict[str, list[Sample]] = {}
    for name, samples in by_class.items():
        copies: dict[str, list[Sample]] = {}
        for sample in samples:
            copies.setdefault(sample.digest, []).append(sample)
        order = sorted(copies, key=lambda digest: _rank("split", seed, name, digest))
        if len(order) <= len(fractions):
            raise DataError(
                f"class {name!r} has {len(order)} distinct picture(s); at least {len(fractions) + 1} are needed to "
                f"hold out {' and '.join(fractions)}: add pictures, or make the parts yourself as folders"
            )
        start = 0
        for place, (part, fraction) in enumerate(fractions.items(), start=1):
            left_for_others = len(fractions) - place + 1
            stop = min(start + max(1, round(fraction * len(order))), len(order) - left_for_others)
            drawn[part] += [sample for digest in order[start:stop] for sample in copies[digest]]
            start = stop
        rest[name] = [sample for digest in order[start:] for sample in copies[digest]]
    return drawn, rest


def nested_subset(by_class: ByClass, count: int | Mapping[str, int], *, seed: int) -> dict[str, list[Sample]]:
    """Take so many samples of each class; a smaller number's subset lies within a larger one's.

    Copies of a picture come last.

    Args:
        by_class: samples by class name.
        count: the same number for all classes, or one for each.
        seed: another seed draws another subset.

    Raises:
        UsageError: a number is below one.
        DataError: a class has fewer samples.
    """
    counts = dict.fromkeys(by_class, count) if isinstance(count, int) else count
    if min(counts.values()) < 1:
        raise UsageError(f"expected samples_per_class of at least 1, found {min(counts.values())}")
    chosen: dict[str, list[Sample]] = {}
    for name, samples in by_class.items():
        if len(samples) < counts[name]:
            raise DataError(
                f"class {name!r} has {len(samples)} training picture(s), fewer than samples_per_class={counts[name]}; "
                "ask for fewer or add pictures"
            )
        seen: dict[str, int] = {}
        ranked: list[tuple[int, str, Sample]] = []
        for sample in sorted(samples, key=lambda s: s.path):
            copy = seen.get(sample.digest, 0)
            seen[sample.digest] = copy + 1
            ranked.append((copy, _rank("subset", seed, name, sample.digest), sample))
        chosen[name] = [sample for *_, sample in sorted(ranked, key=lambda entry: entry[:2])[: counts[name]]]
    return chosen


def _rank(purpose: str, seed: int, name: str, digest: str) -> str:
    return hashlib.sha256(f"{purpose}/{seed}/{name}/{digest}".encode(errors="surrogateescape")).hexdigest()
