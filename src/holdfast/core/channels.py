"""What the channels of a layer are worth on the target: the rise of the loss when one of them is silenced."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from holdfast.core import world
from holdfast.core.errors import UsageError
from holdfast.core.layers import Layer
from holdfast.core.locate import Located, representation
from holdfast.core.tail import Tail
from holdfast.core.tensorfile import read_tensors, write_tensors
from holdfast.core.types import Batch

LR, MOMENTUM, DECAY, CUT_EPOCHS = 0.01, 0.9, 1e-4, 6  # the rate falls to a tenth in so many epochs


def measured(
    model: nn.Module, located: Located, layers: Sequence[Layer], loader: Iterable[Batch], *, epochs: int, batches: int
) -> dict[str, Tensor]:
    """The rises for every channel of every layer, on a copy of the network that is in evaluation mode throughout.

    First the copy's head alone learns the target, then the loss rises are taken on some batches. Over several ranks
    both are those of all ranks' batches together.

    Args:
        model: the network at its starting point; nothing of it changes, batch-norm's statistics included.
        located: where its head is.
        layers: whose channels are silenced.
        loader: training batches.
        epochs: over which the head is trained.
        batches: on which the loss is measured.

    Returns:
        Path of the layer → (channels,) in float64.

    Raises:
        UsageError: the loader is empty.
    """
    twin = copy.deepcopy(model).eval().requires_grad_(False)
    for module in twin.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    train_head(twin, located, loader, epochs)
    found = {layer.path: torch.zeros(()) for layer in layers}
    count = 0
    with torch.no_grad():
        for batch in islice(loader, batches):
            count += 1
            for layer in layers:
                found[layer.path] = found[layer.path] + rises(twin, layer, batch)
    if not count:
        raise UsageError("the channels cannot be weighed: the loader passed to calibrate is empty")
    return {path: world.mean_over_ranks(total / count) for path, total in found.items()}


def train_head(model: nn.Module, located: Located, loader: Iterable[Batch], epochs: int) -> None:
    """Fit the head by SGD to the features that the body gives, which stays as it is to the bit.

    Args:
        model: in evaluation mode; only the head's parameters change.
        located: where the head is.
        loader: training batches.
        epochs: passes over it; the rate falls exponentially from 0.01, to a tenth every 6 epochs.
    """
    head = model.get_submodule(located.head).requires_grad_(True)
    params = list(head.parameters())
    optimizer = torch.optim.SGD(params, LR, MOMENTUM, weight_decay=DECAY)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = LR * 0.1 ** (epoch / CUT_EPOCHS)
        for batch in loader:
            with torch.no_grad():
                rep = representation(model, batch.x, located)
            loss = functional.cross_entropy(head(rep), batch.y)
            grads = torch.autograd.grad(loss, params)
            for p, g in zip(params, world.mean_gradients(grads, params), strict=True):
                p.grad = g
            optimizer.step()
    head.requires_grad_(False)


def rises(model: nn.Module, layer: Layer, batch: Batch) -> Tensor:
    r""":math:`L(w^0_{\setminus c}) - L(w^0)` for each channel c of a layer, (channels,) in float64.

    L is the batch's mean cross-entropy; a silenced channel is 0, as if its filter and bias were.

    Args:
        model: in evaluation mode, nothing in it working in place.
        layer: whose channels are silenced.
        batch: on which the loss is measured.
    """
    tail = Tail(model, layer.path, lambda: logits(model(batch.x)))
    base = functional.cross_entropy(tail.intact.double(), batch.y)
    axis, found = layer.axis(tail.output), []
    for c in range(tail.output.shape[axis]):
        channel = tail.output.select(axis, c)
        kept = channel.clone()
        channel.zero_()
        found.append(functional.cross_entropy(tail().double(), batch.y) - base)
        channel.copy_(kept)
    return torch.stack(found)


def logits(output: object) -> Tensor:
    """The logits of a network's answer, which Hugging Face's wrap."""
    found = output["logits"] if isinstance(output, dict) else getattr(output, "logits", output)
    assert isinstance(found, Tensor)
    return found


def read(file: Path, layers: Iterable[Layer], asks: object) -> dict[str, Tensor]:
    """The rises that ``write`` left.

    Raises:
        UsageError: they are not of these layers; names who asks.
        DataError: the file is damaged.
    """
    rise, _ = read_tensors(file)
    if missing := [layer.path for layer in layers if layer.path not in rise]:
        raise UsageError(
            f"{asks}: {file} has nothing for {', '.join(missing)}, only for {', '.join(rise)}: it is of another "
            "network or of other layers; name another file to have it measured"
        )
    return rise


def write(file: Path, rise: dict[str, Tensor], *, epochs: int, batches: int) -> None:
    """Keep the rises in a safetensors file, with how they were measured; the first rank alone does so."""
    if world.rank() == 0:
        write_tensors(file, rise, {"what": "loss rise by channel", "epochs": str(epochs), "batches": str(batches)})
