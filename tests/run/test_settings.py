"""Settings of a person are plain values, and mistakes are told before anything runs."""

from __future__ import annotations

import pytest

from bundle.run.settings import parse_setting


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("epochs=10", ("epochs", 10)),
        ("learning_rate=0.1", ("learning_rate", 0.1)),
        ("learning_rate=1e-3", ("learning_rate", 0.001)),
        ("policy=crop and intensity", ("policy", "crop and intensity")),
        ("init=null", ("init", None)),
        ("output_dir=a=b", ("output_dir", "a=b")),
        ("train#history#figures=[loss]", ("train#history#figures", ["loss"])),
    ],
)
def test_a_setting_is_a_name_and_a_plain_value(text, setting):
    assert parse_setting(text) == setting


@pytest.mark.parametrize("text", ["epochs", "=3", "epochs=$exit()", "epochs= @seed", "epochs=%other"])
def test_a_setting_without_a_name_or_with_code_is_refused(text):
    with pytest.raises(ValueError, match="--set"):
        parse_setting(text)


def test_a_setting_that_is_no_yaml_is_refused():
    with pytest.raises(ValueError, match="--set takes a value in YAML"):
        parse_setting("epochs=: [")


@pytest.mark.parametrize(
    "hidden", ["output_dir=[1, $exit()]", "init={a: '@seed'}", "init={_target_: os.abort}", 'init="$exit()"']
)
def test_code_inside_a_value_is_refused_as_well(hidden):
    with pytest.raises(ValueError, match="--set"):
        parse_setting(hidden)
