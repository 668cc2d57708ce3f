"""SpecAugment and mixup against loops over clips."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from glat.config.training import Training
from glat.training.augmentation import augment, mix, pairs, spec_augment, stripes


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
