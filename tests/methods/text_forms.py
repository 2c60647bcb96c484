"""The text form of methods: what goes in comes out, with presets and nested."""

from dataclasses import replace

import holdfast
from holdfast.core.method import Method, Sum
from holdfast.core.registry import methods as registered


def example(stem: str) -> Method:
    """A method of this stem with its default values, as it acts from the first step on."""
    if stem == "dtnh":
        return holdfast.compose("dtnh(l2_sp)").expression.methods[0]
    if stem == "ptr":
        return holdfast.compose("ptr(T=inf)").expression.methods[0]
    if stem == "conv_dropout":  # not every network of the tests has a convolution
        return holdfast.compose("conv_dropout(after='stage1')").expression.methods[0]
    if stem == "stochastic_depth":  # one of them runs on no guessed input
        return holdfast.compose("stochastic_depth(branches='stage1')").expression.methods[0]
    return registered()[stem]()


def text_round_trips(method: Method) -> None:
    """The printed text gives an equal method: as it is, at zero strength, with every preset, beside and nested."""
    forms = [method, method.at_zero_strength()]
    for preset, values in type(method).presets.items():
        forms += [replace(method, **values, preset=preset), replace(method, preset=preset)]
        if "inner" not in type(method).__dataclass_fields__:
            read = holdfast.compose(f"{method.stem}@{preset}").expression.methods[0]
            assert all(getattr(read, name) == value for name, value in values.items())
            forms.append(read)
    if method.penalises and not method.proximal:
        forms += [registered()["dtnh"](inner=form) for form in list(forms)]
    for form in forms:
        assert holdfast.compose(str(form)).expression == Sum((form,)), str(form)
