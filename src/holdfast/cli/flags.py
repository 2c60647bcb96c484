"""The flags of ``holdfast train``, made from the settings themselves."""

from __future__ import annotations

import types
import typing
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic.fields import FieldInfo

from holdfast.train.settings import Settings, extra

_WORDS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH", tuple[int, ...]: "INTEGERS"}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def parameters() -> list[Parameter]:
    """One keyword of the command for each setting, ``data`` first and as an argument.

    Values stay text (booleans apart), so that the settings alone decide what is allowed and say so; a flag that is
    not given is None.
    """
    return [_parameter(name, field) for name, field in Settings.model_fields.items()]


def _parameter(name: str, field: FieldInfo) -> Parameter:
    flag = name.replace("_", "-")
    shown: dict[str, Any] = {"help": _help(field), "rich_help_panel": str(extra(field)["group"]), "show_default": False}
    kind: Any
    if field.is_required():
        kind = Annotated[str | None, typer.Argument(metavar=name.upper(), help=field.description, show_default=False)]
    elif field.annotation is bool:
        kind = Annotated[bool | None, typer.Option(f"--{flag}/--no-{flag}", **shown)]
    else:
        kind = Annotated[str | None, typer.Option(f"--{flag}", metavar=_metavar(field), **shown)]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _metavar(field: FieldInfo) -> str:
    hint = field.annotation
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return next((_WORDS[kind] for kind in kinds if kind in _WORDS), "CHOICE")


def _help(field: FieldInfo) -> str:
    """The description, then what may be given and the default; the description says what none means."""
    choices = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()
    bounds = [
        f"{sign} {getattr(bound, name)}"
        for bound in field.metadata
        for name, sign in _BOUNDS.items()
        if hasattr(bound, name)
    ]
    default = ("no", "yes")[field.default] if isinstance(field.default, bool) else field.default
    said = [", ".join(choices), " and ".join(bounds), "" if default is None else f"default {default}"]
    return f"{field.description} ({'; '.join(filter(None, said))})" if any(said) else str(field.description)
