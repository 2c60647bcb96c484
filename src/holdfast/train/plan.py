"""What a run will do, known before it begins: pictures, network, methods, steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.core.compose import Composition, compose
from holdfast.core.errors import DataError, UsageError
from holdfast.data.augment import eval_side
from holdfast.data.frame import side_of
from holdfast.data.index import PARTS, FolderIndex
from holdfast.data.loader import last_batch_note
from holdfast.data.protocols import PROTOCOLS, SIZE, Protocol
from holdfast.data.source import find_pictures
from holdfast.models.build import Built, build
from holdfast.models.preprocessing import Preprocessing
from holdfast.train.schedule import in_words
from holdfast.train.settings import Settings
from holdfast.train.source import check_source, source_index

if TYPE_CHECKING:
    from holdfast.data.examine import Progress


@dataclass(frozen=True)
class Plan:
    """The parts of a run, ready to be put together.

    Attributes:
        settings: as asked for.
        methods: not bound yet.
        index: the scanned pictures, those that were decoded on the way included.
        built: the network at its starting point.
        source: pictures of the classes it was pre-trained on, where a method trains on them too.
    """

    settings: Settings
    methods: Composition
    index: FolderIndex
    built: Built
    source: FolderIndex | None = None

    @property
    def size(self) -> int:
        """Side of the network's input, in pixels."""
        return self.built.preprocessing.size

    @property
    def batches_per_epoch(self) -> int:
        """Training batches of each device in an epoch."""
        n, s = len(self.index.parts["train"]), self.settings
        per_device = -(-n // s.world)
        left_out = last_batch_note(n, s.batch_size, world=s.world) is not None
        return -(-per_device // s.batch_size) - int(left_out)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in an epoch."""
        return -(-self.batches_per_epoch // self.settings.accumulate)

    @property
    def epochs(self) -> int:
        """Passes over the training pictures: as asked, or as many whole ones as the iterations need."""
        wanted = self.settings.iterations
        return self.settings.epochs if wanted is None else -(-wanted // self.steps_per_epoch)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps_per_epoch * self.epochs

    @property
    def validates(self) -> bool:
        """Whether there are pictures to validate on."""
        return "val" in self.index.parts

    @property
    def val_every(self) -> int:
        """Epochs between validations, 0 for none; where not asked for, validation sees about as many pictures."""
        if not self.validates:
            return 0
        if self.settings.val_every is not None:
            return self.settings.val_every
        wanted = round(len(self.index.parts["val"]) / len(self.index.parts["train"]))
        return min(max(1, wanted), self.epochs)

    @property
    def keeps_best(self) -> bool:
        """Whether the best epoch on the validation part is kept."""
        return self.settings.keep == "best" and self.val_every > 0

    def describe(self) -> Iterator[str]:
        """What will happen, one line each."""
        s, built, index = self.settings, self.built, self.index
        counts = ", ".join(f"{part} {len(index.parts[part])}" for part in PARTS if part in index.parts)
        yield f"data       {index.root}: {len(index.classes)} classes, pictures: {counts}"
        for note in index.notes:
            yield f"           {note}"
        if self.source is not None:
            count = len(self.source.parts["train"])
            yield f"source     {self.source.root}: {len(self.source.classes)} classes, pictures: {count}"
        elif s.source is not None:
            yield f"source     {s.source}: not read, for no method of {self.methods} trains on it"
        start = "nothing (random weights)" if built.source is None else f"{built.source.kind} {built.source.location}"
        yield f"network    {built.name} at {self.size} px, from {start}"
        for note in built.notes:
            yield f"           {note}"
        if protocol := PROTOCOLS.get(s.transform):
            side = eval_side(self.size, protocol.crop)
            yield f"pictures   as in {s.transform}: {protocol.fit} at {side} px; not printed, so ours: {protocol.ours}"
        head = built.head
        yield f"head       {head.head}: {head.in_features} → {head.out_features}; rep at {head.rep}"
        yield f"method     {self.methods}"
        rates = f"lr {s.lr:g}, head {s.head_lr or s.lr:g}, weight decay {s.weight_decay:g}, {in_words(s)}"
        yield f"optimiser  {s.optimizer}, {rates}; batch norm {s.bn}"
        batch = f"{s.batch_size}" + (f" × {s.world} devices" if s.world > 1 else "")
        batch += f" × {s.accumulate} accumulated" if s.accumulate > 1 else ""
        yield f"steps      {self.epochs} epochs × {self.steps_per_epoch} = {self.total_steps}, batch {batch}"
        kept = "of the best validation accuracy" if self.keeps_best else "of the last epoch"
        used = "used once, at the end" if s.measure_test else "left alone"
        used = "looked at after each epoch, and used at the end" if s.log_test_loss else used
        yield f"keeps      the weights {kept}; the test part is {used}"


def _prepared(preprocessing: Preprocessing, protocol: Protocol) -> Preprocessing:
    """What a network's pictures go through, mean and standard deviation aside, as a paper has it."""
    return replace(preprocessing, crop=protocol.crop, fit=protocol.fit, ten_crop=protocol.ten_crop)


def network(settings: Settings, classes: int) -> Built:
    """The network at its starting point, with a new head for so many classes.

    Raises:
        UsageError: no such network, option or file.
        ModelError: the network or the weights cannot be used.
    """
    protocol = PROTOCOLS.get(settings.transform)
    built = build(
        settings.model,
        classes,
        weights=settings.weights,
        pretrained=settings.pretrained,
        image_size=settings.image_size or (None if protocol is None else SIZE),
        drop_rate=settings.drop_rate,
        seed=settings.seed,
    )
    if protocol is None:
        return built
    return replace(built, preprocessing=_prepared(built.preprocessing, protocol))


def make_plan(settings: Settings, progress: Progress | None = None) -> Plan:
    """Understand the method, build the network and read the pictures, in the order of what fails soonest.

    Raises:
        UsageError: a method, a network or a number is not understood.
        DataError: the pictures cannot be used.
        ModelError: the network cannot be used.
    """
    methods = compose(settings.method)
    if (settings.schedule == "step") != (settings.decay_at is not None):
        raise UsageError("schedule 'step' needs decay_at, the optimiser steps of its cuts; other schedules take none")
    check_source(settings, methods.expression)
    pictures = find_pictures(
        settings.data,
        settings.data_root,
        seed=settings.seed,
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
        samples_per_class=settings.samples_per_class,
        split_seed=settings.split_seed,
        val_within=settings.val_within,
    )
    built = network(settings, max(1, pictures.classes))
    p = built.preprocessing
    index = pictures.index(
        strict=settings.strict,
        side=None if settings.cache == "off" else side_of(eval_side(p.size, p.crop), p.fit),
        progress=progress,
    )
    if len(index.classes) != built.head.out_features:
        raise DataError(f"{settings.data} changed while it was read: repeat the command")
    plan = Plan(settings, methods, index, built, source_index(settings, methods.expression))
    if settings.log_test_loss and not (settings.measure_test and "test" in index.parts):
        why = "measure_test is off" if "test" in index.parts else "the data have none"
        raise UsageError(
            f"log_test_loss needs the test part, and {why}: leave it out, validation is logged in any case"
        )
    watching = {"early_stopping": settings.early_stopping is not None, "plateau": settings.schedule == "plateau"}
    for name, asked in watching.items():
        if asked and not plan.val_every:
            raise UsageError(f"{name} needs validation pictures and val_every >= 1")
    return plan
