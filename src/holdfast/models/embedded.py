"""The registry of networks that the package itself brings, with their weights."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Embedded:
    """A network of the package.

    Attributes:
        module: where its class is defined; imported only when it is built.
        attribute: the name of the class, called with ``num_classes=``.
        weights: its packaged weight file.
    """

    module: str
    attribute: str
    weights: Path

    def factory(self) -> Any:
        """The class itself."""
        return getattr(importlib.import_module(self.module), self.attribute)


_HERE = Path(__file__).resolve().parent

EMBEDDED = {"glyphnet": Embedded("holdfast.models.glyphnet", "GlyphNet", _HERE / "glyphnet.safetensors")}
