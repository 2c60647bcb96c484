"""Trials that Optuna proposes, shared by all runners of a folder.

Each trial has a number below the budget, and a file that says which values Optuna proposed for it: so the number of
trials is exact however many runners there are, and a trial whose runner died goes on with its values.
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.bench.recipe import Scalar, Search
from holdfast.core.errors import UsageError
from holdfast.train.run_folder import write_json


class Trials:
    """Proposed values by study and number.

    Args:
        folder: of their files.
        storage: Optuna's storage URL; None is an SQLite file in the folder.
    """

    def __init__(self, folder: Path, storage: str | None = None) -> None:
        self._folder, self._url = folder, storage
        self._storage: Any = None

    def read(self, study: str, number: int) -> Mapping[str, Scalar] | None:
        """The values of a trial; None where Optuna has not been asked for them."""
        content = self._content(study, number)
        return None if content is None else content["values"]

    def ask(self, study: str, number: int, search: Search) -> None:
        """Have Optuna propose values, from all results that it was told; by one process at a time for each trial."""
        with _optuna() as optuna:
            trial = self._study(optuna, study, number).ask(_spaces(optuna, search))
        content = {"study": study, "number": number, "trial": trial.number, "values": trial.params}
        write_json(self._file(study, number), content)

    def tell(self, study: str, results: Mapping[int, float | None]) -> None:
        """Tell Optuna how trials ended, by their number; None failed. What it knows already is passed over."""
        with _optuna() as optuna:
            told = self._study(optuna, study, 0)
            known = {trial.number for trial in told.get_trials(deepcopy=False) if trial.state.is_finished()}
            for number, value in results.items():
                content = self._content(study, number)
                if content is None or content["trial"] in known:
                    continue
                state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
                told.tell(content["trial"], value, state=state, skip_if_finished=True)

    def _study(self, optuna: Any, name: str, number: int) -> Any:
        if self._storage is None:  # opening it looks at every table
            self._folder.mkdir(parents=True, exist_ok=True)
            url = self._url or f"sqlite:///{(self._folder / 'optuna.db').absolute()}"
            self._storage = optuna.storages.get_storage(url)
        return optuna.create_study(
            storage=self._storage,
            study_name=name,
            sampler=optuna.samplers.TPESampler(seed=number),
            direction="maximize",
            load_if_exists=True,
        )

    def _content(self, study: str, number: int) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self._file(study, number).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def _file(self, study: str, number: int) -> Path:
        return self._folder / f"{study}-{number}.json"


def _spaces(optuna: Any, search: Search) -> dict[str, Any]:
    """Optuna's distributions."""
    found: dict[str, Any] = {}
    for name, options in search.items():
        if isinstance(options, list):
            found[name] = optuna.distributions.CategoricalDistribution(options)
        elif options.whole:
            found[name] = optuna.distributions.IntDistribution(int(options.low), int(options.high), log=options.log)
        else:
            found[name] = optuna.distributions.FloatDistribution(options.low, options.high, log=options.log)
    return found


@contextmanager
def _optuna() -> Iterator[Any]:
    """The package, without its words.

    Raises:
        UsageError: it is not installed.
    """
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise UsageError("tuning by optuna needs it: pip install 'holdfast[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield optuna
