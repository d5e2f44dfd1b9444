"""The three models: features (:class:`ResNetModel`), classes (:class:`ResNetForImageClassification`), and feature
maps of chosen stages (:class:`ResNetBackbone`). Names, outputs and behaviour are those of Hugging Face Transformers.
"""

from .classification import ResNetForImageClassification
from .features import ResNetBackbone, ResNetModel
from .pretrained import LoadResult, ResNetPreTrainedModel

__all__ = ["LoadResult", "ResNetBackbone", "ResNetForImageClassification", "ResNetModel", "ResNetPreTrainedModel"]
