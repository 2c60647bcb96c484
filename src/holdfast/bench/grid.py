"""From a recipe to runs, each named by a hash of all that decides its result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from holdfast.bench.catalogue import protocol
from holdfast.bench.recipe import Recipe, Scalar
from holdfast.bench.selection import selection
from holdfast.bench.sources import location
from holdfast.bench.store import Sources
from holdfast.core.values import text
from holdfast.train.settings import Settings

FIRST_TUNING_SEED = 1000
"""Seeds of trials start here, out of the way of the final runs'."""

PATHS = frozenset({"data", "source", "weights"})
"""Settings that say where things are; names and results go by what they are."""

FILE = re.compile(r"\bfisher\s*=\s*['\"]([^'\"]+)['\"]")
"""Names of files in a method's text: what they hold decides its result too."""

Stage = Literal["tune", "run"]
Values = Mapping[str, Scalar]


@dataclass(frozen=True)
class Cell:
    """One place of the table."""

    row: str
    column: str


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        name: hash of all that decides the result.
        stage: ``tune`` for a trial, ``run`` for a final one.
        cell: of the table.
        seed: of the run.
        values: what is tried, or what was chosen.
        settings: for ``holdfast.fit``, but for where it writes.
    """

    name: str
    stage: Stage
    cell: Cell
    seed: int
    values: Values
    settings: Settings


def recorded(settings: Settings) -> dict[str, Any]:
    """What a result says of its run's settings: all that decide it, but for paths."""
    return {name: value for name, value in settings.identity().items() if name not in PATHS}


@dataclass(frozen=True)
class Scope:
    """Which part of a recipe is asked for, and where its data are.

    Attributes:
        root: the data root.
        only: which cells, see ``holdfast.bench.selection``; None takes all.
        mini: whether everything is made small.
        seeds: final runs of each cell; None takes the recipe's number.
    """

    root: Path = Path()
    only: str | None = None
    mini: bool = False
    seeds: int | None = None


class Grid:
    """The cells and runs of a recipe.

    Args:
        recipe: what is compared.
        scope: which part of it, and where the data are.
        sources: fingerprints of data and weights by place.
    """

    def __init__(self, recipe: Recipe, scope: Scope, sources: Sources | Mapping[str, str]) -> None:
        self.recipe, self.scope, self._sources = recipe, scope, sources
        self._bases: dict[Any, tuple[Settings, dict[str, Any]]] = {}
        self._jobs: dict[Any, Job] = {}

    def seeds(self, cell: Cell) -> int:
        """Final runs of a cell."""
        if self.scope.seeds is not None:
            return self.scope.seeds
        wanted = self.recipe.data[self.recipe.columns[cell.column][0]].seeds or self.recipe.seeds
        return min(wanted, self.recipe.mini.seeds) if self.scope.mini else wanted

    @cached_property
    def cells(self) -> list[Cell]:
        """The places that are asked for and can be run, column by column."""
        recipe = self.recipe
        wanted = selection(self.scope.only) if self.scope.only is not None else lambda names: True
        return [
            cell
            for column in recipe.columns
            for cell in (Cell(row, column) for row in recipe.methods if column in recipe.columns_of(row))
            if wanted(self._names(cell))
        ]

    def spreads(self) -> bool:
        """Whether a run of some cell takes several devices."""
        return any(self._layered(cell).get("devices", 1) != 1 for cell in self.cells)

    def _names(self, cell: Cell) -> frozenset[str]:
        return frozenset({cell.row, cell.column, *self.recipe.columns[cell.column]})

    def places(self, cell: Cell) -> list[str]:
        """Where a cell's data and weights stand in the recipe, perhaps source pictures, files that its text names."""
        data, model = self.recipe.columns[cell.column]
        source = self._layered(cell).get("source")
        named = FILE.findall(self.method(cell, self.first(cell)))
        others = [*([] if source is None else [f"source.{source}"]), *(f"file.{file}" for file in named)]
        return [f"data.{data}", f"models.{model}", *others]

    def files(self) -> list[str]:
        """Files that the methods' texts name anywhere in the recipe."""
        recipe = self.recipe
        cells = [Cell(row, column) for row in recipe.methods for column in recipe.columns_of(row)]
        return sorted({file for cell in cells for file in FILE.findall(self.method(cell, self.first(cell)))})

    def first(self, cell: Cell) -> dict[str, Scalar]:
        """The first of the values that tuning may choose for a cell."""
        search = {**self.recipe.search_of(self.recipe.methods[cell.row].reuse or cell.row)}
        search |= self.recipe.search_of(cell.row)
        return {name: options[0] if isinstance(options, list) else options.low for name, options in search.items()}

    def _layered(self, cell: Cell) -> dict[str, Any]:
        """A cell's settings as the recipe lays them over one another."""
        recipe, (data, model) = self.recipe, self.recipe.columns[cell.column]
        base = protocol(recipe.protocol).settings if recipe.protocol else {}
        parts = (recipe, recipe.models[model], recipe.data[data], recipe.methods[cell.row])
        return {name: value for layer in (base, *(part.settings for part in parts)) for name, value in layer.items()}

    def job(self, stage: Stage, cell: Cell, values: Values, seed: int) -> Job:
        """One run of a cell."""
        key = (stage, cell, tuple(sorted(values.items())))
        if (key, seed) not in self._jobs:
            if key not in self._bases:
                base = self._settings(stage, cell, values)
                self._bases[key] = base, self._identity(base, cell)
            base, identity = self._bases[key]
            content = json.dumps({**identity, "seed": seed}, sort_keys=True)
            name = hashlib.sha256(content.encode()).hexdigest()[:20]
            self._jobs[key, seed] = Job(name, stage, cell, seed, values, base.model_copy(update={"seed": seed}))
        return self._jobs[key, seed]

    def trial(self, cell: Cell, values: Values) -> list[Job]:
        """The runs of one trial; all rows have the same seeds."""
        assert self.recipe.tuning is not None
        first = FIRST_TUNING_SEED
        return [self.job("tune", cell, values, seed) for seed in range(first, first + self.recipe.tuning.seeds)]

    def _identity(self, settings: Settings, cell: Cell) -> dict[str, Any]:
        """All that decides a run's result but the seed; data and weights by what they are, not where.

        A setting at its default is left out, so that a version that adds one names the same runs the same. That a
        default changed is seen when a result is read: it holds every setting.
        """
        data, model, *others = self.places(cell)
        fields = type(settings).model_fields
        found = {k: v for k, v in recorded(settings).items() if v != fields[k].default}
        found |= {"data": self._sources[data], "weights": self._sources[model]}
        names = {place: "source" if place.startswith("source.") else place for place in others}
        return {**found, **{name: self._sources[place] for place, name in names.items()}}

    def _settings(self, stage: Stage, cell: Cell, values: Values) -> Settings:
        recipe, root, (data_name, model_name) = self.recipe, self.scope.root, self.recipe.columns[cell.column]
        data, model, row = recipe.data[data_name], recipe.models[model_name], recipe.methods[cell.row]
        given = self._layered(cell)
        given |= {name: value for name, value in values.items() if name not in row.placeholders}
        per_class = data.samples_per_class
        if self.scope.mini:
            given |= recipe.mini.settings
            if "@" not in data.data:  # which says already how many
                per_class = min(per_class or recipe.mini.samples_per_class, recipe.mini.samples_per_class)
        given |= {"data": location(data.data, root), "data_root": root, "samples_per_class": per_class}
        file = None if model.weights is None or not given.get("pretrained", True) else root / model.weights
        given |= {"model": model.model, "weights": file}
        if given.get("source") is not None:
            given["source"] = location(given["source"], root)
        given["method"] = self.method(cell, values)
        given.setdefault("split_seed", 0)
        if stage == "tune" and recipe.tuning is not None:
            given |= {"val_within": True, "val_fraction": recipe.tuning.val_fraction, "measure_test": False}
        return Settings.of(**given)

    def method(self, cell: Cell, values: Values) -> str:
        """A row's text form with its placeholders filled: by tuning, else by data, network or row, in this order."""
        recipe, (data, model) = self.recipe, self.recipe.columns[cell.column]
        row = recipe.methods[cell.row]
        filled = {**row.values, **recipe.models[model].values, **recipe.data[data].values, **values}
        assert row.method is not None
        return re.sub(r"\{(\w+)\}", lambda match: text(filled[match[1]]), row.method)
