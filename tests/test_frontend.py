"""The log-mel front end against two independent implementations."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from torchlibrosa.stft import LogmelFilterBank, Spectrogram

from glat.models import LogMel, build

RATE = 32000


def clips(seconds: float, count: int = 2) -> torch.Tensor:
    """Noise under a sweep, (count, samples), with a quiet second half that comes near to the floor."""
    t = np.arange(round(seconds * RATE)) / RATE
    rng = np.random.default_rng(0)
    sweep = np.sin(2 * np.pi * (100 + 600 * t) * t)
    noise = rng.standard_normal((count, len(t)))
    loudness = np.where(t < seconds / 2, 0.3, 1e-5)
    return torch.from_numpy(((0.5 * sweep + 0.1 * noise) * loudness).astype(np.float32))


def by_librosa(waveform: torch.Tensor, window=1024, hop=320, rate=RATE, fmax=14000) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=waveform.numpy().astype(np.float64), sr=rate, n_fft=window, hop_length=hop, n_mels=64, fmin=50, fmax=fmax,
        window="hann", center=True, pad_mode="reflect", power=2.0, htk=False, norm="slaney",
    )  # fmt: skip
    return (10 * np.log10(np.maximum(power, 1e-10))).swapaxes(1, 2)


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")
@pytest.mark.parametrize(("seconds", "frames"), [(10.0, 1001), (0.5, 51), (0.02, 3), (1.2345, 124)])
def test_log_mel_equals_librosa(seconds, frames):
    waveform = clips(seconds)
    ours = LogMel()(waveform)
    assert ours.shape == (2, 1, frames, 64) and ours.dtype == torch.float32
    np.testing.assert_allclose(ours[:, 0].numpy(), by_librosa(waveform), atol=2e-3)
    assert np.abs(ours[:, 0].numpy() - by_librosa(waveform)).mean() < 1e-5


def test_log_mel_equals_torchlibrosa_with_the_settings_of_panns():
    waveform = clips(10.0)
    stft = Spectrogram(
        n_fft=1024,
        hop_length=320,
        win_length=1024,
        window="hann",
        center=True,
        pad_mode="reflect",
        freeze_parameters=True,
    )
    mel = LogmelFilterBank(
        sr=RATE, n_fft=1024, n_mels=64, fmin=50, fmax=14000, ref=1.0, amin=1e-10, top_db=None, freeze_parameters=True
    )
    with torch.no_grad():
        theirs = mel(stft(waveform))
    ours = LogMel()(waveform)
    assert ours.shape == theirs.shape == (2, 1, 1001, 64)
    # torchlibrosa's STFT is a float32 convolution, which is noisier than an FFT in quiet bands.
    torch.testing.assert_close(ours[:, :, :500], theirs[:, :, :500], atol=0.02, rtol=0)
    assert (ours - theirs).abs().mean() < 1e-3


def test_quiet_sounds_are_not_lifted_to_a_range_below_the_loudest():
    waveform = clips(10.0)
    waveform[:, 200000:] *= 1e-3
    logmel = LogMel()(waveform)
    assert logmel.max() - logmel.min() > 80  # a top_db of 80 would cut here


def test_silence_is_the_floor_everywhere():
    assert torch.equal(LogMel()(torch.zeros(1, RATE)), torch.full((1, 1, 101, 64), -100.0))


def test_talnet_has_40_frames_a_second():
    front_end = build("talnet", classes=3, width=0.0625).front_end
    waveform = clips(10.0)
    ours = front_end(waveform)
    assert ours.shape == (2, 1, 400, 64) and front_end.frames_per_second == 40
    np.testing.assert_allclose(ours[:, 0].numpy(), by_librosa(waveform, hop=800)[:, :400], atol=2e-3)


def test_frames_keep_their_duration_at_another_rate():
    front_end = build("cnn10", classes=3, width=0.0625, sample_rate=16000).front_end
    waveform = clips(1.0)[:, :16000]
    assert front_end.frames_per_second == 100
    expected = by_librosa(waveform, window=512, hop=160, rate=16000, fmax=8000)
    np.testing.assert_allclose(front_end(waveform)[:, 0].numpy(), expected, atol=2e-3)


def test_bf16_autocast_leaves_the_front_end_in_float32():
    waveform = clips(1.0)
    plain = LogMel()(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = LogMel()(waveform)
    assert mixed.dtype == torch.float32 and torch.equal(mixed, plain)


def test_the_front_end_has_nothing_to_train():
    front_end = LogMel()
    waveform = clips(0.5).requires_grad_()
    assert not list(front_end.parameters()) and not front_end(waveform).requires_grad
