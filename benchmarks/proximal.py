"""L1-SP and GL-SP by a smoothed gradient and by a proximal step, each with momentum and without, on written digits.

The paper found forward-backward splitting worse than the smoothed penalties, "presumably due to the absence of a
momentum term". Here all four combinations train the package's own small network with two labels per class. Without
momentum the rates are ten times as high, so that the steps are as long. The strength of each is chosen on the
validation part; the test part is read once for each run after that.

    python benchmarks/proximal.py --out results/proximal.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

import holdfast
from holdfast.bench.statistics import mean, paired_difference, sample_std
from holdfast.data.digits import CLASSES, Part, digits, draw
from holdfast.models.batchnorm import freeze_batchnorm
from holdfast.models.embedded import EMBEDDED
from holdfast.models.glyphnet import GlyphNet
from holdfast.train.versions import versions

MOMENTA = (0.9, 0.0)
FORMS = ("smoothed", "proximal")
ALPHAS = (1e-4, 1e-3, 1e-2, 1e-1)
STEPS, PER_CLASS, LR, HEAD_LR = 100, 2, 0.01, 0.1


def network(seed: int) -> nn.Module:
    """The pre-trained network with a head drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head, model = nn.Linear(GlyphNet().fc.in_features, CLASSES), GlyphNet()
    model.load_state_dict(load_file(EMBEDDED["glyphnet"].weights))
    freeze_batchnorm(model)
    model.fc = head
    return model.train()


def run(text: str, momentum: float, seed: int, part: Part) -> tuple[float, float | None]:
    """Accuracy on a part, and the share of the body that is at its starting point, where the method tells it."""
    model, methods, train = network(seed), holdfast.compose(text), draw(PER_CLASS, seed)
    methods.prepare(model, head="fc", total_steps=STEPS, steps_per_epoch=1, seed=seed)
    faster = 1 / (1 - max(MOMENTA)) if momentum == 0 else 1.0
    groups = methods.param_groups(model, lr=LR * faster, head_lr=HEAD_LR * faster)
    optimizer = torch.optim.SGD(groups, momentum=momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        loss = methods.loss(F.cross_entropy(model(train.images), train.labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        methods.step(optimizer)
        schedule.step()
    asked = digits(part)
    model.eval()
    with torch.no_grad():
        right = (model(asked.images).argmax(1) == asked.labels).float().mean().item()
    share = methods.log.get(f"{text.partition('(')[0]}.frozen_share")
    return right, None if share is None else float(share)


def chosen(stem: str, form: str, momentum: float, seeds: range) -> tuple[str, dict[str, float]]:
    """The text whose mean accuracy on the validation part is best, and every strength's mean."""
    texts = {alpha: f"{stem}(alpha={alpha}, form='{form}')" for alpha in ALPHAS}
    found = {alpha: mean([run(text, momentum, seed, "val")[0] for seed in seeds]) for alpha, text in texts.items()}
    best = max(found, key=lambda alpha: found[alpha])
    return texts[best], {str(alpha): value for alpha, value in found.items()}


def measured(text: str, momentum: float, seeds: range) -> dict[str, Any]:
    """Test accuracy over the seeds, and the mean share that stayed."""
    runs = [run(text, momentum, seed, "test") for seed in seeds]
    accuracies, shares = [a for a, _ in runs], [s for _, s in runs if s is not None]
    spread = {"mean": mean(accuracies), "std": sample_std(accuracies), "accuracies": accuracies}
    return {"method": text, "momentum": momentum, **spread, "frozen_share": mean(shares) if shares else None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    tuning, testing = range(100, 100 + max(2, args.seeds // 2)), range(args.seeds)
    rows = [measured("plain", momentum, testing) for momentum in MOMENTA]
    for stem in ("l1_sp", "gl_sp"):
        for form in FORMS:
            for momentum in MOMENTA:
                text, validation = chosen(stem, form, momentum, tuning)
                rows.append(measured(text, momentum, testing) | {"validation": validation})
                print(f"{text:45} momentum {momentum}: {100 * rows[-1]['mean']:.1f} %", flush=True)
    by = {(row["method"].partition("(")[0], "prox" in row["method"], row["momentum"]): row for row in rows}
    gains = {
        stem: vars(paired_difference(by[stem, True, 0.9]["accuracies"], by[stem, True, 0.0]["accuracies"]))
        for stem in ("l1_sp", "gl_sp")
    }
    content = {"rows": rows, "proximal_with_momentum_minus_without": gains, "versions": versions()}
    args.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
