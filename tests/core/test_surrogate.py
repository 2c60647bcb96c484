"""The surgery's parts: gradients that do not share memory, penalties in slices, leaves of a graph."""

import pytest
import torch
from torch import nn

from holdfast.core.closed_form import ClosedForm, chunks
from holdfast.core.surrogate import PenaltyGrads, leaves, unshared


class Quadratic(ClosedForm):
    """Σ c_i/2 ‖p_i‖², with another c for each parameter, so that a mix-up shows."""

    def __init__(self, params, strengths):
        super().__init__(params)
        self.strengths = strengths

    def value(self):
        return sum(0.5 * c * p.detach().square().sum() for c, p in zip(self.strengths, self.params, strict=True))

    def grads(self, part):
        return [c * p.detach() for c, p in zip(self.strengths[part], self.params[part], strict=True)]


def parameters(n=5):
    return [nn.Parameter(torch.full((2,), float(i + 1))) for i in range(n)]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 3, 4, 0, 1], [0, 2, 4], [3], [1, 0, 4]])
def test_a_form_may_list_the_parameters_in_any_order(order):
    params = parameters()
    form = Quadratic([params[i] for i in order], [10.0**i for i in order])
    whole = PenaltyGrads(params, None, [form], torch.tensor(2.0))
    assert len(whole) == 5
    for begin in range(5):
        for end in range(begin, 6):
            for i, g in zip(range(begin, end), whole[begin:end], strict=False):
                if i in order:
                    assert torch.equal(g, 2 * 10.0**i * params[i].detach())
                else:
                    assert g is None
    assert (whole[3] is None) == (3 not in order)


def test_forms_and_graph_terms_add_up():
    params = parameters(3)
    graph = [torch.ones(2), None, None]
    total = PenaltyGrads(
        params, graph, [Quadratic(params, [1, 1, 1]), Quadratic(params[1:], [1, 1])], torch.tensor(1.0)
    )
    assert [g.tolist() for g in total[:]] == [[2, 2], [4, 4], [6, 6]]
    assert graph[0].tolist() == [1, 1]


def test_closed_form_as_a_tensor_has_its_gradient():
    params = parameters(3)
    form = Quadratic(params, [1.0, 2.0, 3.0])
    (4 * form.as_tensor()).backward()
    assert [p.grad.tolist() for p in params] == [[4, 4], [16, 16], [36, 36]]


def test_chunks_cover_the_list_once():
    params = [torch.zeros(n) for n in (3, 5, 1, 9, 2)]
    for limit in (1, 4, 6, 100):
        parts = chunks(params, limit)
        assert [i for part in parts for i in range(part.start, part.stop)] == list(range(5))
        assert all(sum(p.numel() for p in params[part]) <= limit or part.stop - part.start == 1 for part in parts)
    assert chunks([]) == []


def test_unshared_gradients_may_be_changed_in_place():
    scale = torch.tensor(1.0)
    base = torch.arange(4.0)
    one = scale.expand(1, 1)  # contiguous by its shape, yet the scale itself
    grads = [base, base[:2], scale.expand(3), None, scale, one, one]
    values = [None if g is None else g.clone() for g in grads]
    result = unshared(grads, [scale])
    for i, g in enumerate(result):
        if g is not None:
            assert torch.equal(g, values[i])
            g.add_(100)
            later = [h for h in result[i + 1 :] if h is not None]
            assert all((h < 100).all() for h in later)
    assert scale.item() == 1


def test_leaves_are_what_backward_would_fill():
    a, b, c = (nn.Parameter(torch.ones(())) for _ in range(3))
    found = leaves((a * b + a) * 2 + c.detach())
    assert {id(p) for p in found} == {id(a), id(b)}
    assert len(found) == 2
