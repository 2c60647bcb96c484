"""The optimal transport distance between two layers, with POT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.distance import cdist  # type: ignore[import-untyped]

from holdfast.core.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

COSTS = {
    "units": "squared Euclidean distance between hidden units, each the vector of its incoming weights (POT's default)",
    "units-root": "Euclidean distance between hidden units",
    "units-share": "squared Euclidean distance between hidden units over the largest of them (as POT's examples have "
    "it)",
    "units-angle": "1 − cosine between hidden units: the length, which a ReLU network can shift into the second layer, "
    "does not count",
    "inputs": "squared Euclidean distance between inputs, each the vector of its outgoing weights (the rows of the "
    "printed 100 × 50 matrix)",
}
"""Ground costs: what it costs to carry a unit of mass; the paper names none."""


def needs_pot() -> Any:
    """The module ``ot``.

    Raises:
        UsageError: POT is not installed.
    """
    try:
        import ot
    except ImportError as error:
        raise UsageError("optimal transport needs POT: pip install 'holdfast[analysis]'") from error
    return ot


def transport(A: Tensor, B: Tensor) -> dict[str, float]:
    r"""The optimal transport distance between two weight matrices, for every ground cost.

    .. math:: OT(A, B) = \min_{T \ge 0} \sum_{ij} T_{ij} c(a_i, b_j), \qquad \sum_j T_{ij} = \sum_i T_{ij} = \tfrac1n

    Args:
        A: weights of a linear layer (hidden, inputs).
        B: those of the other, of the same shape.

    Returns:
        the least cost by name of the ground cost, at least 0 and 0 for the same units in any order (for ``inputs``,
        the same inputs).

    Raises:
        UsageError: POT is not installed.
    """
    ot = needs_pot()
    a, b = A.detach().numpy(), B.detach().numpy()
    squared = cdist(a, b, "sqeuclidean")  # POT's own is a difference of squares, which rounds where points coincide
    costs = {
        "units": squared,
        "units-root": np.sqrt(squared),
        "units-share": squared / squared.max(),
        "units-angle": cdist(a, b, "cosine"),
        "inputs": cdist(a.T, b.T, "sqeuclidean"),
    }
    return {name: float(ot.emd2([], [], cost)) for name, cost in costs.items()}
