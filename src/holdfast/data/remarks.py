"""What a user should know about the pictures before training on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from holdfast.data.index import PARTS, FolderIndex, Sample

IMBALANCE = 3.0
"""Largest class over smallest, from which on the classes are called imbalanced."""
MOST_LINES = 20


def remarks(index: FolderIndex) -> list[str]:
    """Lines on copies across parts, on copies with two labels and on imbalance."""
    found = [f"{kind}: {first.path} and {second.path}" for kind, first, second in duplicates(index)]
    rest = len(found) - MOST_LINES
    if rest > 0:
        found = [*found[:MOST_LINES], f"and {rest} more pictures that occur twice"]
    return found + list(_imbalance(index))


def duplicates(index: FolderIndex) -> list[tuple[str, Sample, Sample]]:
    """Pairs of files with the same content that spoil a measurement or a label.

    Returns:
        what is wrong, the first sample and the second: training pictures that are in val or test too, pictures
        in both val and test, and pictures with two labels within one part.
    """
    places: dict[str, list[tuple[str, Sample]]] = {}
    for part in PARTS:
        for sample in index.parts.get(part, ()):
            places.setdefault(sample.digest, []).append((part, sample))
    return [found for copies in places.values() if len(copies) > 1 for found in _compare(copies, index.classes)]


def _compare(copies: Sequence[tuple[str, Sample]], classes: Sequence[str]) -> Iterator[tuple[str, Sample, Sample]]:
    firsts: dict[str, Sample] = {}
    for part, sample in copies:
        for other_part, other in firsts.items():
            if other_part != part:
                yield f"the same picture in {other_part} and {part}", other, sample
            elif other.label != sample.label:
                labels = f"{classes[other.label]!r} and {classes[sample.label]!r}"
                yield f"the same picture labelled {labels} in {part}", other, sample
        firsts.setdefault(part, sample)


def _imbalance(index: FolderIndex) -> Iterator[str]:
    counts: Mapping[str, int] = dict(zip(index.classes, index.counts("train"), strict=True))
    small = min(counts, key=lambda name: counts[name])
    large = max(counts, key=lambda name: counts[name])
    if counts[large] >= IMBALANCE * counts[small]:
        yield (
            f"imbalanced classes: {counts[large]} training pictures of {large!r}, {counts[small]} of {small!r}; "
            "balanced class weights make up for it"
        )
