"""What a folder holds: runs, results of comparisons, analyses, at any depth."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.bench.asked import FOLDER as ASKED
from holdfast.core.errors import DataError
from holdfast.report.findings import KIND, StoredFinding
from holdfast.report.variants import METRICS, states

LARGEST = 32_000_000
"""Bytes; a larger JSON file is none of ours."""
_OF_A_RUN = frozenset({"result.json", "split.json", "preprocessing.json"})
_INSIDE_A_RUN = frozenset({"checkpoints", "logs", "cache"})
_INSIDE_A_GRID = frozenset({"runs", "failed", "claims", "work", "sources", "trials", "cache", ASKED})


@dataclass
class Found:
    """The contents of a folder, each by its place in it.

    Attributes:
        root: the folder.
        runs: folders of finished runs.
        unfinished: folders of runs without a result.
        grids: folders of ``holdfast bench``.
        results: by folder, results of runs that have a file each, as the demo leaves them.
        titles: what the demo calls its comparisons, by their folder.
        findings: of ``holdfast analyse``.
        others: JSON files that are nothing of these.
    """

    root: Path
    runs: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    grids: list[Path] = field(default_factory=list)
    results: dict[Path, list[dict[str, Any]]] = field(default_factory=dict)
    titles: dict[Path, Mapping[str, Any]] = field(default_factory=dict)
    findings: list[StoredFinding] = field(default_factory=list)
    others: int = 0

    @property
    def anything(self) -> bool:
        """Whether there is something to report."""
        return bool(self.runs or self.grids or self.results or self.findings)


def look_into(root: Path) -> Found:
    """Find what lies in a folder and below; hidden folders and links to folders are passed by.

    Raises:
        DataError: no such folder, nothing in it to report, or a JSON file that cannot be parsed.
    """
    if not root.is_dir():
        what = "a file; give the folder that it lies in" if root.exists() else "nothing there"
        raise DataError(f"expected a folder of runs at {root}, found {what}")
    found = Found(root)
    for here, folders, files in os.walk(root):
        inside = _note(found, Path(here), frozenset(files))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in inside)
        for name in sorted(files):
            if name.endswith(".json") and name not in _OF_A_RUN:
                _sort_in(found, Path(here) / name)
    if not found.anything:
        raise DataError(_nothing(found))
    return found


def _note(found: Found, here: Path, files: frozenset[str]) -> frozenset[str]:
    """Note what a folder is; returns the folders in it that hold nothing of their own."""
    if "result.json" in files:
        found.runs.append(here)
        return _INSIDE_A_RUN
    if "settings.yaml" in files:
        found.unfinished.append(here)
        return _INSIDE_A_RUN
    if any((here / "sources").glob("*.json")) and any((here / name).is_dir() for name in ("runs", "failed", ASKED)):
        found.grids.append(here)
        return _INSIDE_A_GRID
    return frozenset()


def _sort_in(found: Found, path: Path) -> None:
    content = _read(path)
    if content.get("kind") == KIND:
        found.findings.append(StoredFinding(path, content))
    elif isinstance(content.get("method"), str) and isinstance(content.get("seed"), int) and _figures(content):
        found.results.setdefault(path.parent, []).append(content)
    elif isinstance(content.get("comparisons"), dict):
        found.titles |= {path.parent / str(k): v for k, v in content["comparisons"].items() if isinstance(v, dict)}
    else:
        found.others += 1


def _figures(content: Mapping[str, Any]) -> bool:
    return any(states(content, metric) for metric in METRICS)


def _read(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; empty for anything else that JSON can be, and for what is too large to be ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size <= LARGEST else None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path} ({reason}); mend it, or move it out of {path.parent}") from error
    return content if isinstance(content, dict) else {}


def _nothing(found: Found) -> str:
    expected = f"expected runs, results of a bench or a demo, or analyses in {found.root}, found"
    if found.unfinished:
        first = found.unfinished[0]
        return f"{expected} unfinished runs alone, such as {first}; repeat their command to finish them"
    if found.others:
        return f"{expected} {found.others} JSON file(s) that are none of these; give a folder that 'holdfast' wrote"
    return f"{expected} none; give a folder that 'holdfast train', 'bench', 'demo' or 'analyse' wrote"


def unfinished_notes(found: Found) -> Iterator[str]:
    """A sentence on runs that are not shown because they have no result."""
    if found.unfinished:
        names = ", ".join(str(path.relative_to(found.root)) for path in found.unfinished[:5])
        more = f" and {len(found.unfinished) - 5} more" if len(found.unfinished) > 5 else ""
        yield f"Not finished, and not shown: {names}{more}."
