"""Fine-tune one's own LightningModule with the methods: one callback, and parameter groups from `methods`."""

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from stripes import TARGET, pictures, pretrained
from torch.utils.data import DataLoader, TensorDataset

import holdfast
from holdfast.adapters.lightning import HoldfastCallback


class Classifier(pl.LightningModule):
    """As one would write it without holdfast, apart from the parameter groups."""

    def __init__(self, methods: holdfast.Composition) -> None:
        super().__init__()
        self.model, self.methods = pretrained(), methods

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        """The task's loss alone: the callback adds what the methods do."""
        x, y = batch
        return F.cross_entropy(self.model(x), y)

    def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        """Accuracy."""
        x, y = batch
        self.log("test_accuracy", (self.model(x).argmax(1) == y).float().mean())

    def configure_optimizers(self) -> dict:
        """The network is prepared by now."""
        groups = self.methods.param_groups(self.model, lr=3e-3, head_lr=3e-2)
        optimizer = torch.optim.SGD(groups, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def loader(per_class: int, seed: int, shuffle: bool) -> DataLoader:
    return DataLoader(TensorDataset(*pictures(TARGET, per_class, seed)), batch_size=10, shuffle=shuffle)


def main() -> float:
    pl.seed_everything(0, verbose=False)
    methods = holdfast.compose("rifle(periods=2)+dtnh(l2_sp(alpha=0.01))+ptr(R=3, m=1, T=inf)")
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=10,
        callbacks=[HoldfastCallback(methods)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Classifier(methods)
    trainer.fit(module, loader(per_class=5, seed=1, shuffle=True))
    (result,) = trainer.test(module, loader(per_class=100, seed=2, shuffle=False), verbose=False)
    print(f"test accuracy {result['test_accuracy']:.3f} with {methods}")
    return result["test_accuracy"]


if __name__ == "__main__":
    main()
