"""The diagonal Fisher information that weighs a penalty: read from a file, or measured before training."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core import world
from holdfast.core.errors import DataError, StartingPointError, UsageError
from holdfast.core.fisher import FisherSum, Kind
from holdfast.core.tensorfile import read_tensors
from holdfast.core.types import Batch, Context, ParamRef, trainable

RECORD = "holdfast.fisher"
"""Key under which a file's notes hold the record of how it was made, in JSON."""


@dataclass(frozen=True)
class Sampling:
    """How F is measured, see ``FisherSum``; of all samples, or of the first so many."""

    kind: Kind
    labels: int
    samples: int | None


class Information:
    r"""F of the shared parameters at w⁰, plus a constant.

    A run's checkpoint holds it, so that a resumed run neither measures it again nor needs the file.

    Args:
        asks: the method, for messages.
        file: a safetensors file with F by parameter name; None: ``measure`` makes it.
        added: constant that is added to every :math:`F_{jj}`.
        refs: the parameters that are weighed.
        sampling: how F is measured.
        ctx: of the run.

    Raises:
        UsageError: no file, and no source head to measure with.
    """

    def __init__(
        self, asks: object, file: str | None, added: float, refs: Sequence[ParamRef], sampling: Sampling, ctx: Context
    ) -> None:
        self._asks, self._file, self._added, self._sampling, self._ctx = str(asks), file, added, sampling, ctx
        self._names = [r.name for r in refs]
        self._head = None if file is not None else ctx.source_head(asks)
        self._tensors: dict[str, Tensor] = {}
        self._ready: dict[str, Tensor] = {}
        self._record: dict[str, Any] = {}

    # -- where F comes from ------------------------------------------------------------------------------
    def measure(self, model: nn.Module, loader: Iterable[Batch]) -> None:
        """Measure F on a loader's inputs through the source head, unless it is known.

        Raises:
            UsageError: training has begun, so that the network is no longer at w⁰; a loader without samples.
        """
        if self._file is not None or self._tensors:
            return
        if self._ctx.clock.step:
            raise UsageError(f"{self._asks} measures F at w⁰: call methods.calibrate(loader) before the first step")
        assert self._head is not None
        twin, path = copy.deepcopy(model), self._ctx.located.head
        like = twin.get_parameter(f"{path}.weight")
        twin.set_submodule(path, copy.deepcopy(self._head).to(like.device, like.dtype))
        s = self._sampling
        # ranks share the draws: where they read the same samples, they are to find the same F
        total = FisherSum(twin, self._names, s.kind, s.labels, self._ctx.clock.seed, "fisher")
        for batch in loader:
            total.add(batch.x if s.samples is None else batch.x[: s.samples - total.count])
            if total.count == s.samples:
                break
        if not total.count:
            raise UsageError(f"{self._asks}: calibrate got no samples: pass the training loader")
        share = world.mean_over_ranks(like.new_tensor(total.count))
        self._tensors = {name: world.mean_over_ranks(F) / share for name, F in total.sums.items()}
        count = round(float(share) * world.size())
        self._record = {"kind": s.kind, "labels": s.labels, "samples": count, "inputs": "target"}
        self._record["from"] = "the training loader"

    def _read(self) -> None:
        assert self._file is not None
        tensors, notes = read_tensors(Path(self._file).expanduser())
        refs = {r.name: r for r in self._ctx.parameters}
        try:
            self._record = dict(json.loads(notes.get(RECORD, "{}"))) | {"from": self._file}
        except ValueError as error:
            raise DataError(f"{self._file}: its record {RECORD!r} is no JSON; make the file anew") from error
        for name in self._names:
            wanted, found = tuple(refs[name].param.shape), tensors.get(name)
            if found is None or tuple(found.shape) != wanted:
                there = "nothing" if found is None else f"shape {tuple(found.shape)}"
                raise StartingPointError(
                    f"{self._asks}: {self._file} is of another network ({self._record.get('model', 'unnamed')}): "
                    f"it holds {there} for {name}, expected shape {wanted}; run holdfast fisher with this network"
                )
            if not bool((found >= 0).all()) or not bool(found.isfinite().all()):
                raise DataError(f"{self._file}: {name} is not finite and >= 0 throughout; F is. Make the file anew")
        self._check_start([refs[name] for name in self._names])
        self._tensors = {name: tensors[name] for name in self._names}

    def _check_start(self, refs: Sequence[ParamRef]) -> None:
        norms = self._record.get("norms", {})
        for ref, w0 in zip(refs, self._ctx.start.of(refs), strict=True):
            wanted, found = norms.get(ref.name), norm(w0)
            if wanted is not None and not math.isclose(wanted, found, rel_tol=1e-3, abs_tol=1e-6):
                raise StartingPointError(
                    f"{self._asks}: {self._file} was measured at other weights: there ‖{ref.name}‖ is {wanted:g}, at "
                    f"this starting point {found:g}; run holdfast fisher with the weights that training starts from"
                )

    # -- what is made of it ------------------------------------------------------------------------------
    def of(self, refs: Iterable[ParamRef]) -> list[Tensor]:
        """F plus the constant for some of the parameters, on their device and of their type.

        Raises:
            UsageError: there is no such file, or F was to be measured and ``calibrate`` was not called.
            StartingPointError: the file is of another network, or of other weights.
            DataError: the file is damaged.
        """
        if not self._tensors:
            if self._file is None:
                raise UsageError(
                    f"{self._asks} has no Fisher information yet: call methods.calibrate(loader) before training, or "
                    "give fisher='F.safetensors', which holdfast fisher writes"
                )
            self._read()
        return [self._at(ref) for ref in refs]

    def _at(self, ref: ParamRef) -> Tensor:
        ready = self._ready.get(ref.name)
        if ready is None or ready.device != ref.param.device:
            ready = self._tensors[ref.name].to(ref.param.device, ref.param.dtype)
            self._ready[ref.name] = ready = ready + self._added if self._added else ready
        return ready

    def in_words(self) -> str:
        """Its mean, and how it was made, for ``describe``; a file is read, with the errors of ``of``."""
        if not self._tensors and self._file is None:
            return "F is measured by methods.calibrate(loader), on target inputs through the source head"
        self.of(())
        known = [self._tensors[name].double() for name in self._names]
        mean = sum(float(F.sum()) for F in known) / max(1, sum(F.numel() for F in known))
        largest = max((float(F.max()) for F in known), default=0.0)
        r = self._record
        labels = "all labels" if r.get("kind") == "exact" else f"{r.get('labels')} label(s), {r.get('kind')}"
        inputs = {"source": "source inputs", "target": "target inputs through the source head"}.get(r.get("inputs", ""))
        how = f"{r['samples']} samples, {labels}, {inputs}" if inputs else "no record of how it was made"
        plus = f" + {self._added:g}" if self._added else ""
        return f"F has mean {mean:.3g}{plus} and reaches {largest:.3g}, from {r['from']}: {how}"

    def state_dict(self) -> dict[str, Any]:
        """F and its record."""
        return {"tensors": dict(self._tensors), "record": json.dumps(self._record)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put F back: it is neither measured nor read again."""
        self._tensors, self._ready = dict(saved["tensors"]), {}
        self._record = json.loads(saved["record"])


def weights_of(information: Information | None, refs: Iterable[ParamRef]) -> list[Tensor | None]:
    """F for some parameters; None for each where nothing weighs."""
    refs = list(trainable(refs))
    return [None] * len(refs) if information is None else list(information.of(refs))


def norm(w: Tensor) -> float:
    """‖w‖₂, by which a file tells the weights that it was measured at."""
    return float(torch.linalg.vector_norm(w.detach().double()))
