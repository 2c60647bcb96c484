"""Archives: whole, half, wrong or dangerous; unpacking; CIFAR-10's arrays."""

import gzip
import io
import pickle
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from holdfast.core.errors import DataError
from holdfast.data.named import archives
from holdfast.data.named.archives import check, digest, unpack
from holdfast.data.named.catalogue import File, entry
from holdfast.data.named.dataset import open_named, prepare, state

from . import miniatures
from .miniatures import md5, pack, small


def manifest(*files, pictures=10):
    """A manifest of these files alone."""
    return entry("cub200").manifest.model_copy(update={"files": files, "pictures": pictures})


def tar_of(path, *members, size=3):
    """A tar with members made by hand: names, or whole TarInfos."""
    with tarfile.open(path, "w") as packed:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = size if info.isreg() else 0
            packed.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def cub(tmp_path):
    """The true layout, packed as its authors do, below a data root."""
    truth = miniatures.cub200(tmp_path / "made")
    root = tmp_path / "data"
    archive = pack(root / "CUB_200_2011.tgz", {"CUB_200_2011": tmp_path / "made" / "CUB_200_2011"})
    known = small("cub200", truth)
    file = known.manifest.files[0].model_copy(
        update={"bytes": archive.stat().st_size, "digest": digest(archive, "sha256")}
    )
    whole = known.manifest.model_copy(update={"files": (file,)})
    return known.model_copy(update={"manifest": whole}), root, archive


def test_a_sound_archive_is_unpacked_and_read(cub):
    known, root, archive = cub
    assert state(known.manifest, root) == {"CUB_200_2011.tgz": "checksum right"}
    lines = prepare(known.manifest, root)
    assert lines == ["CUB_200_2011.tgz: checksum right, unpacked to CUB_200_2011"]
    assert len(open_named(known, root, val_fraction=0).parts["train"]) == 4
    assert not list(root.glob(".*"))
    # again: what is there stays as it is
    (root / "CUB_200_2011" / "README").write_text("mine")
    prepare(known.manifest, root)
    assert (root / "CUB_200_2011" / "README").read_text() == "mine"
    assert archive.is_file()


def test_each_fault_of_a_file_has_its_own_message(cub):
    known, root, archive = cub
    (file,) = known.manifest.files
    content = archive.read_bytes()
    archive.write_bytes(content[:-7])
    with pytest.raises(DataError, match=rf"half a download: .* has {len(content) - 7} of {len(content)} bytes"):
        prepare(known.manifest, root)
    assert state(known.manifest, root) == {file.path: "half a download"}
    archive.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match=rf"wrong checksum: .* expected {file.digest}; remove it and fetch it from"):
        prepare(known.manifest, root)
    assert state(known.manifest, root) == {file.path: "wrong checksum"}
    archive.unlink()
    with pytest.raises(DataError, match=r"missing file: .*CUB_200_2011\.tgz; fetch it from https"):
        prepare(known.manifest, root)
    assert state(known.manifest, root) == {file.path: "not there"}
    assert not (root / "CUB_200_2011").exists()


def test_a_file_without_a_known_checksum_says_so(tmp_path):
    pack(tmp_path / "a.tar", {"list.txt": miniatures.picture(tmp_path / "x" / "p.jpg")})
    file = File(path="a.tar", into=".")
    assert check(file, tmp_path) == "unverified"
    assert state(manifest(file), tmp_path) == {"a.tar": "there, checksum unknown"}
    assert unpack(manifest(file), tmp_path) == ["a.tar: no known checksum, unpacked to list.txt"]
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"half a download: .* has 0 bytes; ask its authors"):
        check(file, tmp_path)


@pytest.mark.parametrize("name", ["a.tgz", "a.tar", "a.zip"])
def test_a_truncated_archive_without_known_size_leaves_nothing(tmp_path, name):
    folder = tmp_path / "made"
    for number in range(20):
        miniatures.picture(folder / f"{number}.jpg")
    archive = pack(tmp_path / name, {"pictures": folder})
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"half a download: .* ends too early or is damaged"):
        unpack(manifest(File(path=name, into="out")), tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_archive_of_the_right_length_is_no_full_disk(tmp_path):
    archive = pack(tmp_path / "a.tgz", {"p.jpg": miniatures.picture(tmp_path / "made" / "p.jpg")})
    content = bytearray(gzip.decompress(archive.read_bytes()))
    packed = bytearray(gzip.compress(bytes(content[: 2 * 512])))  # a header and some content: the rest is missing
    packed[-8] ^= 1  # of the checksum
    archive.write_bytes(bytes(packed))
    with pytest.raises(DataError, match=r"half a download: .* is damaged"):
        unpack(manifest(File(path="a.tgz", into="out")), tmp_path)


@pytest.mark.parametrize(
    "member",
    [
        "../outside.txt",
        "/tmp/holdfast-outside.txt",
        "a/../../outside.txt",
        link("inside", "list.txt"),
        link("hard", "list.txt", tarfile.LNKTYPE),
        link("away", "/etc/passwd"),
        link("pipe", "", tarfile.FIFOTYPE),
    ],
    ids=lambda member: getattr(member, "name", member),
)
def test_a_tar_that_leads_astray_is_refused(tmp_path, member):
    tar_of(tmp_path / "a.tar", "list.txt", member)
    if member == "/tmp/holdfast-outside.txt":  # the data filter takes the leading stroke off
        unpack(manifest(File(path="a.tar", into="out")), tmp_path)
        assert (tmp_path / "out" / "tmp" / "holdfast-outside.txt").is_file()
    else:
        with pytest.raises(DataError, match="refused"):
            unpack(manifest(File(path="a.tar", into="out")), tmp_path)
        assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "a/../../outside.txt", "..\\outside.txt", "c:x"])
def test_a_zip_that_leads_astray_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("list.txt", "x")
        packed.writestr(name, "x")
    with pytest.raises(DataError, match="leads out of its folder"):
        unpack(manifest(File(path="a.zip", into="out")), tmp_path)
    assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "outside.txt").exists()


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("away")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="a link or a device: refused"):
        unpack(manifest(File(path="a.zip", into="out")), tmp_path)


def test_a_bomb_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LEAST_BOUND", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zeros", bytes(10**6))
    with pytest.raises(DataError, match=r"unpacks to more than .* bytes: refused"):
        unpack(manifest(File(path="a.zip", into="out")), tmp_path)
    monkeypatch.setattr(archives, "SPARE_MEMBERS", 2)
    tar_of(tmp_path / "b.tar", *(f"{k}.txt" for k in range(7)), size=0)
    with pytest.raises(DataError, match="more than 6 entries"):
        unpack(manifest(File(path="b.tar", into="out"), pictures=1), tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_gets_its_new_name(tmp_path):
    pack(tmp_path / "a.tar", {"data_256": miniatures.picture(tmp_path / "x" / "p.jpg").parent})
    unpack(manifest(File(path="a.tar", into="out", rename={"data_256": "data_256_standard"})), tmp_path)
    assert (tmp_path / "out" / "data_256_standard" / "p.jpg").is_file()


def test_what_must_be_asked_for_is_not_unpacked(tmp_path):
    with pytest.raises(DataError, match=r"nothing to unpack here; register at image-net\.org"):
        prepare(entry("imagenet").manifest, tmp_path)


def test_cifar10_becomes_png_files(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    base = tmp_path / "made" / "cifar-10-batches-py"
    base.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    batches = {name: {"data": rng.integers(0, 256, (3, 3072), dtype=np.uint8), "labels": [0, 1, 0]} for name in names}
    for name, batch in batches.items():
        (base / name).write_bytes(pickle.dumps(batch))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": ["airplane", "automobile"]}))
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5(base / name)] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [[names[5], md5(base / names[5])]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(base / "batches.meta")})
    archive = pack(tmp_path / "cifar-10-python.tar.gz", {"cifar-10-batches-py": base})
    known = entry("cifar10")
    (file,) = known.manifest.files
    sound = known.manifest.model_copy(update={"files": (file.model_copy(update={"digest": f"md5:{md5(archive)}"}),)})
    own = {"counts": {"train": 15, "test": 3}, "classes": 2}
    known = known.model_copy(update={"manifest": sound, "split": known.split.model_copy(update=own)})
    prepare(sound, tmp_path)
    opened = open_named(known, tmp_path, val_fraction=0)
    assert opened.classes == ("airplane", "automobile")
    paths = [path for path, _ in opened.parts["train"]]
    assert "cifar10-png/train/automobile/00004.png" in paths
    pixels = np.asarray(Image.open(tmp_path / "cifar10-png/train/automobile/00004.png"))
    assert np.array_equal(pixels, batches["data_batch_2"]["data"][1].reshape(3, 32, 32).transpose(1, 2, 0))
