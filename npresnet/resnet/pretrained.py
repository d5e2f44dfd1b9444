"""What all ResNet models share: initialisation, names, state, freezing, loading and saving."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..config import ResNetConfig, preset
from ..nn import BatchNorm2d, Conv2d, Linear, Module, Parameter
from ..outputs import ModelOutput

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..checkpoint import Checkpoint
    from ..engine import Plan
    from ..engine.graph import Graph
    from ..engine.target import Target
    from ..image import ImageProcessor
    from ..summary import Summary

Array = NDArray[np.floating]

COUNTER = ".num_batches_tracked"
SHAPE_FIELDS = (
    "layer_type", "embedding_size", "hidden_sizes", "depths", "stem_type", "stem_width", "shortcut_type", "groups",
    "width_per_group",
)  # fmt: skip


class LoadResult(NamedTuple):
    """Names that a lenient ``load_state_dict`` did not find, or had no use for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class ResNetPreTrainedModel(Module):
    """Base class of the models.

    Parameters
    ----------
    config : ResNetConfig, optional
        The architecture; by default the preset of the class, or Transformers' default.
    seed : int or numpy.random.Generator, optional
        Of the random initialisation, dropout and stochastic depth.
    **fields
        Fields of the configuration to change.

    Attributes
    ----------
    config : ResNetConfig
    processor : ImageProcessor
        Turns pictures into ``pixel_values``; it comes with the checkpoint.
    rng : numpy.random.Generator
        Source of all randomness of the model.
    """

    architecture: ClassVar[str | None] = None
    base_model_prefix: ClassVar[str] = "resnet"
    main_input_name: ClassVar[str] = "pixel_values"
    _prefix: ClassVar[str] = ""  # what canonical names have in front of this model's own

    def __init__(
        self,
        config: ResNetConfig | None = None,
        *,
        seed: int | np.random.Generator | None = None,
        _initialize: bool = True,
        **fields: Any,
    ) -> None:
        super().__init__()
        if config is None:
            config = preset(self.architecture, **fields) if self.architecture else ResNetConfig(**fields)
        elif not isinstance(config, ResNetConfig):
            raise TypeError(f"config must be a ResNetConfig, found {config!r}; fields go by name, as num_labels=10")
        elif fields:
            config = config.replace(**fields)
        self.config = config
        self.rng = np.random.default_rng(seed)
        self._processor: ImageProcessor | None = None
        self._build()
        if _initialize:
            self._init_weights()

    def _build(self) -> None:
        """Create the layers; to be written by each model."""
        raise NotImplementedError

    def _init_weights(self) -> None:
        """Initialise as Transformers does: He et al. 2015 (arXiv:1502.01852), fan-out, for convolutions."""
        for name, module in self.named_modules():
            if isinstance(module, Conv2d):
                O, _, kh, kw = module.weight.shape
                std = np.sqrt(2 / (O * kh * kw))
                module.weight.data = self.rng.standard_normal(module.weight.shape, np.float32) * np.float32(std)
            elif isinstance(module, Linear):
                module.initialize(self.rng)
            elif isinstance(module, BatchNorm2d) and self.config.zero_init_last:
                last = 1 if self.config.layer_type == "basic" else 2
                if name.endswith(f".layer.{last}.normalization"):
                    module.weight.data = np.zeros_like(module.weight.data)

    # --------------------------------------------------------------------------------------------------- properties

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, or float64 after ``astype``."""
        return next(self.parameters()).dtype

    @property
    def num_parameters(self) -> int:
        """Number of learned values."""
        return sum(parameter.size for parameter in self.parameters())

    @property
    def processor(self) -> ImageProcessor:
        """The preprocessing of the checkpoint; Transformers' or CIFAR's default for a new model.

        Raises
        ------
        ValueError
            If the model takes something else than colour or grey pictures.
        """
        if self._processor is None:
            if not self._takes_pictures:
                raise ValueError(
                    f"pictures have 3 channels or 1, but this model takes num_channels={self.config.num_channels}; "
                    "call it with pixel_values of your own making"
                )
            from ..image import ImageProcessor

            make = ImageProcessor.cifar if self.config.stem_type == "cifar" else ImageProcessor.transformers
            self._processor = make().for_channels(self.config.num_channels)
        return self._processor

    @processor.setter
    def processor(self, processor: ImageProcessor) -> None:
        self._processor = processor

    @property
    def _takes_pictures(self) -> bool:
        return self.config.num_channels in (1, 3)

    def summary(self, input_size: tuple[int, int, int] | None = None, depth: int | None = 2) -> Summary:
        """Return a table of the layers: output shape, parameters and multiply-adds (MACs).

        Parameters
        ----------
        input_size : (C, H, W), optional
            What one image of the model's processor looks like, by default.
        depth : int, optional
            1 shows stages, 2 residual layers, 3 their convolutions, None every operation.
        """
        from ..summary import summarize

        return summarize(self, input_size, depth)

    # ------------------------------------------------------------------------------------------------------- engine

    def compile(
        self,
        batch: int | None = None,
        *,
        precision: str = "float32",
        winograd: bool = True,
        num_threads: int | None = None,
        calibration: Array | None = None,
        target: Target | None = None,
    ) -> Plan:
        """Return a plan: a callable that computes what the model computes in evaluation mode, as fast as it can.

        Parameters
        ----------
        batch : int, optional
            Prepare for so many images of the processor's size now; any other shape is prepared when it comes.
        precision : {"float32", "bfloat16", "int8"}
            Number format of weights and feature maps. ``int8`` measures the maps on ``calibration``.
        winograd : bool
            Allow Winograd's algorithm for 3x3 convolutions where it is faster. Its rounding errors are larger than
            those of the direct sum, at most four times PyTorch's.
        num_threads : int, optional
            Default ``NPRESNET_NUM_THREADS``, or all processors. Results do not depend on it.
        calibration : (N, C, H, W) float32, optional
            Typical pixel values, for ``int8``; by default noise, which is only good for timing.
        target : Target, optional
            A part of the processor, such as ``npresnet.engine.find_target("avx2")``.

        Returns
        -------
        Plan
            Call it as the model: ``plan(pixel_values).logits``. Weights that change later are noticed.
            ``plan.describe()`` tells which layer runs how.

        Raises
        ------
        ValueError
            For a precision that this processor has no instructions for.
        """
        from ..engine import Plan
        from ..summary import default_input_size

        plan = Plan(self, self._graph, precision, winograd, num_threads, calibration, target)
        if batch is not None:
            if batch < 1:
                raise ValueError(f"batch must be at least 1, found {batch}")
            plan.prepare((batch, *default_input_size(self)))
        return plan

    def _graph(self) -> Graph:
        """What the engine has to compute; to be written by each model."""
        raise NotImplementedError

    def _from_plan(self, plan: Plan, pixel_values: Array, *arguments: Any, **keywords: Any) -> Any:
        """Compute the outputs of ``forward`` with a plan; to be written by each model."""
        raise NotImplementedError

    def _wants_all(self, wanted: bool | None) -> bool:
        """Whether hidden states are to be returned."""
        return self.config.output_hidden_states if wanted is None else wanted

    def _ordinarily(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the model in evaluation mode: the ordinary path, for what the engine does not cover."""
        before = [(module, module.training, module.keeps_cache) for _, module in self.named_modules()]
        self.eval()
        try:
            return self(*arguments, **keywords)
        finally:
            for module, training, keeps_cache in before:
                module.training, module.keeps_cache = training, keeps_cache

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, or back; returns itself."""
        super().train(mode)
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode; returns itself."""
        return self.train(False)

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert the model to float32 or float64 in place; returns itself."""
        super().astype(dtype)
        return self

    def freeze(self, *patterns: str, hold_statistics: bool = False) -> list[str]:
        """Exclude parameters from learning by name, such as ``"resnet.encoder.stages.0.*"``.

        Parameters
        ----------
        *patterns : str
            Shell patterns of parameter names (``*`` also matches dots).
        hold_statistics : bool
            Make the BatchNorms among them use their running statistics, unchanged, also in training.

        Returns
        -------
        list of str
            Names of the parameters that match.

        Raises
        ------
        ValueError
            If a pattern matches nothing.
        """
        names = self._set_requires_grad(patterns, False)
        if hold_statistics:
            self._hold_statistics(set(names), True)
        return names

    def unfreeze(self, *patterns: str) -> list[str]:
        """Undo :meth:`freeze` for the parameters that match, and for their BatchNorms' statistics."""
        names = self._set_requires_grad(patterns, True)
        self._hold_statistics(set(names), False)
        return names

    def _set_requires_grad(self, patterns: tuple[str, ...], value: bool) -> list[str]:
        parameters = dict(self.named_parameters())
        matching: dict[str, Parameter] = {}
        for pattern in patterns:
            found = {name: p for name, p in parameters.items() if fnmatchcase(name, pattern)}
            if not found:
                some = ", ".join(list(parameters)[:3])
                raise ValueError(f"no parameter matches {pattern!r}; names look like {some}")
            matching.update(found)
        for parameter in matching.values():
            parameter.requires_grad = value
        return list(matching)

    def _hold_statistics(self, names: set[str], value: bool) -> None:
        for name, module in self.named_modules():
            if isinstance(module, BatchNorm2d) and f"{name}.weight" in names:
                module.frozen = value

    # -------------------------------------------------------------------------------------------------------- state

    def state_dict(self, naming: str = "transformers") -> dict[str, NDArray[Any]]:
        """Return copies of all parameters and buffers by name.

        Parameters
        ----------
        naming : {"transformers", "torchvision", "timm", "cifar"}
        """
        state = {name: array.copy() for name, array in self._arrays().items()}
        if naming == "transformers":
            return state
        from ..checkpoint import from_canonical

        canonical = {self._prefix + name: array for name, array in state.items()}
        return from_canonical(canonical, naming, self.config.shortcut_type)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Return all parameters and buffers by name, without a copy."""
        return {name: _peek(getattr(owner, attribute)) for name, owner, attribute in self._named_arrays()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]], strict: bool = True) -> LoadResult:
        """Copy arrays into the model, under any naming that :mod:`npresnet.checkpoint` knows.

        Parameters
        ----------
        state : mapping of name to array
            Converted to the model's dtype. ``num_batches_tracked`` may be missing.
        strict : bool
            Insist on every name, and on no other.

        Raises
        ------
        ValueError
            If names (with ``strict``) or shapes differ; nothing is changed then. The message lists the first
            differences with expected and found shape.
        """
        return self._set_state(state, strict)

    def _set_state(self, state: Mapping[str, NDArray[Any]], strict: bool = True, borrow: bool = False) -> LoadResult:
        """Do as :meth:`load_state_dict`; with ``borrow``, parameters share the arrays of a mapped file."""
        from ..checkpoint import CheckpointError, to_canonical
        from ..checkpoint.adapt import describe_differences

        own = {name: (owner, attribute) for name, owner, attribute in self._named_arrays()}
        expected = {name: np.shape(array) for name, array in self._arrays().items()}
        found = dict(state)
        if not found.keys() & own.keys():
            canonical, _ = to_canonical(found)
            found = {name.removeprefix(self._prefix): array for name, array in canonical.items()}
        shapes = {name: np.shape(array) for name, array in found.items()}
        missing = [name for name in expected if name not in found and not name.endswith(COUNTER)]
        unexpected = [name for name in found if name not in expected]
        if not strict:
            shapes = {name: shape for name, shape in shapes.items() if name in expected}
        compared = expected if strict else {name: expected[name] for name in shapes}
        differences = describe_differences(compared, shapes)
        if differences:
            raise CheckpointError(
                f"the weights do not fit this {type(self).__name__} ({_describe(self.config)}):\n  "
                + "\n  ".join(differences)
            )
        for name, (owner, attribute) in own.items():
            if name not in found:
                continue
            value, array = getattr(owner, attribute), found[name]
            if not isinstance(value, Parameter):
                setattr(owner, attribute, np.array(array, dtype=value.dtype))
                continue
            value.grad = None
            if borrow and _can_be_borrowed(array, value.dtype):
                value.borrow(array)
            else:
                value.data = np.array(array, dtype=value.dtype)
        return LoadResult(missing, unexpected)

    # ------------------------------------------------------------------------------------------------ load and save

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, dtype: DTypeLike = np.float32, **overrides: Any) -> Self:
        """Read a published or saved checkpoint, without PyTorch.

        Parameters
        ----------
        path : path
            ``.npz``, safetensors, PyTorch (``.pth``, ``.bin``, ``.th``), Keras ``.h5``, or a Transformers directory.
        dtype : {float32, float64}
        **overrides
            Fields of the configuration that the weights alone do not tell, such as ``output_stride=8``;
            ``num_channels`` adapts the first convolution, ``num_labels=0`` leaves the classifier out.

        Returns
        -------
        model
            In evaluation mode, with the checkpoint's labels and preprocessing. Its weights stay in the file until they
            are needed as arrays: saving over the file, replacing or deleting it is safe, but another program must not
            shorten or rewrite it in place (as ``cp`` does) while the model is in use.

        Raises
        ------
        CheckpointError
            If the file is damaged, or holds another architecture than this class.
        FileNotFoundError
        """
        from ..checkpoint import read

        return cls._from_checkpoint(read(path), dtype, overrides)

    @classmethod
    def _from_checkpoint(cls, checkpoint: Checkpoint, dtype: DTypeLike, overrides: Mapping[str, Any]) -> Self:
        from ..checkpoint import CheckpointError
        from ..checkpoint.architecture import default_preprocessing, with_input_channels
        from ..image import ImageProcessor

        config = checkpoint.config
        if cls.architecture:  # the class insists on its own shape; the rest is the checkpoint's
            fixed = preset(cls.architecture)
            if checkpoint.config.shortcut_type == "none" != fixed.shortcut_type and "shortcut_type" not in overrides:
                raise CheckpointError(
                    f"the checkpoint holds a plain network, without shortcuts, not a {cls.__name__}: the arrays are "
                    "alike, the results would not be; use npresnet.load"
                )
            config = config.replace(**{name: getattr(fixed, name) for name in SHAPE_FIELDS})
        config = config.replace(**overrides)
        labels = checkpoint.config.num_labels
        if config.num_labels not in (0, labels) and not cls._prefix:
            raise CheckpointError(
                f"the checkpoint has {f'a classifier for {labels} labels' if labels else 'no classifier'}, which does "
                f"not fit num_labels={config.num_labels}; load it without num_labels, then call "
                f"reset_classifier({config.num_labels}) to start a new classifier"
            )
        model = cls(config, _initialize=False)

        arrays = {
            name.removeprefix(cls._prefix): array  # a headless model leaves the classifier out
            for name, array in with_input_channels(checkpoint.arrays, config.num_channels).items()
            if name.startswith(cls._prefix) and (config.num_labels or not name.startswith("classifier."))
        }
        model.astype(dtype)._set_state(arrays, borrow=True)
        if not model._takes_pictures:
            return model.eval()
        preprocessing = checkpoint.preprocessing or default_preprocessing(checkpoint.naming, checkpoint.config)
        model.processor = ImageProcessor.from_dict(preprocessing).for_channels(config.num_channels)
        return model.eval()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, configuration, labels and preprocessing, completely or not at all.

        Parameters
        ----------
        path : path
            ``*.npz`` or ``*.safetensors``; a name without a suffix is a directory that Transformers reads.

        Raises
        ------
        ValueError
            For another suffix.
        OSError
            If the file cannot be written.
        """
        from ..checkpoint.writer import SAVERS

        suffix = Path(path).suffix if not Path(path).is_dir() else ""
        if suffix not in SAVERS:
            raise ValueError(f"cannot write {suffix!r} files; use .npz, .safetensors, or a directory without a suffix")
        arrays = {self._prefix + name: array for name, array in self._arrays().items()}
        preprocessing = self.processor.to_dict() if self._takes_pictures else None
        SAVERS[suffix](path, arrays, self.config, preprocessing)

    def _as_wanted(self, output: ModelOutput, return_dict: bool | None) -> Any:
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_describe(self.config)}, {self.num_parameters:,} parameters, {self.dtype})"


def _peek(value: Parameter | NDArray[Any]) -> NDArray[Any]:
    return value.peek() if isinstance(value, Parameter) else value


def _can_be_borrowed(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether a parameter can have this array of a checkpoint as it is: in the right form, in a mapped file."""
    from ..checkpoint.mapped import mapping_of

    if sys.platform == "win32":  # a mapped file cannot be replaced there, so saving over it would fail
        return False
    fits = array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned
    return fits and mapping_of(array) is not None


def _describe(config: ResNetConfig) -> str:
    return f"{config.layer_type}, depths {config.depths}, widths {config.hidden_sizes}, {config.num_labels} labels"
