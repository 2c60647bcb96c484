"""Figures that a paper prints in its text, outside of its tables."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator

from holdfast.bench.recipe import Name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Quantity(_Strict):
    """One printed figure.

    Attributes:
        value: as printed.
        unit: of the value, in words.
        where: section of the paper.
        about: what was measured.
        doubtful: misprinted, or at odds with another figure; the note says why.
        note: what a reader should know.
    """

    value: float
    unit: str
    where: str
    about: str
    doubtful: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _says_why(self) -> Quantity:
        if self.doubtful and not self.note:
            raise ValueError("doubtful needs a note that says why")
        return self


class InText(_Strict):
    """A paper's figures by name.

    Attributes:
        paper: stem of the paper's entry in ``docs/references.md``.
        figures: by a name of ours.
    """

    paper: Name
    figures: dict[Name, Quantity]
