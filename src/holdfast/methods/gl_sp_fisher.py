"""GL-SP-Fisher: the group lasso of GL-SP with each entry weighed by the Fisher information (Li et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from holdfast.core.fisher import Kind
from holdfast.core.information import Information, Sampling
from holdfast.core.method import State, hyper
from holdfast.core.registry import register
from holdfast.core.sharp import Corner, Groups, SharpPenalty, SharpState
from holdfast.core.types import Batch, Context, ParamRef


@register
@dataclass(frozen=True)
class GLSPFisher(SharpPenalty):
    r"""Pulls each output channel's kernel to its starting value, in the metric of the Fisher information.

    .. math::
        \Omega(w) = \alpha\sum_g s_g\Big(\sum_{j\in G_g}F_{jj}(w_j - w_j^0)^2\Big)^{1/2}
        + \frac\alpha2\|w_{G_0} - w_{G_0}^0\|_2^2 + \frac\beta2\|w_{\bar S}\|_2^2

    where groups, :math:`s_g = \sqrt{p_g}` and the rest :math:`G_0` are those of ``gl_sp``, and F is the diagonal Fisher
    information at :math:`w^0` on source inputs, see ``l2_sp_fisher``. F is tiny, so α needs its own grid.

    ``form='smoothed'``: ε is added under the root. ``form='proximal'``: after the optimiser's step each group becomes
    the minimiser of :math:`\frac12\|v - d\|^2 + \eta\alpha s_g(\sum_jF_{jj}v_j^2)^{1/2}`, found by Newton's method on
    one number; 0 where :math:`F_{jj} > 0` if :math:`(\sum_jd_j^2/F_{jj})^{1/2} \le \eta\alpha s_g`. See ``gl_sp``.

    Source: Li, Grandvalet, Davoine 2020, the last display of §3. The authors' code adds ε to F as well (``fisher_eps``)
    and takes weights alone (``gl_sp_fisher@li2018``).
    """

    stem: ClassVar[str] = "gl_sp_fisher"
    presets: ClassVar[dict[str, dict[str, object]]] = {"li2018": {"include": "weights"}}
    corner: ClassVar[Corner] = Groups()
    symbol: ClassVar[str] = "Σ √p (Σ F (w − w⁰)²)^½"

    fisher: str | None = hyper(None, doc="file that holdfast fisher wrote; none: calibrate measures F")
    fisher_eps: float = hyper(0.0, low=0, doc="constant that is added to F")
    kind: Kind = hyper("monte_carlo", doc="how calibrate forms the expectation over labels")
    labels: int = hyper(1, low=1, doc="labels of each sample that calibrate draws, or takes as the most probable ones")
    samples: int | None = hyper(None, low=1, doc="training samples that calibrate reads; all where not given")

    def in_corner(self, ref: ParamRef) -> bool:
        """Kernels form groups."""
        return ref.kind == "weight"

    def informed(self, refs: list[ParamRef], ctx: Context) -> Information | None:
        """F of the kernels; none at zero strength."""
        sampling = Sampling(self.kind, self.labels, self.samples)
        return Information(self, self.fisher, self.fisher_eps, refs, sampling, ctx) if self.alpha else None

    def calibrate(self, model: nn.Module, loader: Iterable[Batch], state: State) -> None:
        """Measure F where no file is given."""
        assert isinstance(state, SharpState)
        if state.information is not None:
            state.information.measure(model, loader)
