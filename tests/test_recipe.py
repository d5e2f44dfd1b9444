"""Recipes: every key is checked, misspelt ones are corrected, and a file that is written reads back the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from npresnet.train.recipe import OPTIONS, SECTIONS, Recipe, RecipeError
from npresnet.train.recipe_files import format_recipe, packaged_recipes, parse_value, parse_yaml, read_recipe

# Packaged ones


@pytest.mark.parametrize("name", ["cifar10", "cifar10-paper", "fashion-mnist", "fine-tune"])
def test_the_recipes_of_the_package(name: str) -> None:
    recipe = read_recipe(name)
    assert packaged_recipes()[name] == recipe.description != ""
    assert (recipe.model.architecture is None) == (name == "fine-tune")
    assert recipe.data.path is None


def test_the_paper() -> None:
    """Section 4.2: 0.1, momentum 0.9, decay 1e-4 of everything, batches of 128, 32k and 48k of 64k steps."""
    recipe = read_recipe("cifar10-paper")
    steps = 45_000 // 128
    assert (recipe.optimizer.lr, recipe.optimizer.momentum, recipe.optimizer.weight_decay) == (0.1, 0.9, 1e-4)
    assert recipe.optimizer.decay_norms_and_biases
    assert recipe.run.epochs * steps == pytest.approx(64_000, rel=0.003)
    assert [round(time * steps) for time in recipe.schedule.milestones] == pytest.approx([32_000, 48_000], abs=5)
    assert recipe.data.validation * 50_000 == 5_000


def test_unknown_recipes() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'cifar'; did you mean 'cifar10'\?"):
        read_recipe("cifar")
    with pytest.raises(RecipeError, match="the package has cifar10, cifar10-paper, fashion-mnist, fine-tune"):
        read_recipe("qqq")
    with pytest.raises(RecipeError, match="there is no recipe"):
        read_recipe("../recipes/cifar10")
    with pytest.raises(FileNotFoundError):
        read_recipe("mine.toml")


# Keys and values


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"optimiser": {}}, r"unknown table or key 'optimiser'; did you mean 'optimizer'\?"),
        ({"lr": 0.1}, r"unknown table or key 'lr'; it belongs into \[optimizer\]"),
        ({"optimizer": {"learning_rate": 0.1}}, r"unknown key 'learning_rate' in \[optimizer\]; its keys are name, lr"),
        (
            {"optimizer": {"weight_deacy": 0.1}},
            r"unknown key 'weight_deacy' in \[optimizer\]; did you mean 'weight_decay'",
        ),
        ({"run": {"lr": 0.1}}, r"unknown key 'lr' in \[run\]; it belongs into \[optimizer\]"),
        ({"run": {"epoch": 5}}, r"did you mean 'epochs'"),
        ({"data": {"label_smooting": 0.1}}, r"did you mean 'label_smoothing' in \[regularization\]\?"),
        ({"optimizer": 3}, r"\[optimizer\] must be a table, found 3"),
        ({"optimizer": {"name": "adam"}}, r"optimizer\.name must be one of 'sgd', 'adamw', 'lamb', found 'adam'"),
        ({"optimizer": {"lr": 0}}, r"optimizer\.lr must be greater than 0, found 0"),
        ({"optimizer": {"lr": "fast"}}, r"optimizer\.lr must be a finite number, found 'fast'"),
        ({"optimizer": {"lr": None}}, r"optimizer\.lr must be a finite number, found None"),
        ({"optimizer": {"lr": float("nan")}}, r"optimizer\.lr must be a finite number"),
        ({"optimizer": {"momentum": 1}}, r"optimizer\.momentum must be smaller than 1"),
        ({"optimizer": {"nesterov": 1}}, r"optimizer\.nesterov must be true or false, found 1"),
        ({"optimizer": {"layer_decay": 1.5}}, r"optimizer\.layer_decay must be at most 1"),
        ({"optimizer": {"lr_scales": {"resnet.*": -1}}}, r"optimizer\.lr_scales\.resnet\.\* must be at least 0"),
        ({"optimizer": {"betas": [0.9, 1.0]}}, r"optimizer\.betas\[1\] must be smaller than 1"),
        ({"optimizer": {"betas": [0.9, 0.99]}}, r"optimizer\.betas belongs to adamw and lamb, but .* is 'sgd'"),
        ({"schedule": {"gamma": 0.1}}, r"schedule\.gamma belongs to step, but schedule\.name is 'cosine'"),
        ({"schedule": {"name": "step"}}, r"'step' needs schedule\.milestones"),
        ({"regularization": {"mix_probability": 2}}, r"mix_probability must be at most 1"),
        ({"regularization": {"dropout": 1.0}}, r"dropout must be smaller than 1"),
        ({"run": {"epochs": 0}}, r"run\.epochs must be an integer >= 1, found 0"),
        ({"run": {"epochs": 1.5}}, r"run\.epochs must be an integer >= 1"),
        ({"run": {"epochs": True}}, r"run\.epochs must be an integer >= 1"),
        ({"run": {"seed": -1}}, r"run\.seed must be an integer >= 0"),
        ({"data": {"validation": 1.5}}, r"data\.validation must be smaller than 1"),
        ({"data": {"augment": ["flip"]}}, r"data\.augment\[0\] must be a table with a name"),
        ({"data": {"std": [0.2, 0]}}, r"data\.std\[1\] must be greater than 0"),
        ({"model": {"architecture": "resnet21"}}, r"unknown architecture 'resnet21'; did you mean"),
        ({"model": {"config": {"drop_out": 0.1}}}, r"unknown configuration field 'drop_out'; did you mean 'dropout'"),
        ({"model": {"freeze": [1]}}, r"model\.freeze\[0\] must be a string"),
    ],
)
def test_what_is_wrong_is_said(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict(tables)


def test_single_values_where_lists_are_wanted() -> None:
    recipe = Recipe.from_dict({"model": {"freeze": "resnet.*"}, "data": {"mean": 0.5, "validation": False}})
    assert (recipe.model.freeze, recipe.data.mean, recipe.data.validation) == (("resnet.*",), (0.5,), "none")


def test_every_key_is_explained_and_unique() -> None:
    names = [name for section in SECTIONS.values() for name in section.key_names() if name != "name"]
    assert len(names) == len(set(names))
    assert all(section.meaning(name) for section in SECTIONS.values() for name in section.key_names())
    assert all(option in SECTIONS[section].key_names() for section, options in OPTIONS.items() for option in options)


# Changes


def test_changes_by_name() -> None:
    recipe = read_recipe("cifar10")
    changed = recipe.replace(lr=0.5, seed=7, **{"data.batch_size": 64})
    assert changed.differences(recipe) == {
        "data.batch_size": (64, 128), "optimizer.lr": (0.5, 0.2), "run.seed": (7, 0),
    }  # fmt: skip
    assert recipe.optimizer.lr == 0.2
    with pytest.raises(RecipeError, match=r"unknown key 'batchsize'; did you mean 'batch_size' in \[data\]\?"):
        recipe.replace(batchsize=3)
    with pytest.raises(RecipeError, match=r"unknown key 'optimizer\.seed'; it belongs into \[run\]"):
        recipe.replace(**{"optimizer.seed": 3})


def test_another_optimizer_forgets_the_options_of_the_old() -> None:
    recipe = read_recipe("cifar10").replace(optimizer="adamw", lr=1e-3, betas=[0.9, 0.99])
    assert (recipe.optimizer.name, recipe.optimizer.momentum, recipe.optimizer.nesterov) == ("adamw", None, None)
    assert recipe.optimizer.betas == (0.9, 0.99)
    assert recipe.optimizer.weight_decay == 5e-4
    recipe = read_recipe("cifar10-paper").replace(schedule="cosine")
    assert (recipe.schedule.milestones, recipe.schedule.gamma) == (None, None)


def test_other_numbers_of_epochs_keep_the_shape_of_the_schedule() -> None:
    paper = read_recipe("cifar10-paper").replace(epochs=91)
    assert paper.schedule.milestones == pytest.approx([45.585, 68.375])
    short = read_recipe("cifar10").replace(epochs=3)
    assert short.schedule.warmup_epochs == pytest.approx(0.2)
    assert read_recipe("cifar10").replace(epochs=3, warmup_epochs=1).schedule.warmup_epochs == 1


# Files


def test_a_recipe_reads_back_as_it_was_written(tmp_path: Path) -> None:
    recipe = read_recipe("fine-tune").replace(
        path='C:\\photos "mine"\n\x7fé', lr=1e-7, lr_scales={"resnet.encoder.stages.0.*": 0.1, "x y": 1},
        config={"zero_init_last": True, "hidden_sizes": [8, 16]}, betas=None, patience=3,
    )  # fmt: skip
    file = tmp_path / "recipe.toml"
    file.write_text(format_recipe(recipe), encoding="utf-8")
    again = read_recipe(file)
    assert again == recipe
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert max(map(len, format_recipe(read_recipe("cifar10")).splitlines())) < 190


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'base = "cifar10"\n[optimizer]\nlr = 1e-2\n[data]\naugment = [{ name = "flip" }]\n[run]\nepochs = 12\n'
    )
    (tmp_path / "a.yaml").write_text(
        "base: cifar10\noptimizer:\n  lr: 1e-2\ndata: {augment: [{name: flip}]}\nrun:\n  epochs: 12\n"
    )
    toml, yaml = read_recipe(tmp_path / "a.toml"), read_recipe(tmp_path / "a.yaml")
    assert toml == yaml
    assert (toml.optimizer.lr, toml.optimizer.weight_decay, toml.run.epochs) == (0.01, 5e-4, 12)
    assert toml.model.architecture == "resnet20"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", "[optimizer\nlr = 1", r"a\.toml: this is not TOML: .*line 1"),
        ("a.toml", "[run]\nepochs = 1\nepochs = 2", r"a\.toml: this is not TOML"),
        ("a.toml", "[run]\nepoch = 1", r"a\.toml: unknown key 'epoch' in \[run\]"),
        ("a.toml", 'base = "cifar"', r"a\.toml: there is no recipe 'cifar'"),
        ("a.toml", 'base = "a.toml"', r"must be the name of a recipe in the package"),
        ("a.toml", "base = 3", r"base must be the name of a recipe, found 3"),
        ("a.yaml", "run: {epochs: 1", r"a\.yaml: this is not YAML"),
        ("a.yaml", "run:\n  epochs: 1\n  epochs: 2", r"a\.yaml: the key 'epochs' appears twice, line 3"),
        ("a.yaml", "- run", r"a\.yaml: a recipe is made of tables .*found list"),
        ("a.yaml", "run: !!python/object/apply:os.getcwd []", r"a\.yaml: this is not YAML"),
        ("a.yaml", "run:\n  ? [a]\n  : 1", r"a\.yaml: this is not YAML"),
        ("a.yaml", "1: 2", r"unknown table or key 1"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RecipeError, match=message):
        read_recipe(tmp_path / name)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="not a text file in UTF-8"):
        read_recipe(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(RecipeError, match="too much for a recipe"):
        read_recipe(tmp_path / "a.toml")


def test_numbers_in_yaml() -> None:
    assert parse_yaml("[1, 1.5, 1e-4, 5E3, .5, -2, +1.e2, 1.0.0, e5, yes]") == [
        1, 1.5, 1e-4, 5000.0, 0.5, -2, 100.0, "1.0.0", "e5", True,
    ]  # fmt: skip
    assert isinstance(parse_yaml("3"), int)
    assert parse_yaml("") == {}


def test_values_on_the_command_line() -> None:
    values = ["3", "1e-3", "true", "[1, 2]", "adamw", "resnet.*", '"3"', "{ a = 1 }", "0.1\nx = 2", ""]
    assert [parse_value(value) for value in values] == [
        3, 1e-3, True, [1, 2], "adamw", "resnet.*", "3", {"a": 1}, "0.1\nx = 2", "",
    ]  # fmt: skip


def test_importing_is_light() -> None:
    import os
    import subprocess

    import npresnet

    code = "import sys, npresnet.train.recipe, npresnet.train; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(npresnet.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert not set(done.stdout.split()) & {"numba", "scipy", "PIL.Image", "rich", "yaml", "matplotlib"}
    assert "npresnet.train.recipe" in done.stdout
