"""Figures of a set of labelled predictions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15


def measures(log_probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, mean-class accuracy, negative log-likelihood and expected calibration error.

    ``accuracy``: share of the samples whose most probable class is the label. ``mean_class_accuracy``: mean over the
    classes that occur of each class's own accuracy. ``nll``: mean of −log p(label), in nats. ``ece``:
    Σ_b n_b/n · |right_b − confidence_b| over ``BINS`` equal bins of the highest probability.

    Args:
        log_probabilities: shape (N, K).
        labels: shape (N,).
    """
    right = (log_probabilities.argmax(1) == labels).double()
    classes = log_probabilities.shape[1]
    total = torch.bincount(labels, minlength=classes).double()
    hits = torch.bincount(labels, weights=right, minlength=classes)
    occurs = total > 0
    ece = multiclass_calibration_error(log_probabilities.exp().float(), labels, num_classes=classes, n_bins=BINS)
    return {
        "accuracy": float(right.mean()),
        "mean_class_accuracy": float((hits[occurs] / total[occurs]).mean()),
        "nll": float(F.nll_loss(log_probabilities.double(), labels)),
        "ece": float(ece),
    }
