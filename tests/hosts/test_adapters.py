"""What the adapters refuse, restore and leave alone."""

import sys

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

import holdfast
from holdfast.adapters.lightning import HoldfastCallback
from holdfast.core.errors import ConflictError, UsageError
from hosts import tiny
from hosts.loops import Classifier, InOrder, Recipe, batches, by_hand, hf_arguments, lightning_trainer


def _hf_trainer(r, **more):
    dataset = [{"pixel_values": x, "labels": y} for x, y in zip(*tiny.data(), strict=True)]
    adamw = {"optimizer_cls_and_kwargs": (torch.optim.AdamW, {"betas": (0.9, 0.99)})}
    options = {"model": tiny.network(), "head_lr": tiny.HEAD_LR, **adamw, **more}
    return InOrder(args=hf_arguments(r), train_dataset=dataset, methods=r.methods, **options)


def test_without_transformers_the_install_line_is_printed(monkeypatch):
    monkeypatch.delitem(sys.modules, "holdfast.adapters.hf")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r'pip install "holdfast\[hf\]"'):
        import holdfast.adapters.hf  # noqa: F401


def test_hugging_face_refuses_what_comes_at_the_wrong_time():
    model = tiny.network()
    made = torch.optim.SGD(model.parameters(), lr=0.1)
    for options in ({"model": model, "optimizers": (made, None)}, {"model": None, "model_init": tiny.network}):
        with pytest.raises(UsageError, match="optimizer_cls_and_kwargs"):
            _hf_trainer(Recipe(tiny.five()), optimizer_cls_and_kwargs=None, **options)


def test_hugging_face_takes_a_loss_of_ones_own():
    def smoothed(outputs, labels):
        return F.cross_entropy(outputs["logits"], labels, label_smoothing=0.2)

    own = _hf_trainer(Recipe(tiny.five()), compute_loss_func=smoothed)
    named = _hf_trainer(Recipe(tiny.five()))
    named.args.label_smoothing_factor = 0.2
    for trainer in (own, named):
        trainer.train()
    tiny.assert_same(tiny.weights(own.model), tiny.weights(named.model))
    tiny.assert_differ(tiny.weights(own.model), by_hand(Recipe(tiny.five())))


def test_hugging_face_evaluation_does_not_see_the_methods():
    r = Recipe(tiny.five())
    trainer = _hf_trainer(r)
    trainer.train()
    recording = r.methods._recorder.current
    x, y = tiny.data()
    loss = trainer.evaluate([{"pixel_values": a, "labels": b} for a, b in zip(x, y, strict=True)])["eval_loss"]
    assert r.methods._recorder.current is recording
    assert not recording.tapped
    with torch.no_grad():
        assert loss == pytest.approx(float(F.cross_entropy(trainer.model(x)["logits"], y)), rel=1e-5)


class ByIndex(Classifier):
    """Another shape of training step: takes the batch's number and returns a dictionary."""

    def training_step(self, batch, batch_idx):
        x, y = batch
        assert isinstance(batch_idx, int)
        return {"loss": F.cross_entropy(self.model(x)["logits"], y), "number": batch_idx}


def test_lightning_steps_may_take_an_index_and_return_a_dictionary():
    r = Recipe(tiny.five())
    module = ByIndex(tiny.network(), r)
    lightning_trainer(r).fit(module)
    tiny.assert_same(tiny.weights(module.model), by_hand(Recipe(tiny.five())))
    assert module.training_step.__func__ is ByIndex.training_step


def test_lightning_logs_the_figures():
    r = Recipe(tiny.five())
    trainer = lightning_trainer(r)
    trainer.log_every_n_steps = tiny.STEPS
    trainer.fit(Classifier(tiny.network(), r))
    assert {"ptr.w", "dtnh.angle", "rifle.resets"} <= trainer.callback_metrics.keys()
    assert trainer.callback_metrics["rifle.resets"] == 3


class Manual(Classifier):
    """A module that steps its optimiser itself."""

    def __init__(self, model, recipe):
        super().__init__(model, recipe)
        self.automatic_optimization = False


def test_lightning_manual_optimisation_is_refused():
    r = Recipe(tiny.five())
    with pytest.raises(UsageError, match="automatic optimisation"):
        lightning_trainer(r).fit(Manual(tiny.network(), r))


class Validating(Classifier):
    """A module with a validation step."""

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.model(x)["logits"], y))


def test_lightning_validation_changes_nothing():
    r = Recipe(tiny.five())
    module, loader = Validating(tiny.network(), r), DataLoader(batches(r), batch_size=None)
    trainer = lightning_trainer(r)
    trainer.validate(module, loader, verbose=False)
    trainer.fit(module, val_dataloaders=loader)
    tiny.assert_same(tiny.weights(module.model), by_hand(Recipe(tiny.five())))
    x, y = tiny.data()
    with torch.no_grad():
        bare = float(F.cross_entropy(module.model(x)["logits"], y))
    (found,) = trainer.validate(module, loader, verbose=False)
    assert found["val_loss"] == pytest.approx(bare, rel=1e-5)


def test_lightning_callback_takes_a_text_and_the_whole_module_as_network():
    class Whole(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.inner = tiny.network()

        def forward(self, x):
            return self.inner(x)

        def training_step(self, batch):
            return F.cross_entropy(self(batch[0])["logits"], batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(callback.methods.param_groups(self, lr=0.1))

    callback, module = HoldfastCallback("l2_sp+ptr(T=inf)", network=""), Whole()
    trainer = lightning_trainer(Recipe(tiny.five()))
    trainer.callbacks = [callback]
    trainer.fit(module, DataLoader(batches(Recipe()), batch_size=None))
    assert callback.methods.clock.step == tiny.STEPS
    assert callback.methods.located.head == "inner.classifier"


def test_two_penalties_that_own_the_same_weights_name_each_other():
    with pytest.raises(ConflictError, match=r"l2_sp.* and l2"):
        by_hand(Recipe(holdfast.compose("l2_sp+l2")))
