"""``holdfast analyse``: the papers' analyses, one command per question."""

from holdfast.cli.analyse import course, runs, theory
from holdfast.cli.analyse.app import analyse

__all__ = ["analyse", "course", "runs", "theory"]
