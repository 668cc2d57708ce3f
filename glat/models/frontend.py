"""Waveform -> log-mel spectrogram: the front end that every network shares."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchaudio.transforms import AmplitudeToDB, MelScale, Spectrogram


def window_length(hop: int) -> int:
    """Length of the STFT's window for a hop, both in samples at 32 kHz: 1024 for PANNs' 320, and for longer hops the
    smallest power of two of at least 2.5 hops (ours; the paper gives none).

    The sum of the squared Hann windows, the weight of each moment's power in the spectrogram, then ripples by less than
    1 dB along the clip. With 1024 it would dip between frames by 7 dB at a hop of 640 and by 16 dB at TALNet's 800, and
    a short event could fall into a dip.
    """
    return max(1024, 1 << math.ceil(math.log2(2.5 * hop)))


class FrontEnd(nn.Module):
    """What turns waveforms (B, samples) into the (B, 1, frames, mels) that networks hear. sample_rate: of the waveforms, in Hz;
    hop: samples of theirs between frames."""

    sample_rate: int
    hop: int
    mels: int

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate / self.hop


class LogMel(FrontEnd):
    """Log-mel spectrogram as in PANNs ([22] of the paper): power STFT, Slaney mel bands, 10 log10 with floor 1e-10.

    The STFT is centred with reflect padding, so a clip of S samples gives S // hop + 1 frames. It has no
    trainable parameter and always computes in float32: a sum of squares does not fit bfloat16.

    Args:
        sample_rate: of the waveform, in Hz.
        window: of the STFT, in samples: 1024 are 32 ms at 32 kHz (PANNs); None is `window_length(hop)`.
        hop: of the STFT, in samples: 320 are 10 ms at 32 kHz (PANNs).
        mels: number of mel bands.
        fmin: lower edge of the lowest band, in Hz.
        fmax: upper edge of the highest band, in Hz; at most half the rate.
        centred_end: keep the last frame, whose centre is the very end of the clip (1001 frames for 10 s).

    >>> logmel = LogMel()
    >>> logmel(torch.zeros(2, 320000)).shape, logmel.frames_per_second  # 10 s
    (torch.Size([2, 1, 1001, 64]), 100.0)
    >>> logmel(torch.zeros(1, 32000)).max()  # silence, in dB
    tensor(-100.)
    """

    def __init__(
        self,
        sample_rate: int = 32000,
        window: int | None = None,
        hop: int = 320,
        mels: int = 64,
        fmin: float = 50.0,
        fmax: float = 14000.0,
        centred_end: bool = True,
    ):
        super().__init__()
        window = window or window_length(hop)
        self.sample_rate, self.hop, self.mels, self.centred_end = sample_rate, hop, mels, centred_end
        self.stft = Spectrogram(window, hop_length=hop, power=None)
        top = min(fmax, sample_rate / 2)
        self.mel_scale = MelScale(mels, sample_rate, fmin, top, window // 2 + 1, norm="slaney", mel_scale="slaney")
        self.decibel = AmplitudeToDB("power", top_db=None)

    @torch.no_grad()
    def forward(self, waveform: Tensor) -> Tensor:
        """(B, samples), float in [-1, 1] or int16, -> (B, 1, frames, mels) float32 in dB."""
        with torch.autocast(waveform.device.type, enabled=False):
            scale = 2.0**-15 if waveform.dtype == torch.int16 else 1.0
            stft = self.stft(waveform.float() * scale)  # (B, window / 2 + 1, frames), complex
            # |x|^2 without the square root of abs(): half the time of the whole front end.
            power = self.mel_scale(stft.real.square() + stft.imag.square())  # (B, mels, frames)
            if not self.centred_end:
                power = power[..., : waveform.shape[-1] // self.hop]
            return self.decibel(power).transpose(1, 2).unsqueeze(1)
