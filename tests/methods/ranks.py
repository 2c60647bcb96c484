"""Two processes that train together through gloo, started once and kept for every test that needs them."""

import atexit
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from holdfast.core.method import Method
from methods.loop import Loop, Weights, snapshot

SIZE, PATIENCE = 2, 90


def train_half(
    rank: int, method: Method, make: Callable[[], nn.Module], steps: int, options: dict[str, Any]
) -> Weights:
    """Train on this rank's half of every batch."""
    micro = options.pop("micro", 1)
    loop = Loop(method, make, wrap=DistributedDataParallel, **options)
    for t in range(steps):
        x, y = (part.chunk(SIZE)[rank] for part in loop.batches[t % 3])
        loop.step(*zip(x.chunk(micro), y.chunk(micro), strict=True))
    weights = snapshot(loop.model)
    loop.methods.remove()
    return weights


def serve(rank: int, address: str, tasks: Any, answers: Any) -> None:
    """What a rank does: tasks as they come, until told to stop."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=SIZE)
    while (task := tasks.get()) is not None:
        try:
            answers.put({name: value.numpy() for name, value in train_half(rank, *task).items()})
        except Exception as error:  # the parent must hear of it, whatever it is
            answers.put(error)
    dist.destroy_process_group()


@functools.cache
def started() -> list[tuple[Any, Any]]:
    """The queues of both ranks."""
    context = mp.get_context("spawn")
    address = f"file://{Path(tempfile.mkdtemp()) / 'meeting'}"
    queues = []
    for rank in range(SIZE):
        tasks, answers = context.Queue(), context.Queue()
        process = context.Process(target=serve, args=(rank, address, tasks, answers), daemon=True)
        process.start()
        atexit.register(tasks.put, None)
        queues.append((tasks, answers))
    return queues


def train_on_two(method: Method, make: Callable[[], nn.Module], steps: int, **options: Any) -> list[Weights]:
    """The weights that each of the two ranks ends with."""
    for tasks, _ in started():
        tasks.put((method, make, steps, options))
    found = [answers.get(timeout=PATIENCE) for _, answers in started()]
    for answer in found:
        if isinstance(answer, Exception):
            raise answer
    return [{name: torch.from_numpy(value) for name, value in answer.items()} for answer in found]
