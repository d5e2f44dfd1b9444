"""Data: sets of labelled images, and the batches that a network is trained and evaluated on.

>>> loader = Loader(ArrayDataset(images, labels), 128, size=32, mean=(0.5,) * 3, std=(0.25,) * 3, shuffle=True)
>>> for batch in loader.epoch(0):
...     model(batch.pixel_values, batch.labels)
"""

from .dataset import ArrayDataset, Dataset, Subset
from .errors import DatasetError
from .loader import Batch, Loader

__all__ = ["ArrayDataset", "Batch", "Dataset", "DatasetError", "Loader", "Subset"]
