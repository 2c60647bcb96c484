"""Networks by name: the bare architecture, and the hub's weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from holdfast.core.errors import ModelError, UsageError
from holdfast.models.embedded import EMBEDDED
from holdfast.models.names import Resolved

_CURE = "pass --weights FILE (weights=… in Python), or --no-pretrained (pretrained=False) to start from nothing"


def options(
    resolved: Resolved, num_classes: int | None = None, image_size: int | None = None, drop_rate: float | None = None
) -> dict[str, Any]:
    """The keyword arguments with which the library itself builds the network.

    Args:
        resolved: which one.
        num_classes: of its head; the library's own number where it is missing.
        image_size: side of its input; passed on to networks that are built for one size.
        drop_rate: of the head's dropout; passed on to timm. torchvision has no common name for it.
    """
    chosen: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if resolved.library == "timm":
        if drop_rate is not None:
            chosen["drop_rate"] = drop_rate
        if image_size is not None and _timm_config(resolved).get("fixed_input_size"):
            chosen["img_size"] = image_size
    if resolved.library == "torchvision":
        if resolved.name in ("inception_v3", "googlenet"):
            # The published weights expect the input transform, and torchvision switches it on with them.
            chosen |= {"aux_logits": False, "transform_input": True, "init_weights": True}
        if image_size is not None and resolved.name.startswith("vit_"):
            chosen["image_size"] = image_size
        if image_size is not None and resolved.name.startswith("maxvit"):
            chosen["input_size"] = (image_size, image_size)
    return chosen


def architecture(resolved: Resolved, chosen: dict[str, Any]) -> nn.Module:
    """A network without pre-trained weights, with its library's keyword arguments.

    Raises:
        UsageError: the network has no such option, or no such pre-training tag.
    """
    if resolved.library == "timm":
        return timm_model(resolved, chosen, pretrained=False)
    if resolved.library == "holdfast":
        model: nn.Module = EMBEDDED[resolved.name].factory()(**chosen)
        return model
    import torchvision

    try:
        model = torchvision.models.get_model(resolved.name, weights=None, **chosen)
    except (ValueError, TypeError, AssertionError) as error:
        raise UsageError(f"{resolved} cannot be built with {chosen}: {error}") from error
    return model


def timm_model(resolved: Resolved, chosen: dict[str, Any], *, pretrained: bool) -> nn.Module:
    """A network of timm's, with the hub's weights where ``pretrained``.

    Raises:
        UsageError: the network has no such option, or no such pre-training tag.
        ModelError: the hub has no weights for it, or cannot be reached.
    """
    import timm

    if pretrained and not any(_timm_config(resolved).get(key) for key in ("url", "hf_hub_id", "file")):
        raise ModelError(f"{resolved} has no published weights; {_CURE}.")
    try:
        model: nn.Module = timm.create_model(resolved.name, pretrained=pretrained, **chosen)
    except TypeError as error:
        raise UsageError(f"{resolved} does not take every option given ({error}).") from error
    except Exception as error:
        if "Invalid pretrained tag" in str(error):
            raise UsageError(f"{resolved}: {error}; timm.list_pretrained() lists the tags.") from error
        if not pretrained:
            raise
        raise _unreachable(resolved, error) from error
    return model


def timm_classes(resolved: Resolved) -> int:
    """Number of classes of timm's published weights; 0 where they are a backbone without a head."""
    return int(_timm_config(resolved).get("num_classes", 1000))


def torchvision_from_hub(resolved: Resolved) -> tuple[nn.Module, str]:
    """A torchvision network with its default published weights, and their tag.

    Raises:
        ModelError: the hub cannot be reached.
    """
    import torchvision

    chosen = {key: value for key, value in options(resolved).items() if key == "aux_logits"}
    published = torchvision.models.get_model_weights(resolved.name).DEFAULT
    try:
        model: nn.Module = torchvision.models.get_model(resolved.name, weights=published, progress=False, **chosen)
    except (OSError, RuntimeError) as error:
        raise _unreachable(resolved, error) from error
    return model, str(published)


def _timm_config(resolved: Resolved) -> dict[str, Any]:
    import timm

    config = timm.get_pretrained_cfg(resolved.name)
    return {} if config is None else dict(config.to_dict())


def _unreachable(resolved: Resolved, error: Exception) -> ModelError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return ModelError(f"the weights of {resolved} could not be fetched from the hub ({reason}); {_CURE}.")
