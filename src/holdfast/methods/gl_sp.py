"""GL-SP: the group lasso on the distance from the starting point, by output channel (Li et al. 2018, 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from holdfast.core.registry import register
from holdfast.core.sharp import Corner, Groups, SharpPenalty
from holdfast.core.types import ParamRef


@register
@dataclass(frozen=True)
class GLSP(SharpPenalty):
    r"""Pulls each output channel's kernel to its starting value as a whole, the new head to zero.

    .. math::
        \Omega(w) = \alpha\sum_g s_g\|w_{G_g} - w_{G_g}^0\|_2 + \frac\alpha2\|w_{G_0} - w_{G_0}^0\|_2^2
        + \frac\beta2\|w_{\bar S}\|_2^2

    where a group :math:`G_g` is the fan-in of one output channel of a convolution, or of one unit of a linear layer, of
    the body, :math:`p_g` its size and :math:`s_g = \sqrt{p_g}`; :math:`G_0` are the body's biases, normalisation
    and tokens, as far as ``include`` takes them. A sum over parameters. There is no ½ before the first α.

    ``form='smoothed'``: :math:`\|d\|` is :math:`(\sum d_j^2 + \varepsilon)^{1/2}`. ``form='proximal'``: after the
    optimiser's step on all other terms :math:`d_g \leftarrow d_g\max(1 - \eta\alpha s_g/\|d_g\|, 0)` with
    :math:`d = w - w^0` and η the rate of that step; the log has ``frozen``, the count of channels at :math:`w^0`, and
    ``frozen_share``. That form is refused inside ``dtnh(...)``.

    Source: Li, Grandvalet, Davoine 2018; eq. 6 of the 2020 extension. Deviation: the term on :math:`G_0`, which the
    authors' code leaves free (``gl_sp@li2018``), as it does biases of the head.
    """

    stem: ClassVar[str] = "gl_sp"
    presets: ClassVar[dict[str, dict[str, object]]] = {"li2018": {"include": "weights"}}
    corner: ClassVar[Corner] = Groups()
    symbol: ClassVar[str] = "Σ √p ‖w_g − w⁰_g‖"

    def in_corner(self, ref: ParamRef) -> bool:
        """Kernels form groups."""
        return ref.kind == "weight"
