"""Pictures decoded once and kept as uint8: in memory, in a file mapped into memory, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from holdfast.core.errors import DataError, UsageError
from holdfast.data.decode import decode, quiet_pillow, read_image
from holdfast.data.examine import Progress
from holdfast.data.frame import Frame, Side, pixels
from holdfast.data.index import FolderIndex, Sample
from holdfast.data.mapped import MappedImages, cached_file, open_cached, write_images

CacheKind = Literal["ram", "disk", "off"]
LONGEST = 4
"""A picture's longer side is cut, centred, to at most this many times its shorter one: bounds memory."""
# A JPEG may be decoded at reduced size while twice the wanted side is left: the resize then hides the difference.
MARGIN = 2


def load_image(path: str | Path, side: Side) -> Tensor:
    """Decode one picture and resize its shorter side to ``side`` (aspect kept, antialiased bilinear), or frame it.

    Returns:
        uint8, shape (3, H, W), min(H, W) = ``side``, max(H, W) ≤ ``LONGEST`` · ``side``; H = W of a frame.

    Raises:
        DataError: the file is no usable picture.
    """
    return resize_image(decode(path, at_least=MARGIN * pixels(side)), side)


def read_resized(path: Path, side: Side) -> Tensor:
    """``load_image`` for threads: the caller holds ``quiet_pillow``."""
    return resize_image(read_image(path, at_least=MARGIN * pixels(side)), side)


def resize_image(image: Image.Image, side: Side) -> Tensor:
    """The shorter side of an RGB picture resized to ``side``, or the picture framed: uint8, shape (3, H, W).

    The longer side becomes ``int(side · longer / shorter)``, as torchvision's ``Resize`` has it.
    """
    if isinstance(side, Frame):
        return _tensor(side.apply(image))
    width, height = image.size
    shorter = min(width, height)
    if max(width, height) > LONGEST * shorter:
        cut_width, cut_height = min(width, LONGEST * shorter), min(height, LONGEST * shorter)
        left, top = (width - cut_width) // 2, (height - cut_height) // 2
        image = image.crop((left, top, left + cut_width, top + cut_height))
        width, height = cut_width, cut_height
    resized = image.resize((int(side * width / shorter), int(side * height / shorter)), Image.Resampling.BILINEAR)
    return _tensor(resized)


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


class Source(Protocol):
    """Where a store takes the picture of a sample from."""

    def image(self, sample: Sample) -> Tensor:
        """uint8, shape (3, H, W)."""
        ...


class RamImages:
    """Decoded pictures by digest."""

    def __init__(self, images: Mapping[str, Tensor]) -> None:
        self._images = images

    def image(self, sample: Sample) -> Tensor:
        """The kept tensor itself: do not write to it."""
        return self._images[sample.digest]


class FileImages:
    """Pictures decoded anew at each access."""

    def __init__(self, root: Path, side: Side) -> None:
        self._root = root
        self._side = side

    def image(self, sample: Sample) -> Tensor:
        """Decode the sample's file."""
        return load_image(self._root / sample.path, self._side)


class ImageStore:
    """Pictures of a list of samples, shorter side resized to ``side`` or framed; the same bytes whatever the cache.

    ``store[i]`` is a uint8 tensor (3, H, W) that must not be written to.
    """

    def __init__(self, source: Source, samples: Sequence[Sample], side: Side) -> None:
        self._source = source
        self.samples = tuple(samples)
        self.side = side

    @classmethod
    def build(
        cls,
        what: FolderIndex | Sequence[Sample],
        root: str | Path | None = None,
        side: Side = 256,
        *,
        cache: CacheKind = "ram",
        cache_dir: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Decode what is not decoded yet.

        Args:
            what: an index (all its parts) or samples.
            root: the data folder; an index brings its own.
            side: length of the shorter side, in pixels; or a frame.
            cache: ``ram`` keeps the pictures in memory; ``disk`` in one file per set of pictures and side, which
                later runs map into memory; ``off`` decodes at each access.
            cache_dir: folder of the files of ``disk``.
            progress: called with the number of pictures done and the number in all.

        Raises:
            UsageError: unknown cache, side below one, no root, or ``disk`` without a folder.
            DataError: a picture has become unreadable, or the cache cannot be written.
        """
        samples = what.samples() if isinstance(what, FolderIndex) else tuple(what)
        folder = Path(root) if root is not None else what.root if isinstance(what, FolderIndex) else None
        if folder is None:
            raise UsageError("samples without an index need root=, the data folder")
        if pixels(side) < 1:
            raise UsageError(f"expected a side of at least 1 pixel, found {side}")
        kept: Mapping[str, Tensor] = {}
        if isinstance(what, FolderIndex) and what.decoded is not None and what.decoded.side == side:
            kept = what.decoded.images
        distinct = list({sample.digest: sample for sample in reversed(samples)}.values())
        return cls(_source(cache, distinct, folder, side, kept, cache_dir, progress), samples, side)

    def select(self, samples: Sequence[Sample]) -> ImageStore:
        """The same pictures seen as another list of samples; shares the memory."""
        return ImageStore(self._source, samples, self.side)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> Tensor:
        return self._source.image(self.samples[position])


def _source(
    cache: str,
    distinct: Sequence[Sample],
    root: Path,
    side: Side,
    kept: Mapping[str, Tensor],
    cache_dir: str | Path | None,
    progress: Progress | None,
) -> Source:
    if cache == "off":
        return FileImages(root, side)
    if cache == "ram":
        return RamImages(dict(_decode_all(distinct, root, side, kept, progress)))
    if cache != "disk":
        raise UsageError(f"expected cache 'ram', 'disk' or 'off', found {cache!r}")
    if cache_dir is None:
        raise UsageError("cache='disk' needs cache_dir=, the folder of its files")
    file = cached_file(Path(cache_dir), (sample.digest for sample in distinct), side)
    found = open_cached(file)
    if found is None:
        try:
            write_images(file, _decode_all(distinct, root, side, kept, progress))
        except OSError as error:
            raise DataError(
                f"cannot write the image cache {file}: {error.strerror}; free space, or choose cache='ram' or 'off'"
            ) from error
        found = MappedImages(file)
    return found


def _decode_all(
    samples: Sequence[Sample], root: Path, side: Side, kept: Mapping[str, Tensor], progress: Progress | None
) -> Iterator[tuple[str, Tensor]]:
    """Digest and picture of each sample, decoded in threads, a bounded number ahead."""
    ahead = 64
    with quiet_pillow(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:

        def image(sample: Sample) -> Tensor:
            known = kept.get(sample.digest)
            return read_resized(root / sample.path, side) if known is None else known

        for start in range(0, len(samples), ahead):
            batch = samples[start : start + ahead]
            for done, (sample, tensor) in enumerate(zip(batch, pool.map(image, batch), strict=True), start=start + 1):
                yield sample.digest, tensor
                if progress is not None:
                    progress(done, len(samples))
