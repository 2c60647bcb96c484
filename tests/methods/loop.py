"""The hand-written loop of the README on the oracles' small networks, in float64 unless told otherwise."""

import copy
import io
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

import holdfast
from reference.networks import HEAD, conv_net, image_batches, source_head, token_net

LR, HEAD_LR, STEPS, STEPS_PER_EPOCH = 0.05, 0.2, 8, 3
Weights = dict[str, Tensor]


def frozen_conv_net() -> nn.Module:
    """The convolutional network with its batch-norm in evaluation mode: no statistics of the batch."""
    model = conv_net()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


NETWORKS = (conv_net, token_net)
ADDITIVE_NETWORKS = (frozen_conv_net, token_net)


class SourceData(Dataset):
    """Images of the source classes; each look at one draws noise from the global generator, as augmentation does."""

    def __init__(self, dtype: torch.dtype = torch.float64, count: int = 20, classes: int = 7) -> None:
        ((self.x, self.y),) = image_batches(1, count, classes, seed=4)
        self.dtype = dtype

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return (self.x[i] + 0.1 * torch.randn(self.x[i].shape, dtype=self.x.dtype)).to(self.dtype), self.y[i]


def prepared_with(make: Callable[[], nn.Module], dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """What ``prepare`` is given besides the network."""
    return {
        "total_steps": STEPS,
        "steps_per_epoch": STEPS_PER_EPOCH,
        "source_head": source_head(make),
        "streams": {"source": holdfast.Stream(SourceData(dtype))},
    }


def snapshot(model: nn.Module) -> Weights:
    """Parameters and buffers, copied."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


class Loop:
    """One run; it may be stepped, saved and resumed.

    Args:
        what: methods, as ``holdfast.compose`` takes them.
        make: gives the network.
        wrap: what the host puts around the prepared network: ``torch.compile``, DDP.
        restored: weights that are loaded before ``prepare``, as a host that resumes might.
        resumes: what methods measure before training comes from a checkpoint.
        options: total_steps, steps_per_epoch, seed of ``prepare``; weight_decay of the groups.
    """

    def __init__(
        self,
        what: Any = "",
        make: Callable[[], nn.Module] = token_net,
        *,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
        wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
        restored: Weights | None = None,
        resumes: bool = False,
        schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
        extra: Iterable[nn.Parameter] = (),
        weight_decay: float = 0.0,
        **options: Any,
    ) -> None:
        self.methods = what if isinstance(what, holdfast.Composition) else holdfast.compose(what)
        self.model = make().to(device, dtype)
        self.dtype, self.device = dtype, device
        if restored is not None:
            self.model.load_state_dict(restored)
        self.methods.prepare(self.model, HEAD, **prepared_with(make, dtype) | options)
        self.batches = [(x.to(device, dtype), y.to(device)) for x, y in image_batches(3, 8)]
        if not resumes:
            self.methods.calibrate(self.batches)
        self.network = wrap(self.model)
        groups = self.methods.param_groups(self.model, lr=LR, head_lr=HEAD_LR, weight_decay=weight_decay)
        if extra:
            groups.append({"params": list(extra), "lr": LR, "weight_decay": 0.0})
        self.optimizer = torch.optim.SGD(groups, momentum=0.9)
        self.scheduler = schedule(self.optimizer) if schedule else None
        self.t, self.losses = 0, []

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The regularised loss of one batch."""
        x, y = self.methods.on_batch(x, y)
        return self.methods.loss(F.cross_entropy(self.network(x), y))

    def accumulate(self, parts: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Gradients of the mean over equal micro-batches."""
        self.optimizer.zero_grad()
        parts = list(parts)
        for part in parts:
            loss = self.loss(*part)
            self.losses.append(loss.item())
            (loss / len(parts)).backward()

    def step(self, *parts: tuple[Tensor, Tensor]) -> None:
        """One optimiser step on the micro-batches."""
        self.accumulate(parts)
        self.finish()

    def finish(self) -> None:
        """The optimiser's step and what follows it."""
        self.optimizer.step()
        self.methods.step(self.optimizer)
        if self.scheduler is not None:
            self.scheduler.step()
        self.t += 1

    def train(self, steps: int = STEPS) -> "Loop":
        """Steps on the batches in turn; after the last of the whole training, the methods finish."""
        for _ in range(steps):
            self.step(self.batches[self.t % len(self.batches)])
        if steps and self.t == self.methods.clock.total_steps:
            self.methods.on_fit_end(self.model)
        return self

    def gradients(self, x: Tensor, y: Tensor, scale: float = 1.0) -> Weights:
        """The gradient that the optimiser would see, times the host's factor."""
        self.optimizer.zero_grad()
        (self.loss(x, y) * scale).backward()
        return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in self.model.named_parameters()}

    def weights(self) -> Weights:
        """Parameters and buffers now."""
        return snapshot(self.model)

    def added(self) -> Weights:
        """Parameters now of the modules that methods added, as ``<field>.<parameter>``."""
        fields = [item for member in self.methods._walk() for item in vars(member.state).items()]
        modules = [(name, value) for name, value in fields if isinstance(value, nn.Module)]
        return {f"{name}.{p}": v.detach().clone() for name, m in modules for p, v in m.named_parameters()}

    def save(self) -> bytes:
        """A checkpoint as a host writes it."""
        file = io.BytesIO()
        whole = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "methods": self.methods.state_dict(),
            "t": self.t,
        }
        torch.save(whole, file)
        return file.getvalue()

    @classmethod
    def resumed(cls, file: bytes, what: Any, *args: Any, weights_first: bool, **options: Any) -> "Loop":
        """A new run that goes on from a checkpoint; the weights are restored before ``prepare``, or after."""
        saved = torch.load(io.BytesIO(file), weights_only=True)
        restored = copy.deepcopy(saved["model"]) if weights_first else None
        loop = cls(what, *args, restored=restored, resumes=True, **options)
        if not weights_first:
            loop.model.load_state_dict(saved["model"])
        loop.optimizer.load_state_dict(saved["optimizer"])
        if loop.scheduler is not None:
            loop.scheduler.load_state_dict(saved["scheduler"])
        loop.methods.load_state_dict(saved["methods"])
        loop.t = saved["t"]
        return loop


def assert_equal(a: Weights, b: Weights, what: str = "") -> None:
    """The same names and the same bits."""
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), f"{what} {name}: differs by {(a[name] - b[name]).abs().max()}"


def assert_close(a: Weights, b: Weights, rtol: float = 1e-9) -> None:
    """The same names, and numbers that agree relative to the largest of all."""
    assert a.keys() == b.keys()
    scale = max(value.double().abs().max().item() for value in b.values())
    for name in a:
        assert torch.allclose(a[name], b[name], rtol=rtol, atol=rtol * scale), (
            f"{name}: differs by {(a[name] - b[name]).abs().max()}"
        )


def differ(a: Weights, b: Weights, rtol: float = 1e-6) -> bool:
    """Whether any number differs beyond rounding."""
    return any(not torch.allclose(a[name], b[name], rtol=rtol, atol=1e-12) for name in a)
