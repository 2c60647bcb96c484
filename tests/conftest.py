"""Every test starts from the same generators, on one thread, and may import the helpers beside it."""

import os
import random
import sys
from pathlib import Path

import pytest

# before torch is imported; accelerate warns where several processes start without it
os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _same_start_for_every_test():
    torch = sys.modules.get("torch")  # tests that need none do not pay for its import
    random.seed(0)
    if torch is not None:
        torch.manual_seed(0)
        torch.set_num_threads(1)
