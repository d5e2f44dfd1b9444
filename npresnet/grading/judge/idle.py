"""Modules that do nothing, in the places of those that a notebook leaves behind: plots and progress bars.

``import matplotlib.pyplot as plt`` at the top of a submission is no reason to refuse it. Such modules are not there
when it is judged; what stands in for them accepts every call and every attribute. ``tqdm(items)`` gives back ``items``.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

NAMES = ("matplotlib", "seaborn", "IPython", "tqdm")


class _Idle(types.ModuleType):
    """Anything, doing nothing."""

    __path__: list[str] = []  # noqa: RUF012  # a package, as far as imports are concerned

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Idle(f"{self.__name__}.{name}")

    def __call__(self, *args: object, **options: object) -> object:
        return args[0] if args and "tqdm" in self.__name__ else _Idle(self.__name__)

    def __getitem__(self, key: object) -> object:
        return _Idle(self.__name__)

    def __setitem__(self, key: object, value: object) -> None:
        return

    def __iter__(self) -> Iterator[object]:
        return iter((self, self))  # fig, ax = plt.subplots()

    def __enter__(self) -> object:
        return self

    def __exit__(self, *error: object) -> None:
        return


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.split(".")[0] in NAMES else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Idle(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        return


def install() -> None:
    """Let the modules be imported, unless the real ones were found."""
    sys.meta_path.append(_Finder())
