"""One runner whose training takes a moment and writes down that it was asked: ``python runners.py JSON``.

The JSON has ``recipe``, ``root``, ``out``, ``log``, ``seconds``, ``share``, and ``together``: how many wait for each
other before their first run.
"""

import json
import os
import sys
import time
from pathlib import Path

from holdfast.bench.catalogue import load
from holdfast.bench.claims import Claims
from holdfast.bench.grid import Scope
from holdfast.bench.plan import make_plan
from holdfast.bench.work import Worker


def main(told):
    log = os.open(told["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def fit(settings):
        name = settings.out.name.partition(".")[0]
        os.write(log, f"begun {name} {os.getpid()}\n".encode())
        time.sleep(told["seconds"])
        os.write(log, f"ended {name} {os.getpid()}\n".encode())
        found = {"val.accuracy": 0.5, "val.nll": settings.lr}
        return {**found, **({"test.accuracy": 0.5} if settings.measure_test else {})}

    _, recipe = load(told["recipe"])
    plan = make_plan(recipe, Scope(Path(told["root"])), Path(told["out"]), writes=True)
    meet(Path(told["log"]).parent / "here", told["together"])
    with Claims(plan.store.claims) as claims:
        Worker(plan, claims, fit=fit, share=told["share"]).work()


def meet(place, together):
    """Wait until as many processes are here."""
    place.mkdir(exist_ok=True)
    (place / str(os.getpid())).touch()
    while len(list(place.iterdir())) < together:
        time.sleep(0.01)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
