"""Random numbers as a hash of counters: fixed for ever, the same for one image and for many, and evenly spread."""

from __future__ import annotations

import numpy as np
import pytest

from npresnet.train.augment import BatchDraws, Draws, image_key, image_keys, shuffled


def test_the_hash_is_splitmix64() -> None:
    """The first outputs of the reference implementation for the seed 1234567, as its users publish them."""
    draws = Draws(1234567)
    assert [draws._next() for _ in range(5)] == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


def test_the_numbers_never_change() -> None:
    """A model trained today can be trained again tomorrow: whoever changes the hash has to change this test."""
    draws = Draws(image_key(seed=1, epoch=2, index=3))
    assert draws.key == 0x76E36D629CAE6121
    assert [draws.integer(1000) for _ in range(4)] == [362, 272, 63, 658]
    assert shuffled(seed=1, epoch=2, count=8).tolist() == [4, 7, 1, 5, 0, 2, 6, 3]


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1, 2**70, -5])
def test_a_batch_draws_what_its_images_draw(seed: int) -> None:
    indices = np.array([0, 3, 3, 59_999, 2**40])
    batch = BatchDraws(image_keys(seed, 4, indices)).stream(2)
    ones = [Draws(image_key(seed, 4, int(i))).stream(2) for i in indices]
    for _ in range(3):
        assert batch.uniform(-2, 3).tolist() == [one.uniform(-2, 3) for one in ones]
        assert batch.integer(9).tolist() == [one.integer(9) for one in ones]
        assert batch.chance(0.3).tolist() == [one.chance(0.3) for one in ones]
    assert batch[1].key == batch[2].key == ones[1].key


def test_seeds_epochs_images_and_steps_have_numbers_of_their_own() -> None:
    keys = {image_key(s, e, i) for s in range(10) for e in range(10) for i in range(100)}
    assert len(keys) == 10_000
    draws = Draws(image_key(0, 0, 0))
    firsts = {draws._next() for _ in range(50)} | {draws.stream(n)._next() for n in range(50)}
    assert len(firsts) == 100
    first = draws.stream(3).uniform()
    draws.uniform()
    assert draws.stream(3).uniform() == first  # whatever has been drawn meanwhile


def test_integers_and_numbers_are_evenly_spread() -> None:
    """Chi-squared of 64 cells below the value that chance exceeds once in a million; neighbours are uncorrelated."""
    draws = BatchDraws(image_keys(0, 0, np.arange(20_000)))
    for _ in range(4):
        for cells in (draws.integer(64), (draws.uniform() * 64).astype(int)):
            counts = np.bincount(cells, minlength=64)
            assert len(counts) == 64
            assert ((counts - 20_000 / 64) ** 2 / (20_000 / 64)).sum() < 131
    first, second = draws.uniform(), draws.uniform()
    for a, b in [(first, second), (first[1:], first[:-1])]:
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(20_000)


def test_the_ends_of_the_ranges() -> None:
    draws = BatchDraws(image_keys(0, 0, np.arange(5000)))
    assert set(draws.integer(3)) == {0, 1, 2}
    assert set(draws.integer(1)) == {0}
    assert not draws.chance(0.0).any()
    assert draws.chance(1.0).all()
    assert draws.integer(2**32).max() < 2**32


def test_permutations() -> None:
    orders = [tuple(Draws(image_key(0, 0, i)).permutation(3)) for i in range(600)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert min(orders.count(order) for order in set(orders)) > 60
    assert len(set(orders)) == 6


def test_every_epoch_has_an_order_of_its_own() -> None:
    orders = [shuffled(5, epoch, 100).tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert shuffled(5, 0, 100).tolist() == orders[0]
    assert shuffled(6, 0, 100).tolist() != orders[0]
    places = np.array([np.argsort(shuffled(0, epoch, 20)) for epoch in range(400)])  # where each image comes
    assert np.abs(places.mean(0) - 9.5).max() < 5 * np.sqrt((20**2 - 1) / 12 / 400)


def test_other_distributions_come_from_a_generator() -> None:
    draws = Draws(9)
    values = draws.generator().standard_normal(3)
    assert draws.generator().standard_normal(3).tolist() != values.tolist()
    assert Draws(9).generator().standard_normal(3).tolist() == values.tolist()
