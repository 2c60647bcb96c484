"""How much of the training pictures a run may use: ``NAME@15%`` and ``NAME@5-per-class``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from holdfast.core.errors import DataError, UsageError

_FORMS = "expected NAME@P% with 0 < P <= 100, such as cub200@15%, or NAME@K-per-class with K >= 1"


@dataclass(frozen=True)
class Portion:
    """A share of each class's training pictures, or a number of them; exactly one is given.

    Attributes:
        percent: share in percent, in (0, 100], of the training pictures before validation is held out.
        per_class: number of pictures, at least 1.
    """

    percent: float | None = None
    per_class: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """What stands after the ``@``.

        Raises:
            UsageError: it is neither form, or out of range.
        """
        if found := re.fullmatch(r"(\d+(?:\.\d+)?)%", text):
            portion = cls(percent=float(found[1]))
        elif found := re.fullmatch(r"(\d+)-per-class", text):
            portion = cls(per_class=int(found[1]))
        else:
            raise UsageError(f"cannot read the portion '@{text}'; {_FORMS}")
        if not (portion.per_class or 0 < (portion.percent or 0) <= 100):
            raise UsageError(f"the portion '@{text}' is out of range; {_FORMS}")
        return portion

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent is not None else f"{self.per_class}-per-class"

    def of(self, name: str, whole: int, left: int) -> int:
        """Number of training pictures of a class: ``max(1, round(percent · whole / 100))``, or ``per_class``.

        Args:
            name: of the class.
            whole: its training pictures, those held out for validation included.
            left: those that are not held out.

        Raises:
            DataError: there are not so many.
        """
        wanted = self.per_class or max(1, round((self.percent or 0) * whole / 100))
        if wanted > left:
            raise DataError(
                f"class {name!r}: @{self} asks for {wanted} training picture(s), and {left} of {whole} are left beside "
                "validation; ask for fewer, or hold out less"
            )
        return wanted


def split_portion(text: str) -> tuple[str, Portion | None]:
    """The name and the portion of ``NAME@PORTION``; a text without an ``@`` is a name.

    Raises:
        UsageError: what follows the last ``@`` is no portion.
    """
    name, at, portion = text.rpartition("@")
    return (name, Portion.parse(portion)) if at else (text, None)
