"""The configuration: validation that names the wrong field, derived fields, presets, JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from npresnet import PRESETS, ResNetConfig, ResNetForImageClassification, preset

# One wrong value after another: the field, and a word of the message besides the field's name.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"num_channels": 0}, "num_channels"),
    ({"num_channels": 3.0}, "num_channels"),
    ({"num_channels": True}, "num_channels"),
    ({"embedding_size": -1}, "embedding_size"),
    ({"embedding_size": "64"}, "embedding_size"),
    ({"hidden_sizes": 64}, "hidden_sizes"),
    ({"hidden_sizes": "abcd"}, "hidden_sizes"),
    ({"hidden_sizes": (256, 512, 1024)}, "hidden_sizes"),
    ({"hidden_sizes": (256, 512, 1024, 0)}, "hidden_sizes"),
    ({"hidden_sizes": (256, 512, 1024, 2.5)}, "hidden_sizes"),
    ({"hidden_sizes": (), "depths": ()}, "hidden_sizes"),
    ({"hidden_sizes": (256, 512, 1024, 3)}, "hidden_sizes"),
    ({"depths": None}, "depths"),
    ({"depths": (3, 4, 6)}, "depths"),
    ({"depths": (3, 4, 0, 3)}, "depths"),
    ({"depths": (3, 4, True, 3)}, "depths"),
    ({"layer_type": "wide"}, "layer_type"),
    ({"layer_type": None}, "layer_type"),
    ({"hidden_act": "rel"}, "hidden_act"),
    ({"hidden_act": ["relu"]}, "hidden_act"),
    ({"downsample_in_first_stage": "yes"}, "downsample_in_first_stage"),
    ({"downsample_in_bottleneck": 1}, "downsample_in_bottleneck"),
    ({"downsample_in_bottleneck": True, "layer_type": "basic"}, "downsample_in_bottleneck"),
    ({"num_labels": -1}, "num_labels"),
    ({"num_labels": "3"}, "num_labels"),
    ({"num_labels": 2.0}, "num_labels"),
    ({"id2label": ["cat", "dog"]}, "id2label"),
    ({"id2label": {"x": "cat"}}, "id2label"),
    ({"id2label": {0: "cat", 2: "dog"}}, "id2label"),
    ({"id2label": {0: "cat", 1: "dog"}, "num_labels": 3}, "id2label"),
    ({"label2id": ["cat"]}, "label2id"),
    ({"label2id": {"cat": "first"}}, "label2id"),
    ({"label2id": {"cat": 0, "dog": 0}}, "label2id"),
    ({"label2id": {"cat": 0, "dog": 1}, "id2label": {0: "dog", 1: "cat"}}, "label2id"),
    ({"label2id": {"cat": 0, "dog": 1}, "num_labels": 3}, "label2id"),
    ({"problem_type": "clustering"}, "problem_type"),
    ({"out_features": "stage1"}, "out_features"),
    ({"out_features": ("stage9",)}, "out_features"),
    ({"out_features": (1,)}, "out_features"),
    ({"out_features": ("stage1", "stage1")}, "out_features"),
    ({"out_features": ("stage2", "stage1")}, "out_features"),
    ({"out_indices": 3}, "out_indices"),
    ({"out_indices": "12"}, "out_indices"),
    ({"out_indices": (1.5,)}, "out_indices"),
    ({"out_indices": (5,)}, "out_indices"),
    ({"out_indices": (-6,)}, "out_indices"),
    ({"out_indices": (4, -1)}, "out_indices"),
    ({"out_indices": (2, 1)}, "out_indices"),
    ({"out_features": ("stage1",), "out_indices": (2,)}, "out_indices"),
    ({"output_hidden_states": "no"}, "output_hidden_states"),
    ({"return_dict": None}, "return_dict"),
    ({"stem_type": "shallow"}, "stem_type"),
    ({"stem_type": "deep_tiered", "stem_width": 3}, "stem_width"),
    ({"stem_width": 0}, "stem_width"),
    ({"stem_pool": "avg"}, "stem_pool"),
    ({"stem_pool": "caffe", "stem_type": "cifar"}, "stem_pool"),
    ({"shortcut_type": "C"}, "shortcut_type"),
    ({"shortcut_type": "zero_pad", "embedding_size": 512}, "shortcut_type"),
    ({"shortcut_type": "none", "drop_path_rate": 0.1}, "drop_path_rate=0.1 contradicts shortcut_type='none'"),
    ({"shortcut_type": "none", "zero_init_last": True}, "zero_init_last=True contradicts shortcut_type='none'"),
    ({"groups": 0}, "groups"),
    ({"groups": 32, "layer_type": "basic"}, "groups"),
    ({"width_per_group": 0}, "width_per_group"),
    ({"width_per_group": 4, "hidden_sizes": (32, 64, 128, 256)}, "width_per_group"),
    ({"width_per_group": 128, "layer_type": "basic"}, "width_per_group"),
    ({"output_stride": 4}, "output_stride"),
    ({"output_stride": True}, "output_stride"),
    ({"global_pool": "mean"}, "global_pool"),
    ({"global_pool": None}, "global_pool"),
    ({"zero_init_last": 0}, "zero_init_last"),
    ({"drop_path_rate": 1.0}, "drop_path_rate"),
    ({"drop_path_rate": "a"}, "drop_path_rate"),
    ({"dropout": -0.1}, "dropout"),
    ({"dropout": None}, "dropout"),
    ({"dropout": float("nan")}, "dropout"),
    ({"batch_norm_eps": 0}, "batch_norm_eps"),
    ({"batch_norm_eps": float("inf")}, "batch_norm_eps"),
    ({"batch_norm_eps": "small"}, "batch_norm_eps"),
    ({"batch_norm_momentum": 1.5}, "batch_norm_momentum"),
    ({"batch_norm_momentum": None}, "batch_norm_momentum"),
]


@pytest.mark.parametrize(("fields", "name"), WRONG, ids=repr)
def test_a_wrong_field_is_named(fields: dict[str, Any], name: str) -> None:
    for build in (ResNetConfig, ResNetConfig().replace):
        with pytest.raises(ValueError, match=name) as raised:
            build(**fields)
        assert type(raised.value) is ValueError


def test_every_field_has_a_wrong_value() -> None:
    assert {name for fields, _ in WRONG for name in fields} == {f.name for f in dataclasses.fields(ResNetConfig)}


@pytest.mark.parametrize("build", [ResNetConfig().replace, lambda **f: preset("resnet18", **f), ResNetConfig.from_dict])
def test_an_unknown_field_is_named_with_the_nearest_known_one(build: Any) -> None:
    with pytest.raises(ValueError, match="unknown configuration field 'num_label'; did you mean 'num_labels'"):
        build({"num_label": 3}) if build == ResNetConfig.from_dict else build(num_label=3)
    with pytest.raises(ValueError, match="unknown configuration field 'xyz'; known fields are num_channels, "):
        build({"xyz": 3}) if build == ResNetConfig.from_dict else build(xyz=3)


def test_defaults_are_those_of_transformers() -> None:
    config = ResNetConfig()
    assert (config.num_channels, config.embedding_size) == (3, 64)
    assert (config.hidden_sizes, config.depths) == ((256, 512, 1024, 2048), (3, 4, 6, 3))
    assert (config.layer_type, config.hidden_act) == ("bottleneck", "relu")
    assert (config.downsample_in_first_stage, config.downsample_in_bottleneck) == (False, False)
    assert config.num_labels == 2
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1}
    assert config.stage_names == ("stem", "stage1", "stage2", "stage3", "stage4")
    assert (config.out_features, config.out_indices) == (("stage4",), (4,))


def test_numpy_integers_become_plain_ones() -> None:
    config = ResNetConfig(depths=np.array([1, 1]), hidden_sizes=np.array([8, 16]), num_labels=np.int64(3))
    assert config == ResNetConfig(depths=(1, 1), hidden_sizes=(8, 16), num_labels=3)
    json.dumps(config.to_dict())


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ResNetConfig().num_labels = 3  # type: ignore[misc]


def test_labels_follow_from_each_other() -> None:
    names = {0: "cat", 1: "dog", 2: "cow"}
    numbers = {"cat": 0, "dog": 1, "cow": 2}
    for fields in ({"id2label": names}, {"label2id": numbers}, {"id2label": {"2": "cow", "1": "dog", "0": "cat"}}):
        config = ResNetConfig(**fields)
        assert config.num_labels == 3
        assert list(config.id2label.items()) == list(names.items())
        assert config.label2id == numbers
    assert ResNetConfig(num_labels=0).id2label == {}
    twice = ResNetConfig(id2label={0: "crane", 1: "crane"})  # as in ImageNet
    assert twice.num_labels == 2
    assert ResNetConfig.from_dict(json.loads(json.dumps(twice.to_dict()))) == twice


def test_replace() -> None:
    config = ResNetConfig(id2label={0: "cat", 1: "dog"}, out_features=("stage1", "stage4"), dropout=0.1)
    changed = config.replace(dropout=0.2)
    assert changed.dropout == 0.2
    assert config.dropout == 0.1
    assert changed.replace(dropout=0.1) == config
    assert config.replace(num_labels=2).id2label == {0: "cat", 1: "dog"}
    assert config.replace(num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.replace(id2label={0: "cow"}).label2id == {"cow": 0}
    assert config.replace(label2id={"cow": 0}).num_labels == 1
    assert config.replace(out_indices=(0, -2)).out_features == ("stem", "stage3")
    assert config.replace(out_features=("stage2",)).out_indices == (2,)
    shorter = config.replace(depths=(1, 1), hidden_sizes=(8, 16))
    assert shorter.out_features == ("stage2",)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_labels": 0},
        {"num_labels": 1, "problem_type": "regression", "hidden_act": "gelu", "out_indices": (0, -1)},
        {"layer_type": "basic", "depths": (1, 2), "hidden_sizes": (8, 16), "downsample_in_first_stage": True},
        {"stem_type": "deep", "shortcut_type": "avg_down", "output_stride": 8, "global_pool": "catavgmax"},
        {"groups": 32, "width_per_group": 4, "drop_path_rate": 0.1, "dropout": 0.5, "zero_init_last": True},
        {"batch_norm_eps": 1.001e-5, "batch_norm_momentum": 0.01, "stem_pool": "caffe", "num_channels": 1},
        {"output_hidden_states": True, "return_dict": False, "downsample_in_bottleneck": True, "stem_width": 16},
    ],
    ids=repr,
)
def test_json_loses_nothing(fields: dict[str, Any]) -> None:
    config = ResNetConfig(**fields)
    values = json.loads(json.dumps(config.to_dict()))
    assert ResNetConfig.from_dict(values) == config
    own = {"stem_type", "stem_width", "stem_pool", "shortcut_type", "groups", "width_per_group", "output_stride"}
    own |= {"global_pool", "zero_init_last", "drop_path_rate", "dropout", "batch_norm_eps", "batch_norm_momentum"}
    assert values.keys() & own == fields.keys() & own, "fields foreign to Transformers are written only if changed"


# What `ResNetConfig(layer_type="basic", ...).to_dict()` gave in version 4.45 of Transformers: with the settings of
# text generation that every model had, and a flag that a basic layer ignores.
TRANSFORMERS_4 = {
    "return_dict": True, "output_hidden_states": False, "output_attentions": False, "torchscript": False,
    "torch_dtype": None, "use_bfloat16": False, "tf_legacy_loss": False, "pruned_heads": {},
    "tie_word_embeddings": True, "chunk_size_feed_forward": 0, "is_encoder_decoder": False, "is_decoder": False,
    "cross_attention_hidden_size": None, "add_cross_attention": False, "tie_encoder_decoder": False,
    "max_length": 20, "min_length": 0, "do_sample": False, "early_stopping": False, "num_beams": 1,
    "num_beam_groups": 1, "diversity_penalty": 0.0, "temperature": 1.0, "top_k": 50, "top_p": 1.0, "typical_p": 1.0,
    "repetition_penalty": 1.0, "length_penalty": 1.0, "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None, "num_return_sequences": 1, "output_scores": False, "return_dict_in_generate": False,
    "forced_bos_token_id": None, "forced_eos_token_id": None, "remove_invalid_values": False,
    "exponential_decay_length_penalty": None, "suppress_tokens": None, "begin_suppress_tokens": None,
    "architectures": None, "finetuning_task": None, "id2label": {0: "LABEL_0", 1: "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1}, "tokenizer_class": None, "prefix": None, "bos_token_id": None,
    "pad_token_id": None, "eos_token_id": None, "sep_token_id": None, "decoder_start_token_id": None,
    "task_specific_params": None, "problem_type": None, "_name_or_path": "", "transformers_version": "4.45.0",
    "num_channels": 3, "embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2],
    "layer_type": "basic", "hidden_act": "relu", "downsample_in_first_stage": False,
    "downsample_in_bottleneck": True, "stage_names": ["stem", "stage1", "stage2", "stage3", "stage4"],
    "out_features": ["stage4"], "out_indices": [4], "model_type": "resnet",
}  # fmt: skip


def test_a_configuration_of_transformers_4_is_read() -> None:
    assert ResNetConfig.from_dict(TRANSFORMERS_4) == preset("resnet18", num_labels=2)


def test_another_kind_of_model_is_refused() -> None:
    with pytest.raises(ValueError, match="describes a 'vit' model, expected model_type 'resnet'"):
        ResNetConfig.from_dict({"model_type": "vit", "hidden_size": 768})


# Published numbers of parameters: torchvision's documentation; for CIFAR the 0.27 M to 1.7 M of He et al. 2015,
# table 6, exactly those of the published implementations with parameter-free shortcuts.
PARAMETERS = {
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808, "resnext50_32x4d": 25_028_904, "resnext101_32x8d": 88_791_336,
    "wide_resnet50_2": 68_883_240, "wide_resnet101_2": 126_886_696,
    "resnet20": 269_722, "resnet32": 464_154, "resnet44": 658_586, "resnet56": 853_018, "resnet110": 1_727_962,
    "plain20": 269_722, "plain32": 464_154, "plain44": 658_586, "plain56": 853_018,  # no shortcut has parameters
    "resnet18d": 11_708_744, "resnet26": 15_995_176, "resnet26d": 16_014_408, "resnet34d": 21_816_904,
    "resnet50d": 25_576_264, "resnet101d": 44_568_392, "resnet152d": 60_212_040,
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_presets_have_the_published_size(name: str) -> None:
    model = ResNetForImageClassification(preset(name), _initialize=False)
    assert model.num_parameters == PARAMETERS[name]
    assert model.config.num_labels == (1000 if PARAMETERS[name] > 10e6 else 10)


def test_every_preset_is_tested() -> None:
    assert PARAMETERS.keys() == PRESETS.keys()


def test_preset_names_are_forgiving_and_typos_are_helped() -> None:
    assert preset("ResNet-50") == preset("resnet50")
    assert preset("ResNeXt50-32x4d") == preset("resnext50_32x4d")
    assert preset("Wide-ResNet50-2") == preset("wide_resnet50_2")
    assert preset("Plain-20") == preset("plain20")
    assert preset("resnet50", id2label={0: "cat"}).num_labels == 1
    assert preset("resnet50", downsample_in_bottleneck=True).downsample_in_bottleneck
    with pytest.raises(ValueError, match="unknown architecture 'resnet51'; did you mean resnet5"):
        preset("resnet51")
    with pytest.raises(ValueError, match="unknown architecture 'vgg'"):
        preset("vgg")
