"""Data beside the target's: samples that are a function of the seed and of how many came before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from holdfast.core import world
from holdfast.core.errors import UsageError
from holdfast.functional.noise import generator

AHEAD = 16
"""Samples that each loading process keeps ready."""


class Stream:
    """A data set that methods train on beside the target's: ``prepare(..., streams={"source": Stream(data)})``.

    There is no batch size: a method takes as many samples as the target's batch has. Random numbers that ``data`` draws
    from torch's global generator are keyed by seed and place, and the generator is given back as it was.

    Args:
        data: maps a position to (input, label, ...): the input as the network takes it, the label a whole number.
            ``data.classes``, where there is one, names the classes.
        workers: processes that load ahead; the samples are the same.
        still: the same samples without augmentation, for methods that look at each of them once; ``data`` where None.
        folder: where methods keep what they make of the whole set; None keeps it in memory for one run.
        key: names the content of the set in that folder; another content needs another key.
        progress: called with the number of samples done and in all while a method looks at each of them.

    Raises:
        UsageError: no length or no sample, ``still`` of another length, or a folder without a key.
    """

    def __init__(
        self,
        data: Dataset[Any],
        *,
        workers: int = 0,
        still: Dataset[Any] | None = None,
        folder: str | Path | None = None,
        key: str = "",
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        still = data if still is None else still
        for each in (data, still):
            if not (hasattr(each, "__len__") and hasattr(each, "__getitem__")):
                raise UsageError(f"a stream needs a data set with a length and positions, got a {type(each).__name__}")
        if not len(data) or len(data) != len(still):  # type: ignore[arg-type]
            raise UsageError(f"a stream needs samples, and still the same ones: got {len(data)} and {len(still)}")  # type: ignore[arg-type]
        if folder is not None and not key:
            raise UsageError("a stream with a folder needs key=, a name of its content: a file there must not go stale")
        self.data, self.still, self.workers, self.key = data, still, workers, key
        self.folder, self.progress = None if folder is None else Path(folder), progress

    def __len__(self) -> int:
        return len(self.data)  # type: ignore[arg-type]

    def looked_at_once(self, positions: range) -> Dataset[tuple[Any, Any]]:
        """The still samples at these positions as a data set of their own, with draws keyed by position."""
        return _Still(self.still, positions)

    @property
    def classes(self) -> int | None:
        """Number of classes, where the data set names them."""
        named = getattr(self.data, "classes", None)
        return None if named is None else len(named)


class Reader:
    """One method's place in a stream.

    The samples come in passes over the set, each pass in an order of its own. Of that sequence rank r of R takes the
    places r, r + R, ..., so that the ranks' batches together are those of one process, and micro-batches those of the
    whole batch.

    Args:
        stream: what is read.
        seed: of the order, and of what the data set draws.
        name: of the stream.
    """

    def __init__(self, stream: Stream, seed: int, name: str) -> None:
        self.stream, self._key = stream, ("stream", seed, name)
        self.taken, self.round = 0, 0
        self.chosen: Tensor | None = None
        self._samples: Iterator[Any] | None = None

    def take(self, count: int) -> tuple[Tensor, Tensor]:
        """The next samples of this rank: inputs (count, ...) and labels (count,), on the CPU."""
        if self._samples is None:
            self._samples = iter(self._loader())
        x, y = default_collate([next(self._samples) for _ in range(count)])
        self.taken += count
        return x, y

    def choose(self, positions: Tensor) -> None:
        """Take samples at these positions of the set alone from now on, in a sequence that begins anew.

        Raises:
            UsageError: there are none.
        """
        if not len(positions):
            raise UsageError("a stream was cut down to no sample at all: choose at least one")
        self.chosen, self.taken, self.round = positions.cpu(), 0, self.round + 1
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """Where the reader is: a resumed run goes on with the next sample."""
        return {"taken": self.taken, "round": self.round, "chosen": self.chosen}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go to where the saved reader was."""
        self.taken, self.round, self.chosen = saved["taken"], saved["round"], saved["chosen"]
        self.close()

    def close(self) -> None:
        """End the loading processes; reading goes on where it was."""
        self._samples = None

    def _loader(self) -> DataLoader[Any]:
        return DataLoader(
            _Keyed(self.stream.data, (*self._key, self.round)),
            batch_size=None,  # one sample at a time: the size of a batch is the target's
            sampler=self._places(self.taken),
            num_workers=self.stream.workers,
            prefetch_factor=AHEAD if self.stream.workers else None,
            generator=torch.Generator().manual_seed(0),  # else the loader would draw from the global generator
        )

    def _places(self, first: int) -> Iterator[tuple[int, int]]:
        """This rank's places in the sequence with the positions that stand there, without end."""
        count = len(self.stream) if self.chosen is None else len(self.chosen)
        place, ranks = first * world.size() + world.rank(), world.size()
        last, order = -1, torch.empty(0)
        while True:
            if place // count != last:
                last = place // count
                order = torch.randperm(count, generator=generator("cpu", *self._key, self.round, "pass", last))
            at = int(order[place % count])
            yield place, at if self.chosen is None else int(self.chosen[at])
            place += ranks


class _Still(Dataset[tuple[Any, Any]]):
    """Some positions of a data set, whose draws from the global generator are a function of the position."""

    def __init__(self, data: Dataset[Any], positions: range) -> None:
        self._data, self._positions = _Keyed(data, ("still",)), positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        position = self._positions[i]
        return self._data[position, position]


class _Keyed(Dataset[tuple[Any, Any]]):
    """A data set whose draws from the global generator are a function of the place in the sequence."""

    def __init__(self, data: Dataset[Any], key: tuple[object, ...]) -> None:
        self._data, self._key = data, key

    def __getitem__(self, at: tuple[int, int]) -> tuple[Any, Any]:
        place, position = at
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(generator("cpu", *self._key, place).initial_seed())
            x, y = self._data[position][:2]
        return x, y
