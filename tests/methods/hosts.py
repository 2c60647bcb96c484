"""Checks of the contract that need more of the host: precision, compilation, other ranks, copies, removal."""

import copy
import gc
import io
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F

from holdfast.core import rates
from holdfast.core.method import Method, Sum
from methods import ranks
from methods.loop import ADDITIVE_NETWORKS, NETWORKS, Loop, assert_close, assert_equal, snapshot


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Euclidean distance of two sets of weights."""
    return sum((a[name].double() - b[name].double()).square().sum().item() for name in a) ** 0.5


def trains_on_cuda(method: Method) -> None:
    """On a CUDA device the run stays there and stays finite."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    for make in NETWORKS:
        loop = Loop(method, make, device="cuda").train()
        assert all(value.is_cuda and value.isfinite().all() for value in loop.weights().values())
        file = loop.save()
        assert Loop.resumed(file, method, make, weights_first=True, device="cuda").methods.clock.step == loop.t


def trains_under_bfloat16(method: Method) -> None:
    """Under autocast the weights follow the float32 run within a tenth of the way that training goes."""
    for make in ADDITIVE_NETWORKS:
        exact, cast = Loop(method, make, dtype=torch.float32), Loop(method, make, dtype=torch.float32)
        start = exact.weights()
        for t in range(4):
            exact.step(exact.batches[t % 3])
            with torch.autocast("cpu", torch.bfloat16):
                cast.accumulate([cast.batches[t % 3]])
            cast.finish()
        assert distance(cast.weights(), exact.weights()) < 0.1 * distance(exact.weights(), start)


def trains_under_float16_with_skipped_steps(method: Method) -> None:
    """The clock stands still on a step that the scaler skips; afterwards the run follows the float32 one."""
    for make in ADDITIVE_NETWORKS:
        exact, loop = Loop(method, make, dtype=torch.float32), Loop(method, make, dtype=torch.float32)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=2.0**-30)
        start, taken = loop.weights(), []
        for t in (0, 0, 1, 2, 0):
            loop.optimizer.zero_grad()
            before = loop.weights()
            with torch.autocast("cpu", torch.float16):
                loss = loop.loss(*loop.batches[t])
            scaler.scale(loss).backward()
            scaler.step(loop.optimizer)
            scaler.update()
            loop.methods.step(loop.optimizer)
            taken.append(distance(loop.weights(), before) > 0)
            assert loop.methods.clock.step == sum(taken)
        assert taken == [False, True, True, True, True]
        exact.accumulate([exact.batches[0]])  # the skipped step, so that both draw the same numbers
        exact.methods.step(exact.optimizer)
        for t in (0, 1, 2, 0):
            exact.step(exact.batches[t])
        assert distance(loop.weights(), exact.weights()) < 0.1 * distance(exact.weights(), start)


def compiled(method: Method | Sum, backend: str) -> None:
    """The compiled network trains to the weights of the eager one."""
    # dynamo raises this warning itself and hides it, which a filter that makes errors of warnings prevents
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
    for make in NETWORKS:
        torch._dynamo.reset()
        eager = Loop(method, make).train(5)
        loop = Loop(method, make, wrap=lambda model: torch.compile(model, backend=backend)).train(5)
        assert_close(loop.weights(), eager.weights(), rtol=1e-8)
        assert loop.methods.log.keys() == eager.methods.log.keys()


def compiled_by_aot_eager(method: Method) -> None:
    """Through dynamo and AOT autograd, without code generation: that is tested for compositions of all kinds."""
    compiled(method, "aot_eager")


def two_ranks_equal_one(method: Method) -> None:
    """DDP over two gloo processes with half the batch each gives the weights of one process with all of it."""
    for make in ADDITIVE_NETWORKS:
        alone = Loop(method, make).train(5).weights()
        for weights in ranks.train_on_two(method, make, steps=5):
            assert_close(weights, alone, rtol=1e-9)


def copies_are_inert(method: Method) -> None:
    """An averaged copy runs and trains beside the network without leaving a trace, pickles, and is saved whole."""
    for make in NETWORKS:
        watched, alone = Loop(method, make), Loop(method, make).train()
        for _ in range(4):
            watched.train(1)
            twin = torch.optim.swa_utils.AveragedModel(watched.model)
            log = dict(watched.methods.log)
            x, y = watched.batches[0]
            F.cross_entropy(twin(x), y).backward()
            assert all(watched.methods.log[name] is value for name, value in log.items())
            bare = make()
            bare.load_state_dict(watched.weights())
            for other in (copy.deepcopy(watched.model), pickle.loads(pickle.dumps(watched.model)), saved(watched)):
                assert torch.equal(other.train(watched.model.training)(x), bare(x))
        watched.train(4)
        assert_equal(watched.weights(), alone.weights())


def saved(loop: Loop) -> torch.nn.Module:
    """The network through ``torch.save``, whole."""
    file = io.BytesIO()
    torch.save(loop.model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def hooks_everywhere(model: torch.nn.Module) -> int:
    """How many hooks sit on the modules and the parameters, and how many runs watch torch's optimisers."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
    count = sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)
    count += sum(len(p._backward_hooks or ()) for p in model.parameters())
    return count + len(rates._watching)


def removal_takes_everything_off(method: Method) -> None:
    """No hook is left, and training goes on as plain training from where it was."""
    for make in NETWORKS:
        gc.collect()  # runs of other tests
        before = hooks_everywhere(make())
        loop = Loop(method, make).train(3)
        assert hooks_everywhere(loop.model) > before
        loop.methods.remove()
        assert hooks_everywhere(loop.model) == before
        plain = Loop("", make)
        plain.model.load_state_dict(loop.weights())
        for each in (loop, plain):
            optimizer = torch.optim.SGD(each.model.parameters(), lr=0.1)
            optimizer.zero_grad()
            F.cross_entropy(each.model(loop.batches[0][0]), loop.batches[0][1]).backward()
            optimizer.step()
        assert_equal(snapshot(loop.model), snapshot(plain.model))


CHECKS = (
    trains_on_cuda,
    trains_under_bfloat16,
    trains_under_float16_with_skipped_steps,
    compiled_by_aot_eager,
    two_ranks_equal_one,
    copies_are_inert,
    removal_takes_everything_off,
)
