"""Summing the Fisher information over samples, so that it can be stopped and gone on with."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.core.errors import UsageError
from holdfast.functional.fisher import Parameters, chosen_labels, squared_scores, squared_scores_singly
from holdfast.functional.noise import generator

Kind = Literal["monte_carlo", "topk", "exact"]


class FisherSum:
    """Squared scores of some parameters, summed over the samples seen so far.

    Args:
        model: a classifier at the weights in question, to be had: put into evaluation mode, without gradients.
        names: of the parameters.
        kind: how the expectation over labels is formed, see ``functional.fisher.chosen_labels``.
        labels: how many labels of each sample, for ``"topk"`` and ``"monte_carlo"``.
        key: of the draws, together with a sample's number.

    Attributes:
        sums: by parameter name, in the parameter's type.
        count: samples seen.
    """

    def __init__(self, model: nn.Module, names: Iterable[str], kind: Kind, labels: int, *key: object) -> None:
        self._model, self._kind, self._labels, self._key = model.eval().requires_grad_(False), kind, labels, key
        self._params = {name: model.get_parameter(name).detach() for name in names}
        # on a CPU batched convolutions, one kernel for each sample, are slower than one sample after the other
        self._batched = any(p.device.type != "cpu" for p in self._params.values())
        self.sums = {name: torch.zeros_like(p) for name, p in self._params.items()}
        self.count = 0

    def add(self, x: Tensor) -> None:
        """Count a batch of inputs (n, ...) in.

        Raises:
            UsageError: the network's probabilities are not finite.
        """
        with torch.no_grad():
            log_p = self._log_f(self._params, x)
        if not bool(torch.isfinite(log_p).all()):
            raise UsageError("the network's answers are not finite: no Fisher information can be measured with it")
        numbers = range(self.count, self.count + len(x)) if self._kind == "monte_carlo" else ()
        draws = [generator("cpu", *self._key, number) for number in numbers]
        classes, weights = chosen_labels(log_p, self._kind, self._labels, draws)
        for name, square in self._squares(x, classes, weights).items():
            self.sums[name] += square
        self.count += len(x)

    def mean(self) -> dict[str, Tensor]:
        """F by parameter name."""
        return {name: total / max(1, self.count) for name, total in self.sums.items()}

    def _squares(self, x: Tensor, classes: Tensor, weights: Tensor) -> dict[str, Tensor]:
        if self._batched:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # about operators that are batched by a loop
                    return squared_scores(self._log_f, self._params, x, classes, weights)
            except (RuntimeError, NotImplementedError, ValueError):  # an operator that cannot be batched, or no memory
                self._batched = False
        return squared_scores_singly(self._log_f, self._params, x, classes, weights)

    def _log_f(self, params: Parameters, x: Tensor) -> Tensor:
        return logits(torch.func.functional_call(self._model, dict(params), (x,))).log_softmax(-1)


def logits(output: Any) -> Tensor:
    """The logits in what a classifier returns: a tensor, or Hugging Face's mapping."""
    found = output["logits"] if isinstance(output, Mapping) else output
    assert isinstance(found, Tensor)
    return found
