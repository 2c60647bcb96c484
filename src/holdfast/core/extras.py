"""What trains beside the network: modules that methods add (a second head, a projector), and foreign parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from holdfast.core import world
from holdfast.core.member import Member
from holdfast.core.surrogate import leaves
from holdfast.core.types import ParamRef, Step, parameter_refs


class Extras:
    """The modules among the fields of the methods' states; they are never exported with the network.

    Args:
        everything: the bound members.
        network: the network's own parameters.
        pretrained: those of the modules that come from the pre-trained network.
    """

    def __init__(
        self, everything: Iterable[Member], network: Iterable[ParamRef], pretrained: Iterable[nn.Module] = ()
    ) -> None:
        self._network = list(network)
        self._pretrained = {id(p) for module in pretrained for p in module.parameters()}
        self._foreign: list[Tensor] | None = None
        self._modules = [
            (f"{member.key}.{name}", value)
            for member in everything
            for name, value in vars(member.state).items()
            if isinstance(value, nn.Module)
        ]
        for ref in self.refs():  # a data-parallel wrapper averages the network's gradients alone
            ref.param.register_hook(world.mean_over_ranks)

    def refs(self) -> list[ParamRef]:
        """Their parameters, named ``<method>.<field>.<parameter>``; without those that are the network's own."""
        mine = {id(r.param) for r in self._network}
        found = [
            ParamRef(f"{prefix}.{r.name}", r.param, r.kind, is_head=False)
            for prefix, module in self._modules
            for r in parameter_refs(module, head="\0")  # no part of them is the network's head
        ]
        return [r for r in found if id(r.param) not in mine]

    def new(self) -> list[ParamRef]:
        """Those that begin at random."""
        return [r for r in self.refs() if id(r.param) not in self._pretrained]

    def pretrained(self) -> list[ParamRef]:
        """Those that come from the pre-trained network, such as its head."""
        return [r for r in self.refs() if id(r.param) in self._pretrained]

    def all(self) -> list[ParamRef]:
        """The network's parameters and theirs."""
        return [*self._network, *self.refs()]

    def follow(self, device: torch.device) -> None:
        """Move them to where the loss is; the parameters stay the same objects."""
        for _, module in self._modules:
            if any(p.device != device for p in module.parameters()):
                module.to(device)

    def clear_gradients(self) -> None:
        """After a step: a host that calls ``model.zero_grad()`` does not know them."""
        for ref in self.refs():
            ref.param.grad = None

    def list_trained(self, task_loss: Tensor, step: Step) -> None:
        """Tell the step what trains: the network, these modules, and what else the task's graph leads to."""
        named = [(r.param, r.name) for r in self.all()]
        if self._foreign is None:  # a learned temperature, say
            known = {id(p) for p, _ in named}
            self._foreign = [p for p in leaves(task_loss) if id(p) not in known]
        trained = [(p, name) for p, name in (*named, *((p, "") for p in self._foreign)) if p.requires_grad]
        step.params, step.names = [p for p, _ in trained], [name for _, name in trained]
