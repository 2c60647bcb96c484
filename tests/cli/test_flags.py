import re
from inspect import signature
from pathlib import Path

import pytest
import yaml

from holdfast.cli import train as verb
from holdfast.train.settings import Settings

OWN = {"settings", "json", "dry-run", "help"}


@pytest.fixture
def asked(monkeypatch):
    """The settings that ``holdfast train`` would run with."""
    seen = []
    monkeypatch.setattr(verb, "_rehearse", lambda settings, as_json: seen.append(settings))
    return seen


def test_every_setting_is_a_flag_and_no_other(holdfast):
    shown = set(re.findall(r"--([a-z][\w-]*)", holdfast("train", "--help").out))
    wanted = {name.replace("_", "-") for name in Settings.model_fields} - {"data"} | OWN
    negated = {f"no-{name.replace('_', '-')}" for name, f in Settings.model_fields.items() if f.annotation is bool}
    assert shown == wanted | negated


def test_help_says_default_range_and_choices(holdfast):
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", holdfast("train", "--help").out).split())
    assert Settings.model_fields["batch_size"].description in text
    assert f"(≥ 1; default {Settings.model_fields['batch_size'].default})" in text
    assert "(ram, disk, off; default ram)" in text


def test_a_flag_that_is_not_given_leaves_the_default(holdfast, asked):
    assert holdfast("train", "x", "--dry-run").code == 0
    assert asked == [Settings.of(data="x")]


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--epochs", "7"], "epochs", 7),
        (["--lr", "1e-2"], "lr", 0.01),
        (["--head-lr", "none"], "head_lr", None),
        (["--no-augment"], "augment", False),
        (["--augment"], "augment", True),
        (["--bn", "train"], "bn", "train"),
        (["--class-weights", "none"], "class_weights", "none"),
        (["--precision", "32"], "precision", "32"),
        (["--samples-per-class", "5"], "samples_per_class", 5),
        (["--method", "ptr(R=3)+l2_sp"], "method", "ptr(R=3)+l2_sp"),
        (["--out", "here"], "out", Path("here").absolute()),
    ],
)
def test_flags_become_settings(holdfast, asked, words, name, value):
    assert holdfast("train", "x", "--dry-run", *words).code == 0
    assert getattr(asked[0], name) == value
    assert type(getattr(asked[0], name)) is type(value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs", "0"], "epochs"),
        (["--epochs", "many"], "epochs"),
        (["--lr", "-1"], "lr"),
        (["--lr", "nan"], "lr"),
        (["--bn", "froze"], "'frozen' or 'train'"),
        (["--val-fraction", "1.5"], "val_fraction"),
    ],
)
def test_a_value_out_of_range_gets_one_line(holdfast, words, said):
    done = holdfast("train", "x", *words)
    assert done.code == 2
    assert said in done.error
    assert words[1] in done.error


def test_a_settings_file_repeats_a_run_and_flags_win(holdfast, asked, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({"data": "x", "epochs": 7, "bn": "train", "recorded": {"versions": {}}}))
    assert holdfast("train", "--settings", file, "--epochs", "9", "--dry-run").code == 0
    assert asked == [Settings.of(data="x", epochs=9, bn="train")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 3\ndata: x", "did you mean 'epochs'"),
        ("[1, 2]", "no settings"),
        ("a: [", "YAML"),
        (None, "No such file"),
    ],
)
def test_a_bad_settings_file_gets_one_line(holdfast, tmp_path, text, said):
    file = tmp_path / "settings.yaml"
    if text is not None:
        file.write_text(text)
    done = holdfast("train", "--settings", file)
    assert done.code == 2
    assert said in done.error


def test_the_signature_follows_the_settings():
    names = [name for name in signature(verb.train).parameters if name in Settings.model_fields]
    assert names == list(Settings.model_fields)
