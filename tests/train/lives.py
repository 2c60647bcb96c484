"""Runs one training in a chain of processes, each killed with SIGKILL, until one comes through.

Called as ``python lives.py KIND SEED SETTINGS``; prints the number of lives. KIND ``writes`` kills at a random one of
the moments at which a file is being made whole (before its data are safe, before it is moved, after), ``moments`` at
a random time. The processes are forks of this one, so that nothing is imported twice.
"""

import json
import os
import random
import signal
import sys
import time

from holdfast.train.fit import fit
from holdfast.train.training import execute  # noqa: F401  (imported here, before the forks)

MOST = 40


def kill_at_write(number):
    """Die at the given call of ``os.fsync`` or ``os.replace``."""
    left = [number]

    def deadly(name):
        original = getattr(os, name)

        def call(*args):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args)

        setattr(os, name, call)

    deadly("fsync")
    deadly("replace")


def live(settings, kind, rng):
    """One life; returns its wait status."""
    death = rng.randint(5, 16) if kind == "writes" else rng.uniform(0.1, 1.0)
    child = os.fork()
    if child == 0:
        if kind == "writes":
            kill_at_write(death)
        fit(**settings)
        os._exit(0)
    if kind == "moments":
        time.sleep(death)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def main(kind, seed, settings):
    rng = random.Random(int(seed))
    for number in range(1, MOST):
        status = live(settings, kind, rng)
        if status == 0:
            return number
        if os.WIFEXITED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            raise SystemExit(f"life {number} ended by itself with {status}")
    return MOST


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
