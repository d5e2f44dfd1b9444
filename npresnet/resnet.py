"""The three models: features (:class:`ResNetModel`), classes (:class:`ResNetForImageClassification`), and feature
maps of chosen stages (:class:`ResNetBackbone`). Names, outputs and behaviour are those of Hugging Face Transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import ops
from .blocks import ResNetEmbeddings, ResNetEncoder
from .nn import Dropout, Flatten, GlobalPool2d, Identity, Linear, Module, Sequential
from .outputs import (
    BackboneOutput,
    BaseModelOutputWithPoolingAndNoAttention,
    ImageClassifierOutputWithNoAttention,
    Prediction,
)
from .pretrained import ResNetPreTrainedModel

if TYPE_CHECKING:
    from .picture import ImageSource

Array = NDArray[np.floating]


class _FeatureExtractor(ResNetPreTrainedModel):
    """Stem and encoder, and the backward pass through both: the common part of model and backbone."""

    embedder: ResNetEmbeddings
    encoder: ResNetEncoder

    def _hidden_states(self, pixel_values: Array) -> list[Array]:
        pixel_values = np.asarray(pixel_values)
        if not np.issubdtype(pixel_values.dtype, np.floating):
            raise TypeError(
                f"pixel_values must be float32 or float64, found {pixel_values.dtype}; "
                "model.processor(images) turns pictures into pixel_values"
            )
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
        stem_needed = input_gradient or _learns(self.embedder)
        stages = self.encoder.stages
        lowest = next((i for i, stage in enumerate(stages) if _learns(stage)), len(stages))
        dy = self.encoder.backward(None, gradients, 0 if stem_needed else lowest)
        if not stem_needed or not dy.size:
            self.embedder.drop_caches()
            return None
        dx = self.embedder.backward(dy, input_gradient)
        return dx if input_gradient else None


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
            states[-1], self.pooler(states[-1]), _all(self, states, output_hidden_states)
        )
        return _as_wanted(self, output, return_dict)

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


class ResNetForImageClassification(ResNetPreTrainedModel):
    """A ResNet with a linear classifier on its pooled features.

    Examples
    --------
    >>> model = ResNetForImageClassification.load("weights/r50.npz")
    >>> model.predict("cat.jpg", top_k=1)
    [Prediction(index=281, label='tabby', score=0.62)]
    """

    def _build(self) -> None:
        self.resnet = ResNetModel(self.config, _initialize=False)
        _share_rng(self.resnet, self.rng)
        self.dropout = Dropout(self.config.dropout, self.rng)
        head = Linear(self.config.num_features, self.config.num_labels) if self.config.num_labels else Identity()
        self.classifier = Sequential(Flatten(), head)

    def forward(  # type: ignore[override]
        self,
        pixel_values: Array,
        labels: ArrayLike | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        label_smoothing: float = 0.0,
        class_weights: ArrayLike | None = None,
    ) -> ImageClassifierOutputWithNoAttention | tuple[Any, ...]:
        """Compute logits, and with ``labels`` the loss.

        Parameters
        ----------
        pixel_values : (N, C, H, W)
        labels : array, optional
            (N,) integers for cross-entropy, where -100 is ignored; (N, num_labels) floats for binary cross-entropy,
            or with ``problem_type="single_label_classification"`` for soft labels; floats for a regression.
        output_hidden_states, return_dict : bool, optional
            As in :class:`ResNetModel`.
        label_smoothing, class_weights
            Of the cross-entropy; see :func:`npresnet.ops.cross_entropy`.

        Returns
        -------
        ImageClassifierOutputWithNoAttention
            ``loss`` (a float), ``logits`` (N, num_labels), ``hidden_states``.
        """
        output = self.resnet(pixel_values, output_hidden_states, return_dict=True)
        logits = self.classifier(self.dropout(output.pooler_output))
        loss = None
        dlogits = None
        if labels is not None:
            loss, dlogits = self._loss(logits, labels, label_smoothing, class_weights)
        self._keep((logits, dlogits))
        result = ImageClassifierOutputWithNoAttention(loss, logits, output.hidden_states)
        return _as_wanted(self, result, return_dict)

    def _loss(
        self, logits: Array, labels: ArrayLike, label_smoothing: float, class_weights: ArrayLike | None
    ) -> tuple[float, Array]:
        """Return the loss that the problem type asks for, and its gradient (N, num_labels)."""
        labels = np.asarray(labels)
        problem = self.config.problem_type
        if problem is None:
            integers = np.issubdtype(labels.dtype, np.integer)
            problem = "single_label_classification" if integers else "multi_label_classification"
            if self.config.num_labels == 1:
                problem = "regression"
        if problem == "single_label_classification":
            loss, cache = ops.cross_entropy(logits, labels, label_smoothing, class_weights)
            return loss, ops.cross_entropy_backward(cache)
        if label_smoothing or class_weights is not None:
            raise ValueError(f"label_smoothing and class_weights belong to cross-entropy; this model does {problem}")
        if problem == "regression":
            if self.config.num_labels == 1:
                labels = labels.reshape(logits.shape)
            loss, mse_cache = ops.mse(logits, labels)
            return loss, ops.mse_backward(mse_cache)
        loss, bce_cache = ops.bce_with_logits(logits, labels)
        return loss, ops.bce_with_logits_backward(bce_cache)

    def backward(self, dlogits: Array | None = None, *, input_gradient: bool = False) -> Array | None:  # type: ignore[override]
        """Run the written backward of every layer; gradients are added to ``parameter.grad``.

        Parameters
        ----------
        dlogits : (N, num_labels), optional
            Upstream gradient; by default that of the loss.
        input_gradient : bool
            Also return the gradient with respect to ``pixel_values``, (N, C, H, W).

        Raises
        ------
        RuntimeError
            Without a forward pass in training mode (or within ``enable_grad()``) since the last backward.
        ValueError
            If there is neither a loss nor ``dlogits``.
        """
        logits, from_loss = self._take()
        if dlogits is None:
            dlogits = from_loss
        if dlogits is None:
            self.drop_caches()
            raise ValueError("backward needs labels in the forward pass, or the gradient dlogits")
        dlogits = np.asarray(dlogits, logits.dtype)
        if dlogits.shape != logits.shape:
            raise ValueError(f"dlogits must have the shape of the logits, {logits.shape}, found {dlogits.shape}")
        dpooled = self.dropout.backward(self.classifier.backward(dlogits))
        if not input_gradient and not _learns(self.resnet):
            self.resnet.drop_caches()
            return None
        return self.resnet.backward(d_pooler_output=dpooled, input_gradient=input_gradient)

    def predict(
        self, images: ImageSource | Sequence[ImageSource], top_k: int = 5, batch_size: int = 16
    ) -> list[Prediction] | list[list[Prediction]]:
        """Classify pictures.

        Parameters
        ----------
        images : picture or list of pictures
            Path, bytes, file object, PIL image, or HxWx3 or HxW array (uint8, or float in [0, 1]).
        top_k : int
            Classes to return, at most all.
        batch_size : int
            Pictures in memory at a time.

        Returns
        -------
        list of Prediction, or for a list of pictures a list of them
            Best class first. Scores are probabilities (softmax), independent probabilities for a multi-label model
            (sigmoid), and plain outputs for a regression.

        Raises
        ------
        ImageError
            If a picture cannot be read; the message names it.
        """
        if self.config.num_labels == 0:
            raise ValueError("this model has no classifier (num_labels=0); call reset_classifier(num_labels) first")
        if top_k < 1 or batch_size < 1:
            raise ValueError(f"top_k and batch_size must be at least 1, found {top_k} and {batch_size}")
        several = isinstance(images, (list, tuple))
        sources: Sequence[Any] = images if several else [images]  # type: ignore[assignment]
        training = self.training
        if training:
            self.eval()
        try:
            ranked = [
                prediction
                for start in range(0, len(sources), batch_size)
                for prediction in self._rank(sources[start : start + batch_size], top_k)
            ]
        finally:
            if training:
                self.train()
        return ranked if several else ranked[0]

    def _rank(self, images: Sequence[ImageSource], top_k: int) -> list[list[Prediction]]:
        pixel_values = self.processor(images).astype(self.dtype, copy=False)
        logits = self(pixel_values, return_dict=True).logits
        problem = self.config.problem_type
        scores = logits.astype(np.float64)
        if problem == "multi_label_classification":
            scores, _ = ops.activation(scores, "sigmoid")
        elif problem != "regression" and self.config.num_labels > 1:
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
        names = self.config.id2label
        return [
            [Prediction(int(i), names[int(i)], float(row[i])) for i in order]
            for row, order in zip(scores, best, strict=True)
        ]

    # ----------------------------------------------------------------------------------------- the verbs of timm

    def forward_features(self, pixel_values: Array) -> Array:
        """Return the last feature map, (N, C, H / 32, W / 32)."""
        return self.resnet(pixel_values, return_dict=True).last_hidden_state

    def forward_head(self, features: Array, pre_logits: bool = False) -> Array:
        """Pool and classify a feature map; with ``pre_logits`` only pool: (N, num_labels) or (N, num_features)."""
        pooled = self.resnet.pooler(features)
        return pooled.reshape(len(pooled), -1) if pre_logits else self.classifier(self.dropout(pooled))

    def forward_intermediates(self, pixel_values: Array, indices: Sequence[int] | None = None) -> list[Array]:
        """Return feature maps at every reduction. See :meth:`ResNetModel.forward_intermediates`."""
        return self.resnet.forward_intermediates(pixel_values, indices)

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module of each map of :meth:`forward_intermediates`."""
        config = self.config
        reduction = 1 if config.stem_type == "cifar" else 2
        info = [{"num_chs": config.embedding_size, "reduction": reduction, "module": "resnet.embedder.embedder"}]
        reduction = 1 if config.stem_type == "cifar" else 4
        for index, width in enumerate(config.hidden_sizes):
            stride = 2 if index > 0 or config.downsample_in_first_stage else 1
            dilated = config.output_stride < 32 and reduction * stride > config.output_stride
            reduction *= 1 if dilated else stride
            info.append({"num_chs": width, "reduction": reduction, "module": f"resnet.encoder.stages.{index}"})
        return info

    def get_classifier(self) -> Module:
        """Return the last layer: a :class:`~npresnet.nn.Linear`, or an Identity without labels."""
        return self.classifier[1]

    def reset_classifier(
        self, num_labels: int, global_pool: str | None = None, id2label: dict[int, str] | None = None
    ) -> None:
        """Replace the classifier by a new, randomly initialised one: the start of fine-tuning.

        Parameters
        ----------
        num_labels : int
            0 leaves the classifier out: the model then returns pooled features.
        global_pool : str, optional
            Change the pool before it.
        id2label : dict, optional
            Names of the new classes.
        """
        changes: dict[str, Any] = {"num_labels": num_labels, "id2label": id2label}
        if global_pool is not None:
            changes["global_pool"] = global_pool
        fresh = type(self)(self.config.replace(**changes), _initialize=False)
        fresh.rng = self.rng
        head = fresh.classifier[1]
        if isinstance(head, Linear):
            bound = 1 / np.sqrt(head.weight.shape[1])
            for parameter in (head.weight, head.bias):
                parameter.data = self.rng.uniform(-bound, bound, parameter.shape).astype(self.dtype)
        fresh.classifier.train(self.training)
        self.config = self.resnet.config = fresh.config
        self.classifier = fresh.classifier
        self.resnet.pooler.kind = fresh.config.global_pool


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
        return _as_wanted(self, BackboneOutput(maps, _all(self, states, output_hidden_states)), return_dict)

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


def _learns(module: Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _share_rng(model: Module, rng: np.random.Generator) -> None:
    for _, module in model.named_modules():
        if isinstance(module, Dropout):
            module.rng = rng


def _all(model: ResNetPreTrainedModel, states: list[Array], wanted: bool | None) -> tuple[Array, ...] | None:
    return tuple(states) if (model.config.output_hidden_states if wanted is None else wanted) else None


def _as_wanted(model: ResNetPreTrainedModel, output: Any, return_dict: bool | None) -> Any:
    return output if (model.config.return_dict if return_dict is None else return_dict) else output.to_tuple()
