import errno
import os

import pytest

from holdfast.core.errors import HoldfastError, UsageError
from holdfast.train.run_folder import RunFolder, whole, write_text
from holdfast.train.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings.of(data="pictures", out=tmp_path / "run")


@pytest.fixture
def begun(settings):
    folder = RunFolder(settings.folder())
    write_text(folder.settings, settings.to_yaml({}))
    return folder


def test_a_folder_is_empty_then_interrupted_then_finished(settings):
    folder = RunFolder(settings.folder())
    assert folder.claim(settings) == "empty"
    write_text(folder.settings, settings.to_yaml({}))
    assert folder.claim(settings) == "interrupted"
    write_text(folder.result, "{}")
    assert folder.claim(settings) == "finished"


def test_other_settings_are_refused_and_named(settings, begun):
    other = Settings.of(**{**settings.model_dump(), "lr": 0.5, "epochs": 3, "workers": 2})
    with pytest.raises(UsageError, match=r"epochs is 30 there and 3 here; lr is 0\.0003 there and 0\.5 here") as caught:
        begun.claim(other)
    assert "workers" not in str(caught.value)


def test_a_folder_of_something_else_is_refused(settings):
    folder = RunFolder(settings.folder())
    write_text(folder.path / "diary.txt", "dear")
    with pytest.raises(UsageError, match=r"holds 'diary.txt' and is no run folder"):
        folder.claim(settings)
    assert (folder.path / "diary.txt").read_text() == "dear"


def test_a_file_in_the_folders_place_is_refused(settings):
    settings.folder().write_text("")
    with pytest.raises(UsageError, match="is a file"):
        RunFolder(settings.folder()).claim(settings)


def test_two_processes_do_not_share_a_folder(begun):
    with begun.lock(), pytest.raises(UsageError, match="another process"), RunFolder(begun.path).lock():
        pass
    with begun.lock():  # free again
        pass


def test_what_a_killed_process_left_half_written_is_removed(begun):
    begun.checkpoints.mkdir()
    left_over = begun.checkpoints / ".last.ckpt.1-a.tmp"
    left_over.write_bytes(b"half")
    with begun.lock():
        assert not left_over.exists()


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "no space left"), (errno.EACCES, "cannot write")])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, number, said):
    file = tmp_path / "metrics.csv"
    write_text(file, "before")

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(HoldfastError, match=said) as caught:
        write_text(file, "after")
    assert "\n" not in str(caught.value)
    assert file.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


def test_nothing_appears_before_it_is_whole(tmp_path):
    file = tmp_path / "result.json"
    with whole(file) as handle:
        handle.write(b"{")
        handle.flush()
        assert not file.exists()
    assert file.read_bytes() == b"{"


def test_a_folder_in_which_nothing_was_written_goes_again(tmp_path):
    with RunFolder(tmp_path / "runs" / "one").lock():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_before_stays(tmp_path):
    with RunFolder(tmp_path).lock():
        pass
    assert list(tmp_path.iterdir()) == []
