"""Tags of sounds that somebody else sends: what one request may cost is limited, and what goes beyond is refused.

One row of a request is one sound, in one of two columns: `waveform` (samples in [-1, 1], mono, at the network's rate) or
`audio` (the bytes of an audio file of any format). There is no column for a path: whoever asks may not be who may read the
server's files. Bytes are decoded clip by clip, as they are tagged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..config.settings import Served
from ..data.audio.clips import AudioError, Limits
from ..lib.errors import GlatError
from .formats import Tag
from .hearing import LOUDEST, Heard, clips, stream
from .options import Options, Plan
from .recording_tags import Events, best
from .tagging import RunTagger

INPUTS = ("waveform", "audio")
COLUMNS = ("input", "start", "end", "label", "score", "window")
TOO_LONG = "longer than the {:g} s of sound that one request may have; send it in parts"
LIMITS = (
    "tracking.served.max_bytes", "twice tracking.served.max_seconds", "what a request has left of tracking.served.timeout",
)  # fmt: skip


class Refusal(GlatError):
    """What is wrong with a request, in a sentence; the sender is at fault."""

    def __init__(self, why: str, number: int | None = None):
        super().__init__(why if number is None else f"input {number}: {why}")


def answer(tagger: RunTagger, limits: Served, rows: list[dict[str, Any]], options: Options) -> list[tuple]:
    """The tags of each clip of each sound, or its events, as `COLUMNS` names them.

    `input` is the sound's row, from 0; `start` and `end` are the clip's or the event's, in seconds; `window` is where GL-AT's
    local stream heard this class, in seconds from the start of the clip, or None where no window was chosen for it, and of
    events. Where clips overlap, what is heard twice counts twice towards the limit.

    Raises:
        Refusal: an option that is none, no sound, one that cannot be decoded, or more than `limits` allow.
    """
    if options.calibrated is True:
        try:
            tagger.thresholds()
        except GlatError:  # which would tell of the server's files
            raise Refusal("params.calibrated: this model was logged without calibrated thresholds of its own") from None
    try:
        plan = tagger.plan(options)
    except GlatError as error:
        raise Refusal(f"params.{error}") from None
    if len(rows) > limits.max_sounds:
        raise Refusal(f"{len(rows)} sounds; at most {limits.max_sounds} a request")
    if not rows:  # MLflow drops columns that the model does not know, and rows that then hold nothing
        raise Refusal(f"give one of {', '.join(INPUTS)}, not none", 0)
    found, left, deadline = list[tuple](), limits.max_seconds, time.monotonic() + limits.timeout
    how: dict[str, Any] = {"hop": plan.hop, "seed": tagger.seed, "over_time": plan.events}
    for number, row in enumerate(rows):
        end, events = 0.0, Events(plan, tagger.seconds, tagger.labels, Path())
        try:
            pieces = _pieces(row, tagger.sample_rate, limits, left, deadline)
            for one in clips(tagger.network, pieces, tagger.seconds, **how):
                end, left = one.end, left - (one.end - one.start)
                if left < -1e-6:
                    raise Refusal(TOO_LONG.format(limits.max_seconds))
                found += [
                    (number, *tag) for tag in (_events(events.add(one)) if plan.events else _tags(one, plan, tagger))
                ]
                if time.monotonic() > deadline:
                    raise Refusal(f"not done within {limits.timeout:g} s; send fewer or shorter sounds")
        except AudioError as error:
            raise Refusal(f"audio: {error}", number) from None
        except Refusal as error:
            raise Refusal(str(error), number) from None
        found += [(number, *tag) for tag in _events(events.end(end))]
    return found


def _events(tags: Iterable[Tag]) -> Iterator[tuple[float, float, str, float, None]]:
    return ((one.start, one.end, one.label, one.score, None) for one in tags)


def _tags(one: Heard, plan: Plan, tagger: RunTagger) -> Iterator[tuple[float, float, str, float, float | None]]:
    """Start, end, label, score and window of the best classes of one clip."""
    streams, windows = one.streams, {}
    if streams.windows is not None and streams.classes is not None:
        found = zip(streams.classes[0].tolist(), streams.windows[0].tolist(), strict=True)
        windows = dict(reversed(list(found)))  # of several lengths, the first
    for index, score in best(streams.fused[0], plan):
        yield one.start, one.end, tagger.labels[index], score, windows.get(index)


def _pieces(row: dict[str, Any], rate: int, limits: Served, left: float, deadline: float) -> Iterator[np.ndarray]:
    """The sound of one row in pieces of (samples,) float32 at `rate`; of `left` seconds at most, until `deadline`."""
    given = [name for name in INPUTS if row.get(name) is not None and not _is_nan(row[name])]
    if len(given) != 1:
        raise Refusal(f"give one of {', '.join(INPUTS)}, not {' and '.join(given) or 'none'}")
    value = row[given[0]]
    if given == ["waveform"]:
        try:
            with np.errstate(over="ignore"):  # to infinity, which is refused
                mono = np.asarray(value, np.float32)
        except (TypeError, ValueError):
            mono = np.empty(0, np.float32)
        if mono.ndim != 1 or not mono.size or not (np.abs(mono) <= LOUDEST).all():
            raise Refusal("waveform: expected a list of finite samples in [-1, 1]")
        if mono.size > left * rate:
            raise Refusal(f"waveform: {TOO_LONG.format(limits.max_seconds)}")
        yield mono
        return
    if not isinstance(value, bytes | bytearray):
        raise Refusal("audio: expected the bytes of an audio file (over HTTP: base64)")
    if len(value) > limits.max_bytes:
        raise Refusal(f"audio: {len(value)} bytes, over the limit of {limits.max_bytes}")
    samples = 0
    bounds = Limits(math.inf, 2 * limits.max_seconds, max(deadline - time.monotonic(), 0.0), LIMITS)
    for piece in stream(bytes(value), rate, limits=bounds):
        samples += len(piece)
        if samples > left * rate:
            raise Refusal(f"audio: {TOO_LONG.format(limits.max_seconds)}")
        yield piece


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
