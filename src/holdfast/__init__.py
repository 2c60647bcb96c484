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
    from holdfast.methods.bi_tuning import BiTuning
    from holdfast.methods.bss import BSS
    from holdfast.methods.btfw import BTfW
    from holdfast.methods.co_tuning import CoTuning
    from holdfast.methods.conv_dropout import ConvDropout
    from holdfast.methods.cyclic_lr import CyclicLR
    from holdfast.methods.delta import DELTA
    from holdfast.methods.disturb_label import DisturbLabel
    from holdfast.methods.drop_connect import DropConnect
    from holdfast.methods.dropout import Dropout
    from holdfast.methods.dtnh import DTNH
    from holdfast.methods.fnp import FNP
    from holdfast.methods.freeze import Freeze
    from holdfast.methods.fsp import FSP
    from holdfast.methods.gl_sp import GLSP
    from holdfast.methods.gl_sp_fisher import GLSPFisher
    from holdfast.methods.joint_train import JointTrain
    from holdfast.methods.know_dist import KnowDist
    from holdfast.methods.l1_sp import L1SP
    from holdfast.methods.l2 import L2
    from holdfast.methods.l2_sp import L2SP
    from holdfast.methods.l2_sp_fisher import L2SPFisher
    from holdfast.methods.lp_ft import LPFT
    from holdfast.methods.lwf import LwF
    from holdfast.methods.mixout import Mixout
    from holdfast.methods.pairwise_confusion import PairwiseConfusion
    from holdfast.methods.ptr import PtR
    from holdfast.methods.rifle import RIFLE
    from holdfast.methods.stoch_norm import StochNorm
    from holdfast.methods.stochastic_depth import StochasticDepth
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
    "AttentionTransfer": "methods.attention_transfer",
    "BiTuning": "methods.bi_tuning",
    "BSS": "methods.bss",
    "BTfW": "methods.btfw",
    "CoTuning": "methods.co_tuning",
    "ConvDropout": "methods.conv_dropout",
    "CyclicLR": "methods.cyclic_lr",
    "DELTA": "methods.delta",
    "DisturbLabel": "methods.disturb_label",
    "DropConnect": "methods.drop_connect",
    "Dropout": "methods.dropout",
    "DTNH": "methods.dtnh",
    "FNP": "methods.fnp",
    "Freeze": "methods.freeze",
    "FSP": "methods.fsp",
    "GLSP": "methods.gl_sp",
    "GLSPFisher": "methods.gl_sp_fisher",
    "JointTrain": "methods.joint_train",
    "KnowDist": "methods.know_dist",
    "L1SP": "methods.l1_sp",
    "L2": "methods.l2",
    "L2SP": "methods.l2_sp",
    "L2SPFisher": "methods.l2_sp_fisher",
    "LPFT": "methods.lp_ft",
    "LwF": "methods.lwf",
    "Mixout": "methods.mixout",
    "PairwiseConfusion": "methods.pairwise_confusion",
    "PtR": "methods.ptr",
    "RIFLE": "methods.rifle",
    "StochNorm": "methods.stoch_norm",
    "StochasticDepth": "methods.stochastic_depth",
    "WiSEFT": "methods.wise_ft",
    "fit": "train.fit",
}

__all__ = [
    "BSS",
    "DELTA",
    "DTNH",
    "FNP",
    "FSP",
    "GLSP",
    "L1SP",
    "L2",
    "L2SP",
    "LPFT",
    "RIFLE",
    "AttentionTransfer",
    "BTfW",
    "BiTuning",
    "CoTuning",
    "Composition",
    "ConflictError",
    "ConvDropout",
    "CyclicLR",
    "DataError",
    "DisturbLabel",
    "DropConnect",
    "Dropout",
    "Freeze",
    "GLSPFisher",
    "HoldfastError",
    "JointTrain",
    "KnowDist",
    "L2SPFisher",
    "LwF",
    "Method",
    "Mixout",
    "ModelError",
    "PairwiseConfusion",
    "PtR",
    "StartingPointError",
    "State",
    "StochNorm",
    "StochasticDepth",
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
