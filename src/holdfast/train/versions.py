"""Versions of what a run used."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("holdfast", "torch", "torchvision", "timm", "lightning", "torchmetrics", "numpy", "pillow", "safetensors")


def versions() -> dict[str, str]:
    """Version of Python and of each package by name."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
