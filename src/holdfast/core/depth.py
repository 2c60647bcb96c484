"""The depth of a network: what stands before what, by stem, then whole blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.core.errors import ModelError, UsageError
from holdfast.core.registry import nearest
from holdfast.core.stages import stages
from holdfast.core.types import ParamRef, parameter_refs


@dataclass(frozen=True)
class Front:
    """The front part of a network, in the order in which its modules were registered; never the head.

    Parameters of a module that holds layers (tokens, position embeddings) belong to the front as soon as one of these
    does, or one before them.

    Attributes:
        end: module path with which it ends.
        parameters: those of the front.
        batchnorms: path → batch-norm layers of the front.
    """

    end: str
    parameters: tuple[ParamRef, ...]
    batchnorms: dict[str, nn.Module]


def layers(model: nn.Module, head: str) -> list[str]:
    """Module paths with which the layers before the head end: the stem, then whole blocks, then what follows them.

    A normalisation layer belongs to what stands before it.

    Args:
        model: the network.
        head: module path of its final linear layer.

    Raises:
        ModelError: the blocks stand in no series.
    """
    blocks = _blocks(model, stages(model, head))
    kinds: dict[str, set[str]] = {}
    for path, ref in _owners(model, head, blocks):
        kinds.setdefault(path, set()).add(ref.kind)
    found: list[str] = []
    stem = True
    for path, kind in kinds.items():
        starts = path in blocks and (stem or kind != {"norm"})
        if found and (kind == {"norm"} or (stem and not starts)):
            found[-1] = path
        else:
            found.append(path)
        stem = stem and not starts
    return found


def front(model: nn.Module, head: str, *, count: int = 0, until: str = "", asks: object = "") -> Front:
    """The first layers of a network, or all up to and with a module.

    Args:
        model: the network.
        head: module path of its final linear layer.
        count: number of layers; used where ``until`` is empty.
        until: module path with which the front ends.
        asks: who asks, for the messages.

    Raises:
        UsageError: the network has fewer layers, there is no such module, or it holds the head.
        ModelError: the layers cannot be told.
    """
    end = until or _end_of(model, head, count, asks)
    modules = dict(model.named_modules())
    if end and end not in modules:
        raise UsageError(f"{asks}: the network has no module {end!r}{nearest(end, [m for m in modules if m])}")
    if end and f"{head}.".startswith(f"{end}."):
        raise UsageError(f"{asks}: {end!r} holds the head, which stays awake: name a module before it")
    order = [path for path in modules if not f"{path}.".startswith(f"{head}.")]
    last = max((i for i, path in enumerate(order) if end and f"{path}.".startswith(f"{end}.")), default=-1)
    inside = set(order[: last + 1])
    return Front(
        end,
        tuple(r for r in parameter_refs(model, head) if r.name.rpartition(".")[0] in inside),
        {path: modules[path] for path in order[: last + 1] if isinstance(modules[path], _BatchNorm)},
    )


def _end_of(model: nn.Module, head: str, count: int, asks: object) -> str:
    if count == 0:
        return ""
    try:
        ends = layers(model, head)
    except ModelError as error:
        raise ModelError(f"{asks}: {error} Name the last module to freeze: until='...'") from error
    if count > len(ends):
        raise UsageError(f"{asks}: the network has {len(ends)} layers before its head: {', '.join(ends)}")
    return ends[count - 1]


def _owners(model: nn.Module, head: str, blocks: set[str]) -> Iterator[tuple[str, ParamRef]]:
    """Each parameter with the largest module around it that holds no block: a block, or one beside the blocks."""
    containers = {above for path in (*blocks, head) for above in _above(path)}
    for ref in parameter_refs(model, head):
        owner = ref.name.rpartition(".")[0]
        if not ref.is_head and owner not in containers:
            yield next(path for path in (*_above(owner), owner) if path not in containers), ref


def _above(path: str) -> list[str]:
    """The paths of the modules that hold this one, the network's first."""
    parts = path.split(".")
    return [".".join(parts[:n]) for n in range(len(parts))]


def _blocks(model: nn.Module, ends: list[str]) -> set[str]:
    """The blocks among which the stages end: the members of their series, and of the series beside these."""
    around = [end.rpartition(".")[0] for end in ends]
    found = {end for end, path in zip(ends, around, strict=True) if not _is_series(model, path)}
    series = {path for path in around if _is_series(model, path)}
    of_series = {above for path in series if path and _is_series(model, above := path.rpartition(".")[0])}
    beside = {sibling for path in of_series for sibling in _members(model, path)}
    series |= {path for path in beside if _is_series(model, path) and not _is_plain(model, path)}
    for path in series:
        # a stage of single layers is one block; several stages in one series of them are not
        whole = _is_plain(model, path) and around.count(path) == 1 and path
        found |= {path} if whole else set(_members(model, path))
    return found


def _is_series(model: nn.Module, path: str) -> bool:
    return isinstance(model.get_submodule(path), nn.Sequential | nn.ModuleList)


def _is_plain(model: nn.Module, path: str) -> bool:
    return not any(list(child.children()) for child in model.get_submodule(path).children())


def _members(model: nn.Module, path: str) -> list[str]:
    return [f"{path}.{name}" if path else name for name, _ in model.get_submodule(path).named_children()]
