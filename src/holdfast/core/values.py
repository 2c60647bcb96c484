"""Values of hyper-parameters: how they are written, and whether they fit the type and the range of their field."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, Literal

from holdfast.core.errors import UsageError


def text(value: Any) -> str:
    """A value in the text form: number, 'string', true, false, inf."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6:
        return str(int(value))
    return repr(value)


_IN_WORDS: dict[Any, str] = {float: "a number", int: "a whole number", bool: "true or false", str: "a 'text'"}


def checked(owner: str, cls: type[Any], f: dataclasses.Field[Any], value: Any) -> Any:
    """The value converted to its field's type.

    Args:
        owner: whose value it is, for the message.
        cls: the dataclass with the field.
        f: says type and range.
        value: what was given.

    Raises:
        UsageError: another type, or out of range; the message names both.
    """
    hint, where = typing.get_type_hints(cls)[f.name], f"{owner}: {f.name}"
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    literals = [v for o in options if typing.get_origin(o) is Literal for v in typing.get_args(o)]
    if literals and any(value == v and type(value) is type(v) for v in literals):
        return value
    if bool in options and isinstance(value, bool):
        return value
    if str in options and isinstance(value, str):
        return value
    kind = float if float in options else int if int in options else None
    number = None if kind is None else _number(value, kind)
    if number is None:
        wanted = " or ".join(_IN_WORDS[o] for o in options if o in _IN_WORDS)
        if literals:
            wanted = "one of " + ", ".join(text(v) for v in literals)
        raise UsageError(f"{where} must be {wanted}, got {text(value)}")
    m = f.metadata
    inside = m["low"] <= number <= m["high"] and number > m["above"] and (math.isfinite(number) or m["infinite"])
    if not inside:
        raise UsageError(f"{where} must be {_range(m)}, got {text(value)}")
    return number


def _number(value: Any, kind: type[int] | type[float]) -> int | float | None:
    """The value as this kind of number; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        float(value)
        number = kind(value)
    except (OverflowError, ValueError):  # a whole number too large for a float; inf or nan as a whole number
        return None
    return None if kind is int and number != value else number


def _range(m: typing.Mapping[str, Any]) -> str:
    """A range in words."""
    parts = [] if m["infinite"] else ["finite"]
    if m["above"] > -math.inf:
        parts.append(f"> {text(m['above'])}")
    if m["low"] > -math.inf:
        parts.append(f">= {text(m['low'])}")
    if m["high"] < math.inf:
        parts.append(f"<= {text(m['high'])}")
    return " and ".join(parts) or "a number, not NaN"
