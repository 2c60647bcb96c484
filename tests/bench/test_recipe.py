import copy

import pytest
import yaml
from pydantic import ValidationError

from holdfast.bench import catalogue
from holdfast.bench.recipe import Recipe
from holdfast.core.compose import compose
from holdfast.core.errors import UsageError
from holdfast.train.settings import Settings

SMALL = yaml.safe_load("""
title: Two ways
data:
  reds: {data: photos/reds, samples_per_class: 4}
  blues: {data: photos/blues, values: {R: 5}}
models:
  one: {model: "timm:test_resnet", values: {R: 3}}
methods:
  plain: {method: plain, search: {lr: [0.01, 0.1]}}
  ptr: {method: "ptr(R={R})", search: {lr: [0.01, 0.1]}}
tuning: {trials: 2}
""")


def changed(path, value):
    """The small recipe with one key, written with dots, set."""
    content = copy.deepcopy(SMALL)
    place = content
    *folders, last = path.split(".")
    for folder in folders:
        place = place.setdefault(folder, {})
    place[last] = value
    return content


@pytest.mark.parametrize("name", catalogue.names())
def test_every_recipe_of_the_package_is_valid(name):
    stem, recipe = catalogue.load(name)
    assert stem == name
    if recipe.protocol is not None:
        settings = catalogue.protocol(recipe.protocol).settings
        assert Settings.of(data="/", **{**settings, **recipe.settings})
    if recipe.paper is not None:
        assert name.startswith(f"{recipe.paper.key}-")
        assert recipe.published or recipe.paper.note  # which says why there is none


def test_the_example_of_the_docs_is_valid():
    page = (catalogue.Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    assert list(Recipe.model_validate(yaml.safe_load(example)).methods) == ["plain", "l2_sp"]
    for entry in yaml.safe_load(page.split("```yaml\n")[3].split("```")[0])["published"]:
        entry |= {"row": "ptr", "column": "reds"}
        Recipe.model_validate({**SMALL, "paper": {"key": "x", "table": "1"}, "published": [entry]})


def test_one_network_leaves_its_name_out_of_the_columns():
    assert Recipe.model_validate(SMALL).columns == {"reds": ("reds", "one"), "blues": ("blues", "one")}
    two = Recipe.model_validate(changed("models.two", {"model": "resnet18", "values": {"R": 1}}))
    assert list(two.columns) == ["reds/one", "reds/two", "blues/one", "blues/two"]


def test_a_row_is_run_everywhere_unless_it_says_where_or_cannot():
    recipe = Recipe.model_validate(changed("methods.ptr.columns", ["blues"]))
    assert recipe.columns_of("plain") == ["reds", "blues"]
    assert recipe.columns_of("ptr") == ["blues"]
    assert Recipe.model_validate(changed("methods.ptr", {"method": None})).columns_of("ptr") == []
    assert Recipe.model_validate(changed("data_only", "segmentation")).columns_of("plain") == []


def test_gains_are_measured_against_another_row():
    content = changed("methods.other", {"method": "l2", "against": "ptr"})
    recipe = Recipe.model_validate({**content, "tuning": {}})
    assert [recipe.against(row) for row in ("plain", "ptr", "other")] == [None, "plain", "ptr"]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("titel", "x", "unknown key 'titel'; did you mean 'title'?"),
        ("data.reds.dat", "x", "unknown key 'data.reds.dat'; did you mean 'data'?"),
        ("methods.label", {"method": "plain", "serach": {}}, "'methods.label.serach'; did you mean 'search'?"),
        ("tuning.trails", 3, "unknown key 'tuning.trails'; did you mean 'trials'?"),
        ("published", [{"rwo": "plain"}], "unknown key 'published.0.rwo'; did you mean 'row'?"),
        ("settings", {"metod": "ptr"}, "settings: unknown setting 'metod'; did you mean 'method'?"),
        ("data", {}, "data: expected at least one entry"),
        ("seeds", 0, "seeds: should be greater than or equal to 1, got 0"),
        ("seeds", "many", "seeds: should be a valid integer"),
        ("baseline", "plane", "baseline: no 'plane' in this recipe; did you mean 'plain'?"),
        ("methods.ptr.against", "pc", "methods.ptr.against: no 'pc'"),
        ("methods.ptr.columns", ["greens"], "methods.ptr.columns: no 'greens'"),
        ("methods.ptr.reuse", "pc", "methods.ptr.reuse: no 'pc'"),
        ("methods.ptr.method", "ptr(R={R}, m={m})", "methods.ptr: nothing fills {m} in column 'reds'"),
        ("settings", {"epoch": 3}, "settings: unknown setting 'epoch'; did you mean 'epochs'?"),
        ("settings", {"epochs": 0}, "settings: epochs: should be greater than or equal to 1, got 0"),
        ("settings", {"seed": 1}, "settings: 'seed' has a place of its own"),
        ("data.reds.settings", {"samples_per_class": 3}, "write samples_per_class beside 'data'"),
        ("models.one.settings", {"lr": -1}, "models.one.settings: lr: should be greater than 0"),
        ("mini", {"settings": {"lr": 0}}, "mini.settings: lr: should be greater than 0"),
        ("tuning", None, "methods.plain is searched, but there is no 'tuning'"),
        ("tuning", {"trials": 3}, "methods.plain has 2 point(s) to try, fewer than the 3 trials that every row gets"),
        ("tuning", {"by": "optuna"}, "tuning: optuna needs trials"),
        ("tuning", {"storage": "sqlite:///x"}, "tuning: storage is Optuna's"),
        ("methods.ptr.search", {"beta": [1, 2]}, "search of ptr: beta is neither a setting nor a {placeholder}"),
        ("methods.ptr.search", {"lr": []}, "search of ptr: lr has no values"),
        ("methods.ptr.search", {"lr": [0.1, -0.1]}, "search of ptr: lr: lr: should be greater than 0"),
        ("methods.ptr.search", {"lr": {"low": 0.1, "high": 1}}, "lr is a range; a grid needs a list of values"),
        ("methods.ptr.search", {"lr": [0.1, 0.01, 0.1]}, "search of ptr: lr has a value twice"),
        ("published", [{"row": "plain", "column": "reds", "value": 1}], "published figures need 'paper'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, path, value, said):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(changed(path, value), sort_keys=False))
    with pytest.raises(UsageError) as error:
        catalogue.load(file)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"lr": {"low": -1, "high": 1}}, "search of ptr: lr: lr: should be greater than 0, got -1.0"),
        ({"momentum": {"low": 0.5, "high": 3}}, "search of ptr: momentum: momentum: should be less than 1, got 3.0"),
        ({"epochs": {"low": 1, "high": 3}}, "search of ptr: epochs: epochs: should be a valid integer"),
        ({"R": {"low": 1.5, "high": 3, "whole": True}}, "expected whole ends with 'whole', found 1.5 and 3.0"),
    ],
)
def test_a_range_that_no_run_could_take_is_refused(search, said):
    content = {**changed("methods.ptr.search", search), "tuning": {"by": "optuna", "trials": 2}}
    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate(content)


def test_a_range_of_whole_numbers_is_taken():
    search = {"epochs": {"low": 1, "high": 3, "whole": True}}
    Recipe.model_validate({**changed("methods.ptr.search", search), "tuning": {"by": "optuna", "trials": 2}})


def test_numbers_with_an_exponent_and_merged_rows_are_read(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("""
title: Two ways
data: {reds: {data: reds}}
models: {one: {model: "timm:test_resnet"}}
methods:
  plain: &row {method: plain, search: {lr: [1e-4, 1E-3, 2.e+1, "1e-4", 0x1]}}
  l2: {<<: *row, method: "l2(alpha={alpha})", values: {alpha: 1e-4}}
tuning: {}
""")
    _, recipe = catalogue.load(file)
    assert recipe.methods["l2"].search == recipe.methods["plain"].search
    assert recipe.methods["l2"].search["lr"] == [1e-4, 1e-3, 20.0, "1e-4", 1]
    assert recipe.methods["l2"].values == {"alpha": 1e-4}


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ({"row": "pc", "column": "reds", "value": 1}, "no 'pc'"),
        ({"row": "ptr", "column": "greens", "value": 1}, "no 'greens'"),
        ({"row": "ptr", "column": "reds"}, "expected a value or a gain"),
        ({"row": "ptr", "column": "reds", "value": 1, "doubtful": True}, "doubtful needs a note"),
        ({"row": "plain", "column": "reds", "gain": 3}, "a second accuracy of row 'plain' in column 'reds'"),
    ],
)
def test_printed_figures_are_checked(figure, said):
    paper = {"key": "x", "table": "1"}
    first = {"row": "plain", "column": "reds", "value": 80.0}
    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate({**SMALL, "paper": paper, "published": [first, figure]})


def test_a_key_that_stands_twice_is_refused(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("title: a\ntitle: b\n")
    with pytest.raises(UsageError, match="'title' stands twice"):
        catalogue.load(file)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wan2019-table22", "no recipe 'wan2019-table22'; did you mean 'wan2019-table2'"),
        ("nowhere.yaml", "cannot read the recipe nowhere.yaml: No such file"),
    ],
)
def test_a_recipe_that_is_not_there(name, said):
    with pytest.raises(UsageError, match=said):
        catalogue.load(name)


def test_no_yaml_and_no_keys(tmp_path):
    for text, said in (("a: [", "is no YAML"), ("just words", "holds no keys")):
        (tmp_path / "mine.yaml").write_text(text)
        with pytest.raises(UsageError, match=said):
            catalogue.load(tmp_path / "mine.yaml")
    with pytest.raises(UsageError, match="no protocol 'wan2020'; did you mean 'wan2019'"):
        catalogue.protocol("wan2020")


def test_the_first_recipe_of_a_users_kind_runs_methods_that_exist():
    _, recipe = catalogue.load("flowers17-mini")
    assert list(recipe.methods) == ["plain", "l2_sp", "ptr", "rifle", "dtnh_l2_sp"]
    for row in recipe.methods.values():
        compose(row.method.replace("{alpha}", "0.1").replace("{R}", "3").replace("{periods}", "4"))
