"""The runs of RIFLE's MLP experiment compared: L2 with RIFLE against L2 alone, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from holdfast.analysis.theory.rifle_oracle.readings import Reading
from holdfast.analysis.theory.rifle_oracle.run import Arm, Run
from holdfast.analysis.theory.rifle_oracle.transport import COSTS
from holdfast.bench.statistics import Paired, holm, mean, paired_difference, sample_std

Verdict = Literal["holds", "reversed", "open"]
TEST = "test error"
"""Name of the one measure that is no ground cost."""
MEASURES = (TEST, *COSTS)


@dataclass(frozen=True)
class Measured:
    """A quantity of which the paper says that RIFLE makes it smaller.

    Attributes:
        start: mean over seeds for the source model, before fine-tuning.
        l2: mean after fine-tuning with L2.
        l2_std: its sample standard deviation.
        rifle: mean after fine-tuning with L2 and RIFLE.
        rifle_std: its sample standard deviation.
        difference: of RIFLE minus L2, seed by seed.
    """

    start: float
    l2: float
    l2_std: float
    rifle: float
    rifle_std: float
    difference: Paired

    @property
    def verdict(self) -> Verdict:
        """Whether the paper's order holds: by the 95 % interval of the difference, ``open`` where it holds zero."""
        return "holds" if self.difference.high < 0 else "reversed" if self.difference.low > 0 else "open"

    @property
    def percent(self) -> tuple[float, float, float]:
        """Difference and the ends of its interval, in per cent of L2's mean."""
        d = self.difference
        return 100 * d.mean / self.l2, 100 * d.low / self.l2, 100 * d.high / self.l2


@dataclass(frozen=True)
class Compared:
    """One reading.

    Attributes:
        reading: which.
        runs: its runs.
        measures: test error and every ground cost's distance.
    """

    reading: Reading
    runs: tuple[Run, ...]
    measures: dict[str, Measured]

    @property
    def test(self) -> Measured:
        """The test error."""
        return self.measures[TEST]

    @property
    def both(self) -> list[str]:
        """Ground costs at which both of the paper's orders hold."""
        return [name for name in COSTS if {self.test.verdict, self.measures[name].verdict} == {"holds"}]


def compared(reading: Reading, runs: Mapping[int, Run]) -> Compared:
    """Compare the runs of a reading.

    Raises:
        UsageError: there are fewer than two.
    """
    ordered = tuple(runs[seed] for seed in sorted(runs))
    return Compared(reading, ordered, {name: _measured(ordered, _reader(name)) for name in MEASURES})


def _reader(name: str) -> Callable[[Arm], float]:
    return (lambda arm: arm.test) if name == TEST else lambda arm: arm.distance[name]


def _measured(runs: Sequence[Run], read: Callable[[Arm], float]) -> Measured:
    start, l2, rifle = ([read(each.arms[arm]) for each in runs] for arm in ("start", "l2", "rifle"))
    gain = paired_difference(rifle, l2)
    return Measured(mean(start), mean(l2), sample_std(l2), mean(rifle), sample_std(rifle), gain)


def as_data(found: Sequence[Compared]) -> list[dict[str, Any]]:
    """All readings as JSON has them, with Holm's correction of each measure over the readings."""
    corrected = {name: holm([each.measures[name].difference.p for each in found]) for name in MEASURES}
    return [
        {
            "reading": asdict(each.reading),
            "seeds": len(each.runs),
            "label_variance": mean([run.variance for run in each.runs]),
            "source_error": mean([run.source_error for run in each.runs]),
            "train_error": {arm: mean([run.arms[arm].train for run in each.runs]) for arm in ("l2", "rifle")},
            "measures": {
                name: {**asdict(measured), "verdict": measured.verdict, "holm_p": corrected[name][place]}
                for name, measured in each.measures.items()
            },
        }
        for place, each in enumerate(found)
    ]
