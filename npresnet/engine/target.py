"""The processor that code is made for: what its vector registers hold, and which instructions it has."""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass

from llvmlite import binding as llvm

LEVELS = {
    "avx512": ("avx512f", "avx512vl", "avx512bw", "avx512dq"),
    "avx2": ("avx2", "fma"),
    "neon": ("neon",),
}
# What each level is restricted to when it is asked for by name on a machine that has more.
RESTRICTED = {"avx2": "x86-64-v3", "baseline": "x86-64"}


@dataclass(frozen=True)
class Target:
    """A processor, or part of what it can do.

    Attributes
    ----------
    cpu, features : str
        As LLVM names them.
    level : {"avx512", "avx2", "neon", "baseline"}
        The vector instructions in use.
    has_bf16 : bool
        Multiplies pairs of bfloat16 numbers and adds the products in float32 (``vdpbf16ps``).
    has_dot8 : bool
        Multiplies four 8-bit integers each and adds the products (``vpdpbusd``).
    """

    cpu: str
    features: str
    level: str
    has_bf16: bool = False
    has_dot8: bool = False

    @property
    def registers(self) -> int:
        """How many vector registers there are."""
        return 32 if self.level in ("avx512", "neon") else 16

    @property
    def parts(self) -> int:
        """How many registers 16 floats take."""
        return {"avx512": 1, "avx2": 2}.get(self.level, 4)

    def fits(self, rows: int, vectors: int) -> bool:
        """Whether the sums of a tile, the weights of a step and one input fit into the registers."""
        return (rows * vectors + vectors) * self.parts + 1 <= self.registers

    @property
    def identity(self) -> str:
        """A text that differs wherever the machine code may differ."""
        version = ".".join(map(str, llvm.llvm_version_info))
        return f"{llvm.get_process_triple()} {self.cpu} {self.features} {self.level} LLVM {version}"

    def machine(self) -> llvm.TargetMachine:
        """Return LLVM's code generator for it."""
        _initialize()
        target = llvm.Target.from_triple(llvm.get_process_triple())
        return target.create_target_machine(self.cpu, self.features, opt=2, codemodel="jitdefault", jit=True)


@functools.cache
def _initialize() -> None:
    with contextlib.suppress(RuntimeError):  # of newer versions, where this happens by itself
        llvm.initialize()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def find_target(name: str | None = None) -> Target:
    """Return the target to use.

    Parameters
    ----------
    name : {"native", "avx2", "baseline"}, optional
        ``native`` uses all that this processor has, the others part of it, for comparison and for tests; by default
        what the environment variable ``NPRESNET_TARGET`` says, or ``native``.

    Raises
    ------
    ValueError
        For another name, or one that this processor does not offer.
    """
    name = name or os.environ.get("NPRESNET_TARGET") or "native"
    _initialize()
    features = llvm.get_host_cpu_features()
    x86 = llvm.get_process_triple().startswith(("x86_64", "amd64"))
    has = {level for level, needed in LEVELS.items() if all(features.get(feature) for feature in needed)}
    if name == "native":
        level = next((level for level in LEVELS if level in has), "baseline")
        if not x86 and level == "baseline" and llvm.get_process_triple().startswith(("aarch64", "arm64")):
            level = "neon"
        return Target(
            llvm.get_host_cpu_name(),
            features.flatten(),
            level,
            level == "avx512" and bool(features.get("avx512bf16")),
            level == "avx512" and bool(features.get("avx512vnni")),
        )
    if name not in RESTRICTED or not x86 or (name != "baseline" and name not in has):
        offered = ["native"] + [n for n in RESTRICTED if x86 and (n == "baseline" or n in has)]
        raise ValueError(f"target {name!r} is not available on this processor; it has {', '.join(offered)}")
    return Target(RESTRICTED[name], "", name)
