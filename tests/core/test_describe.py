"""Bound methods say what they act on."""

from torch import nn

import holdfast


def described(text: str) -> list[str]:
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    methods = holdfast.compose(text)
    methods.prepare(model, total_steps=8, steps_per_epoch=4)
    return methods.describe()


def test_l2_sp_names_factor_reference_parameters_and_the_head_s_own_term() -> None:
    (line,) = described("l2_sp(alpha=0.4, beta=0.02)")
    assert "0.2·‖w − w⁰‖² on the body: 4 tensors, 21 numbers (all)" in line
    assert "0.01·‖w‖² on the head: 2 tensors, 8 numbers (all)" in line


def test_presets_act_on_what_they_say() -> None:
    (weights,) = described("l2_sp@li2018")
    assert "on the body: 1 tensors, 12 numbers (weights)" in weights
    (free,) = described("l2_sp@wan2019(alpha=0.3)")
    assert "0.3·‖w − w⁰‖²" in free
    assert "on the head: 0 tensors" in free


def test_wrapped_methods_follow_their_wrapper() -> None:
    lines = described("dtnh(l2_sp, lam=0.5)+rifle(periods=4)+ptr(m=2, T=inf)")
    assert [line.split(":")[0] for line in lines] == ["dtnh", "l2_sp", "rifle", "ptr"]
    assert lines[0].startswith("dtnh: 0.5 × [l2_sp]")
    assert "drawn anew 3 times" in lines[2]
    assert "U[0, 4)" in lines[3]
    assert "active at once" in lines[3]


def test_plain_has_nothing_to_say() -> None:
    assert described("plain") == []
