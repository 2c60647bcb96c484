"""What a comparison is: rows of methods, columns of data and networks, seeds, and the figures that a paper prints.

A paper's table and a user's own comparison are the same file. Unknown keys, figures of rows or columns that do not
exist, and settings that no run could take are refused when the file is read.
"""

from __future__ import annotations

import math
import re
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from holdfast.bench.consistency import check, check_settings

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@+-]*$", max_length=64)]
Scalar = bool | int | float | str
Metric = Literal["accuracy", "mean_class_accuracy", "mean_iou", "source_accuracy_drop"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Paper(_Strict):
    """Where printed figures come from.

    Attributes:
        key: stem of the paper's entry in ``docs/references.md``: ``wan2019``.
        table: as printed: ``II``, ``Figure 3``.
        page: of the paper, where known.
        note: what a reader of the figures should know.
    """

    key: Name
    table: str
    page: int | None = None
    note: str = ""


class Data(_Strict):
    """One data set of a table.

    Attributes:
        data: folder of images below the data root, or the name of a known data set.
        samples_per_class: training pictures to use of each class; None uses all.
        seeds: runs behind each cell here, in place of the recipe's number.
        trials: of each row here, in place of the tuning's number.
        values: for ``{placeholders}`` in the methods' texts.
        settings: of the runs on these data.
        note: shown with the table.
    """

    data: str
    samples_per_class: int | None = Field(default=None, ge=1)
    seeds: int | None = Field(default=None, ge=1)
    trials: int | None = Field(default=None, ge=1)
    values: dict[str, Scalar] = {}
    settings: dict[str, Any] = {}
    note: str = ""


class Network(_Strict):
    """One network of a table, at its starting point.

    Attributes:
        model: ``timm:NAME``, ``torchvision:NAME`` or a bare name.
        weights: file below the data root; None takes the published weights of that name.
        source: what the weights were trained on, in words.
        values: as in ``Data``.
        settings: of the runs with this network.
        note: shown with the table.
    """

    model: str
    weights: str | None = None
    source: str = ""
    values: dict[str, Scalar] = {}
    settings: dict[str, Any] = {}
    note: str = ""


class Range(_Strict):
    """Values between two ends, for Optuna; ``log`` draws evenly in the logarithm, ``whole`` draws whole numbers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def samples(self) -> tuple[float, ...]:
        """Its ends, and a value between them that is not whole unless all are."""
        return (self.low, self.high) if self.whole else (self.low, math.nextafter(self.low, self.high), self.high)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not (self.low < self.high and (self.low > 0 or not self.log)):
            raise ValueError(f"expected low < high, and low > 0 with log; found {self.low} and {self.high}")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"expected whole ends with 'whole', found {self.low} and {self.high}")
        return self


Search = dict[str, list[Scalar] | Range]


class Row(_Strict):
    """One method of a table.

    Attributes:
        method: text form with ``{placeholders}``; None where the row is printed but cannot be run.
        label: what tables call it; None takes its key.
        against: the row that its gain is measured against; None takes the recipe's baseline.
        columns: where it is run; None is everywhere.
        search: what is tuned for it: settings by name, and placeholders of the text. A list is a grid.
        reuse: row whose chosen values are taken over, for names that are not searched here.
        values: of placeholders that are not tuned; those of a network or of data come first.
        settings: of its runs.
        note: shown with the table.
    """

    method: str | None
    label: str | None = None
    against: Name | None = None
    columns: list[str] | None = None
    search: Search = {}
    reuse: Name | None = None
    values: dict[str, Scalar] = {}
    settings: dict[str, Any] = {}
    note: str = ""

    @property
    def placeholders(self) -> set[str]:
        """Names in braces of the method's text."""
        return set(re.findall(r"\{(\w+)\}", self.method or ""))


class Tuning(_Strict):
    """How hyper-parameters are chosen: on pictures held out of the training part, with seeds of their own.

    Attributes:
        by: ``grid``; ``list``, where trial i takes the i-th value of each list; or ``optuna`` with its default sampler.
        trials: of each row in each column, the baseline's included; None tries every point of each grid, which gives
            rows with larger grids more trials.
        seeds: runs of each trial; all rows have the same ones.
        val_fraction: share of the training pictures in use that is held out.
        storage: Optuna's storage URL; None is an SQLite file in the results' folder.
    """

    by: Literal["grid", "list", "optuna"] = "grid"
    trials: int | None = Field(default=None, ge=1)
    seeds: int = Field(default=1, ge=1)
    val_fraction: float = Field(default=0.2, gt=0, lt=1)
    storage: str | None = None

    @model_validator(mode="after")
    def _optuna_has_an_end(self) -> Self:
        if self.by == "optuna" and self.trials is None:
            raise ValueError("optuna needs trials, the number of each row's")
        if self.by != "optuna" and self.storage is not None:
            raise ValueError("storage is Optuna's: add 'by: optuna', or remove it")
        return self


class Mini(_Strict):
    """What ``--scale mini`` changes: enough to see that everything runs, and no more.

    Attributes:
        seeds: at most so many.
        trials: of each row, at most so many.
        samples_per_class: at most so many.
        settings: of all runs, over all others.
    """

    seeds: int = Field(default=2, ge=1)
    trials: int = Field(default=2, ge=1)
    samples_per_class: int = Field(default=5, ge=1)
    settings: dict[str, Any] = {"epochs": 2, "iterations": None}


class Printed(_Strict):
    """One printed figure, in per cent.

    Attributes:
        row: of the table.
        column: of the table.
        value: as printed; None where the paper prints a gain alone.
        std: standard deviation, where printed.
        baseline: that the paper compares this very figure with, where it is not the table's baseline row.
        gain: as printed, in points.
        gain_std: of the gain.
        error_reduction: as printed, in per cent of the baseline's errors.
        metric: what was measured.
        origin: ``quoted`` where the paper took it from another one: compare gains then, not levels.
        doubtful: misprinted or hard to read; the note says why.
        note: about this figure.
    """

    row: str
    column: str
    value: float | None = None
    std: float | None = Field(default=None, ge=0)
    baseline: float | None = None
    gain: float | None = None
    gain_std: float | None = Field(default=None, ge=0)
    error_reduction: float | None = None
    metric: Metric = "accuracy"
    origin: Literal["measured", "quoted"] = "measured"
    doubtful: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.value is None and self.gain is None:
            raise ValueError("expected a value or a gain")
        if self.doubtful and not self.note:
            raise ValueError("doubtful needs a note that says why")
        return self


class Recipe(_Strict):
    """A comparison; ``docs/recipes.md`` explains every key."""

    title: str
    paper: Paper | None = None
    protocol: Name | None = None
    data: dict[Name, Data]
    models: dict[Name, Network]
    methods: dict[Name, Row]
    baseline: Name = "plain"
    seeds: int = Field(default=5, ge=1)
    metric: Metric = "accuracy"
    settings: dict[str, Any] = {}
    search: Search = {}
    tuning: Tuning | None = None
    mini: Mini = Mini()
    data_only: str | None = None
    published: list[Printed] = []
    notes: list[str] = []

    @property
    def columns(self) -> dict[str, tuple[str, str]]:
        """Names of data and network by column; a column is called after the data alone where there is one network."""
        one = len(self.models) == 1
        return {d if one else f"{d}/{m}": (d, m) for d, m in product(self.data, self.models)}

    def columns_of(self, row: str) -> list[str]:
        """Where a row is run: nowhere, if it has no method or the recipe is data only."""
        method = self.methods[row]
        if method.method is None or self.data_only is not None:
            return []
        return list(self.columns) if method.columns is None else method.columns

    def against(self, row: str) -> str | None:
        """The row that another's gain is measured against; None for that row itself."""
        other = self.methods[row].against or self.baseline
        return None if other == row else other

    def search_of(self, row: str) -> Search:
        """What is tuned for a row: the recipe's search with the row's own, unless the row takes over another's."""
        method = self.methods[row]
        return dict(method.search) if method.reuse else {**self.search, **method.search}

    @field_validator("data", "models", "methods")
    @classmethod
    def _not_empty(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise ValueError("expected at least one entry")
        return value

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        check(self)
        return self


class Protocol(_Strict):
    """How a paper trains: settings by name, and what the settings cannot say.

    Attributes:
        title: of the paper.
        settings: of every run.
        deviations: what the paper does otherwise, one line each; shown with every table.
    """

    title: str
    settings: dict[str, Any]
    deviations: list[str] = []

    @field_validator("settings")
    @classmethod
    def _are_settings(cls, value: dict[str, Any]) -> dict[str, Any]:
        check_settings("settings", value)
        return value
