"""Warnings that the hosts raise about themselves, whatever holdfast does."""

from pathlib import Path

import pytest

THEIRS = (
    r"ignore:.*isinstance\(treespec, LeafSpec\):FutureWarning",
    r"ignore:.*does not have many workers",
    r"ignore:The dirpath has changed",
    r"ignore:.*multi-threaded, use of fork:DeprecationWarning",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in THEIRS:
                item.add_marker(pytest.mark.filterwarnings(warning))
