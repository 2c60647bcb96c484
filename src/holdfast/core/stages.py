"""Where the stages of a network end: the places at which features are compared between networks."""

from __future__ import annotations

import re

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.core.errors import ModelError
from holdfast.core.locate import locate

_SERIES = (nn.Sequential, nn.ModuleList)
_STEM = re.compile(r"stem|conv(?![a-z])|patch_embed|embeddings")  # a body may be called convnext


def stages(model: nn.Module, head: str | None = None) -> list[str]:
    """Module paths whose outputs are the ends of the network's stages, first to last: the last block of each stage.

    timm's ``feature_info`` says it where there is one; else a network is read by its layout: several series of blocks
    at one level are a stage each (ResNet, ShuffleNet), a single series is cut before each block that lowers the
    resolution (VGG, MobileNet, ConvNeXt), and where none does each block counts (ViT).

    Args:
        model: the network.
        head: module path of its final linear layer; found where None.

    Raises:
        ModelError: the blocks stand in no series.
    """
    paths = _declared(model) or _by_layout(model, model, "", head or locate(model).head)
    if not paths:
        raise ModelError(f"the stages of {type(model).__name__} cannot be told: its blocks stand in no nn.Sequential.")
    return [_last_block(model, path) for path in paths]


def _declared(model: nn.Module) -> list[str]:
    modules = dict(model.named_modules())
    paths = [str(info.get("module", "")) for info in getattr(model, "feature_info", None) or []]
    paths = [path for path in dict.fromkeys(paths) if path in modules and path]
    if len(paths) < 2:
        return paths
    first, lone = modules[paths[0]], "." not in paths[0] and not list(modules[paths[0]].children())
    # The normalisation or activation after the first convolution is no stage.
    return paths[1:] if lone or _is_stem(paths[0]) or isinstance(first, _BatchNorm) else paths


def _by_layout(model: nn.Module, inside: nn.Module, prefix: str, head: str) -> list[str]:
    children = {
        f"{prefix}{name}": child
        for name, child in inside.named_children()
        if any(True for _ in child.parameters())
        and not _is_stem(name)
        and not f"{head}.".startswith(f"{prefix}{name}.")
    }
    series = {path: child for path, child in children.items() if isinstance(child, _SERIES)}
    if len(series) > 1:
        return list(series)
    if series:
        return _cut_before_reductions(*next(iter(series.items())))
    if not children:
        return []
    weights = {each: sum(p.numel() for p in child.parameters()) for each, child in children.items()}
    path = max(weights, key=lambda each: weights[each])
    if 2 * weights[path] < sum(weights.values()):
        return []  # one branch of many, not a body
    return _by_layout(model, children[path], f"{path}.", head)


def _is_stem(path: str) -> bool:
    return _STEM.match(path.rpartition(".")[2]) is not None


def _cut_before_reductions(path: str, series: nn.Module) -> list[str]:
    blocks = [(f"{path}.{name}", child) for name, child in series.named_children()]
    reducing = [index for index, (_, block) in enumerate(blocks) if _reduces(block)]
    if not reducing:
        return [name for name, _ in blocks]
    stem = {0} if _reduces(blocks[0][1]) and _is_unit(blocks[0][1]) else set()
    if any(list(block.children()) for _, block in blocks):  # single layers among blocks belong to the stem
        stem |= {index for index, (_, block) in enumerate(blocks[:-1]) if not list(block.children())}
    ends = [index - 1 for index in reducing if index > 0 and index - 1 not in stem]
    if reducing[-1] != len(blocks) - 1 or any(True for _ in blocks[-1][1].parameters()):
        ends.append(len(blocks) - 1)
    return [blocks[index][0] for index in ends]


def _reduces(block: nn.Module) -> bool:
    return any(
        "Merging" in type(module).__name__
        or (
            isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))
            and max(_pair(module.stride), default=1) > 1
            and max(_pair(module.kernel_size)) > 1
        )
        for module in block.modules()
    )


def _pair(value: object) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (int(str(value)),)


def _last_block(model: nn.Module, path: str) -> str:
    """Follow a series to its last block; the output is the same."""
    module = model.get_submodule(path)
    last = dict(module.named_children())
    if isinstance(module, nn.Sequential) and last and not _is_unit(module):
        return _last_block(model, f"{path}.{list(last)[-1]}")
    blocks = last.get("blocks")
    if isinstance(blocks, nn.Sequential) and len(blocks) and list(last)[-1] == "blocks":
        return _last_block(model, f"{path}.blocks")
    return path


def _is_unit(module: nn.Module) -> bool:
    """A convolution with its normalisation and activation is one block, though it is a Sequential."""
    return any(isinstance(child, (nn.Conv2d, nn.BatchNorm2d)) for child in module.children())
