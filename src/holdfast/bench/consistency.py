"""Whether the parts of a recipe fit together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import UsageError
from holdfast.core.registry import nearest
from holdfast.train.settings import Settings

if TYPE_CHECKING:
    from holdfast.bench.recipe import Recipe, Row

GIVEN = frozenset({"data", "data_root", "nodes", "model", "weights", "method", "seed", "out", "progress"})
"""Settings that the recipe's own keys or the runner decide."""


def check(recipe: Recipe) -> None:
    """Refuse names that lead nowhere, settings that no run takes, and placeholders that nothing fills.

    Raises:
        ValueError: the first thing that is wrong, and where it stands.
    """
    _check_settings(recipe)
    _check_rows(recipe)
    _check_search(recipe)
    _check_published(recipe)


def _check_settings(recipe: Recipe) -> None:
    check_settings("settings", recipe.settings)
    check_settings("mini.settings", recipe.mini.settings)
    places: dict[str, Mapping[str, Any]] = {"data": recipe.data, "models": recipe.models, "methods": recipe.methods}
    for kind, entries in places.items():
        for name, entry in entries.items():
            check_settings(f"{kind}.{name}.settings", entry.settings)
            if kind == "data" and "samples_per_class" in entry.settings:
                raise ValueError(f"data.{name}: write samples_per_class beside 'data', not into its settings")


def check_settings(where: str, settings: Mapping[str, Any]) -> None:
    """Refuse what is no setting, out of range, or decided elsewhere.

    Raises:
        ValueError: the first such setting, with the place it stands in.
    """
    taken = sorted(GIVEN & settings.keys())
    if taken:
        raise ValueError(f"{where}: {taken[0]!r} has a place of its own in a recipe, or belongs to the runner")
    try:
        Settings.of(data=Path("/"), **settings)
    except UsageError as error:
        raise ValueError(f"{where}: {error}") from None


def _known(what: str, name: str, names: list[str]) -> None:
    if name not in names:
        raise ValueError(f"{what}: no {name!r} in this recipe{nearest(name, names)}")


def _check_rows(recipe: Recipe) -> None:
    rows = list(recipe.methods)
    if recipe.data_only is None:
        _known("baseline", recipe.baseline, rows)
    for name, row in recipe.methods.items():
        if row.against is not None:
            _known(f"methods.{name}.against", row.against, rows)
        for column in row.columns or ():
            _known(f"methods.{name}.columns", column, list(recipe.columns))
        if row.reuse is not None:
            _known(f"methods.{name}.reuse", row.reuse, rows)
            if recipe.methods[row.reuse].reuse is not None:
                raise ValueError(f"methods.{name}.reuse: {row.reuse!r} takes over another row's values itself")
            missing = set(recipe.columns_of(name)) - set(recipe.columns_of(row.reuse))
            if missing:
                raise ValueError(f"methods.{name}.reuse: {row.reuse!r} is not run in column {min(missing)!r}")
        for column in recipe.columns_of(name):
            _check_placeholders(recipe, name, row, column)


def _check_placeholders(recipe: Recipe, name: str, row: Row, column: str) -> None:
    data, model = recipe.columns[column]
    filled = {*row.values, *recipe.data[data].values, *recipe.models[model].values, *recipe.search_of(name)}
    if row.reuse is not None:
        filled |= recipe.search_of(row.reuse).keys()
    empty = row.placeholders - filled
    if empty:
        raise ValueError(
            f"methods.{name}: nothing fills {{{min(empty)}}} in column {column!r}; give it in values or in search"
        )


def _check_search(recipe: Recipe) -> None:
    for row, method in recipe.methods.items():
        search = recipe.search_of(row) if method.method is not None else {}
        if search and recipe.tuning is None:
            raise ValueError(f"methods.{row} is searched, but there is no 'tuning' that says how")
        for name, options in search.items():
            where = f"search of {row}: {name}"
            if name not in method.placeholders and name not in Settings.model_fields:
                raise ValueError(f"{where} is neither a setting nor a {{placeholder}} of {method.method!r}")
            if not isinstance(options, list):
                if recipe.tuning is not None and recipe.tuning.by != "optuna":
                    raise ValueError(f"{where} is a range; a grid needs a list of values")
            elif not options:
                raise ValueError(f"{where} has no values")
            elif not _side_by_side(recipe) and any(value in options[:place] for place, value in enumerate(options)):
                raise ValueError(f"{where} has a value twice, which would count as two trials")
            if name not in method.placeholders:
                for value in options if isinstance(options, list) else options.samples:
                    check_settings(where, {name: value})
        _check_budget(recipe, row)


def _check_budget(recipe: Recipe, row: str) -> None:
    """Every row can spend the same number of trials: only so is a tuned baseline a fair one."""
    tuning, lists = recipe.tuning, [options for options in recipe.search_of(row).values() if isinstance(options, list)]
    if tuning is None or tuning.by == "optuna" or not recipe.columns_of(row):
        return
    if not lists and recipe.methods[row].reuse is not None:
        return
    points = _points_side_by_side(row, lists) if _side_by_side(recipe) and lists else math.prod(map(len, lists))
    trials = max(data.trials or tuning.trials or 0 for data in recipe.data.values())
    if points < trials:
        raise ValueError(
            f"methods.{row} has {points} point(s) to try, fewer than the {trials} trials that every row gets; "
            "search more values, or take fewer trials"
        )


def _points_side_by_side(row: str, lists: list[list[Any]]) -> int:
    points = len(set(zip(*lists, strict=False)))
    if any(len(options) != points for options in lists):
        found = " and ".join(str(count) for count in sorted({len(options) for options in lists}))
        raise ValueError(
            f"search of {row}: trial i takes the i-th value of each list, so they have the same length and no trial "
            f"stands there twice; found lists of {found} values and {points} different trial(s)"
        )
    return points


def _side_by_side(recipe: Recipe) -> bool:
    return recipe.tuning is not None and recipe.tuning.by == "list"


def _check_published(recipe: Recipe) -> None:
    seen = set()
    for place, figure in enumerate(recipe.published):
        where = f"published, entry {place + 1}"
        _known(where, figure.row, list(recipe.methods))
        _known(where, figure.column, list(recipe.columns))
        key = (figure.row, figure.column, figure.metric)
        if key in seen:
            raise ValueError(f"{where}: a second {figure.metric} of row {figure.row!r} in column {figure.column!r}")
        seen.add(key)
    if recipe.published and recipe.paper is None:
        raise ValueError("published figures need 'paper', which says where they are printed")
