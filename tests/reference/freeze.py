"""Freezing of the first k layers (Fig. 2 of the L2-SP paper): w_j stays w⁰_j in the frozen modules.

Readings. "Layers" go by stem, then whole blocks: the caller names the modules. A frozen parameter takes no step, so
neither momentum nor weight decay moves it. Batch-norm inside frozen modules is in evaluation mode, so that its
statistics stand still too; `bn="train"` lets them move.
"""

import copy
from collections.abc import Iterable

from torch import nn


def frozen(model: nn.Module, modules: Iterable[str], bn: str = "eval") -> nn.Module:
    """A copy to hand to `training.train`: the named modules do not train."""
    model = copy.deepcopy(model)
    for name in modules:
        for p in model.get_submodule(name).parameters():
            p.requires_grad_(False)
        for module in model.get_submodule(name).modules():
            if bn == "eval" and isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    return model
