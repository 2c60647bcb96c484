"""What was measured once for each training sample, looked up by the sample's index."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.core import world
from holdfast.core.errors import UsageError
from holdfast.core.types import Batch

_HOW = "give (x, y, index) batches to methods.calibrate(...), and methods.on_batch(x, y, index) in each step"


class Recorded:
    """A row for each sample, or nothing yet; a row of NaN where a sample was not seen."""

    def __init__(self) -> None:
        self._rows: Tensor | None = None

    def keep(self, seen: Sequence[tuple[Tensor | None, Tensor]], asks: object) -> None:
        """Take the rows of one pass over the data, of all ranks; a sample that was seen twice gets its rows' mean.

        Args:
            seen: indices (B,) and rows (B, ...), batch by batch.
            asks: the method, for the message.

        Raises:
            UsageError: there are no batches, or they come without the samples' indices.
        """
        if not seen:
            raise UsageError(f"{asks} records something for each training sample, and the loader gave none")
        indices = [index for index, _ in seen if index is not None]
        if len(indices) < len(seen):
            raise UsageError(f"{asks} records something for each training sample and needs their indices: {_HOW}")
        index, rows = torch.cat(indices), torch.cat([rows for _, rows in seen])
        count = 1 + int(world.largest_over_ranks(index.max()))
        total = rows.new_zeros(count, *rows.shape[1:]).index_add_(0, index, rows)
        times = rows.new_zeros(count).index_add_(0, index, torch.ones_like(index, dtype=rows.dtype))
        total, times = world.mean_over_ranks(total), world.mean_over_ranks(times)
        self._rows = total / times.view(-1, *(1 for _ in rows.shape[1:]))

    def of(self, batch: Batch | None, count: int, asks: object) -> Tensor:
        """The rows of a batch, (B, ...).

        Args:
            batch: as it passed through ``on_batch``.
            count: B, the number of samples that the taps saw.
            asks: the method, for the message.

        Raises:
            UsageError: nothing was recorded, the batch has no indices or other ones. A sample that was not seen is told
                by an error where indices are on the CPU, and by NaN elsewhere: to look would cost a sync.
        """
        if self._rows is None:
            raise UsageError(f"{asks} needs what is recorded before training: {_HOW}")
        index = None if batch is None else batch.index
        if index is None or index.shape != (count,):
            found = "none" if index is None else f"indices of shape {tuple(index.shape)}"
            raise UsageError(f"{asks} needs one index for each of the {count} samples, found {found}: {_HOW}")
        if self._rows.device != index.device:
            self._rows = self._rows.to(index.device)
        if index.device.type == "cpu" and not self._seen(index):
            raise UsageError(f"{asks}: a sample of this batch was not recorded; calibrate with the whole training set")
        return self._rows[index]

    def _seen(self, index: Tensor) -> bool:
        assert self._rows is not None
        low, high = index.aminmax()
        return int(low) >= 0 and int(high) < len(self._rows) and not bool(self._rows[index].isnan().any())

    def state_dict(self) -> dict[str, Tensor | None]:
        """The rows, or None."""
        return {"rows": self._rows}

    def load_state_dict(self, saved: dict[str, Tensor | None]) -> None:
        """Put the rows back."""
        self._rows = saved["rows"]
