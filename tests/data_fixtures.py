"""Audio files, segment lists and classes that the tests of `glat.data` make for themselves."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import soundfile

CLASSES = pd.DataFrame({"index": range(4), "mid": [f"/m/0{c}" for c in "abcd"], "display_name": ["A", "B", "C", "Ü d"]})
ENCODERS = {
    ".m4a": ("ipod", "aac"), ".mp3": ("mp3", "libmp3lame"), ".wav": ("wav", "pcm_s16le"), ".flac": ("flac", "flac"),
    ".ogg": ("ogg", "vorbis"), ".opus": ("ogg", "libopus"), ".webm": ("webm", "libopus"), ".mp4": ("mp4", "aac"),
}  # fmt: skip
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def tone(seconds: float = 10.0, rate: int = 44100, channels: int = 2, seed: int = 0) -> np.ndarray:
    """(channels, samples) float32: a sweep and noise, different in each channel, peak about 0.5."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    sweep = 0.3 * np.sin(2 * np.pi * (200 + 150 * t) * t)
    return np.stack([sweep * (1 - 0.1 * c) + 0.02 * rng.standard_normal(len(t)) for c in range(channels)]).astype("f4")


def encode(path: Path, audio: np.ndarray, rate: int = 44100, options: dict | None = None) -> Path:
    """Write (channels, samples) float32 as the format that the suffix of `path` names."""
    container, codec = ENCODERS[path.suffix]
    if codec == "vorbis":
        soundfile.write(path, audio.T, rate)
        return path
    with av.open(str(path), "w", format=container, options=options or {}) as out:
        stream = out.add_stream(codec, rate=48000 if codec == "libopus" else rate, layout=LAYOUTS[len(audio)])
        put(out, stream, audio, rate)
    return path


def put(out, stream, audio: np.ndarray, rate: int = 44100) -> None:
    """Encode (channels, samples) float32 as all that a stream of an open container gets."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio), "fltp", LAYOUTS[len(audio)])
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)  # or no edit list tells the priming
    context = stream.codec_context
    resampler = av.AudioResampler(context.format, context.layout, context.rate, context.frame_size or 4096)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        out.mux(stream.encode(part))
    out.mux(stream.encode(None))


def adts(path: Path) -> bytes:
    """The AAC of an .m4a file as ADTS, which has no header that could tell its length."""
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as out, av.open(str(path)) as container:
        stream = out.add_stream_from_template(container.streams.audio[0])
        for packet in container.demux(container.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    return file.getvalue()


def written(audio: np.ndarray, rate: int, subtype: str | None = None, kind: str = "WAV") -> bytes:
    """(samples,) or (channels, samples) as libsndfile writes them."""
    file = io.BytesIO()
    soundfile.write(file, np.transpose(audio), rate, subtype, format=kind)
    return file.getvalue()


def corpus(folder: Path, clips: int = 6, seconds: float = 2.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`clips` segments, with Ogg files for most: (segments, listing). Clip 1 is lost already, clip 3 is a web page."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"-id{i}_{i * 10000}" for i in range(clips)]
    files, reasons = [], []
    for i, name in enumerate(names):
        file = folder / f"{name}.ogg"
        if i == 3:
            file.write_text("<!DOCTYPE html><html><body>Sorry</body></html>")
        elif i != 1:
            soundfile.write(file, tone(seconds, 22050, 2, i).T, 22050)
        files.append("" if i == 1 else file.name)
        reasons.append("removed by its owner" if i == 1 else "")
    labels = [tuple(CLASSES["mid"][: 1 + i % 3]) for i in range(clips)]
    start = np.arange(clips) * 10.0
    segments = pd.DataFrame({"clip": names, "youtube_id": [n.rsplit("_", 1)[0] for n in names], "start": start,
                             "end": start + 10, "labels": pd.Series(labels, dtype=object)})  # fmt: skip
    kinds = ["gone: removed" if reason else "" for reason in reasons]
    return segments, pd.DataFrame({"clip": names, "file": files, "kind": kinds, "reason": reasons})
