"""A folder of images: find its classes and parts, read every file, split it, say what is odd."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.core.errors import DataError
from holdfast.data.examine import Examined, Progress, examine
from holdfast.data.frame import Side
from holdfast.data.index import PARTS, Decoded, FolderIndex, Sample, Skipped, class_weights
from holdfast.data.manifest import load_split, save_split
from holdfast.data.portion import Portion
from holdfast.data.remarks import remarks
from holdfast.data.split import ByClass, check_fractions, hold_out, nested_subset
from holdfast.data.walk import UNSPLIT, Files, Tree, read_tree

__all__ = ["PARTS", "FolderIndex", "Sample", "Skipped", "class_weights", "load_split", "save_split", "scan"]

Samples = dict[str, dict[str, list[Sample]]]
"""part → class → samples."""


def scan(
    root: str | Path,
    *,
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    samples_per_class: int | None = None,
    portion: Portion | None = None,
    split_seed: int | None = None,
    val_within: bool = False,
    strict: bool = False,
    side: Side | None = None,
    known: Collection[str] = (),
    progress: Progress | None = None,
) -> FolderIndex:
    """Read a data folder.

    It holds ``train``, ``val`` and ``test`` folders of class folders, or some of them, or class folders alone.
    What is missing is held out, stratified, by ``seed``: val and test of a folder of classes, val beside train
    and test. A missing test part beside train and val stays missing. The split depends on the pictures' content,
    class and seed only.

    Args:
        root: the data folder.
        seed: of the subset, and of the split.
        val_fraction: share of each class held out for validation where there is no val folder.
        test_fraction: share of each class held out for testing where only class folders exist; 0 for none.
        samples_per_class: this many training pictures of each class; the other parts stay whole.
        portion: a share or a number of the training pictures, instead of ``samples_per_class``.
        split_seed: of the split alone, so that several subsets share one test part; None takes ``seed``.
        val_within: hold validation pictures out of the subset by ``seed``, and leave a val folder alone.
        strict: an unusable file is an error instead of being skipped.
        side: keep the decoded pictures, shorter side resized to this or framed, for a store of the same side.
        known: digests of pictures decoded before, which are not decoded again (see ``cached_digests``).
        progress: called with the number of pictures decoded and the number in all.

    Raises:
        UsageError: fractions or ``samples_per_class`` out of range.
        DataError: no such folder, no class folders, an empty class, one class only, a class missing in a part or
            in no training part, too few pictures, nothing readable, or an unusable file with ``strict``.
    """
    check_fractions(val_fraction, test_fraction)
    tree = Tree(Path(root))
    files, notes = read_tree(tree)
    classes = _class_names(tree, files)
    paths = [path for by_class in files.values() for listed in by_class.values() for path in listed]
    examined = examine(tree.root, paths, side=side, known=known, progress=progress)
    skipped = _skipped(tree.root, tree.skipped, examined, paths, strict=strict)
    found = _usable(files, classes, examined, skipped)
    fractions = {"val": val_fraction, "test": test_fraction}
    said = _complete(found, fractions, seed=seed if split_seed is None else split_seed)
    held_out = {} if "val" in files else found.get("val", {})
    count = samples_per_class if portion is None else _counts(found["train"], held_out, portion)
    if count is not None:
        found["train"] = nested_subset(found["train"], count, seed=seed)
    if val_within:
        said["val"] = _hold_out_within(found, val_fraction, seed=seed)
    notes += said.values()
    return _index(tree.root, classes, found, examined, skipped, notes, side)


def index_of(
    root: Path,
    classes: tuple[str, ...],
    files: Files,
    notes: Sequence[str] = (),
    *,
    strict: bool = False,
    side: Side | None = None,
    known: Collection[str] = (),
    progress: Progress | None = None,
) -> FolderIndex:
    """Read listed files, whose parts are made already.

    Args:
        root: the folder to which the files are relative.
        classes: names in the order of the labels.
        files: by part and class.
        notes: what a user should know, one line each.
        strict: see ``scan``.
        side: see ``scan``.
        known: see ``scan``.
        progress: see ``scan``.

    Raises:
        DataError: a class without a usable picture, or an unusable file with ``strict``.
    """
    paths = [path for by_class in files.values() for listed in by_class.values() for path in listed]
    examined = examine(root, paths, side=side, known=known, progress=progress)
    skipped = _skipped(root, (), examined, paths, strict=strict)
    return _index(root, classes, _usable(files, classes, examined, skipped), examined, skipped, notes, side)


def _index(
    root: Path,
    classes: tuple[str, ...],
    found: Samples,
    examined: Examined,
    skipped: tuple[Skipped, ...],
    notes: Sequence[str],
    side: Side | None,
) -> FolderIndex:
    parts = {part: _in_order(found[part]) for part in PARTS if part in found}
    index = FolderIndex(root, classes, parts, skipped, decoded=_decoded(examined, parts, side))
    left_out = f"{len(skipped)} file(s) skipped that cannot be used as pictures: {_listed(skipped)}"
    return replace(index, notes=(*notes, *([left_out] if skipped else []), *remarks(index)))


def _counts(train: ByClass, held_out: ByClass, portion: Portion) -> dict[str, int]:
    """How many training pictures of each class a portion asks for."""
    return {name: portion.of(name, len(rest) + len(held_out.get(name, ())), len(rest)) for name, rest in train.items()}


def _class_names(tree: Tree, files: Files) -> tuple[str, ...]:
    training = "train" if "train" in files else UNSPLIT
    classes = tuple(files[training])
    for part, by_class in files.items():
        missing = [name for name in classes if name not in by_class]
        if missing:
            raise DataError(f"class {missing[0]!r} is in {training} but not in {part}; every part needs every class")
        extra = [name for name in by_class if name not in classes]
        if extra:
            raise DataError(f"class {extra[0]!r} is in {part} but not in {training}; nothing could be learnt about it")
    if len(classes) == 1:
        inner = tree.folders(classes[0]) if training == UNSPLIT and classes[0] in tree.folders("") else []
        hint = f"; did you mean {tree.root / classes[0]}?" if inner else ""
        raise DataError(f"only one class, {classes[0]!r}, in {tree.root}; at least two are needed to tell apart{hint}")
    return classes


def _skipped(
    root: Path, passed_over: Sequence[Skipped], examined: Examined, paths: list[str], *, strict: bool
) -> tuple[Skipped, ...]:
    bad = [Skipped(path, reason) for path in paths if (reason := examined.reason(path)) is not None]
    skipped = (*passed_over, *bad)
    if strict and skipped:
        raise DataError(f"{len(skipped)} file(s) cannot be used as pictures: {_listed(skipped)}; mend or remove them")
    if paths and len(bad) == len(paths):
        raise DataError(f"none of the {len(paths)} file(s) in {root} can be read as a picture: {_listed(skipped)}")
    return skipped


def _usable(files: Files, classes: tuple[str, ...], examined: Examined, skipped: tuple[Skipped, ...]) -> Samples:
    bad = {entry.path for entry in skipped}
    found: Samples = {}
    for part, by_class in files.items():
        found[part] = {}
        for label, name in enumerate(classes):
            listed = by_class.get(name, [])
            found[part][name] = [Sample(p, label, examined.digests[p]) for p in listed if p not in bad]
            if not found[part][name]:
                where = f" in {part}" if part else ""
                why = f"none of its {len(listed)} file(s) can be used" if listed else "its folder holds no files"
                raise DataError(f"class {name!r}{where} is empty: {why}; add pictures or remove the folder")
    return found


def _complete(found: Samples, fractions: Mapping[str, float], *, seed: int) -> dict[str, str]:
    """Hold out the parts that are missing; a note on each. Test is never held out of a training folder."""
    unsplit = UNSPLIT in found
    source = found.pop(UNSPLIT if unsplit else "train")
    missing = fractions.keys() if unsplit else {"val"} - found.keys()
    drawing = {part: share for part, share in fractions.items() if part in missing and share > 0}
    drawn, found["train"] = hold_out(source, drawing, seed=seed) if drawing else ({}, dict(source))
    names = list(source)
    for part, samples in drawn.items():
        found[part] = {name: [s for s in samples if names[s.label] == name] for name in names}
    notes = {
        part: f"no {part} folder: {share:.0%} of each class held out as {part} (seed {seed})"
        for part, share in drawing.items()
    }
    if "test" not in found:
        notes["test"] = "no test part: results are of the validation part only"
    return notes


def _hold_out_within(found: Samples, fraction: float, *, seed: int) -> str:
    """Take validation out of the training pictures in use, in place of what it was; a note on it."""
    drawn, found["train"] = hold_out(found["train"], {"val": fraction}, seed=seed)
    names = list(found["train"])
    found["val"] = {name: [s for s in drawn["val"] if names[s.label] == name] for name in names}
    return f"{fraction:.0%} of the training pictures in use held out as val (seed {seed})"


def _in_order(by_class: Mapping[str, list[Sample]]) -> tuple[Sample, ...]:
    return tuple(sample for samples in by_class.values() for sample in sorted(samples, key=lambda s: s.path))


def _decoded(examined: Examined, parts: Mapping[str, tuple[Sample, ...]], side: Side | None) -> Decoded | None:
    if side is None:
        return None
    wanted = {sample.digest for samples in parts.values() for sample in samples}
    return Decoded(side, {digest: image for digest, image in examined.images.items() if digest in wanted})


def _listed(skipped: tuple[Skipped, ...], most: int = 10) -> str:
    rest = len(skipped) - most
    shown = "; ".join(f"{entry.path} ({entry.reason})" for entry in skipped[:most])
    return shown + (f"; and {rest} more" if rest > 0 else "")
