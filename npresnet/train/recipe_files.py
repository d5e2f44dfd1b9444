"""Recipes as files: TOML and YAML are read, TOML is written; some recipes come with the package."""

from __future__ import annotations

import difflib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from .recipe import SECTIONS, Recipe, RecipeError
from .recipe_keys import Section

BASE = "base"
"""A key beside the tables: the packaged recipe whose values stand where the file gives none."""

MAX_BYTES = 2**20
"""A file that is larger is no recipe."""


_FOLDER = resources.files(__package__) / "recipes"


def packaged_recipes() -> dict[str, str]:
    """Return the names of the recipes in the package, and a line about each."""
    return {name: read_recipe(name).description for name in _names()}


def _names() -> list[str]:
    return sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))


def read_recipe(source: str | os.PathLike[str]) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    source : path or str
        A ``.toml``, ``.yaml`` or ``.yml`` file, or the name of a recipe in the package, such as ``"cifar10"``.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        If there is no such recipe, the file cannot be parsed, or a key or a value is wrong; the message names the
        file and the nearest known name.
    OSError
        If the file cannot be read.
    """
    path = Path(source)
    if path.suffix in PARSERS:
        return _build(_parse(path.suffix, _content(path), str(source)), str(source))
    resource = _FOLDER / f"{source}.toml"
    if path.name != str(source) or not resource.is_file():
        raise RecipeError(_unknown(str(source)))
    return _build(_parse(".toml", resource.read_text(encoding="utf-8"), str(source)), str(source))


def _unknown(source: str) -> str:
    names = _names()
    near = difflib.get_close_matches(source, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the package has {', '.join(names)}."
    return f"there is no recipe {source!r}; {hint} A file of your own must end in .toml, .yaml or .yml"


def _content(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise RecipeError(
            f"{path}: {path.stat().st_size:,} bytes are too much for a recipe; expected a small text file"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not a text file in UTF-8: {error}") from None


def _build(values: Mapping[str, Any], source: str) -> Recipe:
    own = dict(values)
    base = own.pop(BASE, None)
    if base is not None and not isinstance(base, str):
        raise RecipeError(f"{source}: {BASE} must be the name of a recipe, found {base!r}")
    if base is not None and Path(base).suffix in PARSERS:
        raise RecipeError(f"{source}: {BASE} must be the name of a recipe in the package, found the file {base!r}")
    try:
        return (read_recipe(base) if base else Recipe()).merged(own)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from None


# ------------------------------------------------------------------------------------------------------------ parsing


def _parse(suffix: str, content: str, source: str) -> Mapping[str, Any]:
    try:
        values = PARSERS[suffix](content)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from None
    if not isinstance(values, Mapping):
        raise RecipeError(f"{source}: a recipe is made of tables such as [optimizer], found {type(values).__name__}")
    return values


def parse_toml(content: str) -> Any:
    """Return the content of a TOML document.

    Raises
    ------
    RecipeError
        If it is none; the message says where.
    """
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"this is not TOML: {error}") from None


def parse_yaml(content: str) -> Any:
    """Return the content of a YAML document.

    ``1e-4`` is a number, as in YAML 1.2; a key that appears twice is an error.

    Raises
    ------
    RecipeError
        If it is none; the message says where.
    """
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        """Plain values only."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            """Return a table."""
            names = [self.construct_object(name, deep=True) for name, _ in node.value]
            for place, name in enumerate(names):
                if name in names[:place]:
                    raise RecipeError(
                        f"the key {name!r} appears twice, line {node.value[place][0].start_mark.line + 1}"
                    )
            return super().construct_mapping(node, deep)

    number = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    try:
        values = yaml.load(content, Loader)  # a subclass of SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"this is not YAML: {' '.join(str(error).split())}") from None
    return {} if values is None else values


PARSERS = {".toml": parse_toml, ".yaml": parse_yaml, ".yml": parse_yaml}
"""What reads a file of this suffix."""


def parse_value(content: str) -> Any:
    """Return the value that a word of the command line stands for: TOML where it is, otherwise the word itself."""
    try:
        values = parse_toml(f"value = {content}")
    except RecipeError:
        return content
    return values["value"] if list(values) == ["value"] else content


# ------------------------------------------------------------------------------------------------------------ writing


def format_recipe(recipe: Recipe) -> str:
    """Return a recipe as TOML, complete and explained line by line; keys that are not set are comments."""
    return "\n".join(_lines(recipe)) + "\n"


def _lines(recipe: Recipe) -> Iterator[str]:
    if recipe.description:
        yield f"description = {_toml(recipe.description)}"
    for title in SECTIONS:
        section: Section = getattr(recipe, title)
        yield ""
        yield f"[{title}]"
        for name, value in section.to_dict().items():
            line = f"# {name} =" if value is None else f"{name} = {_toml(value)}"
            yield f"{line:<40} # {section.meaning(name)}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{_name(name)} = {_toml(item)}" for name, item in value.items()) + " }" if value else "{}"
        )
    raise TypeError(f"a recipe cannot hold {value!r}")


def _name(name: str) -> str:
    """A key of TOML: bare where that is possible."""
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else _toml(name)
