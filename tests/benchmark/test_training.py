"""The recipe is every setting of train.yaml that runs share, and a knob that came later does not orphan old rows."""

from __future__ import annotations

import pytest
import yaml

from bundle.benchmark.training import training_recipe
from bundle.data.modality import load_modality


def test_the_recipe_has_the_knobs_of_the_config_and_what_was_set(repository):
    config = yaml.safe_load((repository / "configs" / "train.yaml").read_text(encoding="utf-8"))
    modality = load_modality("dermoscopy")
    recipe = training_recipe(modality, {})
    for name in ("batch_size", "learning_rate", "weight_decay", "dropout", "epoch_length"):
        assert recipe[name] == config[name]
        assert training_recipe(modality, {name: config[name] / 2 if name == "dropout" else 7})[name] != config[name]
    assert recipe["precision"] in ("bf16", "fp32") and recipe["device"] in ("cpu", "cuda")
    assert recipe["augmentation"]["rotation"] == modality.augmentation.rotation
    single = training_recipe(modality, {"train#loss#weights": [1, 0, 0]})
    assert single == recipe | {"train#loss#weights": [1, 0, 0], "head_weights": [1, 0, 0]}


def test_a_setting_that_came_later_counts_only_where_it_changes_something():
    modality = load_modality("dermoscopy")
    assert "pseudo_weight" not in training_recipe(modality, {"pseudo_weight": 0.5})
    assert training_recipe(modality, {"pseudo_weight": 0.7})["pseudo_weight"] == 0.7


@pytest.mark.parametrize("name", ["seed", "epochs", "warm_start", "datalist", "teacher"])
def test_what_every_run_sets_for_itself_cannot_be_set_for_all(name):
    with pytest.raises(ValueError, match=f"sets {name} for itself"):
        training_recipe(load_modality("dermoscopy"), {name: 1})


def test_an_unknown_knob_is_refused():
    with pytest.raises(ValueError, match="did you mean 'learning_rate'"):
        training_recipe(load_modality("dermoscopy"), {"learning_rat": 1})
