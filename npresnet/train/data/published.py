"""The published data sets that ``npresnet fetch`` knows: where they are and how to verify them.

Sources
-------
CIFAR
    https://www.cs.toronto.edu/~kriz/cifar.html gives the addresses and MD5; Keras (``keras.datasets.cifar10`` and
    ``cifar100``) the SHA-256.
Fashion-MNIST
    The README of https://github.com/zalandoresearch/fashion-mnist gives MD5 and the licence. The files come from that
    repository.
MNIST
    The mirror and the MD5 are those of ``torchvision.datasets.MNIST``.

The SHA-256 of the MNIST and Fashion-MNIST files are those that projects which pin them agree on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFile:
    """One file of a data set.

    Parameters
    ----------
    url : str
    md5, sha256 : str
        Hexadecimal.
    """

    url: str
    md5: str
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file on disk."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class PublishedDataset:
    """One data set.

    Parameters
    ----------
    name : str
        What a user types: ``cifar10``.
    title : str
        What it is called.
    files : tuple of PublishedFile
    train, test : int
        Numbers of images.
    classes : int
    shape : str
        Of an image.
    mebibytes : float
        Size of all files.
    license : str or None
        As the publisher states it; None where no licence is stated.
    """

    name: str
    title: str
    files: tuple[PublishedFile, ...]
    train: int
    test: int
    classes: int
    shape: str
    mebibytes: float
    license: str | None


def _mnist_files(base: str, hashes: tuple[tuple[str, str, str], ...]) -> tuple[PublishedFile, ...]:
    return tuple(PublishedFile(f"{base}/{name}-ubyte.gz", md5, sha256) for name, md5, sha256 in hashes)


# fmt: off
_CIFAR10 = PublishedFile(
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "c58f30108f718f92721af3b95e74349a", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)
_CIFAR100 = PublishedFile(
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "eb9058c3a382ffc7106e4002c42a8d85", "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
)
_FASHION_MNIST = _mnist_files("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion", (
    ("train-images-idx3", "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
     "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ("train-labels-idx1", "25c81989df183df01b3e8a0aad5dffbe",
     "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    ("t10k-images-idx3", "bef4ecab320f06d8554ea6380940ec79",
     "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    ("t10k-labels-idx1", "bb300cfdad3c16e7a12a480ee83cd310",
     "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
))
_MNIST = _mnist_files("https://ossci-datasets.s3.amazonaws.com/mnist", (
    ("train-images-idx3", "f68b3c2dcbeaaa9fbdd348bbdeb94873",
     "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1", "d53e105ee54ea40749a09fcbcd1e9432",
     "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3", "9fb629c4189551a2d022fa330f9573f3",
     "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1", "ec29112dd5afa0611ce80d1b7f02629c",
     "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
))

_TABLE = (
    #                 name             title            files          train   test  classes  shape        MiB  licence
    PublishedDataset("cifar10",       "CIFAR-10",      (_CIFAR10,),    50000, 10000,  10, "32 x 32 RGB",  162.6, None),
    PublishedDataset("cifar100",      "CIFAR-100",     (_CIFAR100,),   50000, 10000, 100, "32 x 32 RGB",  161.2, None),
    PublishedDataset("fashion-mnist", "Fashion-MNIST", _FASHION_MNIST, 60000, 10000,  10, "28 x 28 grey",  29.4, "mit"),
    PublishedDataset("mnist",         "MNIST",         _MNIST,         60000, 10000,  10, "28 x 28 grey",  11.1, None),
)
# fmt: on

PUBLISHED = {dataset.name: dataset for dataset in _TABLE}
"""Every published data set by its name."""


def find_published(name: str) -> PublishedDataset | None:
    """Return the data set called ``name``, or None. Case, dashes and underscores do not matter."""
    key = _plain(name)
    return next((dataset for dataset in _TABLE if _plain(dataset.name) == key), None)


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.lower())
