"""``holdfast report``: one line where it went, one line where it cannot be."""

import pytest


def test_the_page_of_a_run_and_where_it_is(train, photos, holdfast, tmp_path):
    assert train(photos).code == 0
    done = holdfast("report", tmp_path / "run", "--out", tmp_path / "page.html")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].endswith("page.html")
    assert "</html>" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere", "found nothing there"), ("empty", "found none"), ("torn", "cannot read")]
)
def test_a_folder_that_cannot_be_reported_is_one_line(holdfast, tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "example.json").write_text("{", encoding="utf-8")
    done = holdfast("report", tmp_path / name)
    assert done.code == 2
    assert said in done.error
