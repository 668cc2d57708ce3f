"""SpecAugment and mixup against loops over clips."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from glat.config.training import Augmentation, MixStyle, Training
from glat.training.augmentation import augment, mix, mix_style, pairs, spec_augment, stripes
from glat.training.losses import smooth
from glat.training.waveforms import augment_waveforms


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(
    seed=st.integers(0, 999),
    clips=st.integers(1, 4),
    length=st.integers(1, 40),
    count=st.integers(0, 3),
    width=st.integers(0, 50),
)
@settings(deadline=None, max_examples=150)
def test_stripes_equal_a_loop_over_the_same_draws(seed, clips, length, count, width):
    mask = stripes(rng(seed), clips, length, count, width)
    draw = rng(seed)
    sizes = draw.integers(0, max(min(width, length), 1), (clips, count, 1))[..., 0]
    places = draw.random((clips, count, 1))[..., 0]
    expected = torch.zeros(clips, length, dtype=torch.bool)
    for b in range(clips):
        for i in range(count):
            first = int(places[b, i] * (length - sizes[b, i]))
            expected[b, first : first + sizes[b, i]] = True
            assert first + sizes[b, i] <= length
    assert torch.equal(mask, expected)
    assert mask.sum(1).max() <= count * max(width - 1, 0)


def test_a_stripe_is_unbroken_and_has_every_width_below_the_bound_at_every_place():
    mask = stripes(rng(), 4000, 30, 1, 8)
    assert set(mask.sum(1).tolist()) == set(range(8))
    assert mask[:, :-1].any(0).all() and not mask[:, -1].any()  # the last step stays, as in torchlibrosa
    runs = (mask[:, 1:] & ~mask[:, :-1]).sum(1) + mask[:, 0]
    assert runs.max() == 1


def test_spec_augment_keeps_all_but_the_stripes():
    keep = spec_augment((3, 1, 50, 16), rng(1), 2, 10, 2, 4)
    draw = rng(1)
    time, band = stripes(draw, 3, 50, 2, 10), stripes(draw, 3, 16, 2, 4)
    for b in range(3):
        for t in range(50):
            for f in range(16):
                assert keep[b, 0, t, f] == (0 if time[b, t] or band[b, f] else 1)
    assert keep.shape == (3, 1, 50, 16) and 0 < keep.mean() < 1


def test_no_stripes_change_nothing():
    assert spec_augment((2, 1, 20, 8), rng(), 0, 64, 0, 8) is None
    logmel, target = torch.randn(2, 1, 20, 8), torch.rand(2, 3)
    found = augment(logmel, target, settings_of(0, 0.0, "windows"), rng(), rng(), (2, 5))
    assert found.logmel is logmel and found.target is target and found.masked is None and found.keep_windows is None


def test_stripes_of_a_waveform_are_as_long_as_those_of_a_log_mel():
    """Of 10 ms a frame, which is 160 samples; and no band of the one that it has is masked."""
    choice = {"time_stripes": 2, "time_width": 20, "mel_stripes": 2, "mel_width": 8}
    drop = Training.model_validate({"spec_augment": choice, "mixup_alpha": 0.0})
    masked = [
        1
        - augment(torch.zeros(200, 1, frames, bands), torch.zeros(200, 1), drop, rng(), rng()).masked.keep.mean((2, 3))
        for frames, bands in ((16000, 1), (100, 1000))
    ]
    assert masked[0].mean() == pytest.approx(0.18, abs=0.02) and masked[0].max() < 0.4
    assert masked[1].mean() == pytest.approx(0.18 + 0.007, abs=0.02)


def settings_of(stripes: int, alpha: float, where: str = "clip") -> Training:
    masks = {"where": where, "time_stripes": stripes, "time_width": 10, "mel_stripes": stripes, "mel_width": 4}
    return Training(steps=1, mixup_alpha=alpha, spec_augment=masks)


def flat(batch) -> list[torch.Tensor]:
    return [batch.logmel, batch.target, *batch.masked, batch.keep_windows]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_windows_have_stripes_of_their_own_where_that_is_asked_for(alpha):
    logmel, target = torch.randn(4, 1, 50, 16), torch.rand(4, 3)
    clip = augment(logmel, target, settings_of(2, alpha), rng(1), rng(2), (3, 20))
    windows = augment(logmel, target, settings_of(2, alpha, "windows"), rng(1), rng(2), (3, 20))
    alone = augment(logmel, target, settings_of(2, alpha, "windows"), rng(1), rng(2))
    assert clip.keep_windows is None and alone.keep_windows is None
    assert torch.equal(clip.masked.keep, windows.masked.keep) and torch.equal(clip.logmel, windows.logmel)
    assert windows.keep_windows.shape == (12, 1, 20, 16)
    masked = (windows.keep_windows == 0).all(3).any((1, 2)).sum()  # windows with a stripe in time
    assert masked > 8 and len({tuple(w.flatten().tolist()) for w in windows.keep_windows}) > 8
    first, second = (windows.part(i, 2) for i in range(2))
    for whole, *parts in zip(flat(windows), flat(first), flat(second), strict=True):
        assert torch.equal(torch.cat(parts), whole)


def test_a_mixture_of_masked_clips_is_that_of_the_clips_each_masked_behind_the_normalisation():
    """PANNs: normalise, mask, then mix. Ours: mix, normalise, mask. Any affine map of the bands gives the same."""
    logmel, target = torch.randn(6, 1, 40, 16), torch.rand(6, 3)
    found = augment(logmel, target, settings_of(2, 1.0), rng(1), rng(2))
    keep = spec_augment(logmel.shape, rng(1), 2, 10, 2, 4)
    partner, share = pairs(6, rng(2), 1.0)
    gain, shift = torch.rand(16) + 0.5, torch.randn(16)
    masked, weight = found.masked
    torch.testing.assert_close((gain * masked + shift) * weight, mix((gain * logmel + shift) * keep, partner, share))
    torch.testing.assert_close(found.logmel, mix(logmel, partner, share))  # what a stream without masks hears
    torch.testing.assert_close(found.target, mix(target, partner, share))
    assert 0 < (weight == 0).float().mean() < (keep == 0).float().mean()  # one of the two sounds in most stripes


@pytest.mark.parametrize("clips", [1, 2, 3, 8])
def test_mixup_mixes_each_clip_with_the_next_of_a_random_cycle_and_labels_alike(clips):
    logmel, target = torch.randn(clips, 1, 7, 4), torch.rand(clips, 3)
    for seed in range(20):
        partner, share = pairs(clips, rng(seed), 0.5)
        mixed, labels = mix(logmel, partner, share), mix(target, partner, share)
        draw = rng(seed)
        order = draw.permutation(clips).tolist()
        shares = draw.beta(0.5, 0.5, clips)
        for i in range(clips):
            j = order[(order.index(i) + 1) % clips]
            torch.testing.assert_close(mixed[i], (shares[i] * logmel[i] + (1 - shares[i]) * logmel[j]).float())
            torch.testing.assert_close(labels[i], (shares[i] * target[i] + (1 - shares[i]) * target[j]).float())


def test_the_generator_alone_decides():
    logmel, target = torch.randn(4, 1, 60, 16), torch.rand(4, 3)

    def tensors(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(torch.randint(1000, ()).item())  # the global generator must not matter
        return flat(augment(logmel, target, settings_of(2, 1.0, "windows"), rng(seed), rng(seed + 9), (2, 30)))

    first, again, other = tensors(0), tensors(0), tensors(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_input_is_not_changed_in_place():
    logmel, target = torch.randn(3, 1, 30, 8), torch.rand(3, 2)
    kept = logmel.clone(), target.clone()
    augment(logmel, target, settings_of(2, 1.0), rng(), rng())
    assert torch.equal(logmel, kept[0]) and torch.equal(target, kept[1])


@pytest.mark.parametrize("where", ["clip", "windows"])
def test_clips_are_mixed_two_by_two_as_panns_do(where):
    """PANNs' `do_mixup` of what is masked behind the normalisation, for which any affine map of the bands stands."""
    logmel, target = torch.randn(6, 1, 40, 16), torch.rand(6, 3)
    pairwise = settings_of(2, 1.0, where).model_copy(update={"mixup_pairs": True})
    found = augment(logmel, target, pairwise, rng(1), rng(2), (2, 10))
    keep, weight = spec_augment(logmel.shape, rng(1), 2, 10, 2, 4), torch.from_numpy(rng(2).beta(1, 1, 3)).float()
    masked = (1.5 * logmel - 2) * keep
    lam = weight.view(-1, 1, 1, 1)
    torch.testing.assert_close(
        (1.5 * found.masked.logmel - 2) * found.masked.keep, masked[::2] * lam + masked[1::2] * (1 - lam)
    )
    torch.testing.assert_close(found.logmel, logmel[::2] * lam + logmel[1::2] * (1 - lam))
    torch.testing.assert_close(found.target, target[::2] * lam[:, :, 0, 0] + target[1::2] * (1 - lam[:, :, 0, 0]))
    assert found.keep_windows is None if where == "clip" else found.keep_windows.shape == (6, 1, 10, 16)


def test_mix_style_gives_each_band_statistics_between_its_own_and_another_s():
    logmel = torch.randn(8, 1, 200, 5) * torch.rand(8, 1, 1, 5) * 9 + torch.randn(8, 1, 1, 5) * 30
    found, draw = mix_style(logmel, rng(3), 0.4), rng(3)
    shares, others = draw.beta(0.4, 0.4, 8), draw.permutation(8)
    for i in range(8):
        for band in range(5):
            mine, other = logmel[i, 0, :, band], logmel[others[i], 0, :, band]
            expected = [shares[i] * f(mine) + (1 - shares[i]) * f(other) for f in (torch.mean, torch.std)]
            new = found[i, 0, :, band]
            torch.testing.assert_close(
                torch.stack([new.mean(), new.std()]), torch.stack(expected).float(), rtol=1e-3, atol=1e-3
            )
            assert torch.corrcoef(torch.stack([mine, new]))[0, 1] > 0.9999, "nothing but its statistics changes"
    on = Training(
        augmentation=Augmentation(mix_style=MixStyle(rate=0.5)),
        mixup_alpha=0.0,
        spec_augment={"time_stripes": 0, "mel_stripes": 0},
    )
    styled = [
        not torch.equal(augment(logmel, torch.zeros(8, 1), on, rng(), rng(), None, rng(k)).logmel, logmel)
        for k in range(60)
    ]
    assert 15 < sum(styled) < 45


def waveforms(**settings):
    """Eight clips of half a second whose samples all differ, before and after, at 100 Hz."""
    waveform, target = torch.arange(400.0).view(8, 50) / 400 + 0.1, torch.eye(8)
    return waveform, *augment_waveforms(waveform, target, Augmentation(**settings), 100, lambda use: rng(int(use)))


def test_waveforms_are_rolled_by_up_to_so_many_seconds():
    before, after, target = waveforms(roll=0.04)
    shifts = [
        next(s for s in range(-4, 5) if torch.equal(one.roll(s), new)) for one, new in zip(before, after, strict=True)
    ]
    assert len(set(shifts)) > 2 and torch.equal(target, torch.eye(8))


def test_waveforms_are_amplified_by_up_to_so_many_decibels():
    before, after, _ = waveforms(gain=6.0)
    gain = 20 * (after / before).log10()
    torch.testing.assert_close(gain, gain[:, :1].expand(8, 50), rtol=0, atol=1e-4)
    assert gain.abs().max() <= 6 and gain.min() < -1 and gain.max() > 1


def test_waveforms_are_mixed_with_another_of_the_batch_and_stay_the_louder():
    before, after, target = waveforms(waveform_mixup={"rate": 0.5, "alpha": 2.0})
    centred = before - before.mean(1, keepdim=True)
    mixed = (target.count_nonzero(1) == 2).tolist()
    assert 0 < sum(mixed) < 8
    for i in range(8):
        assert target[i].sum() == pytest.approx(1) and target[i, i] >= 0.5
        expected = target[i] @ centred if mixed[i] else before[i]
        torch.testing.assert_close(after[i], expected, rtol=1e-4, atol=1e-5)
    before, after, target = waveforms(waveform_mixup={"rate": 0.0})
    assert torch.equal(before, after) and torch.equal(target, torch.eye(8))


def test_smoothed_labels_still_sum_to_as_much():
    target = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    torch.testing.assert_close(smooth(target, 0.2)[0], torch.tensor([0.85, 0.05, 0.05, 0.05]))
    assert smooth(target, 0.2).sum(1).tolist() == pytest.approx([1, 1]) and smooth(target, 0.0) is target
