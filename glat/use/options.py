"""What may be asked of a tagger, on the command line, in Python and of a served model alike, checked in one place."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from ..lib.errors import GlatError
from .thresholds import DEFAULT, Thresholds

TOP, MEDIAN, HYSTERESIS = 5, 0.5, 0.5
SHORTEST_HOP = 0.1  # seconds


@dataclass(frozen=True)
class Options:
    """As they are given; None stands for what is usual.

    top: how many classes of each clip, the highest; None: 5, or with thresholds all that reach theirs.
    hop: seconds from one clip's start to the next one's; None: the clips' length, so that they do not overlap.
    events: events with onset and offset, not the classes of clips.
    threshold: the lowest score, of all classes; of events, the one that some frame must have (None: 0.5).
    calibrated: each class's own threshold, of the run's thresholds.json, in its place.
    median: length of the median filter over time in seconds; None: 0.5, or that of the calibration.
    hysteresis: an event goes on while its score is at least this share of its threshold; None: 0.5.
    """

    top: int | None = None
    hop: float | None = None
    events: bool = False
    threshold: float | None = None
    calibrated: bool = False
    median: float | None = None
    hysteresis: float | None = None


class Plan(NamedTuple):
    """`Options` for one network. high, low: (L,); without thresholds, `high` of clips is 0."""

    top: int
    hop: float  # seconds
    events: bool
    high: np.ndarray
    low: np.ndarray
    median: float  # seconds


def plan(options: Options, seconds: float, classes: int, calibrated: Callable[[], Thresholds]) -> Plan:
    """What is to be done with clips of `seconds` of a network of so many classes.

    calibrated: reads the thresholds; called where they are asked for. Raises GlatError: an option that is no such number, or
    that has no meaning beside another, as `<option>: what is wrong`.
    """
    for name in ("events", "calibrated"):
        if not isinstance(getattr(options, name), bool | np.bool_):
            raise GlatError(f"{name}: expected true or false, found {reprlib.repr(getattr(options, name))}")
    if options.top is not None and (isinstance(options.top, bool) or not isinstance(options.top, Integral)):
        raise GlatError(f"top: expected a whole number, found {reprlib.repr(options.top)}")
    hop = _number(
        "hop", options.hop, min(SHORTEST_HOP, seconds), seconds, f" s, the length of its clips being {seconds:g}"
    )
    threshold = _number("threshold", options.threshold, 0, 1)
    median = _number("median", options.median, 0, seconds, " s")
    share = _number("hysteresis", options.hysteresis, 0, 1)
    if options.calibrated and threshold is not None:
        raise GlatError("threshold: with calibrated, each class has its own; leave one of them out")
    for name in ("median", "hysteresis"):
        if getattr(options, name) is not None and not options.events:
            raise GlatError(f"{name}: of events alone; ask for events, or leave it out")
    if options.events and options.top is not None:
        raise GlatError("top: of clips alone, and events have thresholds; leave it out")
    if not options.calibrated:
        limited = threshold is not None
        high = np.full(classes, (DEFAULT if options.events else 0.0) if threshold is None else threshold)
        median = MEDIAN if median is None else median
    else:
        limited, own = True, calibrated()
        high = own.events if options.events else own.tags
        if options.events and median not in (None, own.median):
            raise GlatError(
                f"median: {median:g} s, but the thresholds were calibrated with {own.median:g} s; leave it out"
            )
        median = own.median
    if options.top is not None and options.top < 1:
        raise GlatError(f"top: expected a whole number from 1, found {options.top}")
    top = (classes if limited else TOP) if options.top is None else min(int(options.top), classes)
    low = high * (HYSTERESIS if share is None else share)
    return Plan(top, seconds if hop is None else hop, bool(options.events), high, low, median)


def _number(name: str, value: object, low: float, high: float, unit: str = "") -> float | None:
    if value is None:
        return None
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not low <= number <= high:  # NaN is in no range
        raise GlatError(f"{name}: expected a number from {low:g} to {high:g}{unit}, found {reprlib.repr(value)}")
    return number
