"""The real images beside the checkout, where there are any."""

from pathlib import Path

import pytest

from holdfast.core.errors import DataError
from holdfast.data.folder import scan

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="no real images: ../shared/data is not beside the checkout"),
]


def test_flowers_come_in_three_balanced_parts() -> None:
    index = scan(DATA / "flowers17", samples_per_class=5, side=32)
    assert len(index.classes) == 17
    assert {part: set(index.counts(part)) for part in index.parts} == {"train": {5}, "val": {20}, "test": {20}}
    assert index.decoded is not None
    assert set(index.decoded.images) == {sample.digest for sample in index.samples()}


def test_clothing_is_imbalanced() -> None:
    assert any("imbalanced" in note for note in scan(DATA / "clothing").notes)


def test_segmentation_data_is_refused() -> None:
    with pytest.raises(DataError, match="no class folders"):
        scan(DATA / "camvid")
