"""Names of networks: ``timm:NAME``, ``torchvision:NAME``, ``holdfast:NAME``, or a bare name."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from holdfast.core.errors import UsageError
from holdfast.models.embedded import EMBEDDED

LIBRARIES = ("timm", "torchvision", "holdfast")


@dataclass(frozen=True)
class Resolved:
    """A network's name with the library it comes from.

    Attributes:
        library: ``timm``, ``torchvision`` or ``holdfast``.
        name: the library's own name for it; for timm with the pre-training tag, where one was given.
    """

    library: str
    name: str

    def __str__(self) -> str:
        return f"{self.library}:{self.name}"


def resolve(name: str) -> Resolved:
    """Find the library of a network: a bare name is timm's if timm has it, else torchvision's.

    Raises:
        UsageError: no such library or network; the message offers the nearest names.
    """
    library, colon, bare = name.strip().rpartition(":")
    if colon and library not in LIBRARIES:
        raise UsageError(f"unknown library '{library}' in model '{name}'; expected one of {', '.join(LIBRARIES)}.")
    for candidate in (library,) if colon else ("timm", "torchvision"):
        if _has(candidate, bare):
            return Resolved(candidate, bare)
    near = _nearest(bare, (library,) if colon else ("timm", "torchvision"))
    offer = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists timm's names."
    raise UsageError(f"unknown model '{name}'; {offer}")


def known(library: str) -> list[str]:
    """All names of classifiers that a library has, without tags."""
    if library == "timm":
        import timm

        return list(timm.list_models())
    if library == "torchvision":
        import torchvision

        return list(torchvision.models.list_models(module=torchvision.models))
    return list(EMBEDDED)


def _has(library: str, name: str) -> bool:
    if library == "timm":
        import timm

        return bool(timm.is_model(name))  # takes NAME.TAG too, and the names timm has deprecated
    return name in known(library)


def _nearest(name: str, libraries: tuple[str, ...]) -> list[str]:
    names = {f"{library}:{each}": each for library in libraries for each in known(library)}
    near = difflib.get_close_matches(name.lower(), list(dict.fromkeys(names.values())), n=3, cutoff=0.6)
    return [next(full for full, each in names.items() if each == match) for match in near]
