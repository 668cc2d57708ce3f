"""Audio files of any format to samples: a whole file, its beginning, or a piece of a long recording.

FFmpeg (through PyAV) decodes, and libsndfile the formats in which it is the quicker of the two; both skip the priming
samples that AAC, MP3 and Opus encoders put in front. A piece is sought, not decoded up to, where the container has
times to seek by.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np
import soundfile

from glat.data.headers import ogg_ends, promised_seconds, read_head, seconds_late, wav_seconds
from glat.errors import GlatError

# Playlists (HLS, concat) could name other files: only containers that hold their own audio are opened.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,wav,w64,flac,mp3,ogg,aac,aiff,caf"
PREROLL = 0.5  # seconds decoded before a piece: a decoder needs some of its past to give the right samples
OVERHANG = 1.0  # seconds by which a clip may be longer than its segment
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}

av.logging.set_level(None)
av.logging.set_libav_level(av.logging.PANIC)


class AudioError(GlatError):
    """Why a file gives no clip: `<reason>` or `<reason>: <detail>`, short enough for a ledger."""


class Cut(NamedTuple):
    """`seconds` of a longer recording, from `start` seconds on.

    or_whole: a file that is at most `OVERHANG` longer than the piece is the piece itself, cut by somebody before.
    """

    file: Path
    start: float
    seconds: float
    or_whole: bool = False


class Decoded(NamedTuple):
    """samples: (channels, samples) float32, full scale 1; rate: Hz; promised: seconds that there should be, as the
    header declares, None where it does not."""

    samples: np.ndarray
    rate: int
    promised: float | None


class _Piece(NamedTuple):
    """What is wanted of a recording, in seconds: from `start` to `end`, which is exact or a place to stop soon after.
    `whole_up_to`: a recording that is not longer than this is wanted whole."""

    start: float
    end: float
    exact: bool = False
    whole_up_to: float = 0.0

    def of(self, length: float) -> _Piece:
        """The same, once the length of the recording is known. One that just holds the piece at its end is no cut clip."""
        holds = 0 < self.start and self.end <= length + 0.05
        return _Piece(0.0, self.whole_up_to) if length <= self.whole_up_to and not holds else self

    def earlier(self, seconds: float) -> _Piece:
        """The same in the time of audio that begins so much later than its recording."""
        return self._replace(start=self.start - seconds, end=self.end - seconds) if self.exact else self

    def trim(self, samples: np.ndarray, rate: int, promised: float | None) -> Decoded:
        """`samples` (channels, samples) from `start` on."""
        if not self.exact:
            return Decoded(samples, rate, promised)
        there = None if promised is None else min(self.end, promised) - self.start
        return Decoded(samples[:, : round(self.end * rate) - round(self.start * rate)], rate, there)

    def ends_before(self, found: float, promised: float | None) -> AudioError:
        """Why there is nothing of the piece in a recording of which `found` seconds could be decoded."""
        if promised is not None and promised > max(self.start, found + 0.5):
            return AudioError(
                f"truncated: {found:.2f} of {promised:.2f} s decoded, the clip starts at {self.start:g} s"
            )
        return AudioError(f"too short: {found:.2f} s, the clip starts at {self.start:g} s")


def decode(source: str | Path | BinaryIO | bytes, max_seconds: float = math.inf) -> Decoded:
    """Decode the best audio stream of a file (m4a, mp3, wav, flac, ogg, opus, webm, mp4, ...), of its bytes, or of an
    open binary stream.

    Decoding stops soon after `max_seconds`. Packets that do not decode are skipped, as players do. `promised` is
    None where a header cannot know it (ADTS, MP3 without a Xing header).

    Raises AudioError: missing, unreadable, empty file, undecodable, no audio stream, truncated (Ogg without its end).
    """
    return _decode(source, _Piece(0.0, max_seconds))


def decode_cut(cut: Cut) -> Decoded:
    """A piece of a longer recording, exact to the sample (WebM: to 1 ms, as its times are); less of it if the recording
    ends before the piece does. `promised` is what the recording's header lets one expect of the piece. Times are those
    of a player: where the sound begins later than the picture, there is silence before it.

    Raises AudioError as `decode` does, and: too short or truncated, if the recording ends before the piece begins.
    """
    whole_up_to = cut.seconds + OVERHANG if cut.or_whole else 0.0
    return _decode(cut.file, _Piece(cut.start, cut.start + cut.seconds, True, whole_up_to))


def _decode(source: str | Path | BinaryIO | bytes, piece: _Piece) -> Decoded:
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    if not isinstance(source, str | Path):
        return _by_sndfile(source, source, piece) or _by_ffmpeg(source, piece)
    try:
        # FFmpeg would read some names as protocols or patterns ("a:b.wav", "%03d.wav"): it gets the open file.
        with open(source, "rb") as file:
            return _by_sndfile(file, source, piece) or _by_ffmpeg(file, piece)
    except FileNotFoundError:
        raise AudioError("missing: no such file") from None
    except OSError as error:
        raise AudioError(f"unreadable: {error.strerror or error}") from None


def _by_sndfile(file: BinaryIO, source: str | Path | BinaryIO, piece: _Piece) -> Decoded | None:
    """A clean WAV, FLAC or MP3 by libsndfile, which takes about half of FFmpeg's time for them.

    None for all else, and for any file that is not what its header says: FFmpeg then finds out what it is.
    """
    head = read_head(file)
    if head[:4] not in (b"RIFF", b"fLaC") and not (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return None  # the last is the sync word of MPEG audio, layer 3
    try:
        with soundfile.SoundFile(source) as sound:
            rate, whole = sound.samplerate, sound.frames
            if head[:4] == b"RIFF":
                promised = wav_seconds(file)  # libsndfile takes the length of a cut WAV from what is there
                if promised is None or abs(promised - whole / rate) > 1e-3:
                    return None
            piece = piece.of(whole / rate)
            first = round(piece.start * rate)
            wanted = whole - first if math.isinf(piece.end) else min(whole, math.floor(piece.end * rate) + 1) - first
            if first and wanted <= 0:
                return None
            if first:
                sound.seek(first)
            sixteen = sound.subtype == "PCM_16"
            samples = sound.read(wanted, dtype="int16" if sixteen else "float32", always_2d=True)  # (samples, channels)
    except (OSError, soundfile.LibsndfileError):
        return None
    if not 0 < len(samples) == wanted:
        return None
    planar = samples.T.astype(np.float32, order="C")
    if sixteen:
        planar *= np.float32(2**-15)
    return piece.trim(planar, rate, whole / rate)


def _by_ffmpeg(file: BinaryIO, asked: _Piece, may_seek: bool = True) -> Decoded:
    head = read_head(file)
    if not head:
        raise AudioError("empty file")
    options = {"format_whitelist": CONTAINERS}
    if head[:4] in (b"RIFF", b"fLaC"):
        # The header says all; FFmpeg would decode megabytes of it to see whether PCM hides another codec.
        options["probesize"] = "32768"
    sought = False
    try:
        with av.open(file, options=options, metadata_errors="ignore") as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise AudioError("no audio stream")
            if stream.codec_context is None:
                raise AudioError("undecodable: a codec that FFmpeg does not know")
            stream.codec_context.thread_count = 1
            promised = promised_seconds(container, stream, file, head)
            ogg, late, piece = container.format.name == "ogg", seconds_late(container, stream), asked
            if piece.whole_up_to:
                length = container.duration / av.time_base if ogg and container.duration else promised
                if length is None:
                    return _of_unknown_length(file, piece)
                piece = piece.of(length + late)
            piece = piece.earlier(late)
            # Times in MP3 and ADTS are guesses from the bit rate.
            sought = may_seek and piece.start > 2 * PREROLL and container.format.name not in ("mp3", "aac")
            if sought:
                place = int((piece.start - PREROLL) / stream.time_base)
                container.seek(place + (stream.start_time or 0), stream=stream)
            frames, layout, begin, end = _frames(container, stream, piece, sought)
    except av.error.FFmpegError as error:
        if sought:
            return _by_ffmpeg(file, asked, may_seek=False)
        page = head.lstrip()[:1] == b"<"
        raise AudioError("undecodable: a web page, not audio" if page else f"undecodable: {error.strerror}") from None
    if sought and not (frames and begin <= piece.start * layout[0]):
        return _by_ffmpeg(file, asked, may_seek=False)  # nothing there, or no times to know the place by
    if not end:
        raise AudioError("undecodable: no audio in it")
    rate, channels, name = layout
    if ogg and end <= piece.end * rate and not ogg_ends(file):
        raise AudioError(f"truncated: {end / rate:.2f} s decoded, and the Ogg stream has no end")
    if not frames:
        raise asked.ends_before(end / rate + late, None if promised is None else promised + late)
    planar = np.concatenate(frames, axis=1)
    if not name.endswith("p"):
        planar = planar.reshape(-1, channels).T
    skip = round(piece.start * rate - begin)
    if skip > 0:
        planar = planar[:, skip:]
    # In C order: over interleaved samples the mean would take longer than the decoder.
    samples = planar.astype(np.float32, order="C", copy=False)
    if name[:2] == "u8":
        samples -= np.float32(128)
    if _FULL_SCALE[name.removesuffix("p")] != 1:
        samples *= np.float32(1 / _FULL_SCALE[name.removesuffix("p")])
    if skip < 0:
        samples = np.pad(samples, ((0, 0), (-skip, 0)))
    return piece.trim(samples, rate, promised)


def _frames(container: av.container.InputContainer, stream: av.AudioStream, piece: _Piece, sought: bool):
    """What the decoder gives of a piece: (arrays, (rate, channels, format), place of the first array, end of the last
    frame), places in samples of the recording. Those before the piece are decoded and dropped."""
    frames: list[np.ndarray] = []
    layout, begin, end = None, 0.0, 0.0
    for packet in _packets(container, stream):
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in decoded:
            if layout is None:
                layout = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
                if sought and math.isnan(end := _time(frame, stream) * layout[0]):
                    return [], layout, begin, end
            elif layout != (frame.sample_rate, frame.layout.nb_channels, frame.format.name):
                raise AudioError("undecodable: sample rate, channels or format change within the file")
            if end + frame.samples > piece.start * layout[0]:
                begin = begin if frames else end
                frames.append(frame.to_ndarray())
            end += frame.samples
        if layout is not None and end > piece.end * layout[0]:
            break
    return frames, layout, begin, end


def _time(frame: av.AudioFrame, stream: av.AudioStream) -> float:
    """Seconds from the stream's first sample; NaN where the container does not say."""
    return math.nan if frame.pts is None else float((frame.pts - (stream.start_time or 0)) * stream.time_base)


def _of_unknown_length(file: BinaryIO, piece: _Piece) -> Decoded:
    """A piece of a recording whose length only decoding tells, or all of it if it is short."""
    beginning = _by_ffmpeg(file, _Piece(0.0, piece.whole_up_to))
    if beginning.samples.shape[1] <= piece.whole_up_to * beginning.rate:
        return beginning
    return _by_ffmpeg(file, piece._replace(whole_up_to=0.0))


def _packets(container: av.container.InputContainer, stream: av.AudioStream):
    # A file cut in mid-packet ends the stream; how much is missing is told by the promised duration.
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.error.InvalidDataError, av.error.EOFError):
            return
