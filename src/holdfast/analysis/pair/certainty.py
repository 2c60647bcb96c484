"""How sure a network is of the right classes: matrix C, its sums S on and off the diagonal, entropy in bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

Reals = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Certainty:
    r"""The sums of predicted probabilities by true class.

    .. math:: C_{kl} = \sum_{i:\,y_i=k} p_l(x_i), \qquad S = \sum_k C_{kk}, \qquad S' = \sum_{k\ne l} C_{kl} = N - S

    where :math:`p_l(x_i)` is the probability that the network gives to class l on picture i, :math:`y_i` its true
    class and N the number of pictures. S' is N − S by construction, for the probabilities of a picture sum to one.

    Attributes:
        matrix: C, shape (K, K); rows are true classes.
    """

    matrix: Reals

    @property
    def on(self) -> Reals:
        """C on the diagonal, shape (K,); its sum is S."""
        return self.matrix.diagonal()

    @property
    def off(self) -> Reals:
        """Each row's sum off the diagonal, shape (K,); their sum is S'."""
        return np.asarray(self.matrix.sum(1) - self.on, dtype=np.float64)

    @property
    def total(self) -> float:
        """The sum of the diagonal: of N pictures, as many as the right classes were given probability for."""
        return float(self.on.sum())


def certainty(probabilities: Reals, labels: Places) -> Certainty:
    """C of predictions.

    Args:
        probabilities: shape (N, K), rows that sum to one.
        labels: true classes, shape (N,), in 0…K−1.

    Source: Zhong and Maki 2020, §4, which does not print what a row gathers; its diagonal is that of the right classes
    where rows are true classes.
    """
    matrix = np.zeros((probabilities.shape[1],) * 2)
    np.add.at(matrix, labels, probabilities)
    return Certainty(matrix)


def entropy_bits(probabilities: Reals) -> Reals:
    r"""Entropy of each prediction in bits, shape (N,), from 0 to :math:`\log_2 K`.

    .. math:: H_i = -\sum_k p_k(x_i) \log_2 p_k(x_i), \qquad 0 \log_2 0 = 0

    Args:
        probabilities: shape (N, K), rows that sum to one.
    """
    return np.asarray(stats.entropy(probabilities, base=2, axis=1), dtype=np.float64)


def of_true_class(probabilities: Reals, labels: Places) -> Reals:
    """The probability given to each picture's true class, shape (N,); it sums to S."""
    return probabilities[np.arange(len(labels)), labels]
