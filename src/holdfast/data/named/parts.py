"""From official lists to the parts of a named split: a function of file names and seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from holdfast.core.errors import DataError
from holdfast.data.named.catalogue import UNKNOWN, Entry, Rule, Split
from holdfast.data.named.readers import Listed
from holdfast.data.portion import Portion

Parts = dict[str, list[tuple[str, int]]]
"""part → pairs of path and label, sorted by path."""


def make_parts(entry: Entry, listed: Listed) -> tuple[tuple[str, ...], Parts]:
    """The classes and the parts of a split, before validation is held out.

    Raises:
        DataError: a class is too small, or classes, counts or checksum are not those of the manifest.
    """
    split = entry.split
    if split.largest_classes is not None:
        listed = _largest(listed, split.largest_classes)
    parts: Parts = {part: _part(split, rule, listed) for part, rule in split.parts.items()}
    if len(listed.classes) != entry.classes:
        raise DataError(
            f"{entry.name} has {entry.classes} classes, the lists found have {len(listed.classes)}; unpack its "
            "archive again"
        )
    for part, expected in split.counts.items():
        if expected is not None and len(parts[part]) != expected:
            raise DataError(
                f"{entry.name}: expected {expected} pictures in {part}, the lists found give {len(parts[part])}; "
                "unpack its archive again"
            )
    found = checksum(listed.classes, parts)
    if split.sha256 not in (UNKNOWN, found):
        raise DataError(f"{entry.name}: the list of pictures has checksum {found}, expected {split.sha256}")
    return listed.classes, parts


def checksum(classes: tuple[str, ...], parts: Mapping[str, Iterable[tuple[str, int]]]) -> str:
    """SHA-256 of a split's list: lines of part, class and path, sorted, joined by line feeds, in UTF-8."""
    lines = sorted(f"{part}\t{classes[label]}\t{path}" for part, pairs in parts.items() for path, label in pairs)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def hold_out(parts: Parts, fraction: float, classes: tuple[str, ...], *, seed: int) -> Parts:
    """Draw a validation part out of the training part: ``round(fraction · n)`` pictures of each class of n.

    At least one, and at least one is left. A part that is there stays as it is; with the fraction 0 none is made.

    Args:
        parts: with a training part.
        fraction: share of each class, in [0, 1).
        classes: names, for messages.
        seed: of the draw.

    Raises:
        DataError: a class has one picture.
    """
    if "val" in parts or not fraction:
        return parts
    drawn: list[tuple[str, int]] = []
    rest: list[tuple[str, int]] = []
    for label, paths in _by_class(parts["train"]).items():
        if len(paths) < 2:
            raise DataError(
                f"class {classes[label]!r} has one training picture; at least 2 are needed to hold out val: ask for "
                "more, or set val_fraction to 0"
            )
        count = min(max(1, round(fraction * len(paths))), len(paths) - 1)
        order = _ordered(paths, "val", seed)
        drawn += [(path, label) for path in order[:count]]
        rest += [(path, label) for path in order[count:]]
    return {**parts, "train": sorted(rest), "val": sorted(drawn)}


def take(parts: Parts, whole: Parts, portion: Portion, classes: tuple[str, ...], *, seed: int) -> Parts:
    """Keep a portion of the training part; a smaller portion lies within a larger one.

    Args:
        parts: after validation was held out.
        whole: before.
        portion: how much of each class.
        classes: names, for messages.
        seed: of the order.

    Raises:
        DataError: a class has fewer pictures.
    """
    counts = {label: len(paths) for label, paths in _by_class(whole["train"]).items()}
    kept: list[tuple[str, int]] = []
    for label, paths in _by_class(parts["train"]).items():
        wanted = portion.of(classes[label], counts[label], len(paths))
        kept += [(path, label) for path in _ordered(paths, "portion", seed)[:wanted]]
    return {**parts, "train": sorted(kept)}


def _part(split: Split, rule: Rule, listed: Listed) -> list[tuple[str, int]]:
    pairs = [pair for official in rule.of for pair in listed.parts[official]]
    if rule.places is None:
        return sorted(pairs)
    first, last = rule.places
    chosen: list[tuple[str, int]] = []
    for label, paths in _by_class(pairs).items():
        if len(paths) < last:
            raise DataError(
                f"class {listed.classes[label]!r} has {len(paths)} pictures where {last} are needed; unpack its "
                "archive again"
            )
        order = sorted(paths) if split.order == "name" else _ordered(paths, "split", split.seed)
        chosen += [(path, label) for path in order[first:last]]
    return sorted(chosen)


def _largest(listed: Listed, count: int) -> Listed:
    (part,) = listed.parts
    by_class = _by_class(listed.parts[part])
    order = sorted(by_class, key=lambda label: (-len(by_class[label]), listed.classes[label]))[:count]
    kept = sorted(order, key=lambda label: listed.classes[label])
    pairs = [(path, new) for new, label in enumerate(kept) for path in by_class[label]]
    return Listed(tuple(listed.classes[label] for label in kept), {part: pairs})


def _by_class(pairs: Iterable[tuple[str, int]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for path, label in pairs:
        found.setdefault(label, []).append(path)
    return dict(sorted(found.items()))


def _ordered(paths: Iterable[str], purpose: str, seed: int) -> list[str]:
    """An order that neither the file system nor the other pictures decide: by a hash of purpose, seed and path."""

    def rank(path: str) -> tuple[str, str]:
        return hashlib.sha256(f"{purpose}/{seed}/{path}".encode(errors="surrogateescape")).hexdigest(), path

    return sorted(paths, key=rank)
