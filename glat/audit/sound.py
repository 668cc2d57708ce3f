"""What a sample of clips sounds like: the log-mel spectrogram that networks see, and the spectrum up to half the rate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from ..data.packs.read import Packs, open_pack
from ..data.randomness import Use, generator
from ..lib.errors import GlatError
from ..models.frontend import LogMel
from .gather import Split
from .rows import FINE, WARNING, Row, Verdict, judge, percent
from .signs import LEAST, RATES

BAND = 250  # Hz, of the spectrum: about that, in whole bins of the front end's STFT
DROP = 25  # dB from just below an edge to all above it: natural spectra fall by less than 12 dB an octave


class Sound(NamedTuple):
    """Of a split's sampled clips: log-mel mean and standard deviation by band and overall (dB; `mels`: centres in Hz),
    the mean of each clip, the mean spectrum in dB/Hz by bands of `width` Hz, each clip's edge in Hz (NaN: none), and
    half of each clip's source rate or the packs', whichever is lower."""

    band_mean: np.ndarray
    band_std: np.ndarray
    mels: np.ndarray
    mean: float
    std: float
    clip_means: np.ndarray
    spectrum: np.ndarray
    width: float
    edges: np.ndarray
    limits: np.ndarray


def listen(split: Split, clips: int, seed: int) -> Sound:
    """Read `clips` clips of a split, drawn with the seed, and measure them. The zeros behind a short one are left out.

    Raises GlatError if a pack cannot be read.
    """
    chosen = np.sort(generator(Use.AUDIT, seed, split.got).choice(split.got, min(clips, split.got), replace=False))
    logmel = LogMel(split.sample_rate)
    sums, squares, frames = np.zeros(logmel.mels), np.zeros(logmel.mels), 0
    clip_means, spectra = [], []
    hertz = split.sample_rate / logmel.stft.n_fft
    bins = max(1, round(BAND / hertz))
    energy = float(logmel.stft.window.square().sum()) * split.sample_rate / 2
    for waveform in _read(split, chosen):
        with torch.inference_mode():
            samples = torch.from_numpy(waveform)[None]
            bands = logmel(samples)[0, 0].double().numpy()  # (frames, mels)
            power = logmel.stft(samples)[0].abs().square().mean(dim=-1).numpy()  # (bins,)
        sums += bands.sum(axis=0)
        squares += np.square(bands).sum(axis=0)
        frames += len(bands)
        clip_means.append(bands.mean())
        spectra.append(spectrum(power / energy, bins))
    band_mean = sums / frames
    mean = band_mean.mean()
    limits = np.minimum(split.statistics["source_rate"][chosen], split.sample_rate) / 2
    return Sound(
        band_mean=band_mean,
        band_std=np.sqrt(np.maximum(squares / frames - band_mean**2, 0)),
        mels=logmel.mel_scale.fb.numpy().argmax(axis=0) * hertz,
        mean=float(mean),
        std=float(np.sqrt(max((squares / frames).mean() - mean**2, 0))),
        clip_means=np.array(clip_means),
        spectrum=np.mean(spectra, axis=0),
        width=bins * hertz,
        edges=np.array([edge(one) for one in spectra]) * bins * hertz,
        limits=limits,
    )


def spectrum(power: np.ndarray, bins: int) -> np.ndarray:
    """Mean power of STFT bins in 1/Hz, (bins above 0 Hz + 1,) -> dB/Hz of bands of `bins` bins, from the lowest on."""
    whole = power[1 : len(power[1:]) // bins * bins + 1]
    # Rounding to int16 leaves -143 dB/Hz at 32 kHz: what lies far below is no sound.
    return 10 * np.log10(whole.reshape(-1, bins).mean(axis=1) + 1e-16)


def edge(spectrum: np.ndarray) -> float:
    """The band at which a spectrum in dB breaks off: everything from there on, but for one band of the slope, is at
    least `DROP` dB below the median of the four beneath (1 kHz). NaN where it does not."""
    above = np.maximum.accumulate(spectrum[::-1])[::-1]
    for band in range(4, len(spectrum) - 2):
        if np.median(spectrum[band - 4 : band]) - above[band + 1] >= DROP:
            return float(band)
    return float("nan")


def measures(split: Split, sound: Sound) -> Iterator[Row]:
    """The rows of a split's sample, with verdicts on the log-mel statistics and on where the spectra break off."""
    count = len(sound.clip_means)
    yield Row(split.name, "log-mel", "clips sampled", count)
    # AST publishes, for all of AudioSet, a mean of -4.27 and a standard deviation of 4.57 in natural logarithms of its
    # own 128 bands: 19.8 dB, and about -24 dB in these 64 (their areas are 1, AST's heights are). 26 dB to either side
    # is what no choice of videos makes, but a lost factor (8 bits: 48 dB) does.
    expected = (("mean (dB)", sound.mean, -50.0, 2.0), ("standard deviation (dB)", sound.std, 8.0, 32.0))
    for key, value, low, high in expected:
        finding = Verdict(FINE)
        if not low <= value <= high:
            cause = "a wrong factor when samples were scaled, or clips that are mostly zeros"
            finding = Verdict(WARNING, f"the log-mel {key.split(' (')[0]} is {value:.0f} dB. Likely cause: {cause}")
        yield Row(split.name, "log-mel", key, value, f"{low:g} to {high:g}", finding)
    for hertz, mean, std in zip(sound.mels, sound.band_mean, sound.band_std, strict=True):
        yield Row(split.name, "log-mel band mean (dB)", f"{hertz:.0f} Hz", float(mean))
        yield Row(split.name, "log-mel band standard deviation (dB)", f"{hertz:.0f} Hz", float(std))
    for band, level in enumerate(sound.spectrum):
        low, high = band * sound.width, (band + 1) * sound.width
        yield Row(split.name, "spectrum (dB/Hz)", f"{low:.0f}-{high:.0f} Hz", float(level))
    yield _break(split, sound)


def _break(split: Split, sound: Sound) -> Row:
    """Whether many clips have nothing above one frequency that is well below what their source rate allows.

    Lossy codecs cut at 15 kHz or above at usual bit rates; some videos hold old or telephone audio, each cut somewhere
    else. One edge common to many clips is a step of the preparation.
    """
    early = sound.edges[sound.edges < 0.8 * sound.limits]
    count, at = 0, float("nan")
    for candidate in np.unique(early):
        near = int(np.count_nonzero(np.abs(early - candidate) <= BAND))
        if near > count:
            count, at = near, float(candidate)
    share = count / len(sound.edges)
    finding = Verdict(FINE)
    if count >= LEAST:
        once = next((rate for rate in RATES if rate >= 2 * at), None)
        why = (
            f"{percent(share)} of the clips listened to have nothing above {at / 1000:.3g} kHz, though their source rate "
            f"claims more. Likely cause: resampled twice: down to {once} Hz once and up again, or a codec of so low a "
            "bit rate"
        )
        finding = judge(share, 0.25, 0.5, why)
    return Row(split.name, "clips that break off at one frequency", "share", share, "at most 0.25", finding)


def compare(train: list[tuple[Split, Sound]], evaluate: list[tuple[Split, Sound]]) -> Iterator[Row]:
    """Whether the training and the evaluation clips were prepared alike: the difference of their log-mel means."""
    ours, theirs = (np.concatenate([sound.clip_means for _, sound in part]) for part in (train, evaluate))
    difference = float(ours.mean() - theirs.mean())
    error = float(np.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs)))
    finding = Verdict(FINE)
    if abs(difference) > 6 + 3 * error:
        what = f"the log-mel mean of training and evaluation clips differs by {abs(difference):.0f} dB"
        cause = "the two were prepared in different ways, with different factors"
        finding = Verdict(WARNING, f"{what}. Likely cause: {cause}")
    yield Row("all", "log-mel", "training minus evaluation mean (dB)", difference, "within 6 dB and chance", finding)


def _read(split: Split, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """The audible part of each chosen clip, as (samples,) float32 of full scale 1; one shard is open at a time. Of a longer
    recording, it is what a network hears at a time.

    Raises GlatError if a pack does not give the samples that were packed: damage, or a file in place that was changed.
    """
    for shard, path in enumerate(split.paths):
        inside = chosen[(chosen >= split.first[shard]) & (chosen < split.first[shard + 1])]
        if not len(inside):
            continue
        packs = Packs(path)
        with open_pack(path) as pack:
            digests = pack["blake2b"].asstr()[:]
        for clip in inside:
            row = clip - split.first[shard]
            samples = packs.read_whole(row)
            if hashlib.blake2b(samples.astype("<i2").data, digest_size=16).hexdigest() != digests[row]:
                clip = packs.clips[row]
                raise GlatError(f"{path}: clip {clip} is no longer what was packed; delete it and pack again")
            seconds = float(split.statistics["source_seconds"][clip])
            heard = min(packs.samples, max(1024, round(seconds * split.sample_rate)))
            yield samples[:heard] * np.float32(2**-15)
