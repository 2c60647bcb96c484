"""Results of one method that were made with different settings: they are different methods in a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.report.flat import flatten
from holdfast.train.settings import Settings, extra

# Settings that do not decide a result, and those that tell runs of one method apart anyway.
_APART = frozenset({"seed", "method", "out", "name"})
_BESIDE = frozenset(name for name, field in Settings.model_fields.items() if not extra(field)["compared"])
METRICS = ("test.accuracy", "test.mean_class_accuracy", "val.accuracy", "val.mean_class_accuracy")
"""What results may be compared by, the first that any of them states."""


def told_apart(results: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Results whose method's name says which settings they differ in from others of that method, and what was left out.

    Of results that agree in method, settings and seed the first is kept: a run that was copied is no second run.
    """
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_method.setdefault(str(result["method"]), []).append(result)
    found: list[dict[str, Any]] = []
    left_out = []
    for method, own in by_method.items():
        seen = set()
        for name, result in zip(_names(method, own), own, strict=True):
            if (name, result["seed"]) in seen:
                left_out.append(f"{name}, seed {result['seed']}: a second run with the same settings is left out.")
                continue
            seen.add((name, result["seed"]))
            found.append({**result, "method": name})
    return found, left_out


def _names(method: str, own: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = differing(own)
    if not keys:
        return [method] * len(own)
    settings = [dict(flatten(result.get("settings") or {})) for result in own]
    values = [", ".join(f"{key} {each.get(key, 'unset')}" for key in keys) for each in settings]
    return [f"{method} ({value})" for value in values]


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in _APART | _BESIDE}


def differing(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings that differ between results, but for those that do not decide one."""
    settings = [dict(flatten(_deciding(result.get("settings") or {}))) for result in results]
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def chosen_metric(results: Sequence[Mapping[str, Any]]) -> str:
    """What results are compared by: a figure of the test part if any states one, else of validation."""
    return next((key for key in METRICS if any(states(result, key) for result in results)), METRICS[0])


def states(result: Mapping[str, Any], metric: str) -> bool:
    """Whether a result has a finite figure under a key."""
    value = result.get(metric)
    return isinstance(value, int | float) and math.isfinite(value)
