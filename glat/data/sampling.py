"""Class-balanced batches as a pure function of (seed, k): no state to save, nothing to replay on resume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..lib.errors import GlatError
from .lists.labels import Labels
from .randomness import Use, generator


class BalancedBatches:
    """Walk the classes in a fresh random order each round, and take the next clip of each class's shuffled list.

    Draw p = k * batch_size + j, the j-th of batch k, falls in round r = p // C over the C classes that have clips, and
    takes class c = order_r[p % C]. Class c, of n_c clips, gives item r % n_c of its shuffle number r // n_c. Orders
    come from (seed, r) and shuffles from (seed, c, r // n_c), so any batch can be drawn first. Clips without a label, which
    are negatives of every class, are walked as one class more, numbered after the others.

    target: (clips, classes) bool, or `Labels`. left_out: indices of clips that no batch holds. `empty`: indices of the
    classes without a clip, which are left out too.
    Raises GlatError if no clip that may be drawn has a label, or batch_size < 1.
    """

    def __init__(
        self, target: np.ndarray | Labels, batch_size: int, seed: int, left_out: Sequence[int] | np.ndarray = ()
    ):
        labels = target if isinstance(target, Labels) else Labels.from_dense(np.asarray(target))
        if batch_size < 1:
            raise GlatError(f"batch_size is {batch_size}; it must be at least 1")
        self.batch_size, self.seed = batch_size, seed
        left_out = np.asarray(left_out, np.int64)
        self._clip, self._start = labels.without(left_out).by_class()
        # Of the labels as they are: a clip that is left out has its own, and is no negative.
        negatives = np.setdiff1d(np.flatnonzero(np.diff(labels.indptr) == 0), left_out).astype(self._clip.dtype)
        if len(self._clip) and len(negatives):
            self._clip = np.concatenate([self._clip, negatives])
            self._start = np.append(self._start, len(self._clip))
        self._counts = np.diff(self._start)
        self.classes = np.flatnonzero(self._counts)
        self.empty = np.flatnonzero(self._counts == 0)
        if not len(self.classes):
            of = f"no clip but the {len(left_out)} left out" if len(left_out) else "no clip"
            raise GlatError(f"{of} has a label, so there is nothing to balance; check the segment and class lists")
        self._orders: dict[int, np.ndarray] = {}
        self._shuffles: dict[int, tuple[int, np.ndarray]] = {}

    def batch(self, k: int, rank: int = 0, world: int = 1) -> np.ndarray:
        """(batch_size / world,) int64 clip indices: part `rank` of `world` of batch k.

        The parts are disjoint and, joined in order of rank, are batch k. A clip may be drawn twice in a batch, for
        two of its labels. Raises GlatError if `world` does not divide the batch size.
        """
        if self.batch_size % world:
            raise GlatError(f"batch_size {self.batch_size} does not divide into {world} equal parts, one a process")
        size = self.batch_size // world
        first = k * self.batch_size + rank * size
        return np.fromiter((self._draw(p) for p in range(first, first + size)), np.int64, size)

    def from_step(self, start: int, stop: int, rank: int = 0, world: int = 1) -> Steps:
        """Batches start, ..., stop - 1 as a DataLoader's `batch_sampler`."""
        return Steps(self, start, stop, rank, world)

    def _draw(self, p: int) -> int:
        r, place = divmod(p, len(self.classes))
        c = int(self._order(r)[place])
        epoch, item = divmod(r, int(self._counts[c]))
        return int(self._shuffle(c, epoch)[item])

    def _order(self, r: int) -> np.ndarray:
        order = self._orders.get(r)
        if order is None:
            while len(self._orders) >= 4:
                del self._orders[next(iter(self._orders))]
            order = self._orders[r] = generator(Use.CLASS_ORDER, self.seed, r).permutation(self.classes)
        return order

    def _shuffle(self, c: int, epoch: int) -> np.ndarray:
        kept, shuffle = self._shuffles.get(c, (-1, self._clip))
        if kept != epoch:
            clips = self._clip[self._start[c] : self._start[c + 1]]
            shuffle = generator(Use.CLIP_ORDER, self.seed, c, epoch).permutation(clips)
            self._shuffles[c] = (epoch, shuffle)
        return shuffle


class Steps:
    """An iterable of batches of `BalancedBatches`, from one step to another: lists of (clip index, place), where `place` is
    drawn evenly from [0, 1) for each draw and says which part of a longer clip is taken (`packs.read.Crops`)."""

    def __init__(self, batches: BalancedBatches, start: int, stop: int, rank: int, world: int):
        self.batches, self.start, self.stop, self.rank, self.world = batches, start, stop, rank, world

    def __iter__(self) -> Iterator[list[tuple[int, float]]]:
        for k in range(self.start, self.stop):
            clips = self.batches.batch(k, self.rank, self.world).tolist()
            places = generator(Use.CROPS, self.batches.seed, k).random(self.batches.batch_size)
            first = self.rank * len(clips)
            yield list(zip(clips, places[first : first + len(clips)].tolist(), strict=True))

    def __len__(self) -> int:
        return max(0, self.stop - self.start)
