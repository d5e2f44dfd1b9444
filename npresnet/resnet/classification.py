"""The classifier: :class:`ResNetForImageClassification`, from pixels or pictures to classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import ops
from ..kernels import active_backend
from ..nn import Dropout, Flatten, Identity, Linear, Module, Sequential
from ..outputs import ImageClassifierOutputWithNoAttention, Prediction
from .features import ResNetModel
from .pretrained import ResNetPreTrainedModel

if TYPE_CHECKING:
    from ..engine import Plan
    from ..engine.graph import Graph
    from ..picture import ImageSource

Array = NDArray[np.floating]


class ResNetForImageClassification(ResNetPreTrainedModel):
    """A ResNet with a linear classifier on its pooled features.

    Examples
    --------
    >>> model = ResNetForImageClassification.load("weights/r50.npz")
    >>> model.predict("cat.jpg", top_k=1)
    [Prediction(index=281, label='tabby', score=0.62)]
    """

    def _build(self) -> None:
        self.resnet = ResNetModel(self.config, seed=self.rng, _initialize=False)
        self.dropout = Dropout(self.config.dropout, self.rng)
        self.classifier = self._new_classifier()
        self._plan: Plan | None = None

    def _new_classifier(self) -> Sequential:
        config = self.config
        return Sequential(
            Flatten(), Linear(config.num_features, config.num_labels) if config.num_labels else Identity()
        )

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
        return self._as_wanted(result, return_dict)

    def _graph(self) -> Graph:
        from ..engine.graph import Graph

        return Graph(
            self.resnet.embedder, self.resnet.encoder, self.resnet.pooler, self.classifier[1], prefix="resnet."
        )

    def _from_plan(
        self,
        plan: Plan,
        pixel_values: Array,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ImageClassifierOutputWithNoAttention | tuple[Any, ...]:
        graph = plan.graph
        states = graph.states if self._wants_all(output_hidden_states) else []
        maps = plan.run(self.resnet._checked(pixel_values), [*states, graph.end])
        if maps is None:
            return self._ordinarily(pixel_values, output_hidden_states=output_hidden_states, return_dict=return_dict)
        hidden = tuple(maps[number] for number in states) or None
        return self._as_wanted(ImageClassifierOutputWithNoAttention(None, maps[graph.end], hidden), return_dict)

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
        if not input_gradient and not self.resnet.learns:
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
        logits = self._fast(pixel_values, return_dict=True).logits
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

    @property
    def _fast(self) -> Callable[..., Any]:
        """The quickest way to the outputs: a plan of the engine, kept from call to call."""
        if active_backend() != "numba" or self.dtype != np.float32:
            return self
        if self._plan is None:
            self._plan = self.compile()
        return self._plan

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
        for index, (width, stage) in enumerate(zip(config.hidden_sizes, config.stage_geometry, strict=True)):
            info.append({"num_chs": width, "reduction": stage.reduction, "module": f"resnet.encoder.stages.{index}"})
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
        dtype = self.dtype
        self.config = self.resnet.config = self.config.replace(**changes)
        self.resnet.pooler.kind = self.config.global_pool
        self.classifier = self._new_classifier()
        self.classifier.astype(dtype).train(self.training)
        head = self.classifier[1]
        if isinstance(head, Linear):
            head.initialize(self.rng)
