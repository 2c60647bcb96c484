"""What a run gives back."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import DataError
from holdfast.train.run_folder import RunFolder


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        folder: of the run, with everything in it.
        figures: the content of ``result.json``: ``test.accuracy``, ``val.nll``, ``seconds`` …
    """

    folder: Path
    figures: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Result:
        """The result of a finished run.

        Raises:
            DataError: there is no finished run.
        """
        folder = RunFolder(path)
        try:
            return cls(folder.path, json.loads(folder.result.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} holds no finished run (result.json: {error})") from error

    def __getitem__(self, name: str) -> Any:
        return self.figures[name]

    @property
    def accuracy(self) -> float:
        """Test accuracy; validation accuracy where the data have no test part."""
        return float(self.figures.get("test.accuracy", self.figures.get("val.accuracy", float("nan"))))

    def curve(self) -> list[float | None]:
        """Validation accuracy after each epoch as fractions, None after one without; empty without any validation."""
        file = RunFolder(self.folder).metrics
        if not file.is_file():
            return []
        with file.open(newline="", encoding="utf-8") as handle:
            cells = [row.get("val.accuracy") for row in csv.DictReader(handle)]
        return [float(cell) if cell else None for cell in cells] if any(cells) else []

    def lines(self) -> list[str]:
        """The figures of each part, one line each."""
        found = []
        for part in ("val", "test"):
            if f"{part}.accuracy" not in self.figures:
                continue
            accuracy, mean = (100 * self.figures[f"{part}.{name}"] for name in ("accuracy", "mean_class_accuracy"))
            nll, ece = (self.figures[f"{part}.{name}"] for name in ("nll", "ece"))
            found.append(
                f"{part:5} accuracy {accuracy:.1f} %, mean of the classes {mean:.1f} %, nll {nll:.3f}, ece {ece:.3f}"
            )
        return found
