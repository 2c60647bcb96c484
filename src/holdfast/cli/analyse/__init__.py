"""``holdfast analyse``: the papers' analyses, one command per question."""

from holdfast.cli.analyse import course, runs, sweeps, theory, trained
from holdfast.cli.analyse.app import analyse

__all__ = ["analyse", "course", "runs", "sweeps", "theory", "trained"]
