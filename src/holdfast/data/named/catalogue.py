"""What is known of each data set: one YAML file in ``manifests/`` per archive, several named splits in each."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from holdfast.core.errors import UsageError
from holdfast.core.registry import nearest

UNKNOWN = "unknown"
Part = Literal["train", "val", "test"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Strict):
    """A file that the authors publish.

    Attributes:
        path: where it lies, relative to the data root.
        url: where it comes from; None where it must be asked for.
        bytes: its size, where known.
        digest: ``md5:…`` or ``sha256:…`` in hexadecimal, or ``unknown``.
        source: who publishes that digest.
        into: folder, relative to the data root, into which it is unpacked; None for what is used as it is.
        rename: what the archive calls a folder, and what it is to be called.
    """

    path: str
    url: str | None = None
    bytes: int | None = None
    digest: str = Field(UNKNOWN, pattern=r"^(unknown|md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")
    source: str | None = None
    into: str | None = None
    rename: dict[str, str] = {}


class Rule(_Strict):
    """Which pictures make up a part.

    Attributes:
        of: parts of the official lists, joined; ``all`` where the authors made none.
        places: first and one-past-last place in each class's order; None for all of them.
    """

    of: tuple[str, ...]
    places: tuple[int, int] | None = None


class Split(_Strict):
    """A named split.

    Attributes:
        about: what it is, in one line.
        origin: ``official``: the authors' lists, ``code``: as an author's published code has it, ``ours``: drawn.
        parts: rule of each of our parts.
        needs: what must lie under the data root beside the data set's own layout: pictures of another one.
        counts: pictures of each part, before validation is held out; None where nobody has counted them.
        order: within a class: ``name``, or ``drawn`` by a hash of seed and name.
        seed: of what is drawn: the order and the validation part.
        largest_classes: only so many classes, those with most pictures; ties go by name.
        classes: number of classes, where not all.
        sha256: of the list of pictures (see ``parts.checksum``), or ``unknown``.
    """

    about: str
    origin: Literal["official", "code", "ours"]
    parts: dict[Part, Rule]
    needs: tuple[str, ...] = ()
    counts: dict[Part, int | None]
    order: Literal["name", "drawn"] = "name"
    seed: int = 0
    largest_classes: int | None = None
    classes: int | None = None
    sha256: str = UNKNOWN


class Manifest(_Strict):
    """The facts of one data set.

    Attributes:
        title: its full name.
        about: what the pictures show.
        citation: author and year.
        home: the authors' page.
        licence: what the authors say of its use, in short; theirs is what counts.
        obtain: how to get it where there is no file to fetch, or what fetching needs.
        reader: name of the function that reads the official lists.
        classes: number of classes.
        pictures: number of pictures in the archives.
        layout: what must lie under the data root before it can be read.
        files: what the authors publish.
        notes: what a reader of a result should know.
        splits: by name; the first one is the data set's own name.
    """

    title: str
    about: str
    citation: str
    home: str
    licence: str
    obtain: str = ""
    reader: str
    classes: int
    pictures: int
    layout: tuple[str, ...]
    files: tuple[File, ...]
    notes: tuple[str, ...] = ()
    splits: dict[str, Split]


class Entry(_Strict):
    """One name that ``holdfast train`` takes: a split and the data set that it is of."""

    name: str
    split: Split
    manifest: Manifest

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.split.classes or self.manifest.classes


@cache
def catalogue() -> dict[str, Entry]:
    """All named splits, data set after data set by name."""
    folder = resources.files("holdfast.data.named") / "manifests"
    found: dict[str, Entry] = {}
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name):
        manifest = Manifest.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        found |= {name: Entry(name=name, split=split, manifest=manifest) for name, split in manifest.splits.items()}
    return found


def entry(name: str) -> Entry:
    """The split of this name.

    Raises:
        UsageError: there is none; the nearest name is offered.
    """
    known = catalogue()
    if name not in known:
        raise UsageError(f"unknown data set {name!r}{nearest(name, list(known))}")
    return known[name]


def is_named(text: str) -> bool:
    """Whether a text names a data set of the catalogue, with or without a portion; ``./NAME`` is always a folder."""
    return "/" not in text and "\\" not in text and text.partition("@")[0] in catalogue()
