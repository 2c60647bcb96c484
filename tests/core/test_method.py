"""The base class: values are checked when a method is made, states are saved by field, methods are values."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

import holdfast
from holdfast.core.errors import UsageError
from holdfast.core.method import Method, State, Sum, hyper
from holdfast.core.registry import create, register
from holdfast.core.registry import methods as registered
from holdfast.core.values import text


@dataclass(frozen=True)
class Sample(Method):
    """One field of each kind."""

    stem: ClassVar[str] = "sample"
    presets: ClassVar[dict] = {"author": {"share": 0.5}}

    share: float = hyper(0.25, low=0, high=1)
    count: int = hyper(2, low=1)
    kind: Literal["a", "b"] = hyper("a")
    flag: bool = hyper(False)
    ratio: float | None = hyper(None, above=0, infinite=True)


def test_values_take_their_types():
    method = Sample(share=1, count=3.0, ratio=2)
    assert (type(method.share), type(method.count), type(method.ratio)) == (float, int, float)
    assert Sample(ratio=math.inf).ratio == math.inf
    assert Sample().ratio is None


@pytest.mark.parametrize(("values", "message"), [
    ({"share": -0.1}, "sample: share must be finite and >= 0 and <= 1, got -0.1"),
    ({"share": 1.01}, "share must be finite and >= 0 and <= 1, got 1.01"),
    ({"share": math.nan}, "share must be finite and >= 0 and <= 1, got nan"),
    ({"share": None}, "share must be a number, got None"),
    ({"share": True}, "share must be a number, got true"),
    ({"count": 0}, "count must be finite and >= 1, got 0"),
    ({"count": 1.5}, "count must be a whole number, got 1.5"),
    ({"count": math.inf}, "count must be a whole number, got inf"),
    ({"count": 10**400}, "count must be a whole number"),
    ({"kind": "c"}, "kind must be one of 'a', 'b', got 'c'"),
    ({"kind": 1}, "kind must be one of 'a', 'b', got 1"),
    ({"flag": 0}, "flag must be true or false, got 0"),
    ({"ratio": 0}, "ratio must be > 0, got 0"),
    ({"ratio": "x"}, "ratio must be a number, got 'x'"),
    ({"ratio": 10**400}, "ratio must be a number"),
    ({"preset": "nobody"}, "sample: unknown preset 'nobody'; there are: author"),
])  # fmt: skip
def test_wrong_values_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        Sample(**values)


def test_methods_are_frozen_values():
    method = Sample(share=0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.share = 0.1
    assert method == Sample(share=0.5)
    assert method != Sample(share=0.4)
    assert len({method, Sample(share=0.5)}) == 1


def test_text_shows_what_differs_from_the_preset():
    assert str(Sample()) == "sample"
    assert str(Sample(share=0.5, kind="b", flag=True)) == "sample(share=0.5, kind='b', flag=true)"
    assert str(Sample(share=0.5, preset="author")) == "sample@author"
    assert str(Sample(preset="author")) == "sample@author(share=0.25)"
    assert str(Sample() + Sample(count=5)) == "sample+sample(count=5)"


@pytest.mark.parametrize(("value", "wanted"), [
    (True, "true"), (False, "false"), (3, "3"), (3.0, "3"), (0.1, "0.1"), (1e-7, "1e-07"), (1e300, "1e+300"),
    (math.inf, "inf"), ("x", "'x'"), (-0.5, "-0.5"),
])  # fmt: skip
def test_values_as_text(value, wanted):
    assert text(value) == wanted


def test_sums_join_and_nothing_else_does():
    a, b = Sample(), Sample(count=3)
    assert (a + b) + a == Sum((a, b, a))
    assert a + (b + a) == Sum((a, b, a))
    with pytest.raises(TypeError):
        a + 1


@dataclass
class Counter(State):
    """Two things to save."""

    seen: int = 0
    mean: float = 0.0


def test_a_state_saves_its_own_fields():
    state = Counter(3, 0.5, key="k")
    state.figures["x"] = 1.0
    assert state.state_dict() == {"seen": 3, "mean": 0.5}
    other = Counter(key="other")
    other.load_state_dict(state.state_dict())
    assert (other.seen, other.mean, other.key) == (3, 0.5, "other")


def test_hooks_do_nothing_by_default():
    method, state = Sample(), State()
    assert method.feature_grad("rep", None, None, None, state) is None
    assert method.penalty(None, state) is None
    assert method.lr_scale(None, state) == {}
    assert not any((method.penalises, method.edits_features, method.combines_grads, method.owned_rates))
    batch = object()
    assert method.on_batch(batch, state) is batch
    with pytest.raises(NotImplementedError, match="Sample does not say what its zero strength is"):
        method.at_zero_strength()


def test_stems_are_taken_once():
    assert registered()["l2"] is holdfast.L2
    with pytest.raises(UsageError, match=r"'l2' of .*Impostor.* is empty or taken"):

        @register
        @dataclass(frozen=True)
        class Impostor(Method):
            stem: ClassVar[str] = "l2"

    assert registered()["l2"] is holdfast.L2


def test_registered_methods_are_sorted_and_make_themselves():
    found = registered()
    assert list(found) == sorted(found)
    assert {"dtnh", "l2", "l2_sp", "ptr", "rifle"} <= found.keys()
    assert create("l2_sp", "li2018", [0.5], {}) == holdfast.L2SP(alpha=0.5, include="weights", preset="li2018")
