"""``holdfast bench``: comparisons over methods, data and seeds, and the papers' tables."""

from holdfast.cli.bench import recipes, repeating, running
from holdfast.cli.bench.app import bench

__all__ = ["bench", "recipes", "repeating", "running"]
