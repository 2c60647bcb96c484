"""Reading a run folder: what is there, and a note on what is not."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from holdfast.core.errors import DataError


@dataclass(frozen=True)
class Prediction:
    """One test image and what the network said of it; ``confidence`` is the probability of ``predicted``."""

    path: str
    true: str
    predicted: str
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the prediction is the true class."""
        return self.true == self.predicted


@dataclass(frozen=True)
class RunRecord:
    """The contents of a run folder.

    Attributes:
        folder: the run folder.
        settings: ``settings.yaml``.
        result: ``result.json``, flat keys.
        metrics: ``metrics.csv``, one mapping per epoch; cells that are empty or no number have no key.
        predictions: the labelled test images of ``predictions.csv``.
        classes: class names in the order of the labels.
        notes: what is missing, one sentence each.
    """

    folder: Path
    settings: Mapping[str, Any]
    result: Mapping[str, Any]
    metrics: Sequence[Mapping[str, float]]
    predictions: Sequence[Prediction]
    classes: Sequence[str]
    notes: Sequence[str]


def read_run(folder: Path) -> RunRecord:
    """Read a run folder; files other than ``result.json`` may be absent and are then noted.

    Raises:
        DataError: no such folder, no ``result.json``, or a file that cannot be parsed.
    """
    if not folder.is_dir():
        raise DataError(f"expected a run folder, found no folder at {folder}")
    if not (folder / "result.json").is_file():
        raise DataError(
            f"expected a finished run with a result.json, found none in {folder}; repeat the command to finish it"
        )
    notes: list[str] = []
    result = _mapping(folder / "result.json", json.loads, notes)
    settings = _mapping(folder / "settings.yaml", yaml.safe_load, notes)
    preprocessing = _mapping(folder / "preprocessing.json", json.loads, notes)
    predictions = _predictions(folder / "predictions.csv", notes)
    classes = _classes(preprocessing, predictions)
    return RunRecord(
        folder, settings, result, numbers(folder / "metrics.csv", "epoch", notes), predictions, classes, notes
    )


def _mapping(path: Path, parse: Any, notes: list[str]) -> Mapping[str, Any]:
    if not path.is_file():
        notes.append(f"{path.name} is missing from the run folder.")
        return {}
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"cannot parse {path}: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"expected keys and values in {path}, found {type(value).__name__}")
    return {str(key): item for key, item in value.items()}


def _rows(path: Path, notes: list[str]) -> list[dict[str, str]]:
    if not path.is_file():
        notes.append(f"{path.name} is missing from the run folder.")
        return []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as handle:
        try:
            # A row that is too short has None in its last cells, one that is too long a list under None.
            rows = list(csv.DictReader(handle))
        except csv.Error as error:
            raise DataError(f"cannot parse {path}: {error}") from error
    return [{name: cell for name, cell in row.items() if name and isinstance(cell, str)} for row in rows]


def numbers(path: Path, key: str, notes: list[str]) -> list[dict[str, float]]:
    """The rows of a table that have a number in the column ``key``; cells that are empty or no number have no key.

    Raises:
        DataError: the table cannot be parsed.
    """
    rows = []
    for row in _rows(path, notes):
        found = {name: number for name, cell in row.items() if (number := _number(cell)) is not None}
        if key in found:
            rows.append(found)
    return rows


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _predictions(path: Path, notes: list[str]) -> list[Prediction]:
    rows = _rows(path, notes)
    needed = {"true", "predicted", "confidence"}
    if rows and not needed <= set().union(*rows):
        raise DataError(f"expected the columns {', '.join(sorted(needed))} in {path}, found {', '.join(rows[0])}")
    found = []
    for row in rows:
        confidence = _number(row.get("confidence", ""))
        labelled = row.get("true", "") != "" and row.get("part", "test") == "test"
        if labelled and confidence is not None:
            found.append(Prediction(row.get("path", ""), row["true"], row["predicted"], confidence))
    return found


def _classes(preprocessing: Mapping[str, Any], predictions: Sequence[Prediction]) -> list[str]:
    named = preprocessing.get("classes", preprocessing.get("class_names"))
    known = [str(name) for name in named] if isinstance(named, list) else []
    seen = {name for item in predictions for name in (item.true, item.predicted)}
    return known + sorted(seen - set(known))
