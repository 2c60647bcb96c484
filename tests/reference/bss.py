"""Batch spectral shrinkage (Chen et al. 2019): Ω = η Σ_{i=1}^k σ_{−i}², the k smallest singular values.

F = [f_1 … f_B] is the feature matrix of the batch; it has min(B, D) singular values. k = 1 and η = 1e-3 by default.
The squared singular values are the eigenvalues of the smaller Gram matrix, which is how they are found here: no SVD.
Ω is a sum, not a mean, and a spectrum of the batch: it is not additive over micro-batches.
"""

import torch
from torch import Tensor

from .training import Penalty


def omega(F: Tensor, k: int = 1) -> Tensor:
    """Σ of the k smallest eigenvalues of FFᵀ or FᵀF, whichever is smaller; F of shape (B, D)."""
    gram = F @ F.T if F.shape[0] <= F.shape[1] else F.T @ F
    eigenvalues = torch.linalg.eigvalsh(gram)
    return eigenvalues[:k].sum()


def penalty(eta: float = 1e-3, k: int = 1) -> Penalty:
    """η·Ω on `rep`, as `training.train` takes it."""
    return lambda step: eta * omega(step.forward.rep, k)
