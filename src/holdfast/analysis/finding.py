"""What an analysis gives: figures as data, pictures, and a paragraph that says what they show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.analysis.drawing import Drawn
from holdfast.data.atomic import atomic_writer
from holdfast.report.findings import KIND


@dataclass(frozen=True)
class Finding:
    """The outcome of an analysis.

    Attributes:
        analysis: its name on the command line, such as ``similarity``; the stem of the files.
        title: a heading.
        text: a paragraph that says what is shown, with the numbers that matter and how sure they are.
        data: every figure shown, as JSON has it: text, finite numbers, None, lists, mappings with text as keys.
        figures: the pictures.
        inputs: what it was made from: folders, options, number of runs, images or seeds.
        notes: what a reader must know beside it, one sentence each.
    """

    analysis: str
    title: str
    text: str
    data: Mapping[str, Any]
    figures: Sequence[Drawn]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def as_json(self) -> str:
        """The content of the file: everything but the pictures, which it names.

        Raises:
            ValueError: a number in ``data`` or ``inputs`` that is not finite.
        """
        content = {
            "kind": KIND,
            "analysis": self.analysis,
            "title": self.title,
            "text": self.text,
            "notes": list(self.notes),
            "inputs": self.inputs,
            "data": self.data,
            "figures": [
                {
                    "name": each.name,
                    "label": each.label,
                    "caption": each.caption,
                    "svg": each.svg_file,
                    "png": each.png_file,
                }
                for each in self.figures
            ],
            "made_by": f"holdfast {__version__}",
        }
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, folder: Path) -> Path:
        """Write ``NAME.json`` and each picture as PNG and SVG into ``folder``, made if need be; returns the JSON file.

        The JSON file comes last, so that what it names is there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for each in self.figures:
            for file, content in ((each.svg_file, each.svg), (each.png_file, each.png)):
                with atomic_writer(folder / file) as handle:
                    handle.write(content)
        path = folder / f"{self.analysis}.json"
        with atomic_writer(path) as handle:
            handle.write(self.as_json().encode())
        return path
