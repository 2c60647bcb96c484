"""Finished runs whose predictions are written by hand."""

import json
from pathlib import Path

import torch
import yaml
from PIL import Image

from holdfast.data.examine import file_digest
from holdfast.data.folder import save_split
from holdfast.data.index import FolderIndex, Sample
from holdfast.train.evaluate import Predictions, as_csv
from holdfast.train.run_folder import RunFolder

CLASSES = ("iris", "rose", "tulip")
# Five test pictures: probabilities that six decimals hold exactly.
LABELS = (0, 0, 1, 2, 2)
FIRST = [[0.5, 0.25, 0.25], [0.25, 0.75, 0.0], [0.125, 0.625, 0.25], [0.0, 0.0, 1.0], [0.5, 0.25, 0.25]]
SECOND = [[0.75, 0.25, 0.0], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.75, 0.0, 0.25], [0.0, 0.25, 0.75]]


def paint_parts(root: Path) -> Path:
    """Three training pictures of each class, and the five test pictures, each of a colour of its own."""
    files = [f"train/{name}/{number}.png" for name in CLASSES for number in range(3)]
    files += [f"test/{CLASSES[label]}/{number}.png" for number, label in enumerate(LABELS)]
    for shade, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16), (10 * shade, 200 - 10 * shade, 90)).save(root / file)
    return root


def samples(root: Path, part: str, classes=CLASSES) -> tuple[Sample, ...]:
    """The pictures of a part in order of class and file."""
    return tuple(
        Sample(str(path.relative_to(root)), classes.index(path.parent.name), file_digest(path))
        for path in sorted((root / part).glob("*/*.png"))
    )


def write_run(folder, root, probabilities, *, classes=CLASSES, method="plain", keep=slice(None), **settings):
    """A finished run; ``probabilities`` of the test pictures that ``keep`` leaves have columns as ``classes``."""
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    test = samples(root, "test", classes)[keep]
    save_split(FolderIndex(root, classes, {"train": samples(root, "train", classes), "test": test}), run.split)
    said = torch.tensor(probabilities, dtype=torch.float64)
    run.predictions.write_text(as_csv({"test": Predictions("test", test, said.log())}, classes))
    right = (said.argmax(1) == torch.tensor([sample.label for sample in test])).double().mean()
    run.result.write_text(json.dumps({"test.accuracy": float(right)}))
    run.settings.write_text(yaml.safe_dump({"data": str(root), "method": method, "seed": 0, **settings}))
    run.preprocessing.write_text(json.dumps({"classes": list(classes)}))
    run.metrics.write_text("epoch,train.loss\n1,1.0\n")
    return folder


def write_pair(folder: Path):
    """Two runs on the same five pictures: (A, B)."""
    root = paint_parts(folder / "photos")
    return write_run(folder / "a", root, FIRST), write_run(folder / "b", root, SECOND, method="ptr(R=3)")
