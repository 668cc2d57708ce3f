"""The log-mel front end against two independent implementations."""

from typing import ClassVar

import librosa
import numpy as np
import pytest
import torch
from conftest import ROOT
from torchlibrosa.stft import LogmelFilterBank, Spectrogram

from glat.config.params import load
from glat.models import BACKBONES, LogMel, build
from glat.models.cnn10 import Cnn10
from glat.models.frontend import window_length

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
        n_fft=1024, hop_length=320, win_length=1024, window="hann", center=True, pad_mode="reflect",
        freeze_parameters=True,
    )  # fmt: skip
    bands = {"n_fft": 1024, "n_mels": 64, "fmin": 50, "fmax": 14000, "ref": 1.0, "amin": 1e-10, "top_db": None}
    mel = LogmelFilterBank(sr=RATE, freeze_parameters=True, **bands)
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
    np.testing.assert_allclose(ours[:, 0].numpy(), by_librosa(waveform, window=2048, hop=800)[:, :400], atol=2e-3)


def shipped() -> list[tuple[str, str, int, int, int]]:
    """Backbone, dataset and the front end that it gets there: rate, window and hop in samples."""
    params, found = load(ROOT / "params.yaml"), []
    for name, dataset in params.datasets.items():
        for backbone in BACKBONES:
            rate, hop = params.audio.sample_rate, {"hop": dataset.hop}
            front_end = build(backbone, 3, 0.0625, rate, front_end=hop).front_end
            found.append((backbone, name, front_end.sample_rate, front_end.stft.n_fft, front_end.hop))
    return found


def ripple(window: int, hop: int) -> float:
    """By how many dB the weight of a moment's power, the sum of the squared Hann windows over it, varies along a clip."""
    squared = np.hanning(window + 1)[:-1] ** 2
    weight = np.pad(squared, (0, -window % hop)).reshape(-1, hop).sum(0)
    return 10 * np.log10(weight.max() / weight.min())


def test_every_moment_of_a_clip_weighs_the_same_in_every_configuration_that_is_shipped():
    for backbone, dataset, _, window, hop in shipped():
        assert ripple(window, hop) < 0.7, (backbone, dataset)
        assert window & (window - 1) == 0  # a fast Fourier transform
        if hop == 320:
            assert window == 1024  # that of PANNs


def test_the_window_keeps_its_overlap_at_any_hop_and_never_falls_below_that_of_panns():
    windows = [window_length(hop) for hop in range(1, 4001)]
    assert max(ripple(window, hop) for hop, window in enumerate(windows, 1)) < 0.8
    assert windows[:409] == [1024] * 409 and windows == sorted(windows)
    assert ripple(1024, 640) > 7 and ripple(1024, 800) > 15  # what one window for all hops would leave


@pytest.mark.parametrize("backbone", ["cnn10", "talnet"])
def test_a_click_is_as_loud_wherever_it_falls_between_two_frames(backbone):
    front_end = build(backbone, classes=3, width=0.0625, front_end={"hop": 640}).front_end
    power = []
    for place in range(0, front_end.hop, front_end.hop // 8):
        waveform = torch.zeros(1, RATE)
        waveform[0, 16000 + place] = 1.0
        power.append((10 ** (front_end(waveform) / 10)).sum().item())
    assert 10 * np.log10(max(power) / min(power)) < 0.7


def test_a_backbone_s_own_window_stays():
    class Own(Cnn10):
        front_end: ClassVar[dict] = {"window": 1536, "hop": 640}

    assert build(Own, 3, 0.0625).front_end.stft.n_fft == 1536
    assert build(Cnn10, 3, 0.0625, front_end={"window": 4096, "hop": 640}).front_end.stft.n_fft == 4096


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
