"""Regularised fine-tuning for PyTorch.

Nothing heavy is imported until it is used: ``import holdfast`` loads neither torch nor timm.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.core.compose import Composition, compose
    from holdfast.core.errors import (
        ConflictError,
        DataError,
        HoldfastError,
        ModelError,
        StartingPointError,
        UsageError,
    )
    from holdfast.core.method import Method, State
    from holdfast.core.streams import Stream
    from holdfast.methods.attention_transfer import AttentionTransfer
    from holdfast.methods.btfw import BTfW
    from holdfast.methods.delta import DELTA
    from holdfast.methods.dtnh import DTNH
    from holdfast.methods.freeze import Freeze
    from holdfast.methods.fsp import FSP
    from holdfast.methods.joint_train import JointTrain
    from holdfast.methods.know_dist import KnowDist
    from holdfast.methods.l2 import L2
    from holdfast.methods.l2_sp import L2SP
    from holdfast.methods.lp_ft import LPFT
    from holdfast.methods.lwf import LwF
    from holdfast.methods.ptr import PtR
    from holdfast.methods.rifle import RIFLE
    from holdfast.methods.wise_ft import WiSEFT
    from holdfast.train.fit import fit

__version__ = "0.1.0"

_HOMES = {
    "Composition": "core.compose",
    "compose": "core.compose",
    "ConflictError": "core.errors",
    "DataError": "core.errors",
    "HoldfastError": "core.errors",
    "ModelError": "core.errors",
    "StartingPointError": "core.errors",
    "Stream": "core.streams",
    "UsageError": "core.errors",
    "Method": "core.method",
    "State": "core.method",
    "BTfW": "methods.btfw",
    "DTNH": "methods.dtnh",
    "Freeze": "methods.freeze",
    "JointTrain": "methods.joint_train",
    "L2": "methods.l2",
    "L2SP": "methods.l2_sp",
    "LPFT": "methods.lp_ft",
    "LwF": "methods.lwf",
    "PtR": "methods.ptr",
    "RIFLE": "methods.rifle",
    "WiSEFT": "methods.wise_ft",
    "KnowDist": "methods.know_dist",
    "AttentionTransfer": "methods.attention_transfer",
    "FSP": "methods.fsp",
    "DELTA": "methods.delta",
    "fit": "train.fit",
}

__all__ = [
    "DELTA",
    "DTNH",
    "FSP",
    "L2",
    "L2SP",
    "LPFT",
    "RIFLE",
    "AttentionTransfer",
    "BTfW",
    "Composition",
    "ConflictError",
    "DataError",
    "Freeze",
    "HoldfastError",
    "JointTrain",
    "KnowDist",
    "LwF",
    "Method",
    "ModelError",
    "PtR",
    "StartingPointError",
    "State",
    "Stream",
    "UsageError",
    "WiSEFT",
    "compose",
    "fit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    return getattr(importlib.import_module(f"holdfast.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
