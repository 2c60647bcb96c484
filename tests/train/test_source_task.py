"""Which row of a source head a class folder belongs to."""

import pytest

from holdfast.core.errors import DataError, UsageError
from holdfast.train.source_task import head_rows, read_classes


def test_names_are_matched_whatever_their_order_and_some_are_enough():
    rows, how = head_rows(["cat", "ant"], 3, ["bee", "ant", "cat"])
    assert rows == {"cat": 2, "ant": 1}
    assert "names" in how


def test_numbers_are_rows_and_not_words():
    """Sorted as words, 10 would come before 2."""
    assert head_rows(["0", "10", "2"], 11)[0] == {"0": 0, "10": 10, "2": 2}
    assert head_rows(["007"], 11)[0] == {"007": 7}


def test_as_many_folders_as_rows_are_in_the_order_of_their_names():
    rows, how = head_rows(["n03", "n01", "n02"], 3)
    assert rows == {"n01": 0, "n02": 1, "n03": 2}
    assert "order" in how


@pytest.mark.parametrize(
    ("folders", "names", "error", "said"),
    [
        (["n01", "n02"], None, DataError, "--classes FILE"),
        (["1", "3"], None, DataError, "0 to 2"),
        (["1", "01"], None, DataError, "different rows"),
        (["cta"], ["ant", "bee", "cat"], DataError, "did you mean 'cat'"),
        (["ant"], ["ant", "bee"], UsageError, "expected the names of the source head's 3 classes, found 2"),
        (["ant"], ["ant", "bee", "bee"], UsageError, "found 3, 2 of them different"),
    ],
)
def test_folders_that_cannot_be_matched(folders, names, error, said):
    with pytest.raises(error, match=said):
        head_rows(folders, 3, names)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "tench\n goldfish \n\ngreat white shark\n"),
        ("classes.json", '["tench", "goldfish", "great white shark"]'),
        ("preprocessing.json", '{"size": 32, "classes": ["tench", "goldfish", "great white shark"]}'),
    ],
)
def test_names_are_read_in_their_order(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_classes(tmp_path / name) == ("tench", "goldfish", "great white shark")


@pytest.mark.parametrize(
    ("name", "text"), [("classes.txt", "\n"), ("classes.json", '{"0": ["n01", "tench"]}'), ("classes.json", "tench")]
)
def test_files_without_names_are_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match="one name in each line"):
        read_classes(tmp_path / name)
    with pytest.raises(UsageError, match="No such file"):
        read_classes(tmp_path / "nowhere.txt")
