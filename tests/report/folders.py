"""Synthetic run folders, results and a parser that sees a page as a browser's parser would."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import yaml
from PIL import Image

VOID = {"meta", "link", "img", "br", "hr"}


def make_run(folder, *, classes=("daisy", "iris", "tulip"), per_class=8, data=None, method="l2_sp(alpha=0.1)", seed=0):
    """Write a run folder whose predictions are wrong now and then; return the predictions."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    predictions = []
    for label, name in enumerate(classes):
        for number in range(per_class):
            wrong = number % 4 == 3
            said = classes[(label + 1) % len(classes)] if wrong else name
            predictions.append((f"test/{label}/{number}.png", name, said, float(rng.uniform(0.4, 1.0))))
    write_rows(folder / "predictions.csv", ("path", "true", "predicted", "confidence"), predictions)
    columns = ("epoch", "train.loss", "train.accuracy", "val.loss", "val.accuracy", "val.nll", "lr", "l2_sp.penalty")
    rows = [(e, 2 / e, 1 - 1 / e, 2.2 / e, 0.9 - 0.8 / e, 2.3 / e, 0.01, 0.1 * e) for e in range(1, 6)]
    write_rows(folder / "metrics.csv", columns, rows)
    right = sum(true == said for _, true, said, _ in predictions) / len(predictions)
    result = {"test.accuracy": right, "test.nll": 0.7, "test.ece": 0.05, "val.accuracy": 0.74, "seconds": 14.2}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    settings = {"model": "timm:test_resnet", "method": method, "data": str(data or folder / "absent"), "seed": seed}
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    (folder / "preprocessing.json").write_text(json.dumps({"classes": list(classes)}), encoding="utf-8")
    return predictions


def make_pictures(data, predictions):
    """Write a grey picture of 200 × 150 pixels for every prediction."""
    for path, *_ in predictions:
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 150), "grey").save(data / path)


def write_rows(path, columns, rows):
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(rows)


class Page(HTMLParser):
    """Elements with their attributes and the text inside, and a check that tags are balanced."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.texts = []
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open
        assert self._open.pop() == tag, f"unexpected </{tag}>"

    def handle_data(self, data):
        if not self._open or self._open[-1] not in ("style", "script"):
            self.texts.append(" ".join(data.split()))

    @property
    def text(self):
        return " ".join(filter(None, self.texts))

    def all(self, tag):
        return [attrs for found, attrs in self.elements if found == tag]
