"""Choosing and cutting windows against loops in plain Python, edges included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glat.models import LogMel
from glat.models.selection import cut_windows, peak_frames, random_starts, top_classes, uniform_starts, window_starts

RATE, FPS = 32000, 100.0


def naive_top_classes(scores: list[float], count: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda c: (-scores[c], c))[:count]


def naive_peaks(activations: list[list[float]], width: int) -> list[int]:
    """Peaks of one clip's N x T activations; with `width` > 0 the rule of suppression, frame by frame."""
    rows = [list(row) for row in activations]
    frames, reach, peaks = len(rows[0]), width // 4, []
    for n, row in enumerate(rows):
        peak = row.index(max(row))
        peaks.append(peak)
        if not width:
            continue
        if peak + width / 2 >= frames:
            gone = range(frames - 2 * reach, frames)
        elif peak - width / 2 < 0:
            gone = range(2 * reach)
        else:
            gone = range(max(peak - reach, 0), min(peak + reach, frames))
        for later in rows[n + 1 :]:
            for t in gone:
                if t < frames:
                    later[t] = 0.0
    return peaks


def naive_start(peak: int, frames: int, tau: float, seconds: float, frame_time: str) -> float:
    m = (peak + (0.5 if frame_time == "middle" else 0)) * seconds / frames
    if m + tau / 2 > seconds:
        return seconds - tau
    if m - tau / 2 < 0:
        return 0.0
    return m - tau / 2


# Few distinct values, so that ties are common.
activation = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.9, 1.0])


@st.composite
def cases(draw):
    frames, count, clips = draw(st.integers(1, 24)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    row = st.lists(activation, min_size=frames, max_size=frames)
    clip = st.lists(row, min_size=count, max_size=count)
    seconds = draw(st.sampled_from([10.0, 4.0, 2.5]))
    tau = seconds * draw(st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0]))
    return draw(st.lists(clip, min_size=clips, max_size=clips)), tau, seconds


@given(case=cases(), suppress=st.booleans(), frame_time=st.sampled_from(["middle", "start"]))
@settings(deadline=None, max_examples=400)
def test_windows_equal_a_naive_loop(case, suppress, frame_time):
    clips, tau, seconds = case
    activations = torch.tensor(clips)
    frames = activations.shape[2]
    width = int(tau / seconds * frames) if suppress else 0
    peaks = peak_frames(activations, width)
    starts = window_starts(peaks, frames, tau, seconds, frame_time)
    for b, clip in enumerate(clips):
        expected = naive_peaks(clip, width)
        assert peaks[b].tolist() == expected
        assert starts[b].tolist() == pytest.approx(
            [naive_start(p, frames, tau, seconds, frame_time) for p in expected], abs=1e-9
        )
    assert starts.min() >= 0 and starts.max() + tau <= seconds + 1e-9
    assert torch.equal(activations, torch.tensor(clips))  # not changed in place


@given(scores=st.lists(st.lists(activation, min_size=7, max_size=7), min_size=1, max_size=3), count=st.integers(1, 7))
@settings(deadline=None, max_examples=150)
def test_classes_are_the_highest_and_the_lower_index_among_equals(scores, count):
    assert top_classes(torch.tensor(scores), count).tolist() == [naive_top_classes(row, count) for row in scores]


def test_a_peak_at_either_end_gives_the_first_and_the_last_window():
    peaks = torch.tensor([[0, 61]])
    assert window_starts(peaks, 62, 3.0, 10.0).tolist() == [[0.0, 7.0]]
    assert window_starts(torch.tensor([[31]]), 62, 3.0, 10.0).item() == pytest.approx(31.5 / 6.2 - 1.5)
    assert window_starts(torch.tensor([[31]]), 62, 3.0, 10.0, "start").item() == pytest.approx(31 / 6.2 - 1.5)


def test_a_window_as_long_as_the_clip_or_longer_starts_at_zero():
    for tau in (10.0, 12.0):
        assert not window_starts(torch.arange(62)[None], 62, tau, 10.0).any()
        assert not random_starts(4, 5, tau, 10.0, None).any() and not uniform_starts(4, 5, tau, 10.0).any()


def test_suppression_sends_equal_classes_to_different_places():
    activations = torch.zeros(1, 3, 20)
    activations[:, :, 5], activations[:, :, 14], activations[:, :, 9] = 0.9, 0.8, 0.7
    assert peak_frames(activations).tolist() == [[5, 5, 5]]
    assert peak_frames(activations, 6).tolist() == [[5, 14, 9]]


def test_random_windows_fill_the_clip_and_follow_their_generator():
    draw = [random_starts(500, 5, 3.0, 10.0, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert draw[0].shape == (500, 5) and draw[0].min() >= 0 and draw[0].max() <= 7
    assert draw[0].min() < 0.05 and draw[0].max() > 6.95 and abs(draw[0].mean() - 3.5) < 0.15
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])


def test_uniform_windows_are_evenly_spaced_from_end_to_end():
    assert uniform_starts(2, 5, 3.0, 10.0).tolist() == [[0.0, 1.75, 3.5, 5.25, 7.0]] * 2
    assert uniform_starts(1, 1, 3.0, 10.0).tolist() == [[3.5]]


@given(
    frames=st.integers(5, 40), fps=st.sampled_from([5.0, 8.0, 40.0]), tau=st.sampled_from([0.5, 1.0, 3.0, 20.0]),
    places=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=3),
)  # fmt: skip
@settings(deadline=None, max_examples=150)
def test_cutting_equals_slicing_clip_by_clip(frames, fps, tau, places):
    seconds = frames / fps
    starts = torch.tensor(places, dtype=torch.float64) * max(seconds - tau, 0)
    logmel = torch.randn(len(places), 1, frames, 4)
    width = frames if tau * fps >= frames - 1 else round(tau * fps)  # all of it, where only the last frame is beyond
    windows = cut_windows(logmel, starts, tau, fps)
    assert windows.shape == (3 * len(places), 1, width, 4)
    for b in range(len(places)):
        for n in range(3):
            first = min(round(starts[b, n].item() * fps), frames - width)
            assert torch.equal(windows[3 * b + n], logmel[b, :, first : first + width])


def test_the_last_window_of_a_ten_second_clip_lies_inside_it():
    logmel = torch.arange(1001.0)[None, None, :, None]
    window = cut_windows(logmel, torch.tensor([[7.0]]), 3.0, FPS)
    assert window.shape == (1, 1, 300, 1) and window[0, 0, 0] == 700 and window[0, 0, -1] == 999


@pytest.mark.parametrize(("start", "edges"), [(2.34, [0, 1, 299]), (0.0, [299]), (7.0, [0, 1])])
def test_cutting_frames_equals_cutting_the_waveform_but_for_the_padding_at_the_edges(start, edges):
    """An STFT window of 1024 samples reaches 512 = 1.6 hops over an edge: two frames at the start of a window and the
    last of its 300 see padding where the waveform was cut; all others, and those at the clip's own ends, are the same."""
    waveform = 0.1 * torch.randn(1, 10 * RATE, generator=torch.Generator().manual_seed(0))
    front_end = LogMel()
    first = round(start * RATE)
    from_frames = cut_windows(front_end(waveform), torch.tensor([[start]]), 3.0, FPS)[0, 0]
    from_waveform = front_end(waveform[:, first : first + 3 * RATE])[0, 0]
    assert len(from_frames) == 300 and len(from_waveform) == 301
    difference = (from_frames - from_waveform[:300]).abs().amax(1)
    assert (difference > 1e-3).nonzero()[:, 0].tolist() == edges
    assert 1 < difference.max() < 40  # dB in a single band, on white noise
    assert (from_frames - from_waveform[:300]).abs().mean() < 0.05  # dB over the whole window
