"""Where a run's pictures come from: a folder of the user's or a named data set, whole or a portion of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from holdfast.core.errors import UsageError
from holdfast.data.folder import index_of, scan
from holdfast.data.index import FolderIndex
from holdfast.data.named.catalogue import entry, is_named
from holdfast.data.named.dataset import Opened, open_named
from holdfast.data.portion import Portion, split_portion
from holdfast.data.walk import UNSPLIT, Tree, read_tree


class Pictures(Protocol):
    """What a run needs of its pictures."""

    @property
    def classes(self) -> int:
        """Number of classes, known before the pictures are read."""
        ...

    def index(self, **reading: Any) -> FolderIndex:
        """Read the pictures; ``side``, ``known``, ``strict`` and ``progress`` as for ``scan``."""
        ...


@dataclass(frozen=True)
class FromFolder:
    """A folder of the user's.

    Attributes:
        root: the folder.
        splitting: keywords of ``scan`` that say how it is split.
    """

    root: Path
    splitting: dict[str, Any]

    @property
    def classes(self) -> int:
        """Number of class folders."""
        files, _ = read_tree(Tree(self.root))
        return len(files["train"] if "train" in files else files.get(UNSPLIT, {}))

    def index(self, **reading: Any) -> FolderIndex:
        """Scan the folder."""
        return scan(self.root, **self.splitting, **reading)


@dataclass(frozen=True)
class FromName:
    """A named data set."""

    opened: Opened

    @property
    def classes(self) -> int:
        """Number of classes of the split."""
        return len(self.opened.classes)

    def index(self, **reading: Any) -> FolderIndex:
        """Read the pictures that the split lists."""
        o = self.opened
        files: dict[str, dict[str, list[str]]] = {}
        for part, pairs in o.parts.items():
            by_class: dict[str, list[str]] = {}
            for path, label in pairs:
                by_class.setdefault(o.classes[label], []).append(path)
            files[part] = by_class
        return index_of(o.root, o.classes, files, o.notes, **reading)


def find_pictures(
    data: str,
    data_root: Path,
    *,
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    samples_per_class: int | None = None,
    split_seed: int | None = None,
    val_within: bool = False,
) -> Pictures:
    """The pictures that ``data`` names.

    A named data set is split by its manifest's own seed: the same for every run and method. A folder is split by
    the run's, or by ``split_seed``.

    Args:
        data: name of a data set, or path of a folder; ``@15%`` or ``@5-per-class`` after it take a portion.
        data_root: folder below which the named data sets lie.
        seed: of a folder's split.
        val_fraction: share held out where there is no validation part.
        test_fraction: share of a folder held out where it has no parts.
        samples_per_class: the same as ``@K-per-class``.
        split_seed: of a folder's split alone; see ``scan``.
        val_within: hold validation out of the training pictures in use, by ``seed``; see ``scan``.

    Raises:
        UsageError: a portion that cannot be read, or two of them.
        DataError: the data set is not there, or not whole.
    """
    asked = None if samples_per_class is None else Portion(per_class=samples_per_class)
    # A folder whose name holds an @ is taken as it is.
    name, portion = (data, None) if not is_named(data) and Path(data).exists() else split_portion(data)
    if portion is not None and asked is not None:
        raise UsageError(f"{data!r} and samples_per_class={samples_per_class} both say how many pictures: keep one")
    if is_named(data):
        within = seed if val_within else None
        opened = open_named(
            entry(name), data_root, val_fraction=val_fraction, portion=portion or asked, within_seed=within
        )
        return FromName(opened)
    splitting: dict[str, Any] = {"seed": seed, "val_fraction": val_fraction, "test_fraction": test_fraction}
    splitting |= {"portion": portion, "samples_per_class": samples_per_class}
    splitting |= {"split_seed": split_seed, "val_within": val_within}
    return FromFolder(Path(name), splitting)
