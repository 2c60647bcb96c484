"""What each of two processes runs that train together."""

import os
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from accelerate.state import AcceleratorState

from hosts import tiny
from hosts.loops import Recipe, by_hand, under_hugging_face

RANKS, PARTS, PATIENCE = 2, (1, 2), 90
HOSTS = {"hand": by_hand, "hugging_face": under_hugging_face}


def recipe(rank=0, accumulate=1):
    """Half of each whole batch for a rank, in float64."""
    batch = tiny.BATCH // (RANKS * accumulate)
    return Recipe(tiny.five(), batch=batch, accumulate=accumulate, dtype=torch.float64, ranks=RANKS, rank=rank)


def run(rank, folder):
    """Train in every way; leave the weights in the folder."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS)}
    os.environ |= {"ACCELERATE_USE_CPU": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # looked for, not used
    AcceleratorState._reset_state(reset_partial_state=True)  # what the forked process inherited is of one process
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    for host, train in HOSTS.items():
        for accumulate in PARTS:
            torch.save(train(recipe(rank, accumulate)), f"{folder}/{host}_{accumulate}_{rank}.pt")
    dist.destroy_process_group()


def together():
    """(host, accumulated micro-batches) → the weights that each rank ended with."""
    with tempfile.TemporaryDirectory() as folder:
        ranks = mp.start_processes(run, (folder,), nprocs=RANKS, join=False, start_method="fork")
        deadline = time.monotonic() + PATIENCE
        while not ranks.join(timeout=1) and time.monotonic() < deadline:  # returns when any of them has ended
            pass
        if any(process.is_alive() for process in ranks.processes):
            for process in ranks.processes:
                process.kill()
            raise TimeoutError(f"the two processes did not end within {PATIENCE} s")
        return {
            (host, parts): [
                torch.load(f"{folder}/{host}_{parts}_{rank}.pt", weights_only=True) for rank in range(RANKS)
            ]
            for host in HOSTS
            for parts in PARTS
        }
