"""Every sample of a data set described once by histograms of filter responses; kept on disk, made by all ranks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from holdfast.core import world
from holdfast.core.errors import DataError, UsageError
from holdfast.core.streams import Stream
from holdfast.functional.histograms import histograms

BLOCK, BATCH, SEEN_FOR_EDGES = 512, 16, 256


@dataclass(frozen=True)
class Bank:
    """Filters of one kind.

    Attributes:
        kernels: (F, C, k, k); with C = 1 they see the mean of the channels.
        stride: between the positions of a response.
        padding: of zeros at the images' borders.
    """

    kernels: Tensor
    stride: int | tuple[int, ...]
    padding: int | tuple[int, ...] | str

    def responses(self, x: Tensor) -> Tensor:
        """The filters' maps (B, F, H', W') on images (B, C, H, W)."""
        seen = x.mean(1, keepdim=True) if self.kernels.shape[1] == 1 else x
        return F.conv2d(seen, self.kernels.to(x.device, x.dtype), None, self.stride, self.padding)


class Described:
    """Histograms of a stream's samples.

    The edges of the bins are each filter's lowest and highest response on some 256 samples at even distances. Where
    the stream has a folder, blocks of samples are files there, each written whole or not at all: an interrupted run
    goes on with the next block, and a later one reads them.

    Args:
        stream: whose ``still`` samples are described.
        banks: gives the filters, when they are first needed.
        bins: of each histogram.
    """

    def __init__(self, stream: Stream, banks: Callable[[], list[Bank]], bins: int) -> None:
        self._stream, self._make, self._bins = stream, banks, bins
        self._banks: list[Bank] | None = None
        self._edges: Tensor | None = None

    @property
    def banks(self) -> list[Bank]:
        """The filters."""
        if self._banks is None:
            self._banks = self._make()
        return self._banks

    def weights(self) -> Tensor:
        """1/N for each filter of a bank of N, (F,): every bank counts alike."""
        return torch.cat([torch.full((len(b.kernels),), 1 / len(b.kernels), dtype=torch.float64) for b in self.banks])

    def describe(self, x: Tensor) -> Tensor:
        """Counts (B, F, bins), on the CPU, of images (B, C, H, W) on any device.

        Raises:
            UsageError: they are no images.
        """
        edges = self.edges(x.device).to(x.device)
        parts, first = [], 0
        for bank in self.banks:
            last = first + len(bank.kernels)
            parts.append(histograms(self._responses(bank, x), edges[first:last], self._bins))
            first = last
        return torch.cat(parts, 1).cpu()

    def edges(self, device: torch.device) -> Tensor:
        """Lowest and highest response of each filter, (F, 2), float64."""
        if self._edges is None:
            file = self._file("edges")
            if file is None or not file.is_file():
                step = max(1, len(self._stream) // SEEN_FOR_EDGES)
                found = self._measured(range(0, len(self._stream), step), device)
                if file is not None and world.rank() == 0:
                    _write(file, found)
                self._edges = found
            else:
                self._edges = _read(file)
        return self._edges

    def counts(self, device: torch.device) -> Tensor:
        """Of all samples, (S, F, bins), int32; describes those that no file holds yet."""
        blocks = [range(first, min(first + BLOCK, len(self._stream))) for first in range(0, len(self._stream), BLOCK)]
        self.edges(device)
        world.barrier()
        mine = blocks if self._stream.folder is None else blocks[world.rank() :: world.size()]
        kept = {block.start: self._block(block, device) for block in mine}
        world.barrier()
        return torch.cat([kept[b.start] if b.start in kept else self._block(b, device) for b in blocks])

    def _block(self, block: range, device: torch.device) -> Tensor:
        file = self._file(f"{block.start:08d}")
        if file is not None and file.is_file():
            return _read(file)
        found = []
        for done, x in self._images(block, device):
            found.append(self.describe(x))
            if self._stream.progress is not None:
                self._stream.progress(block.start + done, len(self._stream))
        counts = torch.cat(found)
        if file is not None:
            _write(file, counts)
        return counts

    def _measured(self, positions: range, device: torch.device) -> Tensor:
        ends: Tensor | None = None
        for _, x in self._images(positions, device):
            maps = [self._responses(bank, x).double() for bank in self.banks]
            new = torch.cat([torch.stack([m.amin((0, 2, 3)), -m.amax((0, 2, 3))], 1) for m in maps])
            ends = new if ends is None else torch.minimum(ends, new)
        assert ends is not None
        return (ends * ends.new_tensor([1, -1])).cpu()

    def _images(self, positions: range, device: torch.device) -> Iterator[tuple[int, Tensor]]:
        """How many are done, and the next images."""
        loader: DataLoader[Any] = DataLoader(
            self._stream.looked_at_once(positions),
            batch_size=BATCH,
            num_workers=self._stream.workers,
            generator=torch.Generator().manual_seed(0),
        )
        done = 0
        for x, _ in loader:
            done += len(x)
            yield done, x.to(device)

    def _responses(self, bank: Bank, x: Tensor) -> Tensor:
        if x.ndim != 4 or not x.is_floating_point():
            raise UsageError(f"only images (B, C, H, W) of floats can be described by filters, got {tuple(x.shape)}")
        with torch.no_grad():
            return bank.responses(x)

    def _file(self, name: str) -> Path | None:
        """Where a part is kept: the folder's name says of what and how it was made."""
        if self._stream.folder is None:
            return None
        told = [b.kernels.double().cpu().numpy().tobytes() + f"{b.stride} {b.padding}".encode() for b in self.banks]
        about = f"{self._stream.key} {len(self._stream)} {self._bins} {BLOCK} {SEEN_FOR_EDGES}".encode()
        key = hashlib.sha256(b"\n".join([about, *told])).hexdigest()[:32]
        return self._stream.folder / f"histograms-{key}" / f"{name}.pt"


def _write(file: Path, value: Tensor) -> None:
    """Write a tensor, whole or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        torch.save(value, temporary)
        os.replace(temporary, file)
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror}; free space, or choose another folder") from error


def _read(file: Path) -> Tensor:
    try:
        found: Tensor = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of it
        raise DataError(f"{file} is damaged ({type(error).__name__}): remove it, and it is made anew") from error
    return found
