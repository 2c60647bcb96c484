"""What methods read before training is what they see in it, under each adapter, and a resumed run reads nothing."""

from dataclasses import dataclass, field
from typing import ClassVar

import lightning.pytorch as pl
import pytest

import holdfast
from holdfast.core.method import Method, State
from hosts import tiny
from hosts.loops import CHECKPOINTS, HOSTS, Classifier, Recipe, lightning_trainer


@dataclass
class Seen(State):
    """Sums over the inputs: read before training, and of each batch in it."""

    before: list = field(default_factory=list)
    during: list = field(default_factory=list)
    passes: int = 0


@dataclass(frozen=True)
class Watcher(Method):
    """Adds up what it is shown."""

    stem: ClassVar[str] = "watcher"

    def bind(self, model, ctx):
        return Seen()

    def calibrate(self, model, loader, state):
        state.passes += 1
        state.before = [(batch.x.sum().item(), batch.y.tolist()) for batch in loader]

    def on_batch(self, batch, state):
        state.during.append((batch.x.sum().item(), batch.y.tolist()))
        return batch


def seen(methods):
    return next(methods._walk()).state


@pytest.mark.parametrize("host", ["lightning", "hugging_face"])
def test_the_first_epoch_is_what_was_read(host, tmp_path):
    methods = holdfast.compose(Watcher())
    HOSTS[host](Recipe(methods, folder=tmp_path))
    state = seen(methods)
    assert state.passes == 1
    assert len(state.before) == tiny.STEPS_PER_EPOCH
    assert state.before == state.during[: tiny.STEPS_PER_EPOCH]
    resumed = holdfast.compose(Watcher())
    HOSTS[host](Recipe(resumed, folder=tmp_path / "again", resume=tmp_path / CHECKPOINTS[host]))
    assert seen(resumed).passes == 1
    assert seen(resumed).before == state.before


class Scaling(pl.LightningDataModule):
    """Batches that the hooks around the transfer change."""

    def __init__(self, recipe):
        super().__init__()
        self.recipe = recipe

    def train_dataloader(self):
        return Classifier.train_dataloader(self)

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return batch[0] + 1, batch[1]

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return 2 * batch[0], batch[1]


def test_a_datamodules_hooks_apply():
    methods = holdfast.compose(Watcher())
    recipe = Recipe(methods)
    module = Classifier(tiny.network(), recipe)
    lightning_trainer(recipe).fit(module, datamodule=Scaling(recipe))
    state = seen(methods)
    assert state.before == state.during[: tiny.STEPS_PER_EPOCH]
    x, _ = tiny.data()
    assert state.before[0][0] == pytest.approx((2 * (x[: tiny.BATCH] + 1)).sum().item(), rel=1e-5)


@pytest.mark.parametrize("host", ["lightning", "hugging_face"])
def test_deltas_attention_is_the_same_on_every_host(host):
    text = "delta(alpha=0.5, layers='embed,mix', batches=2)"
    by_hand = HOSTS["hand"](Recipe(holdfast.compose(text)))
    tiny.assert_same(HOSTS[host](Recipe(holdfast.compose(text))), by_hand)
    tiny.assert_differ(by_hand, HOSTS["hand"](Recipe(holdfast.compose("delta(alpha=0, layers='embed,mix')"))))
