"""Finding recipes: those of the package by name, a user's own by file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from holdfast.bench.in_text import InText
from holdfast.bench.recipe import Protocol, Recipe
from holdfast.core.errors import UsageError
from holdfast.core.registry import nearest

Kind = TypeVar("Kind", bound=BaseModel)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def names() -> list[str]:
    """The package's recipes."""
    return _stems(_package())


def load(recipe: str | Path) -> tuple[str, Recipe]:
    """A recipe by its name in the package, or from a file, with the name that its results go by.

    Raises:
        UsageError: there is no such recipe, or it is no valid one; the message says where and why.
    """
    if Path(recipe).suffix in (".yaml", ".yml"):
        return Path(recipe).stem, _checked(Recipe, str(recipe), _text(Path(recipe)))
    name = str(recipe)
    if name not in names():
        raise UsageError(f"no recipe {name!r}{nearest(name, names())}; a file of your own ends in .yaml")
    return name, _checked(Recipe, name, (_package() / f"{name}.yaml").read_text(encoding="utf-8"))


def protocol(name: str) -> Protocol:
    """A paper's way of training.

    Raises:
        UsageError: there is no such protocol.
    """
    return _of_paper(Protocol, "protocol", "protocols", name)


def in_text(paper: str) -> InText:
    """The figures that a paper prints in its text, as ``in_text("zhong2020").figures["entropy_ptr"].value``.

    Raises:
        UsageError: none are known of such a paper.
    """
    return _of_paper(InText, "figures in the text of", "in-text", paper)


def _of_paper(kind: type[Kind], what: str, folder: str, name: str) -> Kind:
    """A file of the package that goes by a paper's name."""
    place = _package() / folder
    if name not in _stems(place):
        raise UsageError(f"no {what} {name!r}{nearest(name, _stems(place))}")
    return _checked(kind, f"{what} {name}", (place / f"{name}.yaml").read_text(encoding="utf-8"))


def _package() -> Traversable:
    return resources.files("holdfast") / "recipes"


def _stems(folder: Traversable) -> list[str]:
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read the recipe {file}: {reason}") from error


class _Strict(_LOADER):  # type: ignore[misc,valid-type]
    """YAML in which a key that stands twice is an error, instead of the last one winning; ``1e-4`` is a number."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if not key.tag.endswith(":merge")]
        twice = [key for place, key in enumerate(keys) if key in keys[:place]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} stands twice", node.start_mark)
        return dict(super().construct_mapping(node, deep))


# YAML 1.1 wants a point and a sign, and takes 1e-4 for a word
_Strict.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _checked(kind: type[Kind], what: str, text: str) -> Kind:
    """The content of a YAML text, refused in one line where it is not of its kind."""
    try:
        content = yaml.load(text, _Strict)
    except yaml.YAMLError as error:
        raise UsageError(f"{what} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{what} holds no keys; see docs/recipes.md for an example")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{what}: {_in_words(error, kind)}") from None


def _in_words(error: ValidationError, kind: type[BaseModel]) -> str:
    """The first thing wrong, in one line, with the place it stands in; a misspelt key before the one it stands for."""
    errors = error.errors(include_url=False)
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *parents, key = first["loc"]
        known = _keys(kind, parents)
        return f"unknown key {place!r}{nearest(str(key), known) if known else ''}"
    if first["type"] == "missing":
        return f"the key {place!r} is missing"
    if first["type"] == "value_error":
        return f"{place}: {first['ctx']['error']}".removeprefix(": ")
    return f"{place}: {first['msg'].removeprefix('Input ').rstrip('.')}, got {first['input']!r}"


def _keys(kind: type[BaseModel], place: Iterable[int | str]) -> list[str]:
    """The keys that may stand in a place of a model; none where that is no model of one kind."""
    parts = iter(place)
    for part in parts:
        field = kind.model_fields.get(str(part))
        inner = () if field is None else get_args(field.annotation) or (field.annotation,)
        models = [each for each in inner if isinstance(each, type) and issubclass(each, BaseModel)]
        if field is None or len(models) != 1:
            return []
        kind = models[0]
        if get_origin(field.annotation) in (dict, list):
            next(parts, None)  # the entry's own name or number
    return list(kind.model_fields)
