"""The starting point of a finished run: its network as it was before training, and the head of the source task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from holdfast.core.errors import StartingPointError
from holdfast.models.build import Built
from holdfast.models.weights import WeightsSource
from holdfast.train.loaded import LoadedRun
from holdfast.train.plan import network
from holdfast.train.run_folder import RunFolder
from holdfast.train.settings import Settings, read_yaml


@dataclass(frozen=True)
class Origin:
    """Where a run began.

    Attributes:
        model: the network with its first weights and its new head, in evaluation mode, on the CPU.
        head: module path of its head.
        source_head: of the task that the weights were trained for; None where they bring none.
        source_classes: names of that task's classes in the order of its head; None where they are not known.
        weights: where the weights are; None for a network that began with random ones.
        method: of the run, in text form.
        source: folder or name of the source pictures that the run was given; None without any.
    """

    model: nn.Module
    head: str
    source_head: nn.Linear | None
    source_classes: tuple[str, ...] | None
    weights: WeightsSource | None
    method: str
    source: str | None


def starting_point(run: LoadedRun, weights: Path | None = None) -> Origin:
    """Build the network of a finished run as it was before training.

    Args:
        run: the run.
        weights: where its pre-trained weights are now; by default where they were.

    Raises:
        StartingPointError: the weights are gone, or not those that the run began with.
        ModelError: the weights cannot be read or fetched.
    """
    settings = Settings.read(run.folder.settings)
    if weights is not None:
        settings = settings.model_copy(update={"weights": weights.expanduser().absolute()})
    if settings.weights is not None and not settings.weights.is_file():
        raise StartingPointError(
            f"the weights that {run.folder.path} began with are not at {settings.weights}; say with --weights where "
            "they are now"
        )
    built = network(settings, len(run.classes))
    began = read_yaml(run.folder.settings)[1].get("weights_sha256")
    found = None if built.source is None else built.source.sha256
    if found != began:
        where = "random weights" if built.source is None else built.source.location
        raise StartingPointError(
            f"{where}: expected the weights that {run.folder.path} began with (SHA-256 {began}), found others "
            f"({found}); name their file with --weights"
        )
    head = built.source_head
    assert head is None or isinstance(head, nn.Linear)
    return Origin(
        built.model.eval(),
        built.head.head,
        head,
        _classes_beside(built),
        built.source,
        settings.method,
        settings.source,
    )


def _classes_beside(built: Built) -> tuple[str, ...] | None:
    """The classes of the run whose weights were started from, where they lie in its folder still."""
    if built.source is None or built.source.kind != "file":
        return None
    file = Path(built.source.location)
    folder = RunFolder(file.parent)
    if file != folder.model or not folder.preprocessing.is_file():
        return None
    try:
        return tuple(map(str, json.loads(folder.preprocessing.read_text(encoding="utf-8"))["classes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
