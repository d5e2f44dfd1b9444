"""The training step of the engine: the same layout, kernels and runner as for inference, and the way back."""

from .plan import TrainingPlan, not_covered

__all__ = ["TrainingPlan", "not_covered"]
