"""Maths on histograms of low-level filter responses: what an image looks like locally, and which images look alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor

WAVELENGTHS = (4.0, 4.0 * 2**0.5, 8.0, 8.0 * 2**0.5)
ORIENTATIONS = 6
REACH = 15
ROWS = 16
"""Target images whose distances to all source images are held at a time."""


def gabor_bank() -> Tensor:
    r"""Gabor filters at 4 wavelengths and 6 orientations, even and odd.

    .. math:: g(u, v) = \exp\!\big(-\tfrac{u'^2 + v'^2}{2\sigma^2}\big) \cos(2\pi u'/\lambda + \phi), \quad
        \sigma = 0.56 \lambda, \quad \phi \in \{0, -\pi/2\}

    where :math:`(u', v')` are pixels turned by the orientation and λ runs over ``WAVELENGTHS``; the factor 0.56 gives a
    bandwidth of one octave. Each filter's mean is taken off, so that it does not see brightness, and the sum of its
    absolute values is 1.

    Returns:
        (48, 1, 31, 31), float64.
    """
    pixels = torch.arange(-REACH, REACH + 1, dtype=torch.float64)
    v, u = torch.meshgrid(pixels, pixels, indexing="ij")
    filters = []
    for wavelength in WAVELENGTHS:
        for turn in range(ORIENTATIONS):
            angle = math.pi * turn / ORIENTATIONS
            along = u * math.cos(angle) + v * math.sin(angle)
            envelope = torch.exp(-(u.square() + v.square()) / (2 * (0.56 * wavelength) ** 2))
            phase = 2 * math.pi * along / wavelength
            filters += [envelope * phase.cos(), envelope * phase.sin()]
    bank = torch.stack(filters)
    bank = bank - bank.mean((1, 2), keepdim=True)
    return (bank / bank.abs().sum((1, 2), keepdim=True)).unsqueeze(1)


def histograms(responses: Tensor, edges: Tensor, bins: int) -> Tensor:
    """How often each filter's response falls into each of ``bins`` bins of equal width.

    Args:
        responses: (B, F, ...), one map for each of F filters.
        edges: (F, 2), float64: lower edge of the first bin and upper edge of the last; a response beyond an edge is
            counted in that bin.
        bins: their number.

    Returns:
        counts (B, F, bins), int32.
    """
    values = responses.flatten(2).double()
    low, width = edges[:, :1], edges[:, 1:] - edges[:, :1]
    share = torch.where(width > 0, (values - low) / width, torch.zeros_like(values))
    place = (share * bins).floor().clamp_(0, bins - 1).long()
    rows = torch.arange(values.shape[0] * values.shape[1], device=values.device).view(*values.shape[:2], 1)
    counts = torch.bincount((place + rows * bins).flatten(), minlength=rows.numel() * bins)
    return counts.view(*values.shape[:2], bins).int()


def divergences(targets: Tensor, sources: Tensor, weights: Tensor, eps: float = 1.0) -> Tensor:
    r"""Symmetric divergence of each target image from each source image.

    .. math:: H_{ij} = \sum_h w_h \big[KL(\phi_h^i \| \phi_h^j) + KL(\phi_h^j \| \phi_h^i)\big]
        = \sum_h w_h \sum_b (p - q)(\log p - \log q)

    where φ are the relative frequencies after ``eps`` was added to each count, so that H is finite.

    Args:
        targets: counts (T, F, bins).
        sources: counts (S, F, bins).
        weights: w (F,), float64.
        eps: > 0.

    Returns:
        H (T, S), float64, >= 0 up to rounding.
    """
    p, log_p = _frequencies(targets, eps)
    q, log_q = _frequencies(sources, eps)
    w = weights.view(1, -1, 1)
    own = [(w * f * log_f).sum((1, 2)) for f, log_f in ((p, log_p), (q, log_q))]
    crossed = (w * p).flatten(1) @ log_q.flatten(1).T + (w * log_p).flatten(1) @ q.flatten(1).T
    return own[0][:, None] + own[1] - crossed


def _frequencies(counts: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    raised = counts.double() + eps
    found = raised / raised.sum(-1, keepdim=True)
    return found, found.log()


def chosen(targets: Tensor, sources: Tensor, weights: Tensor, ks: Tensor, eps: float = 1.0) -> Tensor:
    """Which source images are among the ``ks`` nearest of some target image: a mask (S,).

    Ties take the lower index; distances that agree to float32's precision are ties, so that copies of one image are.

    Args:
        targets: counts (T, F, bins).
        sources: counts (S, F, bins).
        weights: of the filters, (F,).
        ks: K of each target image, (T,), whole numbers; all source images where it is larger than their number.
        eps: see ``divergences``.
    """
    mask = torch.zeros(len(sources), dtype=torch.bool)
    for rows, k in zip(targets.split(ROWS), ks.split(ROWS), strict=True):
        order = divergences(rows, sources, weights, eps).float().sort(dim=1, stable=True).indices
        wanted = torch.arange(len(sources)) < k[:, None]
        mask[order[wanted]] = True
    return mask


def grown(ks: Tensor, wrong: Tensor, entropy: Tensor, delta: float, sigma0: int, sigma1: int) -> Tensor:
    r"""K of the next round: more for hard images.

    .. math:: K_i + \sigma_0 \text{ if misclassified}, \quad K_i + \sigma_1 \text{ if right but } H_i \ge \delta, \quad
        K_i \text{ else}

    Args:
        ks: K, (T,), whole numbers.
        wrong: whether misclassified, (T,).
        entropy: of the prediction, in nats, (T,).
        delta: threshold δ.
        sigma0: growth for misclassified images.
        sigma1: growth for uncertain ones.
    """
    return ks + torch.where(wrong, sigma0, torch.where(entropy >= delta, sigma1, 0)).to(ks.dtype)
