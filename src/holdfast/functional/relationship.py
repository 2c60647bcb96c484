"""What the source classes say about the target's: p(y_s | y_t), as Co-Tuning learns it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def direct(f: Tensor, y: Tensor, classes: int) -> Tensor:
    r"""Mean probabilities of the source classes over the samples of each target class.

    .. math:: p(y_s \mid y_t) = \frac1{n_t} \sum_{i:\,y_i = y_t} f_i

    Args:
        f: probabilities of the source classes (n, C_s).
        y: target labels (n,); each of the classes occurs.
        classes: C_t.

    Returns:
        (C_t, C_s); rows sum to 1.
    """
    sums = f.new_zeros(classes, f.shape[1]).index_add_(0, y, f)
    return sums / y.bincount(minlength=classes).to(f.dtype)[:, None]


def reverse(f: Tensor, y: Tensor, classes: int, ridge: float) -> Tensor:
    r"""The same by Bayes' rule, from a classifier of the target classes on the source probabilities.

    .. math::
        p(y_s \mid y_t) \propto p(y_t \mid y_s)\, p(y_s), \qquad
        p(y_t \mid y_s) = \mathrm{softmax}(W)_{y_t y_s}, \quad p(y_s) = \frac1n\sum_i f_i

    where W is the classifier's matrix: the class that it gives to a sample of which the source class is certain.

    Args:
        f: probabilities of the source classes (n, C_s).
        y: target labels (n,).
        classes: C_t.
        ridge: strength of the classifier's penalty.

    Returns:
        (C_t, C_s); rows sum to 1.
    """
    target_given_source = multinomial(f, y, classes, ridge).softmax(0)
    joint = target_given_source * f.mean(0)
    return joint / joint.sum(1, keepdim=True)


def multinomial(f: Tensor, y: Tensor, classes: int, ridge: float) -> Tensor:
    r"""Logistic regression without intercept.

    .. math:: \min_W\ \frac1n \sum_i -\log \mathrm{softmax}(W f_i)_{y_i} + \frac\rho2 \|W\|^2

    Args:
        f: inputs (n, C_s), in float64 for an accurate minimum.
        y: labels (n,).
        classes: C_t.
        ridge: ρ > 0; 1/(C·n) in scikit-learn's terms.

    Returns:
        W (C_t, C_s), from W = 0 by L-BFGS: no random number.
    """
    W = torch.zeros(classes, f.shape[1], dtype=f.dtype, device=f.device, requires_grad=True)
    search = torch.optim.LBFGS(
        [W], max_iter=1000, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        search.zero_grad()
        with torch.enable_grad():
            value = F.cross_entropy(f @ W.T, y) + 0.5 * ridge * W.square().sum()
        value.backward()
        return value

    search.step(objective)
    return W.detach()
