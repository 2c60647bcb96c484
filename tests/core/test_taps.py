"""What the taps record, and what a copy of a hook is."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from holdfast.core.errors import ModelError, UsageError
from holdfast.core.locate import locate
from holdfast.core.taps import Inert, Recorder, install
from holdfast.core.types import Step
from reference.networks import HEAD, image_batches, token_net


def tapped(names, edited=(), edit=None, inputs=False, make=token_net):
    model, recorder = make(), Recorder(edit)
    handles = install(model, locate(model, HEAD), names, edited, recorder, inputs)
    return model, recorder, handles


def test_named_places_are_recorded_as_they_are():
    model, recorder, _ = tapped(["rep", "", "stage1"], inputs=True)
    seen = []
    model.stage1.register_forward_hook(lambda _, __, out: seen.append(out))
    model.head.register_forward_pre_hook(lambda _, args: seen.append(args[0]), prepend=True)
    x = image_batches()[0][0]
    logits = model(x)
    recording = recorder.consume()
    assert recording.tapped[""][0] is logits
    assert recording.tapped["stage1"][0] is seen[0]
    assert recording.tapped["rep"][0] is seen[1]
    assert recording.inputs[0][0] is x
    assert recorder.current.tapped == {}
    assert torch.equal(model.head(recording.tapped["rep"][0]), logits)


def test_several_forwards_are_joined_along_the_batch():
    model, recorder, _ = tapped(["rep"])
    (x, _), (x2, _) = image_batches()[:2]
    model(x)
    model(x2)
    step = Step(None, 0, None, recorder.consume().tapped)
    assert step.features("rep").shape == (12, 6)


def test_passes_without_gradient_and_those_aside_are_not_recorded():
    model, recorder, _ = tapped(["rep", ""], inputs=True)
    x = image_batches()[0][0]
    with torch.no_grad():
        model(x)
    with torch.inference_mode():
        model(x)
    assert recorder.aside(model, x).keys() == {"rep", ""}
    recording = recorder.consume()
    assert (recording.tapped, recording.inputs) == ({}, [])


def test_recomputation_within_backward_is_not_a_forward():
    """A checkpointed stage runs again when gradients are taken; its tap records the first time alone."""
    model, recorder, _ = tapped(["stage1"])
    whole = nn.Sequential(nn.Flatten(2), nn.Linear(36, 6).double(), model.stage1, nn.Linear(6, 6).double(), nn.GELU())
    loss = checkpoint(whole, image_batches()[0][0], use_reentrant=False).sum()
    assert len(recorder.consume().tapped["stage1"]) == 1
    loss.backward()
    assert recorder.consume().tapped == {}


def test_an_empty_tap_says_what_to_do():
    with pytest.raises(UsageError, match=r"tap 'rep' recorded nothing: call the prepared model"):
        Step(None, 0, None, {}).features("rep")


def test_an_edit_is_added_on_the_way_back_for_the_step_that_consumed_the_recording():
    steps = []

    def edit(tap, z, g, step):
        steps.append(step)
        return g + 1

    model, recorder, _ = tapped(["rep"], ["rep"], edit)
    bare = token_net()
    x = image_batches()[0][0]
    loss = model(x).sum()
    recorder.consume().step = step = Step(None, 0, None, {})
    loss.backward()
    assert steps == [step]
    bare(x).sum().backward()
    assert torch.equal(model.head.weight.grad, bare.head.weight.grad)
    assert not torch.allclose(model.embed.weight.grad, bare.embed.weight.grad)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_copies_of_hooks_do_nothing(clone):
    model, recorder, _ = tapped(["rep", "", "stage1"], ["rep"], lambda *_: 1 / 0, inputs=True)
    twin = clone(model)
    hooks = [
        h
        for m in twin.modules()
        for kind in ("_forward_hooks", "_forward_pre_hooks")
        for h in getattr(m, kind).values()
    ]
    assert len(hooks) == 4
    assert all(isinstance(hook, Inert) for hook in hooks)
    twin(image_batches()[0][0]).sum().backward()
    assert recorder.consume().tapped == {}


def test_handles_take_the_taps_off():
    model, recorder, handles = tapped(["rep", ""], inputs=True)
    for handle in handles:
        handle.remove()
    model(image_batches()[0][0])
    assert recorder.consume().tapped == {}


def test_unknown_places_and_outputs_that_are_no_tensors_are_refused():
    with pytest.raises(ModelError, match="tap 'stage9': the network has no module 'stage9'"):
        tapped(["stage9"])

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    model, _, _ = tapped(["stage1"])
    model.stage1 = Pair()
    install(model, locate(token_net(), HEAD), ["stage1"], [], Recorder(), False)
    with pytest.raises(ModelError, match="expected the module to return a tensor, it returns a tuple"):
        model(image_batches()[0][0])
