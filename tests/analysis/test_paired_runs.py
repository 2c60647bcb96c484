"""Which pictures two runs share, and what their networks say of them."""

from pathlib import Path

import numpy as np
import pytest

from holdfast.analysis.pair.paired_runs import paired, shared
from holdfast.core.errors import DataError, UsageError
from holdfast.data.index import FolderIndex, Sample

from .written import CLASSES, FIRST, LABELS, SECOND, paint_parts, write_pair, write_run


def index(*samples, classes=("x", "y")):
    return FolderIndex(Path("/nowhere"), classes, {"test": tuple(Sample(*each) for each in samples)})


def test_pictures_are_the_same_by_content_and_class():
    a = index(("1", 0, "p"), ("2", 1, "q"), ("3", 0, "r"), ("4", 1, "s"))
    b = index(("else/4", 0, "s"), ("else/1", 1, "p"), ("else/2", 1, "q"), classes=("y", "x"))
    # q is of class y with A and of class x with B; r is A's alone
    assert [(one.path, other.path) for one, other in shared(a, b, "test")] == [("1", "else/1"), ("4", "else/4")]


def test_copies_count_as_often_as_in_the_run_that_has_fewer():
    twice, once = index(("1", 0, "p"), ("2", 0, "p"), ("3", 1, "q")), index(("4", 0, "p"), ("5", 1, "q"))
    assert [(a.path, b.path) for a, b in shared(twice, once, "test")] == [("1", "4"), ("3", "5")]
    assert [(a.path, b.path) for a, b in shared(once, twice, "test")] == [("4", "1"), ("5", "3")]


def test_probabilities_of_a_hand_written_pair(tmp_path):
    told = []
    pair = paired(*write_pair(tmp_path), "test", progress=lambda *each: told.append(each))
    assert pair.classes == CLASSES
    assert pair.labels.tolist() == list(LABELS)
    np.testing.assert_array_equal(pair.a.probabilities, FIRST)
    np.testing.assert_array_equal(pair.b.probabilities, SECOND)
    assert not pair.a.computed
    assert told == [(5, 10), (10, 10)]


def test_classes_in_another_order_are_put_in_the_first_runs(tmp_path):
    root = paint_parts(tmp_path / "photos")
    a = write_run(tmp_path / "a", root, FIRST)
    order = [2, 0, 1]
    turned = [[row[k] for k in order] for row in SECOND]
    b = write_run(tmp_path / "b", root, turned, classes=tuple(CLASSES[k] for k in order))
    np.testing.assert_array_equal(paired(a, b, "test").b.probabilities, SECOND)


def test_only_shared_pictures_are_compared(tmp_path):
    root = paint_parts(tmp_path / "photos")
    a = write_run(tmp_path / "a", root, FIRST[:4], keep=slice(0, 4))
    b = write_run(tmp_path / "b", root, SECOND[1:], keep=slice(1, 5))
    pair = paired(a, b, "test")
    np.testing.assert_array_equal(pair.a.probabilities, FIRST[1:4])
    np.testing.assert_array_equal(pair.b.probabilities, SECOND[1:4])


def test_no_shared_picture_is_refused(tmp_path):
    root = paint_parts(tmp_path / "photos")
    a = write_run(tmp_path / "a", root, FIRST[:2], keep=slice(0, 2))
    b = write_run(tmp_path / "b", root, SECOND[2:], keep=slice(2, 5))
    with pytest.raises(DataError, match="share no test picture; expected runs on the same data with the same split"):
        paired(a, b, "test")


def test_other_classes_are_refused(tmp_path):
    root = paint_parts(tmp_path / "photos")
    a = write_run(tmp_path / "a", root, FIRST)
    for folder in root.glob("*/tulip"):
        folder.rename(folder.with_name("lily"))
    b = write_run(tmp_path / "b", root, SECOND[:5], classes=("iris", "lily", "rose"))
    with pytest.raises(DataError, match=r"3 classes in .*/a and 3 in .*/b, and 'lily' in one alone"):
        paired(a, b, "test")


def test_the_same_run_twice_is_refused(tmp_path):
    a, _ = write_pair(tmp_path)
    with pytest.raises(UsageError, match=r"expected different runs, found .*/a twice"):
        paired(a, a / ".." / "a", "test")


@pytest.mark.parametrize(("part", "message"), [("val", "no val part; it has train, test"), ("tset", "unknown part")])
def test_a_part_that_is_not_there(tmp_path, part, message):
    with pytest.raises(UsageError, match=message):
        paired(*write_pair(tmp_path), part)


def test_a_wrong_name_offers_the_nearest(tmp_path):
    a, b = write_pair(tmp_path)
    b.rename(tmp_path / "with-ptr")
    with pytest.raises(DataError, match=r"no folder at .*/with-pt; did you mean 'with-ptr'\?"):
        paired(a, tmp_path / "with-pt", "test")


def test_a_folder_of_runs_names_them(tmp_path):
    a, _ = write_pair(tmp_path)
    with pytest.raises(DataError, match="is no run but holds some: a, b; name one of them"):
        paired(a, tmp_path, "test")


def test_an_unfinished_run_is_refused(tmp_path):
    a, b = write_pair(tmp_path)
    (b / "result.json").unlink()
    with pytest.raises(DataError, match=r"expected a finished run with a result.json, found none in .*/b"):
        paired(a, b, "test")


def test_a_damaged_table_is_refused(tmp_path):
    a, b = write_pair(tmp_path)
    table = b / "predictions.csv"
    table.write_text(table.read_text().replace(",0.250000", ",a quarter"))
    with pytest.raises(DataError, match=r"b/predictions.csv is no table of predictions of the run's 3 classes"):
        paired(a, b, "test")


def test_a_network_that_diverged_is_refused(tmp_path):
    a, b = write_pair(tmp_path)
    table = b / "predictions.csv"
    table.write_text(table.read_text().replace(",0.750000", ",nan"))
    with pytest.raises(DataError, match=r".*/b gives probabilities that are not finite"):
        paired(a, b, "test")
