"""Choose the demo's rates and strengths on the validation part of the digits, and record every figure.

python scripts/tune_demo.py                  # about three minutes on two free cores
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from holdfast.bench.demo import BASELINE, SCRATCH, Setting, run_all
from holdfast.bench.statistics import mean, paired_difference, sample_std

# None of the demo's own seeds, which count from 0.
SEEDS = range(100, 110)
RATES = (0.003, 0.01, 0.03)
HEAD_RATES = (0.03, 0.1)
SCRATCH_RATES = (0.02, 0.05)
STRENGTHS = {
    "l2_sp": [f"l2_sp(alpha={alpha}, beta=0.01)" for alpha in (0.03, 0.1, 0.3)],
    "ptr": [f"ptr(R={ratio}, m=1, T={below})" for ratio in (3, 10) for below in (1, "inf")],
    "rifle": [f"rifle(periods={periods})" for periods in (2, 4)],
    "dtnh": [f"dtnh(l2_sp(alpha={alpha}, beta=0.01))" for alpha in (0.1, 0.3, 1.0)],
}


def best(candidates: list[Setting], control: list[float] | None, workers: int, record: list[dict]) -> Setting:
    """Run the candidates, add their figures to the record, and return the one with the highest mean accuracy."""
    results = run_all(tuple(candidates), SEEDS, workers, lambda: None, part="val")
    scores = []
    for place, candidate in enumerate(candidates):
        values = [r["val.accuracy"] for r in results[place * len(SEEDS) : (place + 1) * len(SEEDS)]]
        scores.append(mean(values))
        row = {"name": candidate.name, "method": candidate.method, "lr": candidate.lr, "head_lr": candidate.head_lr}
        row |= {"val.accuracy": mean(values), "std": sample_std(values), "runs": values}
        if control is not None:
            row["gain"] = paired_difference(values, control).mean
        record.append(row)
        print(f"{candidate.name:8} lr {candidate.lr:<6} head {candidate.head_lr:<5} {candidate.method:40}", end="")
        print(f" {100 * row['val.accuracy']:.2f} ± {100 * row['std']:.2f}", flush=True)
    return candidates[scores.index(max(scores))]


def main() -> None:
    """Tune scratch and plain by their rates, then each method's strength at plain's rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/demo/tuning.json"))
    options = parser.parse_args()
    record: list[dict] = []
    scratch = [Setting(SCRATCH, lr=rate, head_lr=rate, pretrained=False) for rate in SCRATCH_RATES]
    chosen = [best(scratch, None, options.workers, record)]
    plain = best(
        [Setting(BASELINE, lr=rate, head_lr=head) for rate in RATES for head in HEAD_RATES],
        None,
        options.workers,
        record,
    )
    same = ("name", "lr", "head_lr")
    control = next(row["runs"] for row in record if [row[key] for key in same] == [getattr(plain, key) for key in same])
    chosen.append(plain)
    for name, texts in STRENGTHS.items():
        candidates = [replace(plain, name=name, method=text) for text in texts]
        chosen.append(best(candidates, control, options.workers, record))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    summary = [{"name": c.name, "method": c.method, "lr": c.lr, "head_lr": c.head_lr} for c in chosen]
    options.out.write_text(json.dumps({"seeds": list(SEEDS), "chosen": summary, "tried": record}, indent=1) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
