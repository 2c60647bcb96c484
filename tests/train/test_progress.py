import io

import pytest
from rich.console import Console

from holdfast.core.errors import UsageError
from holdfast.train.fit import run
from holdfast.train.progress import in_words
from holdfast.train.settings import Settings


def told(tiny, kind, **terminal):
    text = io.StringIO()
    run(Settings.of(**{**tiny, "progress": kind}), Console(file=text, width=200, **terminal))
    return text.getvalue()


def test_each_epoch_is_one_line_where_there_is_no_terminal(tiny):
    lines = told(tiny, "auto").splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split(",")[0] for line in epochs] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("val loss" in line for line in epochs)
    assert sum(line.startswith("estimated time: ") for line in lines) == 1
    assert any(line.startswith("device     cpu, 1 threads") for line in lines)
    assert any("timm.create_model" in line for line in lines)


def test_a_terminal_gets_a_bar(tiny):
    assert "9/9" in told(tiny, "auto", force_terminal=True)


def test_nothing_is_said_where_nothing_is_wanted(tiny, capsys):
    run(Settings.of(**tiny))
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parametrize(("seconds", "words"), [(3.4, "3 s"), (150, "2 min"), (7200, "2.0 h")])
def test_durations_are_rounded_to_what_one_can_know(seconds, words):
    assert in_words(seconds) == words


@pytest.mark.parametrize("change", [{"devices": 99, "accelerator": "mps"}, {"strategy": "telepathy"}])
def test_a_machine_that_is_not_there_is_one_line(tiny, change):
    with pytest.raises(UsageError, match="devices: ") as caught:
        run(Settings.of(**tiny, **change))
    assert "\n" not in str(caught.value)


def test_brackets_in_a_path_are_shown_as_they_are(tiny, tmp_path):
    said = told({**tiny, "out": tmp_path / "run [bold]"}, "lines")
    assert "run [bold]; load the network with" in said
    assert "run [bold]" in told({**tiny, "out": tmp_path / "run [bold]"}, "lines")
