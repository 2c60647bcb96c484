import csv
import json
import shutil

import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from safetensors.torch import load_file

import holdfast
from holdfast.core.errors import DataError, UsageError
from holdfast.data.augment import normalise
from holdfast.data.loader import set_epoch
from holdfast.models.batchnorm import freeze_batchnorm
from holdfast.train.datamodule import loaders_of
from holdfast.train.fit import rehearse
from holdfast.train.plan import make_plan
from holdfast.train.seeding import reseed
from holdfast.train.settings import Settings


def rows_of(result, name):
    return list(csv.DictReader((result.folder / name).read_text(encoding="utf-8").splitlines()))


@pytest.fixture
def finished(tiny):
    return holdfast.fit(**tiny, method="l2_sp(alpha=0.1)")


def test_a_run_leaves_everything_that_is_promised(finished, tiny):
    names = {path.name for path in finished.folder.iterdir() if not path.name.startswith(".")}
    assert names == {
        "settings.yaml", "split.json", "metrics.csv", "result.json", "predictions.csv", "model.safetensors",
        "preprocessing.json", "report.html", "checkpoints",
    }  # fmt: skip
    result = json.loads((finished.folder / "result.json").read_text())
    assert result == finished.figures
    for part in ("val", "test"):
        for name in ("accuracy", "mean_class_accuracy", "nll", "ece"):
            assert f"{part}.{name}" in result
    assert result["seconds"] > 0
    assert result["peak_memory_mb"] > 0
    rows = rows_of(finished, "metrics.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {"train.loss", "train.accuracy", "val.nll", "val.accuracy", "lr", "head_lr", "seconds"} <= set(rows[0])
    assert "l2_sp.penalty" in rows[0]
    written = yaml.safe_load((finished.folder / "settings.yaml").read_text())
    assert written["recorded"]["versions"]["torch"] == torch.__version__
    assert written["seed"] == 0


def test_predictions_agree_with_the_result(finished):
    rows = rows_of(finished, "predictions.csv")
    for part in ("val", "test"):
        mine = [row for row in rows if row["part"] == part]
        right = sum(row["true"] == row["predicted"] for row in mine)
        assert right / len(mine) == pytest.approx(finished[f"{part}.accuracy"])
    total = sum(float(rows[0][f"probability_{rank}"]) for rank in (1, 2, 3))
    assert total == pytest.approx(1, abs=1e-5)


def test_the_printed_lines_load_the_network_in_plain_timm(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    written = json.loads((finished.folder / "preprocessing.json").read_text())
    space = {}
    for line in written["load"]:
        assert "holdfast" not in line
        exec(line, space)
    row = rows_of(finished, "predictions.csv")[0]
    data = yaml.safe_load((finished.folder / "settings.yaml").read_text())["data"]
    picture = Image.open(f"{data}/{row['path']}")
    side = written["resize_shorter_side"]
    picture = picture.resize((side, side), Image.Resampling.BILINEAR)
    edge = round((side - written["size"]) / 2)
    picture = picture.crop((edge, edge, edge + written["size"], edge + written["size"]))
    x = torch.tensor(list(picture.tobytes()), dtype=torch.uint8).view(written["size"], written["size"], 3)
    with torch.no_grad():
        p = space["model"].eval()(normalise(x.permute(2, 0, 1)[None], written["mean"], written["std"])).softmax(1)
    assert written["classes"][int(p.argmax())] == row["predicted"]
    assert float(p.max()) == pytest.approx(float(row["confidence"]), abs=2e-6)


def test_a_finished_run_is_returned_at_once(finished, tiny, monkeypatch):
    monkeypatch.setattr("holdfast.train.plan.make_plan", lambda *_: pytest.fail("trained again"))
    again = holdfast.fit(**tiny, method="l2_sp(alpha=0.1)")
    assert again == finished


def test_the_report_of_a_finished_run_is_made_up_for(finished, tiny):
    (finished.folder / "report.html").unlink()
    holdfast.fit(**tiny, method="l2_sp(alpha=0.1)")
    assert (finished.folder / "report.html").is_file()


def test_other_settings_into_the_same_folder_are_refused(finished, tiny):
    before = {p: p.read_bytes() for p in finished.folder.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match=r"method is l2_sp\(alpha=0.1\) there and plain here"):
        holdfast.fit(**tiny)
    assert {p: p.read_bytes() for p in finished.folder.rglob("*") if p.is_file()} == before


def test_written_settings_repeat_the_run_to_the_bit(finished, tmp_path):
    settings = Settings.read(finished.folder / "settings.yaml", out=tmp_path / "again", progress="off")
    again = holdfast.fit(**settings.model_dump())
    assert (again.folder / "model.safetensors").read_bytes() == (finished.folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("bn", "precision"), [("frozen", "32"), ("train", "bf16")])
def test_plain_training_is_the_loop_one_would_write_by_hand(tiny, tmp_path, bn, precision):
    tiny |= {"bn": bn, "precision": precision, "keep": "last", "drop_rate": 0.5}
    result = holdfast.fit(**tiny)
    plan = make_plan(Settings.of(**tiny))
    network, p = plan.built.model, plan.built.preprocessing
    if bn == "frozen":
        freeze_batchnorm(network)
    network.to(memory_format=torch.channels_last)
    head = {id(w) for w in network.fc.parameters()}
    decayed = {True: [], False: []}
    for w in network.parameters():
        decayed[id(w) in head].append(w)
    groups = [
        {"params": [w for w in decayed[is_head] if (w.ndim > 1) == decays], "lr": lr, "weight_decay": decays * 1e-4}
        for is_head, lr in ((False, plan.settings.lr), (True, plan.settings.head_lr))
        for decays in (True, False)
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: 0.5 * (1 + torch.cos(torch.tensor(torch.pi * t / 9, dtype=torch.float64)).item())
    )
    loader = loaders_of(plan, tmp_path)["train"]
    network.train()
    for epoch in range(3):
        reseed(0, epoch)
        set_epoch(loader, epoch)
        for x, y, _ in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = F.cross_entropy(network(normalise(x, p.mean, p.std)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    written = load_file(result.folder / "model.safetensors")
    for name, value in network.state_dict().items():
        torch.testing.assert_close(written[name], value, rtol=1e-6, atol=1e-7, msg=name)


def test_the_best_epoch_on_validation_is_kept_and_its_figures_are_written(tiny):
    result = holdfast.fit(**tiny, lr=0.05, head_lr=0.05, bn="train")
    rows = rows_of(result, "metrics.csv")
    best = max(rows, key=lambda row: (float(row["val.accuracy"]), -float(row["val.nll"])))
    assert result["kept_epoch"] == int(best["epoch"])
    assert result["val.nll"] == pytest.approx(float(best["val.nll"]), rel=1e-5)


def test_patience_stops_the_run(tiny):
    result = holdfast.fit(**{**tiny, "epochs": 30}, early_stopping=1, lr=1e-9, head_lr=1e-9)
    assert 1 <= result["kept_epoch"] == result["epochs"] - 1
    assert result["epochs"] < 30


def test_balanced_weights_change_an_imbalanced_run_alone(tiny, tmp_path):
    plain = holdfast.fit(**{**tiny, "out": tmp_path / "a"})
    weighted = holdfast.fit(**{**tiny, "out": tmp_path / "b"}, class_weights="balanced")
    assert weighted["test.nll"] == pytest.approx(plain["test.nll"], rel=1e-5)  # all classes are of one size here


def test_validation_at_the_end_alone_leaves_training_as_it_is(tiny, tmp_path):
    each = holdfast.fit(**{**tiny, "out": tmp_path / "a"}, keep="last")
    end = holdfast.fit(**{**tiny, "out": tmp_path / "b"}, keep="last", val_every=0)
    assert end["val.nll"] == each["val.nll"]
    assert (each.folder / "model.safetensors").read_bytes() == (end.folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("cache", ["disk", "off"])
def test_the_cache_does_not_change_the_result(tiny, tmp_path, cache):
    ram = holdfast.fit(**{**tiny, "out": tmp_path / "ram"})
    other = holdfast.fit(**{**tiny, "out": tmp_path / cache}, cache=cache)
    assert (ram.folder / "model.safetensors").read_bytes() == (other.folder / "model.safetensors").read_bytes()


def test_pictures_that_changed_since_the_run_began_are_refused(tiny, tmp_path, pictures):
    data = shutil.copytree(pictures, tmp_path / "data")
    result = holdfast.fit(**{**tiny, "data": data})
    (result.folder / "result.json").unlink()
    Image.new("RGB", (40, 40), "white").save(data / "red" / "0.png")
    with pytest.raises(DataError, match="have changed since"):
        holdfast.fit(**{**tiny, "data": data})


def test_a_rehearsal_tells_everything_and_writes_nothing(tiny):
    lines = rehearse(Settings.of(**tiny, method="rifle(periods=3)+l2_sp(alpha=0.1)"))
    text = "\n".join(lines)
    for told in (
        "3 classes, pictures: train 18, val 6, test 6", "timm:test_resnet at 32 px", "head       fc: 96 → 3",
        "rifle(periods=3)+l2_sp", "3 epochs × 3 = 9", "group      head", "cpu, 1 threads",
    ):  # fmt: skip
        assert told in text
    assert not tiny["out"].exists()


def test_fp16_is_refused_on_the_cpu_before_anything_is_trained(tiny):
    with pytest.raises(UsageError, match="fp16 needs an accelerator"):
        holdfast.fit(**tiny, precision="fp16", accelerator="cpu")


def test_settings_are_chosen_without_a_look_at_the_test_part(tiny):
    run = holdfast.fit(**tiny, measure_test=False, val_within=True, samples_per_class=5, val_fraction=0.2)
    assert not any(name.startswith("test.") and name != "test.images" for name in run.figures)
    assert {line.split(",")[0] for line in (run.folder / "predictions.csv").read_text().splitlines()[1:]} == {"val"}
    assert (run["train.images"], run["val.images"]) == (12, 3)
