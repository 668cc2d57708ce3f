"""Front ends of networks that were trained elsewhere: log-mels of their own, and the waveform itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.compliance.kaldi import get_mel_banks
from torchaudio.functional import melscale_fbanks, resample

from .frontend import FrontEnd

RATE = 16000  # Hz, that such networks hear
FRAME, HOP, FFT = 400, 160, 512  # samples at that rate: 25 ms, 10 ms
LEAST = 1.1920928955078125e-07  # of a band's energy before its logarithm, as in Kaldi


class Sixteen(FrontEnd):
    """What the front ends share: a waveform at `sample_rate` becomes one at 16 kHz."""

    mels = 1
    step = 1  # samples at 16 kHz between frames

    def __init__(self, sample_rate: int):
        super().__init__()
        self.sample_rate = sample_rate
        self.hop = max(1, round(self.step * sample_rate / RATE))

    @property
    def frames_per_second(self) -> float:
        return RATE / self.step

    def wave(self, waveform: Tensor) -> Tensor:
        """(B, samples), float in [-1, 1] or int16, -> the same at 16 kHz in float32."""
        scale = 2.0**-15 if waveform.dtype == torch.int16 else 1.0
        return resample(waveform.float() * scale, self.sample_rate, RATE)


def length(wave: Tensor) -> Tensor:
    """(B, samples) -> (B, 1), the number of samples up to the last one that is not zero: behind it lies what a shorter clip was
    filled up with. A clip that is zero throughout has all its samples."""
    last = torch.where(wave != 0, torch.arange(1, wave.shape[1] + 1, device=wave.device), 0).amax(1, keepdim=True)
    return torch.where(last == 0, wave.shape[1], last)


def normalise(x: Tensor, inside: Tensor, correction: int) -> Tensor:
    """(B, T, ...) to mean 0 and variance 1 over the T that are `inside`; 0 elsewhere."""
    number = inside.sum(1, keepdim=True)
    apart = (x - (x * inside).sum(1, keepdim=True) / number) * inside
    variance = apart.square().sum(1, keepdim=True) / (number - correction).clamp_min(1)
    return apart / (variance + 1e-7).sqrt()


class Kaldi(Sixteen):
    """Kaldi's filter bank, for a whole batch: frames of 25 ms every 10 ms, without their mean, pre-emphasised by 0.97; the
    logarithm of mel bands from 20 Hz to 8 kHz.

    The frames lie inside the clip: S samples at 16 kHz give 1 + (S - 400) // 160 of them.
    """

    step = HOP

    def __init__(self, sample_rate: int, mels: int, window: Tensor, scale: float = 1.0):
        super().__init__(sample_rate)
        self.mels, self.scale = mels, scale
        bank, _ = get_mel_banks(mels, FFT, float(RATE), 20.0, 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("bank", F.pad(bank, (0, 1)).T, persistent=False)  # (FFT / 2 + 1, mels)
        self.register_buffer("window", window, persistent=False)

    def logmel(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(B, samples) -> (B, frames, mels), and which frames lie inside the `length`, (B, frames, 1); the first does."""
        wave = self.wave(waveform)
        frames = self.scale * wave.unfold(1, FRAME, HOP)  # (B, frames, 400)
        ends = FRAME + HOP * torch.arange(frames.shape[1], device=wave.device)
        inside = ends <= length(wave).clamp_min(FRAME)
        frames = frames - frames.mean(2, keepdim=True)
        before = torch.cat((frames[..., :1], frames[..., :-1]), 2)
        spectrum = torch.fft.rfft((frames - 0.97 * before) * self.get_buffer("window"), FFT).abs().square()
        return (spectrum @ self.get_buffer("bank")).clamp_min(LEAST).log(), inside.unsqueeze(2)


class KaldiLogMel(Kaldi):
    """`ASTFeatureExtractor` of transformers: under a Hann window, normalised as (x - mean) / (2 std). Behind a short clip,
    there is `silence`."""

    def __init__(self, sample_rate: int, mels: int = 128, mean: float = -4.2677393, std: float = 4.5689974):
        super().__init__(sample_rate, mels, torch.hann_window(FRAME, periodic=False))
        self.mean, self.std = mean, std

    def extra_repr(self) -> str:
        return f"mels={self.mels}, mean={self.mean}, std={self.std}"

    @property
    def silence(self) -> float:
        """What a frame of padding holds: 0, normalised."""
        return -self.mean / (2 * self.std)

    @torch.no_grad()
    def forward(self, waveform: Tensor) -> Tensor:
        """(B, samples) -> (B, 1, frames, mels)."""
        with torch.autocast(waveform.device.type, enabled=False):
            logmel, inside = self.logmel(waveform)
            return torch.where(inside, (logmel - self.mean) / (2 * self.std), self.silence).unsqueeze(1)


class BandLogMel(Kaldi):
    """`SeamlessM4TFeatureExtractor` of transformers: of 16-bit values, under Povey's window; each band normalised to mean 0
    and variance 1 over the clip, behind whose end, if it is short, there is 0."""

    def __init__(self, sample_rate: int, mels: int = 80):
        super().__init__(sample_rate, mels, torch.hann_window(FRAME, periodic=False) ** 0.85, 2.0**15)

    def extra_repr(self) -> str:
        return f"mels={self.mels}"

    @torch.no_grad()
    def forward(self, waveform: Tensor) -> Tensor:
        """(B, samples) -> (B, 1, frames, mels)."""
        with torch.autocast(waveform.device.type, enabled=False):
            logmel, inside = self.logmel(waveform)
            logmel = logmel - logmel[:, :1]  # the mean of a band that is far from 0 would be rounded
            return normalise(logmel, inside, 1).unsqueeze(1)


class WhisperLogMel(Sixteen):
    """`WhisperFeatureExtractor` of transformers, without its padding to 30 s: the log-mel of Slaney's bands up to 8 kHz, by
    a centred STFT; nothing is more than 80 dB under the clip's loudest. S samples at 16 kHz give S // 160 frames."""

    step = HOP

    def __init__(self, sample_rate: int, mels: int = 80):
        super().__init__(sample_rate)
        self.mels = mels
        bank = melscale_fbanks(FRAME // 2 + 1, 0.0, RATE / 2, mels, RATE, norm="slaney", mel_scale="slaney")
        self.register_buffer("bank", bank, persistent=False)  # (201, mels)
        self.register_buffer("window", torch.hann_window(FRAME), persistent=False)

    def extra_repr(self) -> str:
        return f"mels={self.mels}"

    @torch.no_grad()
    def forward(self, waveform: Tensor) -> Tensor:
        """(B, samples) -> (B, 1, frames, mels)."""
        with torch.autocast(waveform.device.type, enabled=False):
            wave, window = self.wave(waveform), self.get_buffer("window")
            stft = torch.stft(wave, FRAME, HOP, window=window, return_complex=True)[..., :-1]  # (B, 201, frames)
            power = (stft.real.square() + stft.imag.square()).transpose(1, 2)
            logmel = (power @ self.get_buffer("bank")).clamp_min(1e-10).log10()  # (B, frames, mels)
            logmel = logmel.maximum(logmel.amax((1, 2), keepdim=True) - 8.0)
            return ((logmel + 4.0) / 4.0).unsqueeze(1)


class Samples(Sixteen):
    """The waveform at 16 kHz, as one band whose frames are samples; if asked for, normalised to mean 0 and variance 1 as
    `Wav2Vec2FeatureExtractor` does, behind a short clip 0."""

    def __init__(self, sample_rate: int, normalise: bool = True):
        super().__init__(sample_rate)
        self.normalise = normalise

    def extra_repr(self) -> str:
        return f"normalise={self.normalise}"

    @torch.no_grad()
    def forward(self, waveform: Tensor) -> Tensor:
        """(B, samples) -> (B, 1, samples at 16 kHz, 1)."""
        with torch.autocast(waveform.device.type, enabled=False):
            wave = self.wave(waveform)
            if self.normalise:
                wave = normalise(wave, torch.arange(wave.shape[1], device=wave.device) < length(wave), 0)
            return wave[:, None, :, None]
