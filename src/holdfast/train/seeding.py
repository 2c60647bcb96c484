"""The global generators, keyed by seed and epoch so that an epoch can be repeated."""

from __future__ import annotations

import hashlib
import random
import struct

import numpy as np
import torch


def key(*parts: int) -> int:
    """A number below 2³² that is a function of the parts alone (BLAKE2b)."""
    packed = struct.pack(f"<{len(parts)}q", *parts)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=4).digest(), "little")


def reseed(seed: int, epoch: int, rank: int = 0) -> None:
    """Seed the generators of Python, NumPy and torch (all devices) for one epoch of one process."""
    value = key(seed, epoch, rank)
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
