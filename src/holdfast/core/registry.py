"""Names of methods: what the text form may say."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from typing import Any

from holdfast.core.errors import UsageError
from holdfast.core.method import Method, hyper_parameters

_METHODS: dict[str, type[Method]] = {}


def register(cls: type[Method]) -> type[Method]:
    """Class decorator: make a method known under its stem."""
    if not cls.stem or _METHODS.get(cls.stem, cls).__qualname__ != cls.__qualname__:
        raise UsageError(f"method stem {cls.stem!r} of {cls.__qualname__} is empty or taken")
    _METHODS[cls.stem] = cls
    return cls


@cache
def _load() -> None:
    """Import every file of the methods package once: each registers itself."""
    package = importlib.import_module("holdfast.methods")
    for found in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"holdfast.methods.{found.name}")


def methods() -> dict[str, type[Method]]:
    """All registered methods by stem, sorted."""
    _load()
    return dict(sorted(_METHODS.items()))


def nearest(name: str, known: list[str]) -> str:
    """A hint such as ``; did you mean 'ptr'?``, or the list of what exists."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"


def create(stem: str, preset: str, args: list[Any], kwargs: dict[str, Any]) -> Method:
    """Build a method from its name, preset and values, with the nearest name offered where one is unknown.

    Raises:
        UsageError: unknown method, preset or parameter, a value twice, too many values, a value out of range.
    """
    known = methods()
    if stem not in known:
        raise UsageError(f"unknown method {stem!r}{nearest(stem, list(known))}")
    cls = known[stem]
    if preset and preset not in cls.presets:
        raise UsageError(f"unknown preset {stem}@{preset}{nearest(preset, sorted(cls.presets) or ['(none)'])}")
    names = positional(cls)
    if len(args) > len(names):
        raise UsageError(f"{stem} takes at most {len(names)} values ({', '.join(names)}), got {len(args)}")
    given = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in names:
            raise UsageError(f"unknown parameter {name!r} of {stem}{nearest(name, names)}")
        if name in given:
            raise UsageError(f"{stem}: {name} is given twice")
        given[name] = value
    if names and names[0] == "inner" and "inner" not in given:
        raise UsageError(f"{stem} wraps a method: write {stem}(l2_sp(alpha=0.1))")
    return cls(**{**cls.presets.get(preset, {}), **given}, preset=preset)


def positional(cls: type[Method]) -> list[str]:
    """Names a user may set, in order: what a wrapper wraps first, then the hyper-parameters."""
    return [*(["inner"] if "inner" in cls.__dataclass_fields__ else []), *(f.name for f in hyper_parameters(cls))]
