import math

import pytest
import torch

from holdfast.train.metrics import measures

P = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])


def test_the_figures_are_those_computed_by_hand():
    found = measures(P.log(), torch.tensor([0, 1, 1, 1]))
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["mean_class_accuracy"] == pytest.approx((1 + 2 / 3) / 2)  # the third class does not occur
    assert found["nll"] == pytest.approx(-(math.log(0.7) + math.log(0.3) + math.log(0.7) + math.log(0.8)) / 4)
    # the confidences 0.7, 0.6, 0.7, 0.8 fall into three of the bins: two right at 0.7, one wrong at 0.6, one right
    assert found["ece"] == pytest.approx((2 * 0.3 + 0.6 + 0.2) / 4)


def test_no_figure_is_infinite_while_every_probability_is_positive():
    logits = torch.tensor([[60.0, -60.0], [-60.0, 60.0]])
    found = measures(logits.log_softmax(1), torch.tensor([1, 1]))
    assert found["nll"] == pytest.approx(60.0)
    assert found["accuracy"] == 0.5
