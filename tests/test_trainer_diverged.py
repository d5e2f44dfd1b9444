"""When numbers stop being finite, training stops and says where that began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

from npresnet.train.diagnosis import TrainingDiverged
from npresnet.train.state import load_state
from npresnet.train.trainer import Trainer


def trainer(model: Any, **changes: Any) -> Trainer:
    options = {"progress": False, "epochs": 2, "lr": 0.05, **changes}
    return Trainer(model, toy.killing(None), None, **options)


def test_the_layer_and_the_step_are_named(tmp_path: Path) -> None:
    model = toy.model()
    own = trainer(model, output_dir=tmp_path / "run")
    layer = model.resnet.encoder.stages[1].layers[0].layer[1].convolution

    class Breaking:
        """After the third step one layer's weights are so large that its sums overflow."""

        def forward(self, pixel_values: Any) -> Any:
            if own._position.step == 3:
                layer.weight.data = np.full_like(layer.weight.data, 3e38)
            return model.train()(pixel_values).logits

        def backward(self, dlogits: Any) -> None:
            model.backward(dlogits)

    own._descent._step = Breaking()
    with pytest.raises(TrainingDiverged) as stop:
        own.fit()
    message = str(stop.value)
    assert "diverged at step 4 (epoch 1, batch 4): the loss is nan" in message
    assert "resnet.encoder.stages.1.layers.0.layer.1.convolution (Conv2d)" in message, message
    assert "its largest weight 3e+38" in message
    assert f"{tmp_path / 'run/last.npz'} still holds an earlier step" in message
    assert load_state(tmp_path / "run").position.step == 0
    state = model.state_dict()
    assert all(np.isfinite(array).all() for name, array in state.items())  # running statistics too
    assert int(state["resnet.embedder.embedder.normalization.num_batches_tracked"]) == 3


def test_a_learning_rate_that_is_far_too_high() -> None:
    with pytest.raises(TrainingDiverged, match=r"learning rate 1e\+30.*a lower learning rate") as stop:
        trainer(toy.model(), lr=1e30, schedule="constant").fit()
    assert "at step 2" in str(stop.value)


def test_weights_that_were_bad_from_the_start() -> None:
    model = toy.model()
    model.resnet.embedder.embedder.convolution.weight.data[1, 2] = np.nan
    with pytest.raises(TrainingDiverged, match=r"embedder\.embedder\.convolution\.weight holds .*: 9 of 108 numbers"):
        trainer(model).fit()


def test_pixels_that_are_bad() -> None:
    own = trainer(toy.model())
    epoch = own._train.epoch

    def spoiled(number: int, start: int = 0) -> Any:
        for batch in epoch(number, start):
            batch.pixel_values[5, 0, 0, 0] = np.inf
            yield batch

    own._train.epoch = spoiled
    with pytest.raises(TrainingDiverged, match=r"at step 1 .*image 5 of the batch itself"):
        own.fit()


def test_a_gradient_that_overflows() -> None:
    """The logits are finite and so is the loss, but their gradient times a huge weight is not."""
    model = toy.model()
    own = trainer(model)
    before = model.state_dict()

    class Overflowing:
        def forward(self, pixel_values: Any) -> Any:
            return model.train()(pixel_values).logits

        def backward(self, dlogits: Any) -> None:
            model.backward(dlogits)
            model.resnet.encoder.stages[0].layers[0].layer[0].convolution.weight.grad[...] = np.inf

    own._descent._step = Overflowing()
    with pytest.raises(TrainingDiverged, match=r"at step 1 .*: a gradient is not finite") as stop:
        own.fit()
    assert "the gradient of resnet.encoder.stages.0.layers.0.layer.0.convolution.weight is not" in str(stop.value)
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
