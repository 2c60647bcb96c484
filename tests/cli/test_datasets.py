"""``holdfast datasets``, and training on a named data set."""

import json

import pytest
import yaml

from data import miniatures
from holdfast.data.named import catalogue as facts


@pytest.fixture
def cub(tmp_path, monkeypatch):
    """A miniature of CUB-200-2011 in its archive, below a data root."""
    truth = miniatures.cub200(tmp_path / "made")
    known = miniatures.small("cub200", truth)
    root = tmp_path / "data"
    archive = miniatures.pack(root / "CUB_200_2011.tgz", {"CUB_200_2011": tmp_path / "made" / "CUB_200_2011"})
    (file,) = known.manifest.files
    size, digest = archive.stat().st_size, f"md5:{miniatures.md5(archive)}"
    whole = known.manifest.model_copy(update={"files": (file.model_copy(update={"bytes": size, "digest": digest}),)})
    own = known.model_copy(update={"manifest": whole})
    catalogue = {**facts.catalogue(), "cub200": own}
    monkeypatch.setattr(facts, "catalogue", lambda: catalogue)
    return root


def test_all_names_are_listed(holdfast):
    done = holdfast("datasets")
    assert done.code == 0
    assert all(name in done.out for name in facts.catalogue())
    listed = json.loads(holdfast("datasets", "--json").out)
    assert [row["name"] for row in listed] == list(facts.catalogue())
    assert {"classes": 200, "counts": {"train": 5994, "test": 5794}, "origin": "official"}.items() <= next(
        row for row in listed if row["name"] == "cub200"
    ).items()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dogs", "training pictures of ImageNet"),
        ("aircraft", "training part alone"),
        ("dtd", "split 1 is our reading"),
        ("caltech256-30", "257 classes, the clutter class included, as in li2018"),
        ("flowers102", "name the split beside a number"),
        ("webface500", "its lists are not published"),
    ],
)
def test_a_reading_is_flagged(holdfast, name, said):
    assert said in holdfast("datasets", name).out


def test_one_is_explained(holdfast, tmp_path):
    out = holdfast("datasets", "flowers102", "--data-root", tmp_path).out
    for words in (
        "102",
        "train 1020, val 1020, test 6149",
        "flowers102-6149",
        "344862509 bytes",
        "not there",
        "without",
    ):
        assert words in out
    known = json.loads(holdfast("datasets", "flowers102", "--data-root", tmp_path, "--json").out)
    assert known["here"]["files"]["flowers-102/setid.mat"] == "not there"
    assert known["data_set"]["files"][0]["digest"].startswith("md5:")


def test_a_wrong_name_is_refused(holdfast):
    assert holdfast("datasets", "cub").error == "error: unknown data set 'cub'; did you mean 'cub200'?"
    assert "--unpack needs the NAME" in holdfast("datasets", "--unpack").error


def test_from_the_archive_to_a_trained_network(holdfast, cub, tmp_path):
    run = ["train", "cub200@1-per-class", "--data-root", cub, "--model", "timm:test_resnet", "--no-pretrained"]
    run += ["--image-size", 32, "--epochs", 1, "--batch-size", 2, "--no-tensorboard", "--out", tmp_path / "run"]
    run += ["--val-fraction", 0.5]
    refused = holdfast(*run)
    assert refused.code == 2
    assert "'holdfast datasets cub200 --unpack'" in refused.err
    assert (
        "checksum right, unpacked to CUB_200_2011" in holdfast("datasets", "cub200", "--data-root", cub, "--unpack").out
    )
    assert "ready to train on" in holdfast("datasets", "cub200", "--data-root", cub).out
    done = holdfast(*run)
    assert done.code == 0, done.err
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert {part: len(samples) for part, samples in split["parts"].items()} == {"train": 2, "val": 2, "test": 2}
    assert any(note.startswith("list of pictures sha256:") for note in split["notes"])
    written = yaml.safe_load((tmp_path / "run" / "settings.yaml").read_text())
    assert written["data"] == "cub200@1-per-class"
    assert "finished already" in holdfast(*run).err
    assert holdfast("evaluate", tmp_path / "run").code == 0
