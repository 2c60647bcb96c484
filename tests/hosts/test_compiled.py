"""A compiled network trains to the eager one's weights on each host."""

import pytest
import torch
import torch._functorch.config
import torch._inductor.config

import holdfast
from hosts import tiny
from hosts.loops import HOSTS, Recipe, by_hand
from methods.hosts import compiled

pytestmark = [
    # dynamo raises this warning itself and hides it, which a filter that makes errors of warnings prevents
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


@pytest.mark.parametrize("host", HOSTS)
def test_compiled_equals_eager(host):
    torch._dynamo.reset()
    methods = tiny.five()
    weights = HOSTS[host](Recipe(methods, compiled=True, dtype=torch.float64))
    tiny.assert_close(weights, by_hand(Recipe(tiny.five(), dtype=torch.float64)), 1e-9)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "nothing was compiled"
    assert methods.log["ptr.active"] == 1


# between them one method of each kind of hook: views at taps, edited forwards, a teacher, modules that train beside
EVERY_KIND = (
    "ptr(T=inf)+dtnh(l2_sp(alpha=0.1)+know_dist(0.1))+rifle(periods=2)+dropout(p=0.3)+disturb_label",
    "lwf(warmup=0.3)+bss+mixout(p=0.3)+stoch_norm+cyclic_lr+pairwise_confusion",
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of generated code, and torch's settings as they were."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    functorch, inductor = torch._functorch.config, torch._inductor.config
    with functorch.patch(donated_buffer=True, enable_autograd_cache=True), inductor.patch(fx_graph_cache=True):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("text", EVERY_KIND)
@pytest.mark.usefixtures("cache")
def test_generated_code_equals_eager(text):
    compiled(holdfast.compose(text).expression, "inductor")


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_code_in_torchs_cache_does_not_spoil_a_second_pass():
    """That of plain training gives buffers away which DTNH around a graph-built penalty needs once more."""
    compiled(holdfast.compose("know_dist(0.1)").expression, "inductor")
    compiled(holdfast.compose("dtnh(know_dist(0.1))").expression, "inductor")
