"""The text form: what it says, what it refuses and how; nothing in it is ever evaluated."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.core.errors import ConflictError, UsageError
from holdfast.core.grammar import MAX_DEPTH, MAX_LENGTH
from holdfast.core.method import Method, Sum, hyper_parameters
from holdfast.core.registry import methods as registered

SEEDED = settings(derandomize=True, database=None, deadline=None)


def read(text: str) -> Sum:
    return holdfast.compose(text).expression


def test_the_issues_example():
    rifle, dtnh, ptr = read("rifle(periods=4)+dtnh(l2_sp(alpha=0.1))+ptr(R=3, m=1, T=inf)")
    assert rifle == holdfast.RIFLE(periods=4)
    assert dtnh == holdfast.DTNH(holdfast.L2SP(alpha=0.1))
    assert ptr == holdfast.PtR(R=3, m=1, T=math.inf)


@pytest.mark.parametrize(("text", "method"), [
    ("l2_sp", holdfast.L2SP()),
    ("l2_sp()", holdfast.L2SP()),
    ("l2_sp(0.5, 0.25)", holdfast.L2SP(alpha=0.5, beta=0.25)),
    ("l2_sp(0.5, include='weights')", holdfast.L2SP(alpha=0.5, include="weights")),
    ('l2_sp(include="+bias")', holdfast.L2SP(include="+bias")),
    ("  l2_sp  (  alpha = 1e-3 )  ", holdfast.L2SP(alpha=1e-3)),
    ("l2_sp(alpha=.5)", holdfast.L2SP(alpha=0.5)),
    ("l2_sp(alpha=5.)", holdfast.L2SP(alpha=5)),
    ("l2_sp(alpha=+5)", holdfast.L2SP(alpha=5)),
    ("l2_sp(alpha=1E+2)", holdfast.L2SP(alpha=100)),
    ("ptr(latch=false, T=inf)", holdfast.PtR(latch=False, T=math.inf)),
    ("l2_sp@li2018(alpha=2)", holdfast.L2SP(alpha=2, include="weights", preset="li2018")),
    ("dtnh(inner=l2_sp+l2, lam=2)", holdfast.DTNH(holdfast.L2SP() + holdfast.L2(), lam=2)),
    ("dtnh(l2_sp, 2)", holdfast.DTNH(holdfast.L2SP(), lam=2)),
])  # fmt: skip
def test_spellings(text, method):
    assert read(text) == Sum((method,))


@pytest.mark.parametrize(("text", "message"), [
    ("l2sp", "unknown method 'l2sp'; did you mean 'l2_sp'"),
    ("PTR", "unknown method 'PTR'"),
    ("weight_decay_of_all", r"unknown method .*; there are: .*\bdtnh, .*\bl2, l2_sp"),
    ("l2_sp@li2019", "unknown preset l2_sp@li2019; did you mean 'li2018'"),
    ("ptr@x", r"unknown preset ptr@x; there are: \(none\)"),
    ("l2_sp(alhpa=1)", "unknown parameter 'alhpa' of l2_sp; did you mean 'alpha'"),
    ("l2_sp(alpha=1, alpha=2)", "alpha is given twice"),
    ("l2_sp(1, alpha=2)", "alpha is given twice"),
    ("l2_sp(alpha=1, 2)", "expected name=value after the first named value, found '2' at position 16"),
    ("l2(1, 2, 'all', true, 5)", r"l2 takes at most 4 values \(alpha, beta, include, half\), got 5"),
    ("l2_sp(preset='li2018')", "unknown parameter 'preset'"),
    ("l2_sp(stem='l2')", "unknown parameter 'stem'"),
    ("l2_sp(alpha=)", r"expected a number, .*found '\)' at position 13"),
    ("l2_sp(alpha=1", r"expected ',' or '\)', found 'the end' at position 14"),
    ("l2_sp)", r"expected '\+' or the end, found '\)' at position 6"),
    ("l2_sp+", "expected the name of a method, found 'the end'"),
    ("+l2_sp", "expected the name of a method"),
    ("l2_sp@", "expected the name of a preset"),
    ("l2_sp l2", "expected '.' or the end, found 'l2' at position 7"),
    ("l2_sp(alpha=1.2.3)", "is not understood"),
    ("l2_sp(alpha=-inf)", "expected a number"),
    ("l2_sp(alpha=1e999)", "alpha must be finite and >= 0, got inf"),
    ("l2_sp(alpha=" + "9" * 400 + ")", "alpha must be a number"),
    ("l2_sp(alpha=nan)", "unknown method 'nan'"),
    ("l2_sp(alpha=None)", "unknown method 'None'"),
    ("l2_sp(alpha=true)", "alpha must be a number, got true"),
    ("l2_sp(alpha='1')", "alpha must be a number, got '1'"),
    ("l2_sp(alpha=l2)", "alpha must be a number"),
    ("l2_sp(alpha=-1)", "alpha must be finite and >= 0, got -1"),
    ("l2_sp(half=1)", "half must be true or false, got 1"),
    ("l2_sp(include='everything')", r"include must be one of 'weights', '\+bias', '\+norm', 'all', got 'everything'"),
    ("plain+l2_sp", "unknown method 'plain'"),
    ("l2_sp;import os", "';' at position 6 is not understood"),
    ("__import__('os')", "unknown method '__import__'"),
    ("l2_sp.__class__", r"'\.' at position 6 is not understood"),
    ("ptr(R=0)", r"ptr: R must be > 0, got 0$"),
])  # fmt: skip
def test_refusals_say_what_and_where(text, message):
    with pytest.raises(UsageError, match=message):
        read(text)


def test_length_is_bounded():
    longest = "+".join(["l2"] * (MAX_LENGTH // 3))
    read(longest + " " * (MAX_LENGTH - len(longest)))
    with pytest.raises(UsageError, match=f"at most {MAX_LENGTH} characters, got {MAX_LENGTH + 1}"):
        read("l2" + " " * (MAX_LENGTH - 1))


def test_depth_is_bounded():
    def nested(depth):
        return "dtnh(" * depth + "l2" + ")" * depth

    with pytest.raises(ConflictError, match="is none"):
        read(nested(MAX_DEPTH))  # understood; dtnh refuses dtnh
    with pytest.raises(UsageError, match=f"nests at most {MAX_DEPTH} deep"):
        read(nested(MAX_DEPTH + 1))


def survives(text: str) -> None:
    """A text is understood, and then it round-trips, or it is refused in the documented way."""
    try:
        expression = read(text)
    except (UsageError, ConflictError):
        return
    assert read(str(expression)) == expression


@given(st.text(max_size=60))
@settings(SEEDED, max_examples=300)
def test_any_text_is_read_or_refused(text):
    survives(text)


PIECES = st.sampled_from([
    *"()+,=@.-'\"", " ", "\n", "0", "1", "1e9", "1e-400", "1e999", ".5", "-1", "inf", "true", "false", "None", "'all'",
    "l2", "l2_sp", "ptr", "dtnh", "rifle", "li2018", "alpha", "R", "T", "inner", "lam", "periods", "variant='A'",
    "9" * 330,
    "dtnh(", "l2_sp(", "alpha=", "eval", "__import__('os').system('true')", "²", "٣", "\x00",
])  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join))
@settings(SEEDED, max_examples=600)
def test_any_sequence_of_its_own_pieces_is_read_or_refused(text):
    survives(text)


def values(method: type[Method]) -> st.SearchStrategy[Method]:
    """Methods of one class with any values of the right kind that the class accepts."""
    choices = {
        "R": st.floats(1e-6, 1e9) | st.just(math.inf), "T": st.floats(0, 1e9) | st.just(math.inf),
        "include": st.sampled_from(["weights", "+bias", "+norm", "all"]),
        "head": st.sampled_from(["zero", "free", "start"]),
        "loss": st.sampled_from(["smooth_l1", "l2"]), "targets": st.sampled_from(["element", "instance"]),
        "gate": st.sampled_from(["epoch", "iteration"]), "variant": st.sampled_from(["full", "A", "B"]),
        "cycle": st.sampled_from(["annealed", "printed"]), "scope": st.sampled_from(["all", "layer"]),
        "when": st.sampled_from(["batch", "step"]), "periods": st.integers(1, 10**9), "decay": st.floats(1e-9, 1),
        "std": st.none() | st.floats(1e-9, 1e9),
    }  # fmt: skip
    booleans = {"half", "squared", "latch", "regate", "keep_state"}
    drawn = {
        f.name: choices.get(f.name, st.booleans() if f.name in booleans else st.floats(0, 1e12))
        for f in hyper_parameters(method)
    }
    inner = {"inner": st.just(holdfast.L2SP(alpha=0.3))} if method is holdfast.DTNH else {}
    return st.builds(method, **inner, **drawn, preset=st.sampled_from(["", *method.presets]))


@pytest.mark.parametrize("stem", ["l2", "l2_sp", "ptr", "dtnh", "rifle"])
def test_every_method_round_trips_with_any_values(stem):
    @given(values(registered()[stem]))
    @settings(SEEDED, max_examples=60)
    def check(method):
        assert read(str(method)) == Sum((method,))

    check()
