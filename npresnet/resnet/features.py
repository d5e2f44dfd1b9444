"""Feature extractors: :class:`ResNetModel` ends in a pooled vector, :class:`ResNetBackbone` returns feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..blocks import ResNetEmbeddings, ResNetEncoder
from ..nn import GlobalPool2d
from ..outputs import BackboneOutput, BaseModelOutputWithPoolingAndNoAttention
from .pretrained import ResNetPreTrainedModel

if TYPE_CHECKING:
    from ..engine import Plan
    from ..engine.graph import Graph

Array = NDArray[np.floating]


class _FeatureExtractor(ResNetPreTrainedModel):
    """Stem and encoder, and the backward pass through both: the common part of model and backbone."""

    embedder: ResNetEmbeddings
    encoder: ResNetEncoder

    def _hidden_states(self, pixel_values: Array) -> list[Array]:
        pixel_values = self._checked(pixel_values)
        states = self.encoder.hidden_states(self.embedder(pixel_values))
        self._keep([state.shape for state in states])
        return states

    def _backward(self, gradients: dict[int, Array], input_gradient: bool) -> Array | None:
        """Propagate the gradients of some hidden states (0: stem, 1: first stage, ...) down to the pixels.

        Stages below the lowest one that learns are not run.
        """
        shapes = self._take()
        gradients = {number: np.asarray(gradient, self.dtype) for number, gradient in gradients.items()}
        for number, gradient in gradients.items():
            if gradient.shape != shapes[number]:
                name = self.config.stage_names[number]
                raise ValueError(f"the gradient of {name} must have shape {shapes[number]}, found {gradient.shape}")
        stem_needed = input_gradient or self.embedder.learns
        stages = self.encoder.stages
        lowest = next((i for i, stage in enumerate(stages) if stage.learns), len(stages))
        dy = self.encoder.backward(None, gradients, 0 if stem_needed else lowest)
        if not stem_needed or not dy.size:
            self.embedder.drop_caches()
            return None
        dx = self.embedder.backward(dy, input_gradient)
        return dx if input_gradient else None

    def _checked(self, pixel_values: Array) -> Array:
        pixel_values = np.asarray(pixel_values)
        if not np.issubdtype(pixel_values.dtype, np.floating):
            raise TypeError(
                f"pixel_values must be float32 or float64, found {pixel_values.dtype}; "
                "model.processor(images) turns pictures into pixel_values"
            )
        return pixel_values

    def _all(self, states: list[Array], wanted: bool | None) -> tuple[Array, ...] | None:
        return tuple(states) if self._wants_all(wanted) else None


class ResNetModel(_FeatureExtractor):
    """Stem, encoder and global pool, without a head.

    Examples
    --------
    >>> model = ResNetModel(seed=0)
    >>> model(pixel_values).pooler_output.shape
    (1, 2048, 1, 1)
    """

    _prefix = "resnet."

    def _build(self) -> None:
        self.embedder = ResNetEmbeddings(self.config)
        self.encoder = ResNetEncoder(self.config, self.rng)
        self.pooler = GlobalPool2d(self.config.global_pool)

    def forward(  # type: ignore[override]
        self, pixel_values: Array, output_hidden_states: bool | None = None, return_dict: bool | None = None
    ) -> BaseModelOutputWithPoolingAndNoAttention | tuple[Any, ...]:
        """Compute features.

        Parameters
        ----------
        pixel_values : (N, C, H, W)
            In the model's dtype.
        output_hidden_states : bool, optional
            Also return the output of the stem and of every stage; default ``config.output_hidden_states``.
        return_dict : bool, optional
            False returns a plain tuple; default ``config.return_dict``.

        Returns
        -------
        BaseModelOutputWithPoolingAndNoAttention
            ``last_hidden_state`` (N, C, H / 32, W / 32), ``pooler_output`` (N, C, 1, 1), ``hidden_states``.

        Raises
        ------
        ValueError
            If the number of channels is not the configured one, or the image is too small for the network.
        """
        states = self._hidden_states(pixel_values)
        output = BaseModelOutputWithPoolingAndNoAttention(
            states[-1], self.pooler(states[-1]), self._all(states, output_hidden_states)
        )
        return self._as_wanted(output, return_dict)

    def backward(  # type: ignore[override]
        self,
        d_last_hidden_state: Array | None = None,
        d_pooler_output: Array | None = None,
        *,
        d_hidden_states: Sequence[Array | None] = (),
        input_gradient: bool = False,
    ) -> Array | None:
        """Run the written backward of every layer; gradients are added to ``parameter.grad``.

        Parameters
        ----------
        d_last_hidden_state, d_pooler_output, d_hidden_states : arrays, optional
            Upstream gradients of the outputs of the same name, at least one.
        input_gradient : bool
            Also return the gradient with respect to ``pixel_values``, (N, C, H, W).
        """
        gradients = {i: g for i, g in enumerate(d_hidden_states) if g is not None}
        last = len(self.encoder.stages)
        for gradient in (
            d_last_hidden_state,
            self.pooler.backward(d_pooler_output) if d_pooler_output is not None else None,
        ):
            if gradient is not None:
                gradients[last] = gradients[last] + gradient if last in gradients else gradient
        if not gradients:
            raise ValueError("backward needs the gradient of at least one output, such as d_pooler_output")
        return self._backward(gradients, input_gradient)

    def _graph(self) -> Graph:
        from ..engine.graph import Graph

        return Graph(self.embedder, self.encoder, self.pooler)

    def _from_plan(
        self,
        plan: Plan,
        pixel_values: Array,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndNoAttention | tuple[Any, ...]:
        graph = plan.graph
        states = graph.states if self._wants_all(output_hidden_states) else graph.states[-1:]
        assert graph.pooled is not None
        maps = plan.run(self._checked(pixel_values), [*states, graph.pooled])
        if maps is None:
            return self._ordinarily(pixel_values, output_hidden_states, return_dict)
        last, pooled = maps[graph.states[-1]], maps[graph.pooled][:, :, None, None]
        output = BaseModelOutputWithPoolingAndNoAttention(
            last, pooled, self._all([maps[number] for number in states], output_hidden_states)
        )
        return self._as_wanted(output, return_dict)

    def forward_intermediates(self, pixel_values: Array, indices: Sequence[int] | None = None) -> list[Array]:
        """Return feature maps at every reduction, as timm's method of this name.

        Parameters
        ----------
        pixel_values : (N, C, H, W)
        indices : sequence of int, optional
            0 is the stem *before* its pool (reduction 2), 1 the first stage (reduction 4), and so on; negative ones
            count from the last; all by default.

        Returns
        -------
        list of arrays (N, C_i, H_i, W_i)
        """
        stem = self.embedder.features(np.asarray(pixel_values))
        maps = [stem, *self.encoder.hidden_states(self.embedder.pooler(stem))[1:]]
        wanted = range(len(maps)) if indices is None else indices
        if any(not -len(maps) <= i < len(maps) for i in wanted):
            raise ValueError(f"indices {list(wanted)} must lie in [{-len(maps)}, {len(maps)})")
        return [maps[i] for i in wanted]


class ResNetBackbone(_FeatureExtractor):
    """Feature maps of the stages named by ``config.out_features`` or ``config.out_indices``, for detectors and the
    like.

    Attributes
    ----------
    stage_names, out_features, out_indices, num_features, channels
        As in Transformers: ``channels`` of the returned maps, ``num_features`` of every stage.
    """

    _prefix = "resnet."

    def _build(self) -> None:
        self.embedder = ResNetEmbeddings(self.config)
        self.encoder = ResNetEncoder(self.config, self.rng)

    @property
    def stage_names(self) -> list[str]:
        """``["stem", "stage1", ...]``."""
        return list(self.config.stage_names)

    @property
    def out_features(self) -> list[str]:
        """Names of the stages that are returned."""
        return list(self.config.out_features)

    @property
    def out_indices(self) -> list[int]:
        """Numbers of the stages that are returned."""
        return list(self.config.out_indices)

    @property
    def num_features(self) -> list[int]:
        """Channels of the stem and every stage."""
        return [self.config.embedding_size, *self.config.hidden_sizes]

    @property
    def channels(self) -> list[int]:
        """Channels of the maps that are returned."""
        return [self.num_features[i] for i in self._numbers()]

    def _numbers(self) -> list[int]:
        return [self.config.stage_names.index(name) for name in self.config.out_features]

    def forward(  # type: ignore[override]
        self, pixel_values: Array, output_hidden_states: bool | None = None, return_dict: bool | None = None
    ) -> BackboneOutput | tuple[Any, ...]:
        """Compute feature maps: ``feature_maps``, a tuple of (N, C_i, H_i, W_i), and ``hidden_states``."""
        states = self._hidden_states(pixel_values)
        maps = tuple(states[i] for i in self._numbers())
        return self._as_wanted(BackboneOutput(maps, self._all(states, output_hidden_states)), return_dict)

    def _graph(self) -> Graph:
        from ..engine.graph import Graph

        return Graph(self.embedder, self.encoder)

    def _from_plan(
        self,
        plan: Plan,
        pixel_values: Array,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BackboneOutput | tuple[Any, ...]:
        numbers, states = self._numbers(), plan.graph.states
        everything = self._wants_all(output_hidden_states)
        wanted = states if everything else [states[number] for number in numbers]
        maps = plan.run(self._checked(pixel_values), wanted)
        if maps is None:
            return self._ordinarily(pixel_values, output_hidden_states, return_dict)
        hidden = tuple(maps[number] for number in states) if everything else None
        output = BackboneOutput(tuple(maps[states[number]] for number in numbers), hidden)
        return self._as_wanted(output, return_dict)

    def backward(  # type: ignore[override]
        self, d_feature_maps: Sequence[Array | None], *, input_gradient: bool = False
    ) -> Array | None:
        """Run the written backward; one upstream gradient, or None, for each feature map."""
        numbers = self._numbers()
        if len(d_feature_maps) != len(numbers):
            raise ValueError(f"expected {len(numbers)} gradients for {self.out_features}, found {len(d_feature_maps)}")
        gradients = {i: g for i, g in zip(numbers, d_feature_maps, strict=True) if g is not None}
        if not gradients:
            raise ValueError("backward needs the gradient of at least one feature map")
        return self._backward(gradients, input_gradient)
