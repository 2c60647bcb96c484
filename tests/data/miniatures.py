"""Each archive's true layout with a handful of tiny pictures, and manifests whose counts fit them."""

import hashlib
import json
import tarfile
import zipfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from holdfast.data.named import catalogue as facts

_SEEDS = count()


def picture(file: Path) -> Path:
    """A JPEG that no other is equal to."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(next(_SEEDS)).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, format="JPEG")
    return file


def text(file: Path, *lines: str) -> None:
    """A list as its authors write it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def records(**columns: list) -> np.ndarray:
    """A MATLAB struct array."""
    rows = np.zeros(len(next(iter(columns.values()))), dtype=[(name, object) for name in columns])
    for name, values in columns.items():
        rows[name] = values
    return rows


def cells(values: list[str]) -> np.ndarray:
    """A MATLAB cell array, one column."""
    found = np.empty((len(values), 1), dtype=object)
    found[:, 0] = values
    return found


@dataclass
class Truth:
    """What a reader must find: class names, and of each part the pictures with their class names."""

    classes: list[str]
    parts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, root: Path, part: str, path: str, name: str) -> str:
        picture(root / path)
        self.parts.setdefault(part, []).append((path, name))
        return path


def cub200(root: Path) -> Truth:
    base = root / "CUB_200_2011"
    truth = Truth(["001.Black_footed_Albatross", "002.Laysan_Albatross"])
    trains = [(1, 0, 1), (0, 1, 1)]
    images, labels, splits = [], [], []
    for label, name in enumerate(truth.classes):
        for number, train in enumerate(trains[label]):
            image = f"{name}/{name[4:]}_{number:04}.jpg"
            truth.add(root, "train" if train else "test", f"CUB_200_2011/images/{image}", name)
            images.append(f"{len(images) + 1} {image}")
            labels.append(f"{len(images)} {label + 1}")
            splits.append(f"{len(images)} {train}")
    text(base / "images.txt", *images)
    text(base / "image_class_labels.txt", *labels)
    text(base / "train_test_split.txt", *splits)
    text(base / "classes.txt", *(f"{k + 1} {name}" for k, name in enumerate(truth.classes)))
    return truth


def indoor67(root: Path) -> Truth:
    truth = Truth(["airport_inside", "bowling"])
    for part, file, numbers in (("train", "TrainImages.txt", (3, 1, 2)), ("test", "TestImages.txt", (4,))):
        lines = [f"{name}/{name}_{k:04}.jpg" for name in reversed(truth.classes) for k in numbers]
        for line in lines:
            truth.add(root, part, f"indoor67/Images/{line}", line.split("/")[0])
        text(root / "indoor67" / file, *lines)
    picture(root / "indoor67/Images/bowling/unlisted.jpg")
    return truth


def stanford40(root: Path) -> Truth:
    truth = Truth(["applauding", "blowing_bubbles"])
    splits = root / "stanford40" / "ImageSplits"
    for part, numbers in (("train", (1, 2)), ("test", (3, 4, 5))):
        for name in truth.classes:
            files = [f"{name}_{k:03}.jpg" for k in numbers]
            for file in files:
                truth.add(root, part, f"stanford40/JPEGImages/{file}", name)
            text(splits / f"{name}_{part}.txt", *files)
        text(splits / f"{part}.txt", *[line for name in truth.classes for line in (f"{name}_{numbers[0]:03}.jpg",)])
    text(splits / "actions.txt", "action_name\tnumber_of_train/test_images", "applauding\t2/3", "blowing_bubbles\t2/3")
    return truth


def dogs(root: Path) -> Truth:
    truth = Truth(["n02085620-Chihuahua", "n02085782-Japanese_spaniel"])
    for part, numbers in (("train", (5, 3)), ("test", (9,))):
        names = [f"{name}/{name.split('-')[0]}_{k}.jpg" for name in truth.classes for k in numbers]
        for name in names:
            truth.add(root, part, f"stanford_dogs/Images/{name}", name.split("/")[0])
        labels = np.array([[truth.classes.index(name.split("/")[0]) + 1] for name in names])
        savemat(root / "stanford_dogs" / f"{part}_list.mat", {"file_list": cells(names), "labels": labels})
    return truth


def flowers102(root: Path) -> Truth:
    from torchvision.datasets import Flowers102

    truth = Truth(list(Flowers102.classes))
    base = root / "flowers-102"
    labels = np.arange(1, 103).repeat(3)  # pictures 1 to 306, three of each class
    sets = {"train": "trnid", "val": "valid", "test": "tstid"}
    numbers = {part: np.arange(1 + place, 307, 3)[::-1] for place, part in enumerate(sets)}
    for part, listed in numbers.items():
        for number in listed:
            name = truth.classes[labels[number - 1] - 1]
            truth.add(root, part, f"flowers-102/jpg/image_{number:05}.jpg", name)
    savemat(base / "imagelabels.mat", {"labels": labels[None]})
    savemat(base / "setid.mat", {sets[part]: listed[None] for part, listed in numbers.items()})
    return truth


def food101(root: Path) -> Truth:
    truth = Truth(["apple_pie", "baklava"])
    for part, numbers in (("train", range(6)), ("test", range(10, 12))):
        listed = {name: [f"{name}/{1000 + k}" for k in numbers] for name in reversed(truth.classes)}
        for name, images in listed.items():
            for image in images:
                truth.add(root, part, f"food-101/images/{image}.jpg", name)
        text(root / "food-101" / "meta" / f"{part}.json", json.dumps(listed))
    return truth


def cars(root: Path) -> Truth:
    truth = Truth(["AM General Hummer SUV 2000", "Acura RL Sedan 2012"])
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    annotations = {"train": base / "devkit/cars_train_annos.mat", "test": base / "cars_test_annos_withlabels.mat"}
    for part, file in annotations.items():
        names, labels = [f"{k:05}.jpg" for k in range(1, 5)], [2, 1, 1, 2]
        for name, label in zip(names, labels, strict=True):
            truth.add(root, part, f"stanford_cars/cars_{part}/{name}", truth.classes[label - 1])
        savemat(file, {"annotations": records(**{"class": labels, "fname": names})})
    savemat(base / "devkit/cars_meta.mat", {"class_names": np.array(truth.classes, dtype=object)})
    return truth


def aircraft(root: Path) -> Truth:
    truth = Truth(["707-320", "Cessna 172"])
    base = root / "fgvc-aircraft-2013b" / "data"
    text(base / "variants.txt", *truth.classes)
    number = 34958
    for part in ("train", "val", "test"):
        lines = []
        for name in ("Cessna 172", "707-320", "707-320", "Cessna 172"):
            number += 1
            truth.add(root, part, f"fgvc-aircraft-2013b/data/images/{number:07}.jpg", name)
            lines.append(f"{number:07} {name}")
        text(base / f"images_variant_{part}.txt", *lines)
    return truth


def dtd(root: Path) -> Truth:
    truth = Truth(["banded", "blotchy"])
    for place, part in enumerate(("train", "val", "test")):
        lines = [f"{name}/{name}_{place:04}.jpg" for name in truth.classes]
        for line in lines:
            truth.add(root, part, f"dtd/dtd/images/{line}", line.split("/")[0])
        text(root / "dtd/dtd/labels" / f"{part}1.txt", *lines)
        text(root / "dtd/dtd/labels" / f"{part}2.txt", *lines[:1])
    return truth


def caltech256(root: Path, each: int = 12) -> Truth:
    truth = Truth(["001.ak47", "002.american-flag", "003.clutter"])
    for label, name in enumerate(truth.classes):
        for number in range(1, each + 1):
            path = f"caltech256/256_ObjectCategories/{name}/{label + 1:03}_{number:04}.jpg"
            truth.add(root, "all", path, name)
    text(root / "caltech256/256_ObjectCategories/001.ak47/RENAME2", "left over in the true archive too")
    return truth


def webface(root: Path) -> Truth:
    truth = Truth(["0000045", "0000099", "0000100", "0000102"])
    for name, number in zip(truth.classes, (8, 12, 8, 9), strict=True):
        for k in range(1, number + 1):
            truth.add(root, "all", f"CASIA-WebFace/{name}/{k:03}.jpg", name)
    return truth


def places365(root: Path) -> Truth:
    truth = Truth(["/a/airfield", "/a/airplane_cabin"])
    base = root / "places365"
    text(base / "categories_places365.txt", *(f"{name} {k}" for k, name in enumerate(truth.classes)))
    train = [(f"{name}/{k:08}.jpg", label) for label, name in enumerate(truth.classes) for k in (2, 1)]
    for image, label in train:
        truth.add(root, "train", f"places365/data_256_standard{image}", truth.classes[label])
    text(base / "places365_train_standard.txt", *(f"{image} {label}" for image, label in train))
    val = [(f"Places365_val_{k:08}.jpg", k % 2) for k in range(1, 4)]
    for image, label in val:
        truth.add(root, "val", f"places365/val_256/{image}", truth.classes[label])
    text(base / "places365_val.txt", *(f"{image} {label}" for image, label in val))
    return truth


def imagenet(root: Path) -> Truth:
    truth = Truth(["n02085620", "n02085782", "n03000000"])
    for name in truth.classes:
        for part, prefix in (("train", name), ("val", "ILSVRC2012_val")):
            for k in (7, 8):
                truth.add(root, part, f"imagenet/{part}/{name}/{prefix}_{k}{name[-3:]}.JPEG", name)
    return truth


def small(name: str, truth: Truth, **changes) -> facts.Entry:
    """The entry of this name with classes and counts of a miniature; ``changes`` go into its split."""
    whole = facts.entry(name)
    rules = changes.get("parts", whole.split.parts)
    counts = {part: sum(len(truth.parts.get(of, ())) for of in rule.of) for part, rule in rules.items()}
    own = {"counts": counts, "classes": len(truth.classes), **changes}
    return facts.Entry(name=name, split=whole.split.model_copy(update=own), manifest=whole.manifest)


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def pack(archive: Path, members: dict[str, Path]) -> Path:
    """An archive, its kind by its name, of files or folders under the names given."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for name, path in members.items():
                for file in [path] if path.is_file() else sorted(path.rglob("*")):
                    packed.write(file, name if path.is_file() else f"{name}/{file.relative_to(path)}")
        return archive
    with tarfile.open(archive, "w:gz" if archive.suffix in (".tgz", ".gz") else "w") as packed:
        for name, path in members.items():
            packed.add(path, name)
    return archive
