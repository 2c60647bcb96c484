"""Versions of what a run used."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("holdfast", "torch", "torchvision", "timm", "lightning", "torchmetrics", "numpy", "pillow", "safetensors")


def versions() -> dict[str, str]:
    """Version of Python and of each package by name."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            # an imported module tells its build too, such as 2.6.0+cu124
            found[name] = str(getattr(sys.modules.get(name), "__version__", None) or version(name))
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
