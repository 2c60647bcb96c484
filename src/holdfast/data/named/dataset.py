"""A named data set as a run sees it: classes, parts with their files, and what to say about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import DataError
from holdfast.data.named import archives, readers, vision
from holdfast.data.named.catalogue import UNKNOWN, Entry, Manifest
from holdfast.data.named.parts import Parts, checksum, hold_out, make_parts, take
from holdfast.data.portion import Portion


@dataclass(frozen=True)
class Opened:
    """The files of a named data set.

    Attributes:
        entry: what it is.
        root: the data root, to which the paths are relative.
        classes: names in the order of the labels.
        parts: pairs of path and label of each part.
        notes: what a user should know, one line each.
    """

    entry: Entry
    root: Path
    classes: tuple[str, ...]
    parts: Parts
    notes: tuple[str, ...]


def open_named(
    entry: Entry,
    root: Path,
    *,
    val_fraction: float = 0.2,
    portion: Portion | None = None,
    within_seed: int | None = None,
) -> Opened:
    """Read the official lists and make the parts; the pictures themselves are not read yet.

    Args:
        entry: of the catalogue.
        root: the data root.
        val_fraction: share of each class's training pictures held out where the split has no validation part.
        portion: how much of the training part is used.
        within_seed: hold validation out of the training pictures in use instead, drawn by this seed, and leave the
            official validation part alone.

    Raises:
        DataError: the data set is not there, not all there, or not its authors'.
    """
    _present(entry, root)
    wanted = {name for rule in entry.split.parts.values() for name in rule.of}
    classes, whole = make_parts(entry, readers.read(entry.manifest.reader, root, wanted))
    seed = entry.split.seed
    notes = [f"{entry.name}: {entry.split.about}", *entry.manifest.notes]
    notes.append(f"list of pictures sha256:{checksum(classes, whole)}")
    parts = hold_out(whole, val_fraction, classes, seed=seed)
    said = f"{val_fraction:.0%} of each class's training pictures held out as val by name (seed {seed})"
    if portion is not None:
        parts = take(parts, whole, portion, classes, seed=seed)
        notes.append(f"@{portion}: {len(parts['train'])} of {len(whole['train'])} training pictures")
    if within_seed is not None:
        in_use = {part: parts[part] for part in ("train", "test")}
        parts = hold_out(in_use, val_fraction, classes, seed=within_seed)
        said = f"{val_fraction:.0%} of the training pictures in use held out as val by name (seed {within_seed})"
    if "val" in parts and ("val" not in whole or within_seed is not None):
        notes.append(said)
    _complete(entry, root, parts)
    return Opened(entry, root, classes, parts, tuple(notes))


def prepare(manifest: Manifest, root: Path) -> list[str]:
    """Check the archives that lie below the data root and unpack them; what was done, one line each.

    Raises:
        DataError: see ``archives.unpack``; or the archives are not ours to unpack.
    """
    if not any(file.into for file in manifest.files):
        raise DataError(f"{manifest.title}: nothing to unpack here; {manifest.obtain}")
    lines = archives.unpack(manifest, root)
    if manifest.reader == "cifar10":
        lines.append(vision.write_cifar10(root))
    return lines


def absent(entry: Entry, root: Path) -> list[str]:
    """Files and folders that must lie below the data root and do not."""
    return [path for path in (*entry.manifest.layout, *entry.split.needs) if not (root / path).exists()]


def _present(entry: Entry, root: Path) -> None:
    manifest = entry.manifest
    missing = [path for path in absent(entry, root) if path in manifest.layout]
    if not missing:
        return
    whole = "is not" if len(missing) == len(manifest.layout) else "is only partly"
    fetched = any(file.into and (root / file.path).is_file() for file in manifest.files)
    then = "unpacks it" if fetched else "says how to get it"
    command = f"'holdfast datasets {entry.name}{' --unpack' if fetched else ''}' {then}"
    other = f"; for the folder of that name write ./{entry.name}" if Path(entry.name).is_dir() else ""
    raise DataError(f"{manifest.title} {whole} below {root} (--data-root): {missing[0]} is missing; {command}{other}")


def _complete(entry: Entry, root: Path, parts: Parts) -> None:
    files = [path for pairs in parts.values() for path, _ in pairs]
    missing = [path for path in files if not (root / path).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(files)} pictures of {entry.name} are missing below {root}, such as "
            f"{missing[0]}: the archive was unpacked only in part; remove what is there and unpack it again"
        )


def state(manifest: Manifest, root: Path) -> dict[str, str]:
    """What lies below the data root, by path: of each published file, in words."""
    words = {
        "missing": "not there",
        "half": "half a download",
        "wrong": "wrong checksum",
        "sound": "checksum right",
        "unverified": f"there, checksum {UNKNOWN}",
    }
    return {file.path: words[archives.state(file, root)] for file in manifest.files}
