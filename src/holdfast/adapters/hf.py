"""The methods inside the Hugging Face Trainer: a subclass (extra ``[hf]``)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from holdfast.core.compose import Composition, compose
from holdfast.core.errors import StartingPointError, UsageError

try:
    from transformers import Trainer, TrainerCallback
    from transformers.trainer_utils import get_last_checkpoint, has_length
except ImportError as error:
    raise UsageError('the Hugging Face adapter needs transformers: pip install "holdfast[hf]"') from error

TAKEN = ("head", "source_head", "streams", "score", "teacher_dtype")
"""Arguments that are passed on to ``Composition.prepare``."""


class HoldfastTrainer(Trainer):
    """``transformers.Trainer`` with the methods; J is the cross-entropy, or ``compute_loss_func(outputs, labels)``.

    Args:
        methods: what to train with.
        head_lr: the head's learning rate; ``args.learning_rate`` where None.
        rest: ``head``, ``source_head``, ``streams``, ``score`` and ``teacher_dtype`` go to ``Composition.prepare``,
            where they are explained; all others to ``Trainer``.
    """

    def __init__(self, *args: Any, methods: Composition | str, head_lr: float | None = None, **rest: Any) -> None:
        self.methods = compose(methods) if isinstance(methods, str) else methods
        self._head_lr, self._task_loss = head_lr, rest.pop("compute_loss_func", None)
        self._options: dict[str, Any] = {name: rest.pop(name) for name in TAKEN if name in rest}
        super().__init__(*args, compute_loss_func=self._loss, **rest)
        if getattr(self, "optimizer", None) is not None or self.model_init is not None:
            raise UsageError("pass a model, and optimizer_cls_and_kwargs=(cls, {...}) instead of a made optimiser")
        self.model_accepts_loss_kwargs = False  # the loss is ours, not the model's
        self.label_names = getattr(self, "label_names", None) or ["labels"]
        follow = TrainerCallback()
        follow.on_optimizer_step = lambda *_, optimizer, **__: self._stepped(optimizer)
        self.add_callback(follow)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Prepare the network, restore the methods where a checkpoint is given, train."""
        loader, every = self.get_train_dataloader(), self.args.gradient_accumulation_steps
        epoch = math.ceil(len(loader) / every) if has_length(loader) else 0
        total = self.args.max_steps if self.args.max_steps > 0 else math.ceil(self.args.num_train_epochs * epoch)
        self._options |= {"total_steps": total, "steps_per_epoch": epoch, "seed": self.args.seed}
        self.methods.prepare(self.model, **self._options)
        path = get_last_checkpoint(self.args.output_dir) if resume_from_checkpoint is True else resume_from_checkpoint
        if not path:
            self.methods.calibrate(loader, lambda item: (item[_input_name(item)], item["labels"], item.get("index")))
        elif (saved := Path(path, "holdfast.pt")).is_file():
            self.methods.load_state_dict(torch.load(saved, map_location="cpu", weights_only=True))
        else:
            raise StartingPointError(f"no holdfast.pt in {path}: HoldfastTrainer did not write that checkpoint")
        result = super().train(resume_from_checkpoint, *args, **kwargs)
        self.methods.on_fit_end(self.model)
        return result

    def _stepped(self, optimizer: Any) -> None:
        self.methods.step(optimizer)
        optimizer.zero_grad()  # the trainer clears the network's gradients alone, not those of modules that methods add

    def create_optimizer(self, model: Any = None) -> Any:
        """The optimiser that the arguments name, on the methods' parameter groups."""
        cls, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, self.model)
        rates = self.args.learning_rate, self._head_lr
        self.optimizer = cls(self.methods.param_groups(self.model, *rates, self.args.weight_decay), **options)
        return self.optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Let the methods transform a training batch, then the loss as ever."""
        index, name = inputs.pop("index", None), _input_name(inputs)
        if torch.is_grad_enabled():
            inputs[name], inputs["labels"] = self.methods.on_batch(inputs[name], inputs["labels"], index)
        return super().compute_loss(model, inputs, *args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the weights, and in a checkpoint the methods' state, the starting point included."""
        super().save_model(output_dir, _internal_call)
        if _internal_call and self.args.should_save:
            torch.save(self.methods.state_dict(), Path(str(output_dir), "holdfast.pt"))

    def _loss(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        task = (self._task_loss or self._cross_entropy)(outputs, labels)
        mine = labels.ne(-100).sum().to(task.dtype)  # n equal micro-batches make exactly n of the next line's quotient
        return self.methods.loss(task) / (1 if num_items_in_batch is None else num_items_in_batch / mine)

    def _cross_entropy(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        smoothing = self.args.label_smoothing_factor
        return torch.nn.functional.cross_entropy(outputs["logits"], labels, label_smoothing=smoothing)


def _input_name(inputs: dict[str, Any]) -> str:
    return next(name for name in inputs if name not in ("labels", "index"))
