"""Data sets by name in a run's settings: as the target and as the source."""

from pathlib import Path

import pytest

from data import miniatures
from holdfast.core.compose import compose
from holdfast.data.named import catalogue as facts
from holdfast.train.settings import Settings
from holdfast.train.source import source_index


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A miniature that the catalogue takes for ImageNet."""
    truth = miniatures.imagenet(tmp_path)
    known = miniatures.small("imagenet", truth)
    monkeypatch.setattr(facts, "catalogue", lambda: {"imagenet": known})
    return tmp_path, truth


def test_the_training_part_of_a_named_source_is_read_alone(places):
    root, truth = places
    methods = compose("joint_train").expression
    index = source_index(Settings.of(data="x", data_root=root, source="imagenet"), methods)
    assert index.parts.keys() == {"train"}
    assert sorted(sample.path for sample in index.parts["train"]) == sorted(path for path, _ in truth.parts["train"])
    assert index.classes == tuple(truth.classes)
    few = source_index(Settings.of(data="x", data_root=root, source="imagenet@1-per-class"), methods)
    assert few.counts("train") == (1, 1, 1)
    assert set(few.parts["train"]) < set(index.parts["train"])


def test_names_stay_names_and_folders_become_paths():
    settings = Settings.of(data="cub200@15%", source="places365")
    assert (settings.data, settings.source) == ("cub200@15%", "places365")
    assert settings.folder().name.startswith("cub200_15-")
    folders = Settings.of(data="./cub200", source=Path("places365"), data_root="here")
    assert (folders.data, folders.source) == (str(Path("cub200").absolute()), str(Path("places365").absolute()))
    assert folders.data_root == Path("here").absolute()
    assert Settings.of(data="x", source="none").source is None
    # where the data sets lie makes no other run
    assert Settings.of(data="cub200", data_root="a").identity() == Settings.of(data="cub200", data_root="b").identity()
