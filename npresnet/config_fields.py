"""How the fields of a configuration are checked, and those that are derived from each other: labels, output stages."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Entries of a Transformers config.json that do not describe the network.
FOREIGN_KEYS = frozenset({
    "model_type", "architectures", "transformers_version", "torch_dtype", "dtype", "stage_names", "_name_or_path",
    "name_or_path", "_attn_implementation", "attn_implementation", "use_cache", "torchscript", "pruned_heads",
    "finetuning_task", "task_specific_params", "output_attentions", "use_bfloat16", "chunk_size_feed_forward",
    "is_encoder_decoder", "is_decoder", "tie_word_embeddings", "_commit_hash", "_attn_implementation_autoset",
})  # fmt: skip

# Up to version 4, the ``to_dict`` of every Transformers model also has what text generation needs.
GENERATION_KEYS = frozenset({
    "add_cross_attention", "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "cross_attention_hidden_size",
    "decoder_start_token_id", "diversity_penalty", "do_sample", "early_stopping", "encoder_no_repeat_ngram_size",
    "eos_token_id", "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id", "length_penalty",
    "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_return_sequences",
    "output_scores", "pad_token_id", "prefix", "remove_invalid_values", "repetition_penalty",
    "return_dict_in_generate", "sep_token_id", "suppress_tokens", "temperature", "tf_legacy_loss",
    "tie_encoder_decoder", "tokenizer_class", "top_k", "top_p", "typical_p",
})  # fmt: skip


def check_names(values: Iterable[str], known: Sequence[str]) -> None:
    """Raise for a name that is not known, with the nearest one that is."""
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known fields are {', '.join(known)}"
            raise ValueError(f"unknown configuration field {name!r}{hint}")


def check_integer(name: str, value: Any, least: int) -> int:
    """Return an integer, of Python or NumPy, that is at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < least:
        raise ValueError(f"{name} must be an integer >= {least}, found {value!r}")
    return int(value)


def check_integers(name: str, values: Any, each: str, least: int | None = None) -> tuple[int, ...]:
    """Return a sequence of integers as a tuple; ``each`` says in the message what one stands for."""
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping)):
        raise ValueError(f"{name} must be a list of integers, {each}, found {values!r}")
    values = tuple(values)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise ValueError(f"{name} must hold integers, {each}, found {value!r}")
        if least is not None and int(value) < least:
            raise ValueError(f"{name} must hold integers >= {least}, found {value!r}")
    return tuple(map(int, values))


def check_number(name: str, value: Any) -> float:
    """Return a finite real number as a float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, found {value!r}")
    return float(value)


def resolve_labels(num_labels: Any, id2label: Any, label2id: Any) -> tuple[int, dict[int, str], dict[str, int]]:
    """Return the number and the names of the classes; each determines the others.

    Raises
    ------
    ValueError
        If they contradict each other, or the classes are not numbered from 0.
    """
    count = None if num_labels is None else check_integer("num_labels", num_labels, 0)
    given = None if label2id is None else {str(name): i for name, i in _items("label2id", label2id)}
    if given is not None:
        given = {name: _class_number("label2id", i) for name, i in given.items()}
    if id2label is not None:
        labels = {_class_number("id2label", i): str(name) for i, name in _items("id2label", id2label)}
    elif given is not None and count in (None, len(given)):
        labels = {i: name for name, i in given.items()}
    else:
        labels = {i: f"LABEL_{i}" for i in range(2 if count is None else count)}  # 2 as in Transformers
    count = len(labels) if count is None else count
    if sorted(labels) != list(range(count)):
        raise ValueError(
            f"id2label must name the classes 0 to num_labels - 1: num_labels={count}, found {len(labels)} entries "
            f"with keys {sorted(labels)[:5]}...; drop one of the two, or make them agree"
        )
    found = {name: i for i, name in labels.items()}  # ImageNet names "crane" and "maillot" twice
    if given is not None:
        if given.keys() != found.keys() or any(labels.get(i) != name for name, i in given.items()):
            raise ValueError("label2id contradicts id2label or num_labels; drop one of them")
        found = given
    return count, dict(sorted(labels.items())), found


def _items(name: str, value: Any) -> Iterable[tuple[Any, Any]]:
    if not isinstance(value, Mapping):
        example = "{0: 'cat', 1: 'dog'}" if name == "id2label" else "{'cat': 0, 'dog': 1}"
        raise ValueError(f"{name} must be a dictionary such as {example}, found {value!r}")
    return value.items()


def _class_number(name: str, value: Any) -> int:
    """Return the number of a class; JSON turns integer keys into strings."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return check_integer(f"a class number of {name}", value, 0)


def resolve_out_stages(
    features: Any, indices: Any, stage_names: Sequence[str]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return ``out_features`` and ``out_indices``; either determines the other, and the last stage is the default.

    Raises
    ------
    ValueError
        If they are not distinct stages in order, or name different ones.
    """
    names, count = list(stage_names), len(stage_names)
    if features is not None:
        if not isinstance(features, Iterable) or isinstance(features, str):
            raise ValueError(f"out_features must be a list of stage names, found {features!r}")
        features = tuple(features)
        unknown = [f for f in features if f not in names]
        if unknown:
            raise ValueError(f"out_features has unknown stages {unknown}; the stages are {names}")
        _check_in_order("out_features", features, [names.index(f) for f in features])
    if indices is not None:
        indices = check_integers("out_indices", indices, "one for each stage to return")
        if any(not -count <= i < count for i in indices):
            raise ValueError(f"out_indices {indices} must lie in [{-count}, {count}): {names}")
        _check_in_order("out_indices", indices, [i % count for i in indices])
    if features is None:
        features = tuple(names[i] for i in indices) if indices is not None else (names[-1],)
    if indices is None:
        indices = tuple(names.index(f) for f in features)
    elif tuple(names[i] for i in indices) != features:
        raise ValueError(f"out_features {features} and out_indices {indices} name different stages of {names}")
    return features, indices


def _check_in_order(name: str, values: tuple[Any, ...], positions: list[int]) -> None:
    if len(set(positions)) != len(positions):
        raise ValueError(f"{name} {values} has duplicates")
    if positions != sorted(positions):
        raise ValueError(f"{name} {values} must be in the order of the stages")
