"""Nested settings as lines of text, and the settings and versions of many runs in one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from holdfast.report.parts import Cell, Table

_OWN = frozenset({"seed", "method", "out", "name"})


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as pairs of a dotted key and a text."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


def shared_settings(results: Sequence[Mapping[str, Any]]) -> Table:
    """Every setting once; where methods differ, each value with the methods that have it."""
    rows = ((str(result["method"]), flatten(result.get("settings") or {})) for result in results)
    return _table("Settings", "setting", ((method, key, v) for method, pairs in rows for key, v in pairs))


def shared_versions(results: Sequence[Mapping[str, Any]]) -> Table:
    """Every version once, from ``versions`` or from the keys that begin so."""
    found = (
        (str(result["method"]), key.removeprefix("versions."), value)
        for result in results
        for key, value in flatten({k: v for k, v in result.items() if k.partition(".")[0] == "versions"})
    )
    return _table("Versions", "package", found)


def _table(caption: str, what: str, found: Iterator[tuple[str, str, str]]) -> Table:
    """From triples of a method, a key and a value."""
    seen: dict[str, dict[str, dict[str, None]]] = {}
    for method, key, value in found:
        if key not in _OWN:
            seen.setdefault(key, {}).setdefault(value, {})[method] = None
    rows = []
    for key, values in seen.items():
        several = len(values) > 1
        parts = [f"{value} ({', '.join(methods)})" if several else value for value, methods in values.items()]
        rows.append([Cell(key), Cell("; ".join(parts))])
    return Table(caption, (what, "value" if what == "setting" else "version"), rows)
