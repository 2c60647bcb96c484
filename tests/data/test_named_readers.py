"""Every reader on a miniature of the true archive layout."""

import json
import shutil

import pytest

from holdfast.core.errors import DataError, UsageError
from holdfast.data.named import catalogue as facts
from holdfast.data.named import readers
from holdfast.data.named.catalogue import Rule
from holdfast.data.named.dataset import absent, open_named

from . import miniatures
from .miniatures import md5, small

READERS = {
    "cub200": miniatures.cub200,
    "indoor67": miniatures.indoor67,
    "stanford40": miniatures.stanford40,
    "dogs": miniatures.dogs,
    "flowers102": miniatures.flowers102,
    "food101": miniatures.food101,
    "cars": miniatures.cars,
    "aircraft": miniatures.aircraft,
    "dtd": miniatures.dtd,
    "places365": miniatures.places365,
    "imagenet": miniatures.imagenet,
}


@pytest.fixture(autouse=True)
def _checksums_of_the_miniatures(monkeypatch, tmp_path):
    """Torchvision checks the MD5 of the lists of Flowers102 and Places365: of ours, here."""
    from torchvision.datasets import Flowers102, Places365

    class Ours(dict):
        def __getitem__(self, key):
            name, digest = super().__getitem__(key)
            file = tmp_path / self.folder / name
            return name, md5(file) if file.is_file() else digest

    for cls, table, folder in (
        (Flowers102, "_file_dict", "flowers-102"),
        (Places365, "_FILE_LIST_META", "places365"),
    ):
        ours = Ours(getattr(cls, table))
        ours.folder = folder
        monkeypatch.setattr(cls, table, ours)

    def categories(self, download=True):
        file = tmp_path / "places365" / "categories_places365.txt"
        pairs = [line.split() for line in file.read_text().splitlines()]
        return [name for name, _ in pairs], {name: int(label) for name, label in pairs}

    monkeypatch.setattr(Places365, "load_categories", categories)


def pictures(opened, part):
    return sorted((path, opened.classes[label]) for path, label in opened.parts[part])


@pytest.mark.parametrize("name", READERS)
def test_the_official_lists_are_read(name, tmp_path):
    truth = READERS[name](tmp_path)
    entry = small(name, truth)
    opened = open_named(entry, tmp_path, val_fraction=0)
    assert list(opened.classes) == truth.classes
    assert opened.parts.keys() == entry.split.parts.keys()
    for part, rule in entry.split.parts.items():
        assert pictures(opened, part) == sorted(pair for of in rule.of for pair in truth.parts[of])
    assert absent(entry, tmp_path) == []


def test_the_named_splits_of_flowers(tmp_path):
    truth = miniatures.flowers102(tmp_path)
    own, joined, swapped = (
        open_named(small(name, truth), tmp_path, val_fraction=0)
        for name in ("flowers102", "flowers102-2040", "flowers102-6149")
    )
    assert joined.parts["train"] == sorted(own.parts["train"] + own.parts["val"])
    assert joined.parts["test"] == own.parts["test"]
    assert (swapped.parts["train"], swapped.parts["test"]) == (own.parts["test"], own.parts["train"])
    assert swapped.parts["val"] == own.parts["val"]


def test_dogs_are_tested_on_imagenets_validation_part(tmp_path):
    truth = miniatures.dogs(tmp_path)
    with pytest.raises(DataError, match=r"no such folder: .*imagenet/val"):
        open_named(small("dogs-li2018", truth), tmp_path)
    assert absent(small("dogs", truth), tmp_path) == []
    assert absent(small("dogs-li2018", truth), tmp_path) == ["imagenet/val"]
    others = miniatures.imagenet(tmp_path)
    assert absent(small("dogs-li2018", truth), tmp_path) == []
    breeds = {name.split("-")[0]: name for name in truth.classes}
    expected = sorted((path, breeds[wnid]) for path, wnid in others.parts["val"] if wnid in breeds)
    entry = small("dogs-li2018", truth, counts={"train": 4, "test": 4})
    assert pictures(open_named(entry, tmp_path), "test") == expected
    assert len(expected) == 4


def test_caltech_by_number_and_by_draw(tmp_path):
    truth = miniatures.caltech256(tmp_path)
    numbered = small(
        "caltech256-30-li2018",
        truth,
        parts={"train": Rule(of=("all",), places=(0, 3)), "test": Rule(of=("all",), places=(6, 8))},
        counts={"train": 9, "test": 6},
    )
    opened = open_named(numbered, tmp_path, val_fraction=0)
    numbers = {part: sorted({path[-8:-4] for path, _ in opened.parts[part]}) for part in ("train", "test")}
    assert numbers == {"train": ["0001", "0002", "0003"], "test": ["0007", "0008"]}
    few, many = (
        open_named(
            small(
                f"caltech256-{size}",
                truth,
                parts={"train": Rule(of=("all",), places=(2, last)), "test": Rule(of=("all",), places=(0, 2))},
                counts={"train": 3 * (last - 2), "test": 6},
            ),
            tmp_path,
            val_fraction=0,
        )
        for size, last in ((30, 5), (60, 9))
    )
    assert few.parts["test"] == many.parts["test"]
    assert set(few.parts["train"]) < set(many.parts["train"])
    assert not set(many.parts["train"]) & set(many.parts["test"])


def test_the_largest_identities_are_chosen(tmp_path):
    truth = miniatures.webface(tmp_path)
    places = {"train": (0, 5), "val": (5, 6), "test": (6, 8)}
    entry = small(
        "webface500",
        truth,
        largest_classes=3,
        classes=3,
        parts={part: Rule(of=("all",), places=p) for part, p in places.items()},
        counts={"train": 15, "val": 3, "test": 6},
    )
    opened = open_named(entry, tmp_path)
    assert opened.classes == ("0000045", "0000099", "0000102")  # of the two with eight pictures, the first by name
    listed = [path for part in opened.parts.values() for path, _ in part]
    assert len(listed) == len(set(listed)) == 24


def test_food_30_lies_within_food_150(tmp_path):
    truth = miniatures.food101(tmp_path)
    few, many = (
        open_named(
            small(
                f"food101-{size}",
                truth,
                parts={"train": Rule(of=("train",), places=(0, n)), "test": Rule(of=("test",))},
                counts={"train": 2 * n, "test": 4},
            ),
            tmp_path,
            val_fraction=0,
        )
        for size, n in ((30, 2), (150, 4))
    )
    assert set(few.parts["train"]) < set(many.parts["train"])
    assert few.parts["test"] == many.parts["test"]


def test_what_is_not_there_is_said(tmp_path, monkeypatch):
    entry = facts.entry("cub200")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"is not below .*'holdfast datasets cub200' says how to get it"):
        open_named(entry, tmp_path)
    (tmp_path / "CUB_200_2011.tgz").touch()
    (tmp_path / "cub200").mkdir()
    with pytest.raises(DataError, match=r"'holdfast datasets cub200 --unpack' unpacks it; .* write \./cub200"):
        open_named(entry, tmp_path)
    truth = miniatures.cub200(tmp_path)
    (tmp_path / "CUB_200_2011" / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"is only partly below .*classes\.txt is missing"):
        open_named(small("cub200", truth), tmp_path)


def test_a_missing_picture_is_said(tmp_path):
    truth = miniatures.cub200(tmp_path)
    path, _ = truth.parts["test"][0]
    (tmp_path / path).unlink()
    with pytest.raises(DataError, match=rf"1 of the 6 pictures of cub200 are missing .*{path}"):
        open_named(small("cub200", truth), tmp_path)


def test_lists_that_are_not_their_authors_are_refused(tmp_path):
    truth = miniatures.cub200(tmp_path)
    with pytest.raises(DataError, match="200 classes, the lists found have 2"):
        open_named(facts.entry("cub200"), tmp_path)
    with pytest.raises(DataError, match="expected 5 pictures in train, the lists found give 4"):
        open_named(small("cub200", truth, counts={"train": 5}), tmp_path)
    opened = open_named(small("cub200", truth), tmp_path, val_fraction=0)
    (known,) = (note.partition("sha256:")[2] for note in opened.notes if "sha256:" in note)
    assert open_named(small("cub200", truth, sha256=known), tmp_path, val_fraction=0).parts == opened.parts
    with pytest.raises(DataError, match=f"has checksum {known}, expected 0000"):
        open_named(small("cub200", truth, sha256="0000"), tmp_path)
    (tmp_path / "CUB_200_2011" / "images.txt").write_text("1\n")
    with pytest.raises(DataError, match="not as their authors published them"):
        open_named(small("cub200", truth), tmp_path)


def test_torchvisions_own_complaint_is_one_line_of_ours(tmp_path):
    truth = miniatures.flowers102(tmp_path)
    from torchvision.datasets import Flowers102

    Flowers102._file_dict["setid"] = ("setid.mat", "0" * 32)
    Flowers102._file_dict.folder = "elsewhere"
    with pytest.raises(DataError, match="torchvision cannot read Flowers102"):
        open_named(small("flowers102", truth), tmp_path)


def test_the_order_on_disk_does_not_matter(tmp_path):
    truth = miniatures.webface(tmp_path / "one")
    places = {"train": (0, 5), "test": (5, 8)}
    parts = {part: Rule(of=("all",), places=p) for part, p in places.items()}
    entry = small("webface500", truth, largest_classes=None, parts=parts, counts={})
    # the same names, made in another order, beside files of other people
    for path, _ in reversed(truth.parts["all"]):
        target = tmp_path / "two" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "one" / path, target)
    assert open_named(entry, tmp_path / "one").parts == open_named(entry, tmp_path / "two").parts


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="did you mean 'cub200'"):
        facts.entry("cub2000")


def test_every_manifest_names_a_reader_and_agrees_with_itself():
    manifests = {e.manifest.title: e.manifest for e in facts.catalogue().values()}
    assert len(manifests) == 14
    for manifest in manifests.values():
        assert manifest.reader in readers._READERS
        for file in manifest.files:
            assert (file.source is None) == (file.digest == facts.UNKNOWN), file.path
            assert file.url or manifest.obtain, file.path
    for name, entry in facts.catalogue().items():
        split = entry.split
        assert split.counts.keys() == split.parts.keys(), name
        assert sum(split.counts.values()) <= entry.manifest.pictures, name
        assert (split.order == "drawn") == (split.origin == "ours"), name
        for part, rule in split.parts.items():
            if rule.places:
                assert split.counts[part] == entry.classes * (rule.places[1] - rule.places[0])
        if name in ("flowers102", "cub200", "stanford40", "dogs", "food101", "cars", "aircraft", "dtd", "cifar10"):
            assert sum(split.counts.values()) == entry.manifest.pictures, name


def test_torchvisions_checksums_are_ours():
    from torchvision import datasets as vision
    from torchvision.datasets.imagenet import ARCHIVE_META

    ours = {file.path.rpartition("/")[2]: file for e in facts.catalogue().values() for file in e.manifest.files}
    theirs = [*vision.Flowers102._file_dict.values(), *ARCHIVE_META.values()]
    theirs += [("food-101.tar.gz", vision.Food101._MD5), ("dtd-r1.0.1.tar.gz", vision.DTD._MD5)]
    theirs += [(vision.CIFAR10.filename, vision.CIFAR10.tgz_md5), vision.Places365._DEVKIT_META["standard"]]
    theirs += [vision.Places365._IMAGES_META[("train-standard", True)], vision.Places365._IMAGES_META[("val", True)]]
    assert {name for name, _ in theirs} <= set(ours)
    for name, digest in theirs:
        assert ours[name].digest == f"md5:{digest}", name
        assert ours[name].source == "torchvision"
    urls = {vision.Food101._URL, vision.FGVCAircraft._URL, vision.DTD._URL, vision.CIFAR10.url}
    assert urls <= {file.url for file in ours.values()}


def test_facts_are_json():
    entry = facts.entry("caltech256-30")
    assert json.loads(entry.split.model_dump_json())["parts"]["train"] == {"of": ["all"], "places": [20, 50]}
