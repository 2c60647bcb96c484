"""Results of one method with different settings."""

from holdfast.report.variants import chosen_metric, differing, told_apart


def result(method, number, accuracy=0.5, **settings):
    return {"method": method, "seed": number, "test.accuracy": accuracy, "settings": settings}


def names(results):
    return [(each["method"], each["seed"]) for each in told_apart(results)[0]]


def test_runs_that_differ_in_the_seed_alone_are_one_method():
    rows = [result("plain", seed, lr=0.1, seed=seed, out=f"runs/{seed}", threads=seed) for seed in range(3)]
    assert names(rows) == [("plain", 0), ("plain", 1), ("plain", 2)]
    assert differing(rows) == []


def test_a_setting_that_differs_within_a_method_is_part_of_its_name():
    rows = [result("plain", 0, lr=0.1, bn="frozen"), result("plain", 1, lr=0.2, bn="frozen"), result("ptr", 0, lr=0.2)]
    assert names(rows) == [("plain (lr 0.1)", 0), ("plain (lr 0.2)", 1), ("ptr", 0)]
    assert differing(rows) == ["lr", "bn"]


def test_a_setting_that_some_runs_lack_counts_as_differing():
    assert names([result("plain", 0, lr=0.1), result("plain", 0)]) == [("plain (lr 0.1)", 0), ("plain (lr unset)", 0)]


def test_a_copy_is_no_second_run():
    rows = [result("plain", 0, 0.5, lr=0.1), result("plain", 0, 0.6, lr=0.1)]
    kept, left_out = told_apart(rows)
    assert [each["test.accuracy"] for each in kept] == [0.5]
    assert left_out == ["plain, seed 0: a second run with the same settings is left out."]


def test_the_test_part_comes_before_validation():
    assert chosen_metric([{"val.accuracy": 0.5}, {"test.accuracy": 0.4}]) == "test.accuracy"
    assert chosen_metric([{"val.accuracy": 0.5}, {"test.accuracy": float("nan")}]) == "val.accuracy"
    assert chosen_metric([{}]) == "test.accuracy"
