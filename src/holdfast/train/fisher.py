"""The Fisher information of a network on a folder of pictures: measured picture by picture, resumable, recorded."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save
from torch import Tensor, nn

from holdfast.core.errors import DataError, ModelError, UsageError
from holdfast.core.fisher import FisherSum, Kind
from holdfast.core.information import RECORD, norm
from holdfast.core.locate import locate
from holdfast.core.tensorfile import read_tensors
from holdfast.core.types import parameter_refs
from holdfast.data.augment import EvalTransform, eval_side, normalise
from holdfast.data.frame import side_of
from holdfast.data.walk import UNSPLIT, Tree, read_tree
from holdfast.functional.noise import generator
from holdfast.models import heads
from holdfast.models.build import build
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.weights import file_sha256
from holdfast.train.guard import Interrupted, stoppable
from holdfast.train.loaded import device_named, load_run
from holdfast.train.predict import read_pictures
from holdfast.train.run_folder import whole
from holdfast.train.versions import versions

SECONDS_BETWEEN = 30.0
"""Between two writings of the sums so far."""
Inputs = Literal["source", "target"]


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        model: a network's name, or a finished run's folder.
        data: folder with one sub-folder of pictures per class, or with a train part of that kind.
        out: the file to write.
        weights: local weight file for a name; the published ones where None.
        kind: how the expectation over labels is formed, see ``functional.fisher.chosen_labels``.
        labels: how many labels of each picture, for topk and monte_carlo.
        samples: pictures to draw; all where None.
        image_size: side of the input; the network's own where None.
        batch_size: pictures read and shown at a time; the result does not depend on it but for rounding.
        seed: of the choice of pictures, and of the labels that are drawn.
        inputs: whether the pictures are the network's source data; told by the number of class folders where None.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """

    model: str
    data: Path
    out: Path
    weights: Path | None = None
    kind: Kind = "monte_carlo"
    labels: int = 1
    samples: int | None = 1000
    image_size: int | None = None
    batch_size: int = 16
    seed: int = 0
    inputs: Inputs | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Source:
    """A network with the head of the task that it was trained for."""

    model: nn.Module
    name: str
    head: str
    preprocessing: Preprocessing
    weights: str
    sha256: str

    @property
    def classes(self) -> int:
        """Of its head."""
        return int(self.model.get_parameter(f"{self.head}.weight").shape[0])


def measure(request: Request, console: Console) -> dict[str, Any]:
    """Measure F and write it; go on where an earlier call was stopped, do nothing where it is finished.

    Returns:
        the record of how F was made, with ``mean``, ``max`` and ``finished``: whether there was nothing to do.

    Raises:
        HoldfastError: something the caller can mend.
        KeyboardInterrupt: stopped by a signal; the same call goes on.
    """
    if request.out.is_dir() or request.out.suffix != ".safetensors":
        raise UsageError(f"--out is {request.out}; expected the name of a file that ends in .safetensors")
    device = device_named(request.device)
    files, classes = _pictures(request)
    source = _source(request)
    asked = _asked(request, source, files, classes)
    if request.out.exists():
        _, record = _matching(request.out, asked)
        return record | {"finished": True}
    run = _Measuring(request, source, files, asked, device)
    try:
        with stoppable():
            run.all(console)
    except Interrupted as stop:
        run.keep()
        raise KeyboardInterrupt(
            f"{stop} after {run.position} of {len(files)} pictures; the same command goes on from there"
        ) from None
    return run.finish() | {"finished": False}


class _Measuring:
    """One measurement: where it is, and the file that holds it meanwhile."""

    def __init__(
        self, request: Request, source: Source, files: list[str], asked: dict[str, Any], device: torch.device
    ) -> None:
        self._request, self._source, self._files, self._asked, self._device = request, source, files, asked, device
        refs = parameter_refs(source.model, source.head)
        self._norms = {r.name: norm(r.param) for r in refs if not r.is_head}
        model = source.model.to(device)
        self._total = FisherSum(model, self._norms, request.kind, request.labels, request.seed, "fisher")
        self._part = request.out.with_name(f"{request.out.name}.part")
        self.position, self._skipped = 0, list[str]()
        if self._part.exists():
            sums, record = _matching(self._part, asked)
            self._total.sums = {name: value.to(device) for name, value in sums.items()}
            self._total.count, self.position, self._skipped = record["count"], record["position"], record["skipped"]

    def all(self, console: Console) -> None:
        """Every picture that is left."""
        p, step = self._source.preprocessing, self._request.batch_size
        side, crop = side_of(eval_side(p.size, p.crop), p.fit), EvalTransform(p.size, p.crop)
        written = time.monotonic()
        if self.position:
            console.print(f"going on after {self.position} of {len(self._files)} pictures", highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task("pictures", total=len(self._files), completed=self.position)
            while self.position < len(self._files):
                names = self._files[self.position : self.position + step]
                read = read_pictures([self._request.data / name for name in names], side)
                crops = [crop(picture) for picture in read if isinstance(picture, Tensor)]
                if crops:
                    self._total.add(normalise(torch.stack(crops).to(self._device), p.mean, p.std))
                self._skipped += [n for n, picture in zip(names, read, strict=True) if not isinstance(picture, Tensor)]
                self.position += len(names)
                bar.advance(task, len(names))
                if time.monotonic() - written >= SECONDS_BETWEEN:
                    self.keep()
                    written = time.monotonic()

    def keep(self) -> None:
        """Write the sums so far."""
        state = {"count": self._total.count, "position": self.position, "skipped": self._skipped}
        _write(self._part, self._total.sums, self._asked | state)

    def finish(self) -> dict[str, Any]:
        """Write F with its record, and take the sums away."""
        if not self._total.count:
            raise DataError(f"none of the {len(self._files)} files in {self._request.data} could be read as a picture")
        F = self._total.mean()
        count = sum(f.numel() for f in F.values())
        record = self._asked | {
            "samples": self._total.count,
            "skipped": self._skipped,
            "mean": sum(float(f.double().sum()) for f in F.values()) / count,
            "max": max(float(f.max()) for f in F.values()),
            "weights_from": self._source.weights,
            "data": str(self._request.data.absolute()),
            "norms": self._norms,
            "versions": versions(),
        }
        _write(self._request.out, F, record)
        self._part.unlink(missing_ok=True)
        return record


def _source(request: Request) -> Source:
    if Path(request.model).is_dir():
        if request.weights is not None or request.image_size is not None:
            raise UsageError(f"{request.model} is a run folder with weights and size of its own: leave out the flags")
        run = load_run(request.model)
        path = run.folder.model
        return Source(run.model, run.name, locate(run.model).head, run.preprocessing, str(path), file_sha256(path))
    built = build(request.model, 1, weights=request.weights, image_size=request.image_size)
    if built.source is None or built.source_head is None:
        raise ModelError(f"the weights of {built.name} bring no head, and F is of the classes that they know")
    assert isinstance(built.source_head, nn.Linear)
    heads.replace(built.model, built.head.head, built.source_head)
    weights = built.source
    return Source(built.model, built.name, built.head.head, built.preprocessing, weights.location, weights.sha256)


def _pictures(request: Request) -> tuple[list[str], int]:
    """Paths of the pictures to read, relative to the folder, in order; and the number of class folders."""
    found = read_tree(Tree(request.data))[0]
    classes = found.get("train", found.get(UNSPLIT, {}))
    files = [path for paths in classes.values() for path in paths]
    if request.samples is None or request.samples >= len(files):
        return files, len(classes)
    order = torch.randperm(len(files), generator=generator("cpu", request.seed, "fisher pictures")).tolist()
    return [files[i] for i in sorted(order[: request.samples])], len(classes)


def _asked(request: Request, source: Source, files: list[str], classes: int) -> dict[str, Any]:
    """What makes two measurements different ones."""
    listing = "".join(f"{name} {(request.data / name).stat().st_size}\n" for name in files)
    return {
        "model": source.name,
        "weights": source.sha256,
        "kind": request.kind,
        "labels": 0 if request.kind == "exact" else request.labels,
        "image_size": source.preprocessing.size,
        "fit": source.preprocessing.fit,
        "pictures": len(files),
        "listing": hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest(),
        "seed": request.seed,
        "inputs": request.inputs or ("source" if classes == source.classes else "target"),
    }


def _matching(path: Path, asked: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record of a file, if it was made as asked.

    Raises:
        UsageError: it is something else, or was made otherwise; the message says in what.
    """
    tensors, notes = read_tensors(path)
    try:
        record = dict(json.loads(notes[RECORD]))
    except (KeyError, ValueError):
        raise UsageError(f"{path} is no Fisher information; choose another name with --out") from None
    other = [f"{key} is {record.get(key)} there and {new} here" for key, new in asked.items() if record.get(key) != new]
    if other:
        raise UsageError(f"{path} was made otherwise: {'; '.join(other)}. Repeat that, or choose another --out")
    return tensors, record


def _write(path: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    content = save({name: t.cpu().contiguous() for name, t in tensors.items()}, {RECORD: json.dumps(record)})
    with whole(path) as handle:
        handle.write(content)
