"""What the tests of Fisher-weighted penalties share: F by the oracle on the tests' networks, and files that hold it."""

import json

import torch
from safetensors.torch import save_file

from holdfast.core.information import RECORD, norm
from holdfast.functional.noise import generator
from methods.loop import image_batches, source_head
from methods.oracles import SEED
from reference import fisher as oracle
from reference.networks import HEAD


def source_network(make):
    """The network with the head that it had for its source task."""
    model = make()
    model.set_submodule(HEAD, source_head(make))
    return model


def inputs():
    """All that the loop's ``calibrate`` reads."""
    return torch.cat([x for x, _ in image_batches(3, 8)])


def oracles_fisher(make, kind="exact", labels=1, samples=24):
    """F by the oracle, on what the loop's ``calibrate`` reads, with the labels that it draws."""
    model, x = source_network(make), inputs()[:samples]
    if kind == "exact":
        F = oracle.exact(model, x)
    elif kind == "topk":
        F = oracle.topk(model, x, labels)
    else:
        F = oracle.monte_carlo(model, x, drawn_labels(model, x, labels))
    return {name: value for name, value in F.items() if not name.startswith(HEAD)}


def drawn_labels(model, x, labels):
    """The labels that a run of the tests' seed draws for each sample."""
    found = []
    for number, f in enumerate(oracle.probabilities(model, x)):
        draw = generator("cpu", SEED, "fisher", number)
        uniform = torch.rand(labels, dtype=torch.float64, generator=draw).tolist()
        found.append([first_above(f, u) for u in uniform])
    return found


def first_above(f, u):
    """The first class at which the probabilities so far add up to more than u."""
    so_far = 0.0
    for k, share in enumerate(f):
        so_far += share
        if u < so_far:
            return k
    return len(f) - 1


def write(path, F, make, **record):
    """A file of F as ``holdfast fisher`` writes it."""
    norms = {name: norm(p) for name, p in make().named_parameters()}
    about = {"kind": "exact", "labels": 1, "samples": 24, "inputs": "source", "norms": norms} | record
    save_file(F, path, metadata={RECORD: json.dumps(about)})
    return path
