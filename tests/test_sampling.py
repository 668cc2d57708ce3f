import pickle

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from glat.data.lists.labels import Labels
from glat.data.randomness import Use, generator
from glat.data.sampling import BalancedBatches
from glat.lib.errors import GlatError

TARGETS = arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 8)))


def naive(target, batch_size, seed, batches, left_out=()):
    """The rule as a plain loop over draws: walk the classes, keep a place in each class's list."""
    negative = ~target.any(axis=1)
    target = target.copy()
    target[left_out], negative[left_out] = False, False
    if negative.any():
        target = np.column_stack([target, negative])  # clips without a label are a class more
    classes = np.flatnonzero(target.any(axis=0))
    used = dict.fromkeys(classes, 0)
    lists, drawn, r = {}, [], 0
    while len(drawn) < batch_size * batches:
        for c in generator(Use.CLASS_ORDER, seed, r).permutation(classes):
            clips = np.flatnonzero(target[:, c])
            epoch, item = divmod(used[c], len(clips))
            if item == 0:
                lists[c] = generator(Use.CLIP_ORDER, seed, c, epoch).permutation(clips)
            drawn.append(lists[c][item])
            used[c] += 1
        r += 1
    return np.array(drawn[: batch_size * batches]).reshape(batches, batch_size)


@settings(deadline=None, max_examples=50)
@given(TARGETS, st.integers(1, 9), st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_against_a_naive_loop_in_any_order(target, batch_size, seed, random):
    left_out = random.sample(range(len(target)), random.choice([0, len(target) // 3]))
    if not np.delete(target, left_out, axis=0).any():
        but = f"but the {len(left_out)} left out " if left_out else ""
        with pytest.raises(GlatError, match=f"no clip {but}has a label"):
            BalancedBatches(target, batch_size, seed, left_out)
        return
    wanted = naive(target, batch_size, seed, 20, left_out)
    assert not set(wanted.ravel()) & set(left_out)
    batches = BalancedBatches(target, batch_size, seed, left_out)
    for k in random.sample(range(20), 20):
        np.testing.assert_array_equal(batches.batch(k), wanted[k])
    steps = [[clip for clip, _ in batch] for batch in batches.from_step(7, 11)]
    np.testing.assert_array_equal(steps, wanted[7:11])


@settings(deadline=None, max_examples=50)
@given(TARGETS, st.data())
def test_sparse_labels(target, data):
    labels = Labels.from_dense(target)
    np.testing.assert_array_equal(labels.dense(), target)
    rows = data.draw(st.lists(st.integers(0, len(target) - 1)))
    np.testing.assert_array_equal(labels.dense(np.array(rows, int)), target[rows])
    np.testing.assert_array_equal(Labels.concatenate([labels, labels]).dense(), np.concatenate([target, target]))
    clip, start = labels.by_class()
    for c in range(target.shape[1]):
        np.testing.assert_array_equal(clip[start[c] : start[c + 1]], np.flatnonzero(target[:, c]))


@pytest.fixture
def target():
    return np.random.default_rng(0).random((200, 12)) < np.linspace(0.9, 0.02, 12)


def test_ranks_part_the_batch(target):
    batches = BalancedBatches(target, 12, 1)
    for world in (1, 2, 3, 4):
        parts = [batches.batch(5, rank, world) for rank in range(world)]
        np.testing.assert_array_equal(np.concatenate(parts), batches.batch(5))
    with pytest.raises(GlatError, match="does not divide into 5"):
        batches.batch(0, 0, 5)


def test_classes_are_balanced_and_empty_ones_left_out(target):
    target[:, 4] = False
    batches = BalancedBatches(target, 11, 3)
    assert batches.empty.tolist() == [4] and 4 not in batches.classes
    # Eleven classes and batches of eleven: each batch takes every class once.
    only = np.eye(11, dtype=bool).repeat(5, axis=0)
    drawn = np.array([[clip for clip, _ in batch] for batch in BalancedBatches(only, 11, 3).from_step(0, 5)])
    assert (np.sort(drawn // 5, axis=1) == np.arange(11)).all()
    assert sorted(drawn.ravel()) == list(range(55))


def test_places_in_longer_clips_are_of_the_step_whatever_the_processes(target):
    batches = BalancedBatches(target, 12, 3)
    (whole,) = batches.from_step(4, 5)
    parts = [draw for rank in range(3) for draw in next(iter(batches.from_step(4, 9, rank, 3)))]
    assert parts == whole and len({place for _, place in whole}) == 12
    places = np.array([[place for _, place in batch] for batch in batches.from_step(0, 200)])
    assert 0 <= places.min() < 0.01 and 0.99 < places.max() < 1 and abs(places.mean() - 0.5) < 0.02


def test_seeds_differ_and_a_copy_agrees(target):
    batches = BalancedBatches(target, 32, 1)
    assert not np.array_equal(batches.batch(3), BalancedBatches(target, 32, 2).batch(3))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(batches)).batch(3), batches.batch(3))
    assert len(batches.from_step(10, 25)) == 15


def test_at_audiosets_size_each_round_takes_every_class_once_and_another_clip_of_it():
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 528) ** 1.1
    counts = rng.integers(1, 4, 2_041_789)
    classes = rng.choice(527, counts.sum(), p=share / share.sum())
    labels = Labels.from_pairs(np.repeat(np.arange(len(counts)), counts), classes, (len(counts), 527))
    batches = BalancedBatches(labels, 32, 0)
    drawn = np.concatenate([batches.batch(k) for k in range(33)])[: 2 * 527].reshape(2, 527)  # two rounds
    orders = np.stack([generator(Use.CLASS_ORDER, 0, r).permutation(527) for r in range(2)])
    assert len(batches.classes) == 527 and (drawn[0][orders[0].argsort()] != drawn[1][orders[1].argsort()]).all()
    assert labels.dense(drawn.ravel())[np.arange(2 * 527), orders.ravel()].all()
