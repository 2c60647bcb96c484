"""L1-SP: the sum of absolute distances from the starting point (Li et al. 2018, 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from holdfast.core.registry import register
from holdfast.core.sharp import Corner, Entries, SharpPenalty


@register
@dataclass(frozen=True)
class L1SP(SharpPenalty):
    r"""Pulls each pre-trained parameter to its starting value with the same force, however near it is.

    .. math:: \Omega(w) = \alpha\|w_S - w_S^0\|_1 + \frac\beta2\|w_{\bar S}\|_2^2

    where :math:`w_S` are the parameters that exist in the source network, :math:`w_S^0` their values when ``prepare``
    was called, and :math:`w_{\bar S}` the new head's. A sum over parameters. There is no ½ before α. The corner at
    :math:`w^0` holds parameters there that the task hardly needs; training starts in that corner.

    ``form='smoothed'``: :math:`|d|` is :math:`\sqrt{d^2 + \varepsilon}`, in the loss and the momentum; nothing stays
    exactly at :math:`w^0`. ``form='proximal'``: the optimiser steps on J and the head's term, then
    :math:`d \leftarrow \mathrm{sign}(d)\max(|d| - \eta\alpha, 0)` with :math:`d = w - w^0` and η the rate of that step,
    each parameter's own; the log has ``frozen``, the count of parameters at :math:`w^0`, and ``frozen_share``. That
    form is refused inside ``dtnh(...)``.

    Source: Li, Grandvalet, Davoine 2018; eq. 5 of the 2020 extension. Deviation: all shared parameters by default; the
    authors' code takes weights only, smoothed (``l1_sp@li2018``) or by the sub-gradient (``l1_sp@li2018abs``).
    """

    stem: ClassVar[str] = "l1_sp"
    presets: ClassVar[dict[str, dict[str, object]]] = {
        "li2018": {"include": "weights"},
        "li2018abs": {"include": "weights", "eps": 0.0},
    }
    corner: ClassVar[Corner] = Entries()
    symbol: ClassVar[str] = "‖w − w⁰‖₁"
