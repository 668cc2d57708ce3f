"""Signs of damage in the statistics of every clip: no audio is decoded for them.

Each sign is a condition that a healthy clip seldom meets. A sound archive has such clips too, so a sign is judged by
the share of a split's clips that show it. What is expected is AudioSet: ten-second cuts of YouTube videos, lossy
coded, mostly at 44.1 or 48 kHz, loud (music and speech with peaks near full scale), some of them silent or clipped by
those who made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from .gather import Split
from .rows import FINE, NOT_FIT, WARNING, Row, Verdict, judge, percent

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 176400, 192000)
LEAST = 3  # clips: in a small corpus, one or two odd clips are above any share


class Sign(NamedTuple):
    """shown: which clips of a split show it; warn, fatal: shares of clips above which it counts (None: never fatal)."""

    name: str
    shown: Callable[[Split], np.ndarray]
    meaning: str
    warn: float
    fatal: float | None
    cause: str


def _is_wrapped(split: Split) -> np.ndarray:
    # An overflow leaves two steps, out and back.
    return split.statistics["jumps"] * split.clip_seconds * split.sample_rate > 1.5


def _is_saturated(split: Split) -> np.ndarray:
    return split.statistics["clipped"] > 0.2


SIGNS = [
    Sign(
        "wrapped",
        _is_wrapped,
        "steps of more than full scale, behind which the signal goes on as if full scale had no end",
        0.02,
        0.2,
        "int16 overflow: samples beyond full scale were wrapped around instead of clipped when they became integers",
    ),
    Sign(
        # Music and speech peak within 20 dB of full scale. 256 of 32768 steps (-42 dB) is what a float of +-1 cannot
        # reach, however loud, when it is cast to integers, nor 8-bit samples stored as 16-bit ones.
        "tiny",
        lambda split: split.statistics["peak"] < 2**-7,
        "peak under 256 of 32768 steps",
        0.05,
        0.3,
        "float samples, or integers of another width, were written as int16 without scaling",
    ),
    Sign(
        "saturated",
        _is_saturated,
        "more than a fifth of all samples at full scale",
        0.01,
        0.2,
        "integers were taken for float of full scale 1, or multiplied once too often, and clipped",
    ),
    Sign(
        # Loud masters and lossy decoders leave a few clipped samples in many videos: only a large part is odd.
        "clipped",
        lambda split: (split.statistics["clipped"] > 0.001) & ~_is_wrapped(split) & ~_is_saturated(split),
        "more than 0.1 % of the samples at full scale, and neither wrapped nor saturated",
        0.3,
        None,
        "the level was raised without a limit before the samples were stored",
    ),
    Sign(
        # A cheap sound card is off by up to 0.01 of full scale. Unsigned samples read as signed ones are off by half.
        "offset",
        lambda split: np.abs(split.statistics["mean"]) > 0.02,
        "mean more than 2 % of full scale away from zero",
        0.05,
        0.3,
        "unsigned samples were read as signed ones, or an offset was never removed",
    ),
    Sign(
        # The lists know which videos end before the 10 s are over: a cut is as long as its segment, but for rounding.
        "short",
        lambda split: split.statistics["source_seconds"] < 0.95 * split.seconds,
        "audio for less than 95 % of the segment",
        0.3,
        None,
        "cut too short, or read at a higher sample rate than it has",
    ),
    Sign(
        "low rate",
        lambda split: split.statistics["source_rate"] < 0.65 * split.sample_rate,
        "source rate under 65 % of the packs': the upper part of the spectrum is empty",
        0.25,
        None,
        "a low-rate copy of the corpus; published results are on audio with content up to 14 kHz",
    ),
    Sign(
        "odd rate",
        lambda split: ~np.isin(split.statistics["source_rate"], RATES),
        "a source rate that no usual device or codec has",
        0.01,
        None,
        "a header with a wrong rate: such clips play too slow or too fast, all their sounds shifted in pitch",
    ),
]


def signs(split: Split) -> Iterator[Row]:
    """A row for each sign: the share of the split's clips that show it."""
    for sign in SIGNS:
        count = int(np.count_nonzero(sign.shown(split)))
        share = count / split.got
        limit = f"at most {percent(sign.warn)}"
        why = f"{percent(share)} of clips are {sign.name} ({sign.meaning}). Likely cause: {sign.cause}"
        yield Row(split.name, "sign", sign.name, share, limit, judge(share if count >= LEAST else 0, *sign[3:5], why))


def levels(split: Split) -> Iterator[Row]:
    """Quantiles over clips of each statistic, and a verdict on the loudness."""
    for key in ("rms", "peak"):
        level = 20 * np.log10(np.maximum(split.statistics[key], 2**-16))
        low, middle, high = np.quantile(level, [0.05, 0.5, 0.95])
        expected, finding = "", Verdict()
        if key == "rms":
            # Speech and music on YouTube lie around -20 dB; a corpus 25 dB below or 14 dB above is scaled wrongly.
            expected, finding = "-45 to -6 dB", Verdict(FINE)
            if not -45 <= middle <= -6:
                why = f"the median clip's rms is {middle:.0f} dB. Likely cause: a wrong factor when samples were scaled"
                finding = Verdict(WARNING, why)
        yield Row(split.name, f"{key} (dB of full scale)", "median", middle, expected, finding)
        yield Row(split.name, f"{key} (dB of full scale)", "5 % of clips below", low)
        yield Row(split.name, f"{key} (dB of full scale)", "5 % of clips above", high)
    for key in ("mean", "clipped", "jumps"):
        yield Row(split.name, key, "mean over clips", float(np.mean(split.statistics[key], dtype=np.float64)))


def rates(split: Split) -> Iterator[Row]:
    """Clips by source rate, the commonest first."""
    found, counts = np.unique(split.statistics["source_rate"], return_counts=True)
    for i in np.argsort(-counts, kind="stable"):
        yield Row(split.name, "source rate (Hz)", str(found[i]), int(counts[i]))


def lengths(split: Split) -> Iterator[Row]:
    """Clips by length of their source, and whether most are longer or shorter than their segments by one factor.

    Audio under a header with a wrong rate is too long or too short by the ratio of the two rates.
    """
    seconds = split.statistics["source_seconds"].astype(np.float64)
    found, counts = np.unique(np.round(seconds, 1), return_counts=True)
    for i in sorted(np.argsort(-counts, kind="stable")[:8], reverse=True):  # the commonest, the longest first
        yield Row(split.name, "source length (s)", f"{found[i]:.1f}", int(counts[i]))
    ratio = seconds / split.seconds
    found, counts = np.unique(np.round(ratio, 2), return_counts=True)
    factor, share, finding = float(found[np.argmax(counts)]), float(counts.max() / split.got), Verdict(FINE)
    if counts.max() >= LEAST and share > 0.25 and abs(factor - 1) > 0.03:
        of = np.round(ratio, 2) == factor
        claimed = int(np.median(split.statistics["source_rate"][of]))
        true = claimed * float(np.median(ratio[of]))
        likely = next((rate for rate in RATES if abs(true / rate - 1) < 0.015), None)
        why = f"{percent(share)} of clips are {factor:g} times as long as their segments"
        if likely:
            why += (
                f". Likely cause: a wrong sample rate: audio of {likely} Hz is taken for {claimed} Hz, so that all its "
                "sounds are shifted in pitch; if the pitch is right, the audio was cut to another length"
            )
            finding = Verdict(NOT_FIT if share > 0.5 else WARNING, why)
        else:
            why += ". Likely cause: the audio was cut to another length than the labels are for"
            finding = Verdict(WARNING, why)
    yield Row(split.name, "source length to segment length", "commonest ratio", factor, "0.97 to 1.03", finding)
