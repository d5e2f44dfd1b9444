"""Data: sets of labelled images, and the batches that a network is trained and evaluated on.

>>> dataset = open_dataset("cifar-10-python.tar.gz", "train")
>>> loader = Loader(dataset, 128, size=32, mean=(0.5,) * 3, std=(0.25,) * 3, shuffle=True)
>>> for batch in loader.epoch(0):
...     model(batch.pixel_values, batch.labels)
"""

from .cifar import read_cifar
from .compressed import CompressedDataset
from .dataset import ArrayDataset, Dataset, Subset
from .errors import DatasetError
from .folder import FolderDataset, read_folder
from .idx import read_idx
from .loader import Batch, Loader
from .npz import read_npz
from .opening import dataset_splits, open_dataset
from .published import PUBLISHED, PublishedDataset
from .splitting import split_dataset
from .statistics import mean_and_std

__all__ = [
    "PUBLISHED",
    "ArrayDataset",
    "Batch",
    "CompressedDataset",
    "Dataset",
    "DatasetError",
    "FolderDataset",
    "Loader",
    "PublishedDataset",
    "Subset",
    "dataset_splits",
    "mean_and_std",
    "open_dataset",
    "read_cifar",
    "read_folder",
    "read_idx",
    "read_npz",
    "split_dataset",
]
