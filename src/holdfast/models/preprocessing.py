"""What a network's input must look like: size, normalisation, evaluation crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from holdfast.models.names import Resolved

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """The defaults that a network was pre-trained with.

    Attributes:
        mean: per-channel mean that is subtracted from images scaled to [0, 1].
        std: per-channel standard deviation that they are divided by.
        size: side of the square input, in pixels.
        crop: share of the shorter side that the evaluation's centre crop keeps: resize to round(size / crop), cut size.
        interpolation: ``bilinear`` or ``bicubic``.
        fit: ``shorter``: the picture's shorter side is resized, aspect kept; ``square`` and ``padded``: see
            ``holdfast.data.frame.Frame``.
        ten_crop: whether testing averages ten crops; else the centre crop.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    crop: float
    interpolation: str
    fit: Literal["shorter", "square", "padded"] = "shorter"
    ten_crop: bool = False


def preprocessing(resolved: Resolved, model: nn.Module, *, from_hub: bool, image_size: int | None) -> Preprocessing:
    """The network's own defaults, at the given image size where there is one.

    torchvision publishes several weights per network, with different crops: the hub's default is described where the
    weights come from the hub, else the first published ones, whose layout local files usually have.
    """
    if resolved.library == "timm":
        found = _timm(model)
    elif resolved.library == "torchvision":
        found = _torchvision(resolved.name, from_hub)
    else:
        found = _embedded(model)
    if image_size is None:
        return found
    return Preprocessing(found.mean, found.std, image_size, found.crop, found.interpolation)


def _timm(model: nn.Module) -> Preprocessing:
    import timm.data

    config: dict[str, Any] = timm.data.resolve_model_data_config(model)
    return Preprocessing(
        tuple(config["mean"]),
        tuple(config["std"]),
        config["input_size"][-1],
        float(config["crop_pct"]),
        "bilinear" if config["interpolation"] == "bilinear" else "bicubic",
    )


def _torchvision(name: str, from_hub: bool) -> Preprocessing:
    import torchvision

    published = torchvision.models.get_model_weights(name)
    preset = (published.DEFAULT if from_hub else next(iter(published))).transforms()
    size, shorter = preset.crop_size[0], preset.resize_size[0]
    return Preprocessing(tuple(preset.mean), tuple(preset.std), size, size / shorter, preset.interpolation.value)


def _embedded(model: nn.Module) -> Preprocessing:
    declared: Any = model
    return Preprocessing(
        tuple(getattr(declared, "mean", _IMAGENET_MEAN)),
        tuple(getattr(declared, "std", _IMAGENET_STD)),
        int(getattr(declared, "image_size", 32)),
        1.0,
        "bilinear",
    )
