"""Pages that the C library keeps are given back."""

import platform
from pathlib import Path

import pytest

from holdfast.train.memory import give_back


def resident():
    """Pages of this process in memory, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc keeps what is freed")
def test_what_is_freed_between_blocks_in_use_goes_back_to_the_system():
    blocks = [bytearray(1000) for _ in range(300_000)]
    kept = blocks[::50]
    del blocks
    before = resident()
    give_back()
    assert resident() < before - 200
    assert len(kept) == 6000
