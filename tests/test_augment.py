"""SpecAugment and mixup against loops over clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glat.augment import mixup, spec_augment, stripes


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


def test_spec_augment_masks_with_the_mean_of_the_band_and_changes_nothing_else():
    logmel = torch.randn(3, 1, 50, 16)
    out = spec_augment(logmel, rng(1), 2, 10, 2, 4)
    draw = rng(1)
    time, band = stripes(draw, 3, 50, 2, 10), stripes(draw, 3, 16, 2, 4)
    masked = 0
    for b in range(3):
        for t in range(50):
            for f in range(16):
                if time[b, t] or band[b, f]:
                    masked += 1
                    assert out[b, 0, t, f] == pytest.approx(logmel[:, 0, :, f].mean().item(), abs=1e-5)
                else:
                    assert out[b, 0, t, f] == logmel[b, 0, t, f]
    assert 0 < masked < logmel.numel()


def test_no_stripes_change_nothing():
    logmel = torch.randn(2, 1, 20, 8)
    assert torch.equal(spec_augment(logmel, rng(), 0, 64, 0, 8), logmel)


@pytest.mark.parametrize("clips", [1, 2, 3, 8])
def test_mixup_mixes_each_clip_with_one_other_and_labels_alike(clips):
    for seed in range(20):
        # Clip i is one-hot at i, so what comes out shows who was mixed with whom and how much.
        logmel = torch.eye(clips)[:, None, None, :].expand(-1, 1, 3, -1).contiguous()
        target = torch.eye(clips)
        mixed, labels = mixup(logmel, target, rng(seed), 1.0)
        draw = rng(seed)
        draw.permutation(clips)
        shares = draw.beta(1.0, 1.0, clips)
        partners = []
        for i in range(clips):
            row = labels[i].tolist()
            others = [j for j in range(clips) if j != i and row[j] > 0]
            assert sum(row) == pytest.approx(1, abs=1e-6)
            if clips > 1:
                assert row[i] == pytest.approx(shares[i], abs=1e-6) and len(others) == 1
                partners += others
            assert torch.equal(mixed[i, 0], labels[i].expand(3, -1))
        assert sorted(partners) == (list(range(clips)) if clips > 1 else [])


def test_mixup_of_real_values_equals_the_formula():
    logmel, target = torch.randn(5, 1, 7, 4), torch.rand(5, 3)
    mixed, labels = mixup(logmel, target, rng(3), 0.5)
    draw = rng(3)
    order = draw.permutation(5).tolist()
    shares = draw.beta(0.5, 0.5, 5)
    for i in range(5):
        j = order[(order.index(i) + 1) % 5]
        torch.testing.assert_close(mixed[i], (shares[i] * logmel[i] + (1 - shares[i]) * logmel[j]).float())
        torch.testing.assert_close(labels[i], (shares[i] * target[i] + (1 - shares[i]) * target[j]).float())


def test_the_generator_alone_decides():
    logmel, target = torch.randn(4, 1, 60, 16), torch.rand(4, 3)

    def augment(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(torch.randint(1000, ()).item())  # the global generator must not matter
        draw = rng(seed)
        return [spec_augment(logmel, draw, 2, 20, 2, 6), *mixup(logmel, target, draw, 1.0)]

    first, again, other = augment(0), augment(0), augment(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_input_is_not_changed_in_place():
    logmel, target = torch.randn(3, 1, 30, 8), torch.rand(3, 2)
    kept = logmel.clone(), target.clone()
    spec_augment(logmel, rng(), 2, 10, 2, 4)
    mixup(logmel, target, rng(), 1.0)
    assert torch.equal(logmel, kept[0]) and torch.equal(target, kept[1])
