"""Scores over time of an evaluation, `frames.h5`: both streams' scores of each frame of each clip, and which frames a window
holds.

They are stored as logits in float16. As probabilities, the highest scores would be equal: float16 has steps of 0.0005 below 1,
and a network that is sure of what it hears stays above them. A clip that is longer than the network hears at a time is stored
part by part, as it was scored, and put together when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
from scipy.special import expit, logit

from ..data.hdf5 import dataset, open_hdf5
from ..lib.errors import DAMAGED, GlatError, refusal, tell
from ..lib.files import whole

if TYPE_CHECKING:  # the tables read these files, and need no torch
    from ..data.packs.read import Packs
    from ..models.timeline import Timeline

FRAMES = "frames.h5"
VERSION = 2
LARGEST_LOGIT = 20.0  # 2e-9 from 0 or 1
CHUNK = 2**19  # bytes, about: half of what HDF5 keeps unpacked
AGAIN = "evaluate the run again"


class Clip(NamedTuple):
    """The scores over time of one clip, by stream: "fused", "global" and, with GL-AT, "local", each (T, L) float64.

    Frame t lasts from `edges[t]` to `edges[t + 1]` seconds.
    """

    name: str
    edges: np.ndarray  # (T + 1,), ascending from 0 to the clip's end
    scores: dict[str, np.ndarray]


class FrameWriter:
    """Writes the scores of one batch after another into an open file, so that no more than a batch is in memory."""

    def __init__(self, file: h5py.File):
        self.file = file

    def add(self, found: Timeline) -> None:
        """Append (B, T, L) scores of B parts of clips."""
        self.file.attrs["frame_seconds"] = found.frame
        streams = {"global": found.global_} | ({} if found.local is None else {"local": found.local})
        for name, scores in streams.items():
            probabilities = scores.double().cpu().numpy()
            with np.errstate(divide="ignore"):
                logits = np.clip(logit(probabilities), -LARGEST_LOGIT, LARGEST_LOGIT)
            self._append(name, logits.astype(np.float16))
        if found.heard is not None:
            self._append("heard", found.heard.cpu().numpy())

    def _append(self, name: str, rows: np.ndarray) -> None:
        if name not in self.file:
            height = max(1, min(64, CHUNK // max(rows[0].nbytes, 1)))
            how: dict[str, Any] = {"maxshape": (None, *rows.shape[1:]), "chunks": (height, *rows.shape[1:])}
            how |= {"compression": "gzip", "compression_opts": 4, "shuffle": True}
            self.file.create_dataset(name, (0, *rows.shape[1:]), rows.dtype, **how)
        at = self.file[name]
        at.resize(len(at) + len(rows), 0)
        at[-len(rows) :] = rows

    def finish(self, corpus: Packs, indices: np.ndarray) -> None:
        """Note of which clips of the packs the scores were, in order: their names, lengths, parts and classes."""
        clip, offset = corpus.parts(indices)
        whole_clip = np.minimum(corpus.end - corpus.start, corpus.clip_seconds)
        seconds = np.where(corpus.length > corpus.samples, corpus.length / corpus.sample_rate, whole_clip)
        self.file.attrs["version"] = VERSION
        self.file.attrs["part_seconds"] = corpus.clip_seconds
        self.file["clip"] = corpus.clips[indices].astype(h5py.string_dtype())
        self.file["mid"] = corpus.classes["mid"].to_numpy(h5py.string_dtype())
        self.file["seconds"] = seconds[indices]
        self.file["part"] = np.cumsum(np.diff(clip, prepend=clip[:1]) != 0)
        self.file["begin"] = offset / corpus.sample_rate


@contextmanager
def frame_writer(path: Path) -> Iterator[FrameWriter]:
    """A writer of `path`, which is there whole once the block has ended. Its size is told then."""
    with whole(path) as part:
        with h5py.File(part, "w") as file:
            yield FrameWriter(file)
        size = part.stat().st_size
    shown = f"{size / 1e6:.1f} MB" if size > 1e5 else f"{size / 1e3:.0f} kB"
    tell(f"{path}: scores over time, {shown} (localisation.frames)")


class Frames:
    """What `FrameWriter` wrote. `clip` (names), `mid`, `seconds` of each clip and `streams` are read at once, scores one clip
    at a time.

    Raises:
        GlatError: a file that is missing, damaged or of another version.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with self._open() as file:
            if (version := file.attrs.get("version")) != VERSION:
                raise GlatError(f"{path}: scores over time of version {version}, expected {VERSION}; {AGAIN}")
            self.clip, self.mid = (
                list(dataset(file, name, "text", (None,), AGAIN).asstr()) for name in ("clip", "mid")
            )
            clips, classes = len(self.clip), len(self.mid)
            self.seconds = dataset(file, "seconds", "numbers", (clips,), AGAIN)[()]
            self.part_seconds, self.frame_seconds = (float(file.attrs[f"{of}_seconds"]) for of in ("part", "frame"))
            self._part = dataset(file, "part", "whole numbers", (None,), AGAIN)[()]
            parts = len(self._part)
            self._begin = dataset(file, "begin", "numbers", (parts,), AGAIN)[()]
            frames = dataset(file, "global", "numbers", (parts, None, classes), AGAIN).shape[1]
            self.streams = ["fused", "global"]
            if "local" in file:
                dataset(file, "local", "numbers", (parts, frames, classes), AGAIN)
                dataset(file, "heard", "whole numbers", (parts, frames), AGAIN)
                self.streams.append("local")
            numbers = (self.seconds, self._begin, self.part_seconds, self.frame_seconds)
            first = np.searchsorted(self._part, np.arange(clips + 1))
            if (
                not all(np.isfinite(one).all() for one in numbers)
                or not frames
                or min(self.part_seconds, self.frame_seconds, *self.seconds) <= 0
                or (np.diff(self._part) < 0).any()
                or (np.diff(first) < 1).any()
                or first[-1] != parts
            ):
                raise GlatError(f"{path}: damaged: its parts are not those of its clips; {AGAIN}")
            self._first = first

    def read(self, rows: Iterable[int] | None = None) -> Iterator[Clip]:
        """The clips at these rows, in ascending order, or all.

        Raises:
            GlatError: a file that cannot be read to its end, or with scores that are no numbers.
        """
        with self._open() as file:
            for row in range(len(self.clip)) if rows is None else sorted(rows):
                parts = slice(self._first[row], self._first[row + 1])
                stored = {name: file[name][parts] for name in ("global", "local", "heard") if name in file}
                scores = fuse({name: expit(of.astype(float)) for name, of in stored.items() if name != "heard"},
                              stored.get("heard"))  # fmt: skip
                if not np.isfinite(scores["fused"]).all():
                    raise GlatError(f"{self.path}: damaged: scores of {self.clip[row]} are no numbers; {AGAIN}")
                within = edges_of(scores["fused"].shape[1], self.frame_seconds, self.part_seconds)
                index, edges = join(self._begin[parts], within, float(self.seconds[row]))
                yield Clip(
                    self.clip[row], edges, {name: of.reshape(-1, of.shape[2])[index] for name, of in scores.items()}
                )

    @contextmanager
    def _open(self) -> Iterator[h5py.File]:
        absent = f"missing; set localisation.frames (docs/localisation.md) and {AGAIN}"
        try:
            with open_hdf5(self.path, absent, AGAIN) as file:
                yield file
        except DAMAGED as error:
            raise GlatError(f"{self.path}: {refusal(error) or f'damaged ({error}); {AGAIN}'}") from None


def fuse(streams: dict[str, np.ndarray], heard: np.ndarray | None) -> dict[str, np.ndarray]:
    """The streams "global" and, with GL-AT, "local", (P, T, L) each, and heard (P, T) -> these and "fused", as
    `glat.models.timeline.timeline` has it."""
    if heard is None:
        return streams | {"fused": streams["global"]}
    inside = heard.astype(bool)[..., None]
    s_g, local = streams["global"], np.where(inside, streams["local"], 0.0)
    both = (np.maximum(s_g, local) + (s_g + local) / 2) / 2
    return {"global": s_g, "local": local, "fused": np.where(inside, both, s_g)}


def edges_of(frames: int, frame: float, seconds: float) -> np.ndarray:
    """(T + 1,) where each of T frames of `frame` seconds begins in what lasts `seconds`, to whose end the last one lasts."""
    return np.append(np.minimum(np.arange(frames) * frame, seconds), seconds)


def join(begin: np.ndarray, within: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """How the parts of a clip of `seconds`, which begin at `begin` (P,) and whose frames have the edges `within` (T + 1,) each,
    make one line of time: which of all P x T frames follow each other (n,), and their edges (n + 1,), all in seconds.

    Where the last part overlaps the one before it, each is heard up to the middle, since a network knows least at the edge of
    what it hears. Behind the clip's end there is nothing.

    >>> join(np.array([0.0, 2.0]), np.array([0.0, 2.0, 4.0]), 6.0)  # two parts of two frames: 0 to 4 s, 2 to 6 s
    (array([0, 1, 2, 3]), array([0., 2., 3., 4., 6.]))
    """
    length, frames = within[-1], len(within) - 1
    cuts = np.concatenate([[0.0], (begin[:-1] + length + begin[1:]) / 2, [min(seconds, begin[-1] + length)]])
    index, edges = [], [np.zeros(1)]
    for part, (start, low, high) in enumerate(zip(begin, cuts[:-1], cuts[1:], strict=True)):
        at = start + within
        kept = np.flatnonzero((at[1:] > low + 1e-6) & (at[:-1] < high - 1e-6))
        index.append(part * frames + kept)
        edges.append(np.minimum(at[kept + 1], high))
    return np.concatenate(index), np.concatenate(edges)
