import pytest
import yaml

from holdfast.core.errors import UsageError
from holdfast.train.settings import RECORDED, Settings


def test_every_setting_has_a_description_a_group_and_says_whether_it_is_compared():
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert set(field.json_schema_extra) == {"group", "compared"}, name


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epochs": 0}, "epochs: should be greater than or equal to 1, got 0"),
        ({"lr": "fast"}, "lr: should be a valid number"),
        ({"lr": float("nan")}, "lr: should be a finite number"),
        ({"bn": "thawed"}, "bn: should be 'frozen' or 'train', got 'thawed'"),
        ({"epoch": 3}, "unknown setting 'epoch'; did you mean 'epochs'?"),
    ],
)
def test_a_refused_value_is_told_in_one_line(values, said):
    with pytest.raises(UsageError) as caught:
        Settings.of(data="pictures", **values)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_data_are_asked_for():
    with pytest.raises(UsageError, match="'data' is missing"):
        Settings.of()


def test_the_word_none_stands_for_no_value_save_where_it_is_a_choice():
    settings = Settings.of(data="pictures", head_lr="none", class_weights="none")
    assert settings.head_lr is None
    assert settings.class_weights == "none"


def test_written_settings_give_the_same_run_again(tmp_path):
    settings = Settings.of(data="pictures", method="ptr(R=3, T=inf)", lr=3e-4, cache_dir="cache", weights="w.pt")
    file = tmp_path / "settings.yaml"
    file.write_text(settings.to_yaml({"versions": {"torch": "2"}}))
    assert Settings.read(file) == settings
    assert Settings.read(file, epochs=2) == settings.model_copy(update={"epochs": 2})
    assert yaml.safe_load(file.read_text())[RECORDED] == {"versions": {"torch": "2"}}


@pytest.mark.parametrize(
    ("text", "said"), [("- 1\n", "holds no settings"), ("a: [", "is no YAML"), (None, "cannot read")]
)
def test_what_is_no_settings_file_is_refused(tmp_path, text, said):
    file = tmp_path / "settings.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        Settings.read(file)
    assert "\n" not in str(caught.value)


def test_the_default_folder_is_a_function_of_what_makes_a_run_another_one():
    one = Settings.of(data="pictures")
    assert Settings.of(data="pictures", workers=2, accelerator="cpu").folder() == one.folder()
    assert Settings.of(data="pictures", lr=0.5).folder() != one.folder()
    assert Settings.of(data="pictures", method="l2_sp(alpha=0.1)").folder().parent.name == "runs"
    assert Settings.of(data="pictures", out="here").folder().name == "here"
