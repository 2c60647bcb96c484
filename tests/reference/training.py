"""A slow, literal training loop: plain SGD with momentum, written out on a dictionary of parameters.

The oracles of this folder are written from the papers and share nothing with the package under test. The loop follows
one convention throughout: the gradient of step t is taken at the weights w_t on the batch t mod len(batches);
then, as Sutskever et al. (2013) are usually implemented,

    d = g + weight_decay·w,   v ← momentum·v + d   (v = d the first time),   w ← w − rate·v,

and whatever a method does between two steps follows (`after_step`). Train or evaluation mode of every module is the
caller's: the loop never changes it.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


@dataclass
class Forward:
    """One pass: logits (B, C), rep (B, D) as it enters the head, and the outputs of the tapped modules by path."""

    logits: Tensor
    rep: Tensor
    maps: dict[str, Tensor]


@dataclass
class Step:
    """What a rule or a penalty may look at: the batch, the pass on it, the weights and the starting point."""

    model: nn.Module
    source: nn.Module
    head_name: str
    w: Weights
    w0: Weights
    x: Tensor
    y: Tensor
    t: int
    forward: Forward
    extra: dict[str, nn.Module]

    @property
    def head(self) -> list[str]:
        return head_parameters(self.model, self.head_name)

    @property
    def shared(self) -> list[str]:
        return shared_parameters(self.model, self.head_name)

    def source_forward(self) -> Forward:
        """The starting point's pass on the same batch, in evaluation mode, without gradient."""
        with torch.no_grad():
            return run_forward(self.source, self.head_name, self.x, tuple(self.forward.maps))


@dataclass
class Run:
    """The mutable part of a training run; `t` counts the steps taken."""

    model: nn.Module
    head_name: str
    w: Weights
    w0: Weights
    velocity: Weights
    rates: dict[str, float] = field(default_factory=dict)
    t: int = 0


@dataclass
class Trajectory:
    """`weights[t]` and `buffers[t]` after t steps (0: the start); `losses[t]` and `figures[t]` of step t."""

    weights: list[Weights]
    buffers: list[Weights]
    losses: list[float]
    figures: list[dict[str, float]]
    rates: list[dict[str, float]]

    def record(self, run: Run, J: Tensor, figures: dict[str, float]) -> None:
        """Take down the run as it is after a step."""
        self.weights.append(snapshot(run.w))
        self.buffers.append(snapshot(dict(run.model.named_buffers())))
        self.losses.append(J.item())
        self.figures.append(figures)
        self.rates.append(run.rates)


Penalty = Callable[[Step], Tensor]
Rule = Callable[[Step, Tensor], tuple[Weights, dict[str, float]]]


def head_parameters(model: nn.Module, head_name: str) -> list[str]:
    """Names of w_S̄: the parameters of the new last layer."""
    return [f"{head_name}.{name}" for name, _ in model.get_submodule(head_name).named_parameters()]


def shared_parameters(model: nn.Module, head_name: str, include: str = "all") -> list[str]:
    """Names of w_S: everything but the head, cut down by `include`, in which each word adds to the one before.

    "weights": kernels of convolutions and linear layers; "+bias": their biases too; "+norm": the affine parameters of
    normalisation layers too; "all": every parameter of the source network (class tokens, position embeddings …).
    """
    rank = {"weights": 0, "+bias": 1, "+norm": 2, "all": 3}[include]
    head = set(head_parameters(model, head_name))
    names = [name for name, _ in model.named_parameters() if name not in head]
    return [name for name in names if kind(model, name) <= rank]


def kind(model: nn.Module, name: str) -> int:
    """0: a kernel, 1: its bias, 2: affine parameters of a normalisation layer, 3: anything else."""
    owner_name, _, leaf = name.rpartition(".")
    owner = model.get_submodule(owner_name)
    if isinstance(owner, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
        return 0 if leaf == "weight" else 1
    norms = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
    return 2 if isinstance(owner, norms) else 3


def run_forward(model: nn.Module, head_name: str, x: Tensor, taps: Sequence[str] = ()) -> Forward:
    """Run the network once; what enters the head is `rep`, what leaves a tapped module is its map."""
    seen: dict[str, Tensor] = {}
    maps: dict[str, Tensor] = {}
    # first in line, so that a method that changes the head's input does not change `rep`
    record = model.get_submodule(head_name).register_forward_pre_hook(lambda _, a: seen.update(rep=a[0]), prepend=True)
    handles = [record]
    handles += [
        model.get_submodule(tap).register_forward_hook(lambda _, __, out, tap=tap: maps.update({tap: out}))
        for tap in taps
    ]
    try:
        logits = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return Forward(logits, seen["rep"], maps)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """J = 1/B Σ_i (log Σ_c exp z_ic − z_iy)."""
    total = logits.new_zeros(())
    for z, label in zip(logits, y, strict=True):
        total = total + torch.logsumexp(z, 0) - z[int(label)]
    return total / len(y)


def gradient(loss: Tensor, w: Weights) -> Weights:
    """∇_w loss for every trainable parameter; one that the loss does not reach counts as 0."""
    trainable = {name: p for name, p in w.items() if p.requires_grad}
    if not loss.requires_grad:
        return {name: torch.zeros_like(p) for name, p in trainable.items()}
    found = torch.autograd.grad(loss, list(trainable.values()), retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g.clone()
        for (name, p), g in zip(trainable.items(), found, strict=True)
    }


def add(a: Weights, b: Weights, scale: float = 1.0) -> Weights:
    """a + scale·b, name by name."""
    return {name: a[name] + scale * b[name] for name in a}


def dot(a: Weights, b: Weights) -> float:
    """⟨a, b⟩ over all names."""
    return sum((a[name] * b[name]).sum().item() for name in a)


def plain(penalty: Penalty | None = None) -> Rule:
    """The gradient of J, or of J + Ω by one backward pass on the sum."""

    def rule(step: Step, J: Tensor) -> tuple[Weights, dict[str, float]]:
        if penalty is None:
            return gradient(J, step.w), {}
        omega = penalty(step)
        return gradient(J + omega, step.w), {"penalty": omega.item()}

    return rule


def sgd_step(run: Run, g: Weights, momentum: float, weight_decay: float) -> None:
    """One step of the update in the module's docstring, parameter by parameter, at the rates in `run.rates`."""
    with torch.no_grad():
        for name, g_p in g.items():
            p = run.w[name]
            d = g_p + weight_decay * p
            run.velocity[name] = momentum * run.velocity[name] + d if name in run.velocity else d.clone()
            p -= run.rates[name] * run.velocity[name]
    run.t += 1


def snapshot(tensors: Weights) -> Weights:
    """A copy that later steps do not touch."""
    return {name: value.detach().clone() for name, value in tensors.items()}


def constant(_: int) -> float:
    """The schedule that leaves the rate alone."""
    return 1.0


def begin(model: nn.Module, head_name: str, extra: dict[str, nn.Module]) -> tuple[Run, list[str]]:
    """A run that starts at the model's weights, and the names that the extra modules add."""
    added = {f"{key}.{name}": p for key, module in extra.items() for name, p in module.named_parameters()}
    w = dict(model.named_parameters()) | added
    return Run(model, head_name, w, snapshot(w), {}), list(added)


def look(
    run: Run, source: nn.Module, x: Tensor, y: Tensor, taps: Sequence[str], extra: dict[str, nn.Module]
) -> tuple[Step, Tensor]:
    """The forward pass of one step, and its J."""
    forward = run_forward(run.model, run.head_name, x, taps)
    step = Step(run.model, source, run.head_name, run.w, run.w0, x, y, run.t, forward, extra)
    return step, cross_entropy(forward.logits, y)


def base_rates(w: Weights, head: list[str], lr: float, head_lr: float | None, extra: list[str], extra_lr: float | None):
    """The rate of every parameter before any schedule; what is None is `lr`."""
    rates = dict.fromkeys(w, lr)
    rates |= dict.fromkeys(head, lr if head_lr is None else head_lr)
    return rates | dict.fromkeys(extra, lr if extra_lr is None else extra_lr)


def train(
    model: nn.Module,
    head_name: str,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    steps: int,
    lr: float,
    head_lr: float | None = None,
    extra_lr: float | None = None,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    schedule: Callable[[int], float] = constant,
    head_schedule: Callable[[int], float] | None = None,
    taps: Sequence[str] = (),
    rule: Rule | None = None,
    relabel: Callable[[Tensor, int], Tensor] = lambda y, _: y,
    after_step: Callable[[Run], None] = lambda _: None,
    extra: dict[str, nn.Module] | None = None,
    penalty: Penalty | None = None,
) -> Trajectory:
    """Train a copy of `model` and return its weights after every step.

    `schedule(t)` multiplies every rate of step t; `head_schedule(t)`, where given, stands in its place for the head.
    `rule` gives the gradient (else `penalty` is added to J). `extra` modules (a second head) train as well, at
    `extra_lr`, as "<key>.<parameter>". Parameters that do not require a gradient stay where they are.
    """
    model, source, extra = copy.deepcopy(model), copy.deepcopy(model).eval(), copy.deepcopy(extra or {})
    head = head_parameters(model, head_name)
    run, added = begin(model, head_name, extra)
    base = base_rates(run.w, head, lr, head_lr, added, extra_lr)
    out = Trajectory([run.w0], [snapshot(dict(model.named_buffers()))], [], [], [])
    for t in range(steps):
        x, y = batches[t % len(batches)]
        step, J = look(run, source, x, relabel(y, t), taps, extra)
        g, figures = (rule or plain(penalty))(step, J)
        run.rates = {n: r * (head_schedule if head_schedule and n in head else schedule)(t) for n, r in base.items()}
        sgd_step(run, g, momentum, weight_decay)
        after_step(run)
        out.record(run, J, figures)
    return out
