"""All that is computed of two networks' predictions of the same pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from holdfast.analysis.pair.certainty import Certainty, Places, Reals, certainty, entropy_bits, of_true_class
from holdfast.analysis.pair.rectification import Rectification, rectified
from holdfast.bench.statistics import Paired, paired_difference
from holdfast.train.metrics import measures


@dataclass(frozen=True)
class Compared:
    """Network B beside network A.

    Attributes:
        certainties: of A and of B.
        entropies: mean entropy of A's and of B's predictions, in bits.
        errors: expected calibration errors of A and of B.
        changes: which mistakes B mends and makes.
        gain: of the probability given to the true class, B minus A, over pictures; None with a single picture.
        clearing: of the entropy in bits, likewise.
    """

    certainties: tuple[Certainty, Certainty]
    entropies: tuple[float, float]
    errors: tuple[float, float]
    changes: Rectification
    gain: Paired | None
    clearing: Paired | None


def compare(a: Reals, b: Reals, labels: Places) -> Compared:
    """Compare two networks.

    Args:
        a: probabilities of network A, shape (N, K), rows that sum to one.
        b: probabilities of network B for the same pictures.
        labels: true classes, shape (N,).
    """
    before, after = entropy_bits(a), entropy_bits(b)
    return Compared(
        certainties=(certainty(a, labels), certainty(b, labels)),
        entropies=(float(before.mean()), float(after.mean())),
        errors=(_calibration_error(a, labels), _calibration_error(b, labels)),
        changes=rectified(a, b, labels),
        gain=_difference(of_true_class(b, labels), of_true_class(a, labels)),
        clearing=_difference(after, before),
    )


def _difference(b: Reals, a: Reals) -> Paired | None:
    return paired_difference(b.tolist(), a.tolist()) if len(a) > 1 else None


def _calibration_error(probabilities: Reals, labels: Places) -> float:
    return measures(torch.from_numpy(probabilities).log(), torch.from_numpy(labels))["ece"]
