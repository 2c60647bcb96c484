"""Three caches, one and the same bytes."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as reference

from holdfast.core.errors import DataError, UsageError
from holdfast.data.cache import LONGEST, ImageStore, load_image, resize_image
from holdfast.data.folder import scan
from holdfast.data.mapped import cached_digests

from .conftest import MakeFolder, paint

SIDE = 12


@pytest.fixture
def index(make_folder: MakeFolder):
    root = make_folder({"cat": 5, "dog": 5})
    paint(root / "cat" / "wide.jpg", 77, size=(90, 40))
    paint(root / "dog" / "tall.png", 78, size=(15, 50))
    return scan(root)


def test_all_caches_give_the_same_bytes(index, tmp_path: Path) -> None:
    ram = ImageStore.build(index, side=SIDE)
    disk = ImageStore.build(index, side=SIDE, cache="disk", cache_dir=tmp_path / "cache")
    again = ImageStore.build(index, side=SIDE, cache="disk", cache_dir=tmp_path / "cache")
    off = ImageStore.build(index.samples(), index.root, SIDE, cache="off")
    shared = ImageStore.build(scan(index.root, side=SIDE), side=SIDE)
    assert len(ram) == len(disk) == len(off) == len(index.samples())
    for position, sample in enumerate(index.samples()):
        expected = load_image(index.root / sample.path, SIDE)
        for store in (ram, disk, again, off, shared):
            image = store[position]
            assert image.dtype == torch.uint8
            assert min(image.shape[1:]) == SIDE
            assert torch.equal(image, expected)


def test_select_takes_the_samples_pictures(index) -> None:
    store = ImageStore.build(index, side=SIDE)
    val = store.select(index.parts["val"])
    assert len(val) == len(index.parts["val"])
    for position, sample in enumerate(index.parts["val"]):
        assert torch.equal(val[position], load_image(index.root / sample.path, SIDE))


def test_scanned_pictures_are_not_decoded_again(index, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = scan(index.root, side=SIDE)

    def fail(*_args, **_options) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("holdfast.data.cache.read_image", fail)
    assert len(ImageStore.build(scanned, side=SIDE)) == 12
    with pytest.raises(AssertionError, match="decoded again"):
        ImageStore.build(scanned, side=SIDE + 1)


def test_disk_cache_is_reused_without_the_pictures(index, tmp_path: Path) -> None:
    first = ImageStore.build(index, side=SIDE, cache="disk", cache_dir=tmp_path)
    for file in index.root.rglob("*.*"):
        file.unlink()
    second = ImageStore.build(index, side=SIDE, cache="disk", cache_dir=tmp_path)
    assert all(torch.equal(first[i], second[i]) for i in range(len(first)))
    assert cached_digests(tmp_path, SIDE) == {s.digest for s in index.samples()}
    assert cached_digests(tmp_path, SIDE + 1) == frozenset()
    with pytest.raises(DataError, match="No such file"):
        ImageStore.build(index, side=SIDE + 1, cache="disk", cache_dir=tmp_path)


@pytest.mark.parametrize("damage", ["cut", "tail", "table", "length", "empty"])
def test_damaged_cache_file_is_made_anew(index, tmp_path: Path, damage: str) -> None:
    ImageStore.build(index, side=SIDE, cache="disk", cache_dir=tmp_path)
    (file,) = tmp_path.glob("images-*.bin")
    whole = file.read_bytes()
    length = whole[:-16] + b"\xff" * 8 + whole[-8:]
    damaged = {
        "length": length,
        "cut": whole[100:],
        "tail": whole[:-1],
        "table": whole[:-30] + b"?" + whole[-29:],
        "empty": b"",
    }
    file.write_bytes(damaged[damage])
    store = ImageStore.build(index, side=SIDE, cache="disk", cache_dir=tmp_path)
    assert file.read_bytes() == whole
    assert torch.equal(store[0], load_image(index.root / index.samples()[0].path, SIDE))


def test_full_disk_is_said_and_leaves_nothing(index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        ImageStore.build(index, side=SIDE, cache="disk", cache_dir=tmp_path)
    assert not [entry for entry in tmp_path.iterdir() if entry.is_file()]


def test_mapped_pictures_travel_by_name(index, tmp_path: Path) -> None:
    store = ImageStore.build(index, side=SIDE, cache="disk", cache_dir=tmp_path)
    packed = pickle.dumps(store)
    assert len(packed) < 10_000
    assert torch.equal(pickle.loads(packed)[3], store[3])


def test_picture_gone_since_the_scan(index) -> None:
    (index.root / index.samples()[0].path).unlink()
    for cache in ("ram", "off"):
        with pytest.raises(DataError, match="No such file"):
            ImageStore.build(index, side=SIDE, cache=cache)[0]


def test_wrong_arguments(index) -> None:
    with pytest.raises(UsageError, match="'ram', 'disk' or 'off', found 'rom'"):
        ImageStore.build(index, side=SIDE, cache="rom")
    with pytest.raises(UsageError, match="cache_dir"):
        ImageStore.build(index, side=SIDE, cache="disk")
    with pytest.raises(UsageError, match="side of at least 1"):
        ImageStore.build(index, side=0)
    with pytest.raises(UsageError, match="root="):
        ImageStore.build(index.samples(), side=SIDE)


@pytest.mark.parametrize("size", [(37, 23), (23, 37), (8, 8), (40, 11)])
def test_resize_is_torchvisions(size: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    expected = reference.pil_to_tensor(reference.resize(image, 16))
    assert torch.equal(resize_image(image, 16), expected)


def test_a_strip_is_cut_to_its_middle() -> None:
    strip = np.zeros((2, 100, 3), dtype=np.uint8)
    strip[:, 46:54] = 200
    resized = resize_image(Image.fromarray(strip), 10)
    assert resized.shape == (3, 10, 10 * LONGEST)
    assert (resized == 200).all()


def test_decoding_with_progress(index) -> None:
    told: list[tuple[int, int]] = []
    ImageStore.build(index, side=SIDE, progress=lambda *n: told.append(n))
    assert told == [(n, 12) for n in range(1, 13)]
