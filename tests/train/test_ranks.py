import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

import holdfast
from train.ranks import on_two


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_whole_batch(tiny, tmp_path):
    tiny |= {"model": "timm:test_vit", "image_size": 64, "method": "dtnh(l2_sp(alpha=0.1))+ptr(R=3)", "keep": "last"}
    one = holdfast.fit(**{**tiny, "out": tmp_path / "one"})
    told = on_two({**tiny, "batch_size": 3, "out": tmp_path / "two"})
    assert len(told) == 2
    assert told[0] == told[1]  # measured once, on the first, and told to the other
    assert told[0]["test.nll"] == pytest.approx(one["test.nll"], rel=1e-2)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, value in first.items():
        # float32 sums in another order; DTNH's projection and PtR's norms make most of the difference
        torch.testing.assert_close(second[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.slow
def test_two_machines_share_a_run(tiny, tmp_path):
    """The machines are processes here: each is started with the same command, as on two machines."""
    tiny |= {"batch_size": 3, "nodes": 2, "accelerator": "cpu", "strategy": "ddp", "epochs": 1}
    command = [sys.executable, "-m", "holdfast", "train", tiny.pop("data")]
    for name, value in tiny.items():
        flag = f"--{name.replace('_', '-')}"
        command += [flag.replace("--", "--no-", 1)] if value is False else [flag, value]
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "SLURM_PROCID")
    shared = {k: v for k, v in os.environ.items() if k not in ranks}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    machines = [
        subprocess.Popen(
            [*map(str, command)], env={**shared, "NODE_RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    told = [machine.communicate(timeout=300) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], told
    assert b"test  accuracy" in told[0][0]
    assert told[1][0] == b""  # the first machine alone writes and says something
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["epochs"] == 1


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
