"""WiSE-FT (Wortsman et al. 2022): after training, w ← (1 − a)·w⁰ + a·w.

Readings. a = 1 keeps the fine-tuned weights. Only parameters that have a starting point are interpolated: w_S; the
new head stays as trained. Floating-point buffers (batch-norm's statistics) are interpolated with the same factor,
integer buffers stay. a is chosen on validation; ties go to the larger a, the less change.
"""

from collections.abc import Callable, Iterable, Sequence

from .training import Weights


def interpolate(w: Weights, w0: Weights, names: Iterable[str], a: float) -> Weights:
    """The interpolated state; entries not in `names`, and integer ones, are those of w."""
    names = set(names)
    return {n: (1 - a) * w0[n] + a * v if n in names and v.is_floating_point() else v.clone() for n, v in w.items()}


def choose(factors: Sequence[float], score: Callable[[float], float]) -> float:
    """The factor of the highest validation score."""
    return max(factors, key=lambda a: (score(a), a))
