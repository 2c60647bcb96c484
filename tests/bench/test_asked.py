"""What was asked of a folder of results."""

import json

import pytest

from holdfast.bench.asked import asked, note
from holdfast.bench.grid import Scope
from holdfast.core.errors import UsageError

from .conftest import varied


def test_a_recipe_comes_back_as_it_was(recipe, tmp_path):
    note(tmp_path, recipe, Scope(tmp_path / "data"))
    (one,) = asked(tmp_path)
    assert one.recipe == recipe
    assert one.scope == Scope()
    assert asked(tmp_path / "elsewhere") == []


def test_parts_are_joined_and_the_most_seeds_count(recipe, tmp_path):
    for only, seeds in (("plain", None), ("ptr and reds", 4), ("plain", None)):
        note(tmp_path, recipe, Scope(only=only, seeds=seeds))
    (one,) = asked(tmp_path)
    assert one.scope.only == "(plain) or (ptr and reds)"
    assert one.scope.seeds == 4  # the recipe's own are three
    note(tmp_path, recipe, Scope())
    assert asked(tmp_path)[0].scope.only is None


@pytest.mark.parametrize(("seeds", "most"), [([2], 2), ([2, 1], 2), ([None, 2], None), ([None, 9], 9), ([None], None)])
def test_seeds_are_those_asked_for(recipe, tmp_path, seeds, most):
    for number in seeds:
        note(tmp_path, recipe, Scope(seeds=number))
    assert asked(tmp_path)[0].scope.seeds == most


def test_an_edited_recipe_takes_the_place_of_the_old_one(recipe, tmp_path):
    note(tmp_path, recipe, Scope())
    note(tmp_path, varied(recipe, seeds=7), Scope())
    (one,) = asked(tmp_path)
    assert one.recipe.seeds == 7


def test_another_scale_and_another_title_are_others(recipe, tmp_path):
    for mini in (False, True):
        note(tmp_path, recipe, Scope(mini=mini))
    note(tmp_path, varied(recipe, title="Another"), Scope())
    assert [(one.recipe.title, one.scope.mini) for one in asked(tmp_path)] == [
        ("Another", False),
        ("Three ways", False),
        ("Three ways", True),
    ]


def test_planning_to_write_notes_it_and_looking_does_not(planned, recipe, root, tmp_path):
    from holdfast.bench.plan import make_plan

    make_plan(recipe, Scope(root), tmp_path / "out", writes=False)
    assert asked(tmp_path / "out") == []
    planned(recipe, seeds=2)
    assert asked(tmp_path / "out")[0].scope.seeds == 2


def test_a_damaged_note_is_named(recipe, tmp_path):
    note(tmp_path, recipe, Scope())
    (file,) = (tmp_path / "asked").iterdir()
    file.write_text(json.dumps({"mini": False, "parts": [], "recipe": {"title": 3}}), encoding="utf-8")
    with pytest.raises(UsageError, match=f"{file.name} is no record"):
        asked(tmp_path)
    file.write_text("{torn", encoding="utf-8")
    with pytest.raises(UsageError, match=f"cannot read .*{file.name}"):
        asked(tmp_path)
