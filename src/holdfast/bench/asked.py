"""What was asked of a folder of results, written down beside them, so that the folder alone tells its table.

``asked/NAME.json`` holds a recipe and the parts of it that were asked for. A recipe that was edited and run again in
the same folder takes the place of the one with its title.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.bench.grid import Grid, Scope
from holdfast.bench.recipe import Recipe
from holdfast.core.errors import UsageError
from holdfast.train.run_folder import write_json

FOLDER = "asked"


@dataclass(frozen=True)
class Asked:
    """A recipe and the union of what was asked of it.

    Attributes:
        recipe: what is compared.
        scope: which cells, and how many seeds: the most that were asked for of any.
    """

    recipe: Recipe
    scope: Scope


def note(out: Path, recipe: Recipe, scope: Scope) -> None:
    """Add to what was asked of a folder; nothing is written where it says so already."""
    key = hashlib.sha256(json.dumps([recipe.title, scope.mini]).encode()).hexdigest()[:20]
    file = out / FOLDER / f"{key}.json"
    before = _read(file) if file.is_file() else {}
    parts = list(before.get("parts", []))
    part = {"only": scope.only, "seeds": scope.seeds}
    if part not in parts:
        parts.append(part)
    content = {"mini": scope.mini, "parts": parts, "recipe": recipe.model_dump(mode="json")}
    if content != before:
        write_json(file, content)


def asked(out: Path) -> list[Asked]:
    """What was asked of a folder, by title; empty where nothing is written down.

    Raises:
        UsageError: a file that is not one of ours.
    """
    found = [_asked(file) for file in sorted((out / FOLDER).glob("*.json"))]
    return sorted(found, key=lambda each: (each.recipe.title, each.scope.mini))


def asked_one(out: Path, mini: bool | None = None) -> Asked:
    """The one comparison that was asked of a folder.

    Args:
        out: the folder.
        mini: of this scale alone; None: of either.

    Raises:
        UsageError: it says nothing, or names several.
    """
    found = [each for each in asked(out) if mini is None or each.scope.mini == mini]
    if len(found) != 1:
        several = ", ".join(f"{each.recipe.title!r}{' made small' if each.scope.mini else ''}" for each in found)
        raise UsageError(
            f"{out} does not say what one comparison it holds; found {several or 'no record'}: "
            "give the recipe with --recipe, and --scale mini where the runs were made small"
        )
    return found[0]


def _asked(file: Path) -> Asked:
    content = _read(file)
    try:
        recipe, mini, parts = Recipe.model_validate(content["recipe"]), bool(content["mini"]), content["parts"]
        only, seeds = ([part[key] for part in parts] for key in ("only", "seeds"))
        most = _most(recipe, mini, seeds)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file} is no record of this version's ({type(error).__name__}); remove it") from error
    joined = None if None in only else " or ".join(f"({each})" for each in only)
    return Asked(recipe, Scope(only=joined, mini=mini, seeds=most))


def _most(recipe: Recipe, mini: bool, seeds: list[int | None]) -> int | None:
    """The largest number of seeds that was asked for; None where that is the recipe's own."""
    explicit = [number for number in seeds if number is not None]
    if len(explicit) == len(seeds):
        return max(explicit)
    grid = Grid(recipe, Scope(mini=mini), {})
    own = max((grid.seeds(cell) for cell in grid.cells), default=0)
    return max(explicit) if max(explicit, default=0) > own else None


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {file} ({error}); remove it") from error
    return content if isinstance(content, dict) else {}
