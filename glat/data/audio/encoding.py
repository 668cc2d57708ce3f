"""Sound to listen to in a page: Opus in WebM, which every browser plays, 4 kB a second."""

from __future__ import annotations

import base64
import io
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import av
import numpy as np
import soxr

RATE, BITS = 48000, 32000  # Hz, of Opus; bits a second, at which a recording sounds like itself
MEDIA_TYPE = "audio/webm"


class OpusWriter:
    """A WebM file, with the same bytes for the same samples, whose sound is written piece by piece in a `with` block.

    Args:
        out: a path, or a binary stream that can seek.
        rate: of the pieces, in Hz.
    """

    def __init__(self, out: Path | BinaryIO, rate: int):
        self._resampler, self._place = soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="HQ"), 0
        # Without `bitexact`, each file is given an id by lot.
        self._container = av.open(
            str(out) if isinstance(out, Path) else out, "w", format="webm", options={"fflags": "bitexact"}
        )
        self._stream = self._container.add_stream("libopus", rate=RATE, layout="mono")
        self._stream.bit_rate = BITS

    def write(self, samples: np.ndarray, last: bool = False) -> None:
        """(samples,) float32 mono; what goes beyond [-1, 1] is clipped."""
        samples = self._resampler.resample_chunk(samples.astype(np.float32), last=last)
        if len(samples):
            frame = av.AudioFrame.from_ndarray(np.clip(samples, -1, 1)[None], format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, self._place, Fraction(1, RATE)
            self._container.mux(self._stream.encode(frame))
            self._place += len(samples)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._container:
            self.write(np.zeros(0, np.float32), last=True)
            self._container.mux(self._stream.encode(None))


def opus_url(waveform: np.ndarray, rate: int) -> str:
    """(samples,) float32 mono in [-1, 1] at `rate` -> a data URL of it."""
    file = io.BytesIO()
    with OpusWriter(file, rate) as out:
        out.write(waveform)
    return f"data:{MEDIA_TYPE};base64,{base64.b64encode(file.getvalue()).decode()}"
