"""What each of two processes runs that train together."""

import os
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from hosts import tiny
from hosts.loops import Recipe, by_hand, under_hugging_face

RANKS = 2


def recipe(rank=0, accumulate=1):
    """Half of each whole batch for a rank, in float64."""
    batch = tiny.BATCH // (RANKS * accumulate)
    return Recipe(tiny.five(), batch=batch, accumulate=accumulate, dtype=torch.float64, ranks=RANKS, rank=rank)


def run(rank, folder):
    """Train by hand and under Hugging Face; leave the weights of each in the folder."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS)}
    os.environ |= {"ACCELERATE_USE_CPU": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # looked for, not used
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS)
    torch.save(by_hand(recipe(rank)), f"{folder}/hand{rank}.pt")
    torch.save(under_hugging_face(recipe(rank)), f"{folder}/hugging_face{rank}.pt")
    dist.destroy_process_group()


def together():
    """host → the weights that each rank ended with."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(run, (folder,), nprocs=RANKS)
        return {
            host: [torch.load(Path(folder, f"{host}{rank}.pt"), weights_only=True) for rank in range(RANKS)]
            for host in ("hand", "hugging_face")
        }
