"""The DataModule: the folder's loaders, shared out over ranks, normalised on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from holdfast.data.augment import normalise
from holdfast.data.loader import Loader, make_loaders, set_epoch
from holdfast.train.plan import Plan


def loaders_of(
    plan: Plan, cache_dir: Path, *, rank: int = 0, world: int = 1, ten_crop: bool = False
) -> dict[str, Loader]:
    """Loaders of the plan's parts for one rank; val and test come whole, as ten crops where asked for."""
    s, p = plan.settings, plan.built.preprocessing
    return make_loaders(
        plan.index,
        size=plan.size,
        batch_size=s.batch_size,
        seed=s.seed,
        cache=s.cache,
        cache_dir=s.cache_dir or cache_dir,
        workers=s.workers,
        augment=s.augment,
        transform=s.transform,
        crop_ratio=p.crop,
        fit=p.fit,
        ten_crop=ten_crop,
        rank=rank,
        world=world,
    )


class Pictures(LightningDataModule):
    """Batches of (pictures, labels, positions) for training and validation.

    Args:
        plan: of the run.
        cache_dir: folder of the disk cache, where the settings name none.
        epoch: the first to train, counted from 0.
    """

    def __init__(self, plan: Plan, cache_dir: Path, epoch: int = 0) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._plan, self._cache_dir, self._epoch = plan, cache_dir, epoch
        self._loaders: dict[str, Loader] = {}

    def setup(self, stage: str) -> None:
        """Make the loaders once the rank is known."""
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        self._loaders = loaders_of(self._plan, self._cache_dir, rank=rank, world=world)

    def train_dataloader(self) -> Loader:
        """The training loader, at its first epoch: loading processes may start before Lightning knows where it is."""
        set_epoch(self._loaders["train"], self._epoch)
        return self._loaders["train"]

    def val_dataloader(self) -> Any:
        """This rank's share of the validation part."""
        assert self.trainer is not None
        if "val" not in self._loaders:
            return []
        whole, world = self._loaders["val"], self.trainer.world_size
        if world == 1:
            return whole
        share = Subset(whole.dataset, range(self.trainer.global_rank, len(whole.dataset), world))  # type: ignore[arg-type]
        return DataLoader(share, batch_size=whole.batch_size, num_workers=whole.num_workers, generator=whole.generator)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 pictures to the network's normalised floats, on the device."""
        x, y, index = batch
        preprocessing = self._plan.built.preprocessing
        return normalise(x, preprocessing.mean, preprocessing.std), y, index
