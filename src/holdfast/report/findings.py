"""The files of ``holdfast analyse`` as sections of a page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from holdfast.report.flat import flatten
from holdfast.report.inline import SVG, cleaned, inlined
from holdfast.report.parts import Cell, Figure, Figures, Notes, Part, Section, Table, Text
from holdfast.report.svg import plain

KIND = "holdfast analysis"
"""Value of ``kind`` in the file of a finding, by which a report knows it."""
LARGEST_SVG = 300_000
"""Bytes; a larger drawing is shown as its PNG, so that a page with many of them stays small."""
LARGEST_PNG = 600_000
_WIDE = 340.0  # points; what is wider would be hard to read in half a line


@dataclass(frozen=True)
class StoredFinding:
    """What the file of an analysis says; whatever is not of the expected kind is left out.

    Attributes:
        path: of the JSON file; its pictures lie beside it.
        content: of the file.
    """

    path: Path
    content: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The heading."""
        return str(self.content.get("title") or self.content.get("analysis") or self.path.stem)

    @property
    def text(self) -> str:
        """The paragraph."""
        return str(self.content.get("text") or "")

    @property
    def notes(self) -> list[str]:
        """Sentences beside it."""
        return [str(note) for note in _list(self.content.get("notes"))]

    @property
    def figures(self) -> list[Mapping[str, Any]]:
        """What is said of each picture."""
        return [figure for figure in _list(self.content.get("figures")) if isinstance(figure, dict)]

    def settings(self) -> Table | None:
        """What it was made from; None where it does not say."""
        inputs = self.content.get("inputs")
        rows = [[Cell(key), Cell(value)] for key, value in flatten(inputs)] if isinstance(inputs, dict) else []
        rows += [[Cell("made by"), Cell(str(self.content["made_by"]))]] if "made_by" in self.content else []
        return Table(f"{self.title}: made from", ("input", "value"), rows, folded=True) if rows else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def finding_section(finding: StoredFinding, identifier: str) -> Section:
    """Paragraph, figures and notes of an analysis; ``identifier`` is unique on the page and begins its figures' names.

    A picture that is missing or is none is named in the notes.
    """
    shown, lost = [], []
    for number, figure in enumerate(finding.figures):
        try:
            shown.append(_figure(finding.path.parent, figure, f"{identifier}-{number}"))
        except (OSError, ValueError) as error:
            lost.append(f"The figure {figure.get('name', number)} cannot be shown: {error}.")
    parts: list[Part] = [Text(finding.text)]
    parts += [Figures(shown)] if shown else []
    return Section(identifier, finding.title, [*parts, Notes([*finding.notes, *lost])])


def _figure(folder: Path, figure: Mapping[str, Any], name: str) -> Figure:
    """The SVG if it can be used, else the PNG.

    Raises:
        ValueError: neither can be used.
        OSError: likewise.
    """
    label, caption = str(figure.get("label") or figure.get("caption") or name), str(figure.get("caption") or "")
    reasons = []
    for drawn in (_from_svg, _from_png):
        try:
            drawing, wide = drawn(folder, figure, name, label)
            return Figure(drawing, caption, wide)
        except (OSError, ValueError) as error:
            reasons.append(str(getattr(error, "strerror", None) or error))
    raise ValueError("; ".join(dict.fromkeys(reasons)))


def _from_svg(folder: Path, figure: Mapping[str, Any], name: str, label: str) -> tuple[str, bool]:
    root = cleaned(_read(folder, figure.get("svg"), LARGEST_SVG))
    box = re.findall(r"[\d.]+", root.get("viewBox", ""))
    # The colours of an embedded picture are what they are: what is drawn over it must not turn.
    turns = root.find(f".//{{{SVG}}}image") is None
    return inlined(root, name, plain(label, 1000), turns=turns), len(box) == 4 and float(box[2]) > _WIDE


def _from_png(folder: Path, figure: Mapping[str, Any], name: str, label: str) -> tuple[str, bool]:
    content = _read(folder, figure.get("png"), LARGEST_PNG)
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            wide = image.width > image.height
    except UnidentifiedImageError:
        raise ValueError(f"{figure.get('png')} is no PNG") from None
    address = "data:image/png;base64," + base64.b64encode(content).decode("ascii")
    return str(Markup('<img class="picture" src="{}" alt="{}">').format(address, label)), wide


def _read(folder: Path, file: Any, most: int) -> bytes:
    """A file beside the finding, and nowhere else."""
    if not isinstance(file, str) or not file or Path(file).name != file:
        raise ValueError("no file in its folder is named")
    path = folder / file
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{file} is missing")
    if path.stat().st_size > most:
        raise ValueError(f"{file} has more than {most // 1000} kB")
    return path.read_bytes()
