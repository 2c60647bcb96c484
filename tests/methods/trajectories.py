"""Golden trajectories: what a seeded run on the two networks gave when it was last looked at.

``python -m methods.trajectories STEM...`` (in tests/) writes those of some methods anew, all without a name; do so only
where a change of the numbers is meant, and say why in the commit.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from methods.loop import NETWORKS, Loop

FOLDER = Path(__file__).with_name("golden")
TEXTS = (
    "l2(alpha=0.3, beta=0.7)",
    "l2_sp(alpha=0.3, beta=0.7)",
    "ptr(R=3, m=1, T=inf)",
    "dtnh(l2_sp(alpha=0.3, beta=0.7))",
    "rifle(periods=4)",
    "dropout(p=0.3)",
    "drop_connect(p=0.3)",
    "conv_dropout(p=0.3, after='stage1,stage2')",
    "cyclic_lr(cycles=3)",
    "stoch_norm(p=0.4)",
    "mixout(p=0.7)",
    "stochastic_depth(p_L=0.5, branches='stage1,stage2')",
    "freeze",
    "lp_ft",
    "wise_ft",
    "lwf",
    "fnp(lam=0.3)",
    "pairwise_confusion(lam=2)",
    "disturb_label(p=0.5)",
    "bss(eta=0.3)",
    "joint_train(lam=0.7)",
    "btfw(k=1, bins=8)",
    "co_tuning(lam=0.7)",
    "know_dist(lam=0.05)",
    "bi_tuning(lam=0.5, projection=3, K=4)",
    "l1_sp(alpha=0.03, beta=0.7, eps=0.0001)",
    "gl_sp(alpha=0.03, beta=0.7)",
    "l2_sp_fisher(alpha=20, beta=0.7)",
    "gl_sp_fisher(alpha=0.5, beta=0.7)",
    "attention_transfer(beta=0.7)",
    "fsp(lam=0.7)",
    "delta(alpha=0.7, beta=0.3)",
)
STEPS = 8


def file_of(text: str) -> Path:
    """Where a method's trajectory lies: by its stem."""
    return FOLDER / f"{text.partition('(')[0]}.json"


def trajectory(text: str) -> dict[str, dict[str, list[float]]]:
    """For each network: every loss, and each parameter's sum of squares at the end."""
    found = {}
    for make in NETWORKS:
        loop = Loop(text, make).train(STEPS)
        ends = {name: [p.square().sum().item()] for name, p in loop.model.named_parameters()}
        found[make.__name__] = {"losses": loop.losses} | ends
    return found


def follows_golden(text: str) -> None:
    """The run gives the stored numbers."""
    stored = json.loads(file_of(text).read_text())
    assert stored.pop("text") == text
    now = trajectory(text)
    assert now.keys() == stored.keys()
    for network, values in stored.items():
        assert now[network].keys() == values.keys()
        for name, numbers in values.items():
            assert now[network][name] == pytest.approx(numbers, rel=1e-9, abs=1e-12), f"{network} {name}"


def main(stems: Sequence[str]) -> None:
    """Write the files of these methods, or every file."""
    FOLDER.mkdir(exist_ok=True)
    for text in (text for text in TEXTS if not stems or file_of(text).stem in stems):
        file_of(text).write_text(json.dumps({"text": text} | trajectory(text), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
