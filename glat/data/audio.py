"""Audio files to fixed-length mono int16, with a reason for every file that cannot be one.

FFmpeg (through PyAV) decodes, and libsndfile the formats in which it is the quicker of the two; both skip the priming
samples that AAC, MP3 and Opus encoders put in front. soxr resamples. Mono is the plain mean of the channels, whatever their number or layout, as in librosa: 5.1 surround is
not weighted.
"""

from __future__ import annotations

import io
import math
import os
import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np
import soundfile
import soxr

from glat.errors import GlatError

SILENCE = 10 ** (-90 / 20)  # peak, relative to full scale: about one step of int16
# Playlists (HLS, concat) could name other files: only containers that hold their own audio are opened.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,wav,w64,flac,mp3,ogg,aac,aiff,caf"
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}

av.logging.set_level(None)
av.logging.set_libav_level(av.logging.PANIC)


class AudioError(GlatError):
    """Why a file gives no clip: `<reason>` or `<reason>: <detail>`, short enough for a ledger."""


class Cut(NamedTuple):
    """`seconds` of a longer recording, from `start` seconds on."""

    file: Path
    start: float
    seconds: float


class Samples(NamedTuple):
    """Audio that is decoded already: samples (samples,) int16 or float32 of full scale 1, mono; rate: Hz."""

    samples: np.ndarray
    rate: int


class Statistics(NamedTuple):
    """Of a clip's int16 samples: peak, mean and root mean square relative to full scale; clipped: share of samples at
    full scale; jumps: share of steps between neighbours of more than full scale, which wrapped integers leave."""

    peak: float
    mean: float
    rms: float
    clipped: float
    jumps: float


class Decoded(NamedTuple):
    """samples: (channels, samples) float32, full scale 1; rate: Hz; promised: seconds that the header declares."""

    samples: np.ndarray
    rate: int
    promised: float | None


def decode(source: str | Path | BinaryIO, max_seconds: float = math.inf) -> Decoded:
    """Decode the best audio stream of a file (m4a, mp3, wav, flac, ogg, opus, webm, mp4, ...) or open binary stream.

    Decoding stops soon after `max_seconds`. Packets that do not decode are skipped, as players do. `promised` is
    None where a header cannot know it (ADTS, MP3 without a Xing header).

    Raises AudioError: missing, unreadable, empty file, undecodable, no audio stream, truncated (Ogg without its end).
    """
    if not isinstance(source, str | Path):
        return _decode(source, max_seconds)
    if (decoded := _decode_clean(Path(source), max_seconds)) is not None:
        return decoded
    try:
        # FFmpeg would read some names as protocols or patterns ("a:b.wav", "%03d.wav"): it gets the open file.
        with open(source, "rb") as file:
            return _decode(file, max_seconds)
    except FileNotFoundError:
        raise AudioError("missing: no such file") from None
    except OSError as error:
        raise AudioError(f"unreadable: {error.strerror or error}") from None


def prepare(
    source: str | Path | BinaryIO | bytes | Cut | Samples | AudioError,
    rate: int = 32000,
    seconds: float = 10.0,
    min_seconds: float = 0.5,
) -> tuple[np.ndarray, int, float]:
    """One clip for the pack: (samples, source rate in Hz, seconds found in the source).

    source: an audio file, its bytes or an open stream, a piece of a longer file, samples, or the reason why there are
    none. samples: (rate * seconds,) int16, mono, zero-padded or cut at the end; float is rounded and clipped, never wrapped.

    Raises AudioError for what `decode` raises, and: truncated (over 5 % and 0.5 s less than the header declares),
    not finite (NaN or infinity), silent (peak under -90 dB of full scale), constant (every sample the same), too short (under `min_seconds`), too long
    (more than 1 s over `seconds`: an uncut video, to which the labels would not fit).
    """
    if isinstance(source, AudioError):
        raise source
    if isinstance(source, Samples):
        decoded = _as_decoded(source)
    elif isinstance(source, Cut):
        decoded = decode_cut(source)
    else:
        decoded = decode(io.BytesIO(source) if isinstance(source, bytes) else source, max_seconds=seconds + 1.0)
    mono = decoded.samples[0] if len(decoded.samples) == 1 else decoded.samples.mean(axis=0)
    found = len(mono) / decoded.rate
    if found > seconds + 1.0:
        raise AudioError(f"too long: over {seconds + 1:g} s, an uncut recording that the labels do not fit")
    if decoded.promised is not None and decoded.promised - found > max(0.5, 0.05 * decoded.promised):
        raise AudioError(f"truncated: {found:.2f} of {decoded.promised:.2f} s decoded")
    if found < min_seconds:
        raise AudioError(f"too short: {found:.2f} s, at least {min_seconds:g} s needed")
    if not np.isfinite(mono).all():
        raise AudioError("not finite: NaN or infinite samples")
    if max(mono.max(), -mono.min()) < SILENCE:
        raise AudioError("silent: peak under -90 dB of full scale")
    if mono.max() == mono.min():
        raise AudioError(f"constant: every sample is {mono[0]:.3g} of full scale")
    if decoded.rate != rate:
        mono = soxr.resample(mono, decoded.rate, rate, quality="HQ")
    return to_int16(mono, round(rate * seconds)), decoded.rate, found


def decode_cut(cut: Cut) -> Decoded:
    """A piece of a longer recording. Raises AudioError as `decode` does, and if the recording ends before the piece."""
    decoded = decode(cut.file, cut.start + cut.seconds)
    first, last = round(cut.start * decoded.rate), round((cut.start + cut.seconds) * decoded.rate)
    piece = decoded.samples[:, first:last]
    if not piece.shape[1]:
        raise AudioError(
            f"too short: {decoded.samples.shape[1] / decoded.rate:.2f} s, the clip starts at {cut.start:g} s"
        )
    return Decoded(piece, decoded.rate, None)


def _as_decoded(source: Samples) -> Decoded:
    scale = np.float32(2**-15 if source.samples.dtype == np.int16 else 1)
    return Decoded(source.samples[None].astype(np.float32) * scale, source.rate, None)


def statistics(samples: np.ndarray) -> Statistics:
    """`Statistics` of (samples,) int16."""
    wide = samples.astype(np.int32)
    peak = int(np.abs(wide).max())
    jumps = np.count_nonzero(np.abs(np.diff(wide)) > 2**15) / len(wide)
    clipped = np.count_nonzero((wide >= 2**15 - 1) | (wide <= -(2**15))) / len(wide)
    scaled = samples.astype(np.float32) * np.float32(2**-15)
    mean, rms = float(scaled.mean()), float(np.sqrt(np.dot(scaled, scaled) / len(scaled)))
    return Statistics(peak / 2**15, mean, rms, clipped, jumps)


def to_int16(samples: np.ndarray, length: int) -> np.ndarray:
    """(samples,) float32 of full scale 1 to (length,) int16: rounded, clipped, cut or zero-padded at the end."""
    scaled = samples[:length] * np.float32(2**15)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -(2**15), 2**15 - 1, out=scaled)
    out = np.zeros(length, np.int16)
    out[: len(scaled)] = scaled
    return out


def _decode_clean(path: Path, max_seconds: float) -> Decoded | None:
    """A clean WAV, FLAC or MP3 by libsndfile, which takes about half of FFmpeg's time for them.

    None for all else, and for any file that is not what its header says: FFmpeg then finds out what it is.
    """
    try:
        with open(path, "rb") as raw:
            head = _head(raw)
        if head[:4] not in (b"RIFF", b"fLaC") and not (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
            return None  # the last is the sync word of MPEG audio, layer 3
        with soundfile.SoundFile(path) as file:
            rate, whole = file.samplerate, file.frames
            wanted = whole if math.isinf(max_seconds) else min(whole, math.floor(max_seconds * rate) + 1)
            sixteen = file.subtype == "PCM_16"
            samples = file.read(wanted, dtype="int16" if sixteen else "float32", always_2d=True)  # (samples, channels)
        if head[:4] == b"RIFF":
            promised = _wav_promised(head)  # libsndfile takes the length of a cut WAV from what is there
            if promised is None or abs(promised - whole / rate) > 1e-3:
                return None
    except (OSError, soundfile.LibsndfileError):
        return None
    if not 0 < len(samples) == wanted:
        return None
    planar = samples.T.astype(np.float32, order="C")
    if sixteen:
        planar *= np.float32(2**-15)
    return Decoded(planar, rate, whole / rate)


def _decode(file: BinaryIO, max_seconds: float) -> Decoded:
    head = _head(file)
    if not head:
        raise AudioError("empty file")
    options = {"format_whitelist": CONTAINERS}
    if head[:4] in (b"RIFF", b"fLaC"):
        # The header says all; FFmpeg would decode megabytes of it to see whether PCM hides another codec.
        options["probesize"] = "32768"
    frames: list[np.ndarray] = []
    layout = None
    count = 0
    try:
        with av.open(file, options=options, metadata_errors="ignore") as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise AudioError("no audio stream")
            if stream.codec_context is None:
                raise AudioError("undecodable: a codec that FFmpeg does not know")
            stream.codec_context.thread_count = 1
            promised = _promised(container, stream, head)
            ogg = container.format.name == "ogg"
            for packet in _packets(container, stream):
                try:
                    decoded = packet.decode()
                except av.error.InvalidDataError:
                    continue
                for frame in decoded:
                    if layout is None:
                        layout = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
                    elif layout != (frame.sample_rate, frame.layout.nb_channels, frame.format.name):
                        raise AudioError("undecodable: sample rate, channels or format change within the file")
                    frames.append(frame.to_ndarray())
                    count += frame.samples
                if layout is not None and count > max_seconds * layout[0]:
                    break
    except av.error.FFmpegError as error:
        page = head.lstrip()[:1] == b"<"
        raise AudioError("undecodable: a web page, not audio" if page else f"undecodable: {error.strerror}") from None
    if not count:
        raise AudioError("undecodable: no audio in it")
    rate, channels, name = layout
    if ogg and count <= max_seconds * rate and not _ogg_ends(file):
        raise AudioError(f"truncated: {count / rate:.2f} s decoded, and the Ogg stream has no end")
    planar = np.concatenate(frames, axis=1)
    if not name.endswith("p"):
        planar = planar.reshape(-1, channels).T
    # In C order: over interleaved samples the mean would take longer than the decoder.
    samples = planar.astype(np.float32, order="C", copy=False)
    if name[:2] == "u8":
        samples -= np.float32(128)
    if _FULL_SCALE[name.removesuffix("p")] != 1:
        samples *= np.float32(1 / _FULL_SCALE[name.removesuffix("p")])
    return Decoded(samples, rate, promised)


def _packets(container: av.container.InputContainer, stream: av.AudioStream):
    # A file cut in mid-packet ends the stream; how much is missing is told by the promised duration.
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.error.InvalidDataError, av.error.EOFError):
            return


def _promised(container: av.container.InputContainer, stream: av.AudioStream, head: bytes) -> float | None:
    """Seconds of audio that the file's header declares, None where FFmpeg can only guess from the bit rate."""
    name = container.format.name
    xing = b"Xing" in head or b"Info" in head or b"VBRI" in head
    if name in ("aac", "ogg") or (name == "mp3" and not xing):
        return None
    if name == "wav":
        # FFmpeg takes the duration of a cut WAV from what is there.
        found = _wav_promised(head)
        if found is not None:
            return found
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if clock:
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _head(file: BinaryIO) -> bytes:
    """The first 4 KiB behind an ID3v2 tag, if there is one; the file is left at its beginning."""
    head = file.read(4096)
    if head[:3] == b"ID3" and len(head) >= 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
        file.seek(10 + size)
        head = file.read(4096) or head
    file.seek(0)
    return head


def _wav_promised(head: bytes) -> float | None:
    """Seconds that a WAV header declares; None if it does not say (a streamed file declares 0 or the maximum)."""
    format_at, data_at = head.find(b"fmt "), head.find(b"data")
    if not 0 < format_at < data_at <= len(head) - 8:
        return None
    bytes_a_second = int.from_bytes(head[format_at + 16 : format_at + 20], "little")
    size = int.from_bytes(head[data_at + 4 : data_at + 8], "little")
    return size / bytes_a_second if bytes_a_second and 0 < size < 0xFFFFFF00 else None


def _ogg_ends(file: BinaryIO) -> bool:
    """Whether the last page of an Ogg file carries the end-of-stream flag."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**17))
    tail = file.read()
    page = tail.rfind(b"OggS")
    return 0 <= page < len(tail) - 5 and bool(tail[page + 5] & 4)
