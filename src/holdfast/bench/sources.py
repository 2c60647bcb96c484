"""What data and weights are, so that results of other ones are never mistaken for theirs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from holdfast.bench.recipe import Recipe
from holdfast.core.errors import DataError
from holdfast.data.named.catalogue import entry, is_named
from holdfast.data.named.dataset import absent
from holdfast.data.portion import split_portion
from holdfast.data.walk import Tree

_NAMED = "a method's text names it"
PUBLISHED = "published"
"""Stands for weights that are known by the network's name."""


def location(data: str, root: Path) -> str:
    """What ``holdfast train`` is given for a recipe's data: a known name as it is, a folder below the data root."""
    return data if is_named(data) else str(root / data)


def fingerprint_of_data(data: str, root: Path) -> str:
    """SHA-256 over names and sizes of the files of a folder, or over the rules of a known data set.

    Raises:
        DataError: the data are not there.
    """
    if is_named(data):
        known = entry(data.partition("@")[0])
        missing = absent(known, root)
        if missing:
            raise DataError(
                f"{data} is not in {root} ({missing[0]}); 'holdfast datasets {known.name}' says how to get it"
            )
        return _sha256([data, known.split.model_dump(mode="json")])
    folder = root / data
    if not folder.is_dir() and "@" in data:
        folder = root / split_portion(data)[0]
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; say with --data-root where the recipe's data are")
    found = [(path, (folder / path).stat().st_size) for path in Tree(folder).files("")]
    return _sha256([data, sorted(found)])


def fingerprint_of_file(file: Path, where: str = "say with --data-root where the weights are") -> str:
    """SHA-256 of a file.

    Args:
        file: whose content.
        where: what to do if it is missing.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"no file {file} ({error.strerror}); {where}") from error


def fingerprints(recipe: Recipe, root: Path, files: Iterable[str] = ()) -> tuple[dict[str, str], dict[str, str]]:
    """Fingerprints of all data and weights of a recipe by their place in it, and reasons for those that are missing.

    Args:
        recipe: whose data and weights.
        root: the data root.
        files: that methods' texts name, as a run finds them: from where the command is started.
    """
    makers: dict[str, Callable[[], str]] = {
        **{f"data.{name}": partial(fingerprint_of_data, data.data, root) for name, data in recipe.data.items()},
        **{f"models.{name}": partial(_of_weights, model.weights, root) for name, model in recipe.models.items()},
        **{f"source.{folder}": partial(fingerprint_of_data, folder, root) for folder in sources(recipe)},
        **{f"file.{file}": partial(fingerprint_of_file, Path(file).expanduser(), _NAMED) for file in files},
    }
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for place, make in makers.items():
        try:
            found[place] = make()
        except DataError as error:
            missing[place] = str(error)
    return found, missing


def sources(recipe: Recipe) -> list[str]:
    """Source pictures that any of the recipe's settings name: known names, or folders below the data root."""
    layers = [recipe.settings, *(data.settings for data in recipe.data.values())]
    layers += [model.settings for model in recipe.models.values()]
    layers += [row.settings for row in recipe.methods.values()]
    return sorted({str(layer["source"]) for layer in layers if layer.get("source") is not None})


def _of_weights(file: str | None, root: Path) -> str:
    return PUBLISHED if file is None else fingerprint_of_file(root / file)


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
