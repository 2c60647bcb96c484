"""The toy neuron of §2.3 of the PtR paper: f = ReLU(a·x), E = ½(f − t)², x a constant, f and t independent.

    ∂E/∂a = (f − t)·x where the neuron is active, 0 elsewhere.

Readings. Eq. 6 prints |f − t|·x; the derivative has no modulus. Eq. 7 prints Var f + Var t; the variance of (f − t)·x
is x²(Var f + Var t). t ~ U[0, 2m) has Var t = (2m)²/12 = m²/3. Here a ~ U[low, high] with a·x > 0, so f is uniform on
[low·x, high·x]. Expectations are sums over a fine grid of midpoints: slow, and free of the algebra under test.
"""

from collections.abc import Callable


def gradient(a: float, x: float, t: float) -> float:
    """∂E/∂a by central differences of E."""

    def error(weight: float) -> float:
        return 0.5 * (max(weight * x, 0.0) - t) ** 2

    h = 1e-5
    return (error(a + h) - error(a - h)) / (2 * h)


def expectation(of: Callable[[float, float], float], low: float, high: float, m: float, steps: int = 400) -> float:
    """E[of(a, t)] over a ~ U[low, high] and t ~ U[0, 2m), by the midpoint rule."""
    total = 0.0
    for i in range(steps):
        a = low + (high - low) * (i + 0.5) / steps
        for j in range(steps):
            total += of(a, 2 * m * (j + 0.5) / steps)
    return total / steps**2


def variance(of: Callable[[float, float], float], low: float, high: float, m: float, steps: int = 400) -> float:
    """Var[of(a, t)] by the same rule."""
    mean = expectation(of, low, high, m, steps)
    return expectation(lambda a, t: (of(a, t) - mean) ** 2, low, high, m, steps)
