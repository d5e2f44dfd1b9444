"""The keys of a recipe: each has a default, a check and a line of explanation, all in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from typing import Any, ClassVar

from ..config_fields import check_integer, check_number

Check = Callable[[str, Any], Any]
"""A function of the name of a key and of its value; it returns the value in its final form or raises ValueError."""


def key(default: Any, check: Check, meaning: str) -> Any:
    """Declare a key: a field of a :class:`Section`. Where the default is None, None is allowed and means "not set"."""
    metadata = {"check": check, "meaning": meaning}
    return (
        field(default_factory=dict, metadata=metadata) if default == {} else field(default=default, metadata=metadata)
    )


class Section:
    """Base class of the tables of a recipe: frozen dataclasses whose fields are made by :func:`key`."""

    title: ClassVar[str]

    def __post_init__(self) -> None:
        for own in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, own.name)
            if value is not None or own.default is not None:
                value = own.metadata["check"](f"{self.title}.{own.name}", value)
                object.__setattr__(self, own.name, value)

    @classmethod
    def key_names(cls) -> tuple[str, ...]:
        """Names of the keys."""
        return tuple(own.name for own in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def meaning(cls, name: str) -> str:
        """The line of explanation of a key."""
        return next(own.metadata["meaning"] for own in fields(cls) if own.name == name)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """All keys and their values, in plain types: lists, not tuples."""
        return {name: _plain(value) for name, value in vars(self).items()}

    def replace(self, **changes: Any) -> Any:
        """Return a copy with some values changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value


# ------------------------------------------------------------------------------------------------------------- checks


def one_of(*choices: str) -> Check:
    """One of some words."""

    def check(name: str, value: Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, found {value!r}")
        return value

    return check


def number(
    least: float | None = None, most: float | None = None, *, above: float | None = None, below: float | None = None
) -> Check:
    """A finite number from ``least`` to ``most``, greater than ``above`` and smaller than ``below``."""

    def check(name: str, value: Any) -> float:
        found = check_number(name, value)
        if least is not None and found < least:
            raise ValueError(f"{name} must be at least {least:g}, found {value!r}")
        if most is not None and found > most:
            raise ValueError(f"{name} must be at most {most:g}, found {value!r}")
        if above is not None and not found > above:
            raise ValueError(f"{name} must be greater than {above:g}, found {value!r}")
        if below is not None and not found < below:
            raise ValueError(f"{name} must be smaller than {below:g}, found {value!r}")
        return found

    return check


def integer(least: int) -> Check:
    """An integer."""
    return lambda name, value: check_integer(name, value, least)


def flag(name: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, found {value!r}")
    return value


def text(name: str, value: Any) -> str:
    """A string with something in it."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a string, found {value!r}")
    return value


def numbers(check: Check | None = None) -> Check:
    """A list of numbers, or a single one."""
    check_one = check or number()

    def check_all(name: str, value: Any) -> tuple[float, ...]:
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return tuple(check_one(f"{name}[{place}]", item) for place, item in enumerate(values))

    return check_all


def texts(name: str, value: Any) -> tuple[str, ...]:
    """A list of strings, or a single one."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return tuple(text(f"{name}[{place}]", item) for place, item in enumerate(values))


def table(check: Check | None = None) -> Check:
    """A table; ``check`` is for its values."""

    def check_table(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(own, str) for own in value):
            raise ValueError(f"{name} must be a table of names and values, found {value!r}")
        return {own: check(f"{name}.{own}", item) if check else item for own, item in value.items()}

    return check_table


def steps(name: str, value: Any) -> tuple[dict[str, Any], ...]:
    """A list of tables, each with a ``name``."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"{name} must be a list of tables such as {{ name = 'flip' }}, found {value!r}")
    for place, item in enumerate(value):
        if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
            raise ValueError(
                f"{name}[{place}] must be a table with a name, such as {{ name = 'flip' }}, found {item!r}"
            )
    return tuple(dict(item) for item in value)
