"""Choosing and cutting windows against loops in plain Python, edges included."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from glat.models import LogMel, selection

RATE, FPS = 32000, 100.0


def naive_top_classes(scores: list[float], count: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda c: (-scores[c], c))[:count]


def zeroed(peak: int, frames: int, window: int, clip: int) -> list[int]:
    """The frames that the released code's suppression zeroes after a peak: lengths and the comparison in samples."""
    centre = next(sample for sample in range(clip, -1, -1) if sample * frames <= peak * clip)
    reach = int(window * frames / clip) // 4
    if centre + window // 2 >= clip:
        return list(range(frames))[-2 * reach :]  # all of them where reach is 0
    if centre - window // 2 < 0:
        return list(range(frames))[: 2 * reach]
    return list(range(peak - reach, peak + reach))


def naive_peaks(activations: list[list[float]], window: int = 0, clip: int = 0) -> list[int]:
    """Peaks of one clip's N x T activations; with a `window`, in samples of a clip of so many, they are suppressed."""
    rows, peaks = [list(row) for row in activations], []
    for n, row in enumerate(rows):
        peaks.append(row.index(max(row)))
        for t in zeroed(peaks[-1], len(row), window, clip) if window else ():
            for later in rows[n + 1 :]:
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
    window, length = (round(100 * tau), round(100 * seconds)) if suppress else (0, 0)  # at 100 Hz
    peaks = selection.suppressed_peaks(activations, window, length) if suppress else selection.peak_frames(activations)
    starts = selection.window_starts(peaks, frames, tau, seconds, frame_time)
    for b, clip in enumerate(clips):
        expected = naive_peaks(clip, window, length)
        assert peaks[b].tolist() == expected
        begun = [naive_start(p, frames, tau, seconds, frame_time) for p in expected]
        assert starts[b].tolist() == pytest.approx(begun, abs=1e-9)
    assert starts.min() >= 0 and starts.max() + tau <= seconds + 1e-9
    assert torch.equal(activations, torch.tensor(clips))  # not changed in place


@given(scores=st.lists(st.lists(activation, min_size=7, max_size=7), min_size=1, max_size=3), count=st.integers(1, 7))
@settings(deadline=None, max_examples=150)
def test_classes_are_the_highest_and_the_lower_index_among_equals(scores, count):
    assert selection.top_classes(torch.tensor(scores), count).tolist() == [
        naive_top_classes(row, count) for row in scores
    ]


def test_a_peak_at_either_end_gives_the_first_and_the_last_window():
    peaks = torch.tensor([[0, 61]])
    assert selection.window_starts(peaks, 62, 3.0, 10.0).tolist() == [[0.0, 7.0]]
    assert selection.window_starts(torch.tensor([[31]]), 62, 3.0, 10.0).item() == pytest.approx(31.5 / 6.2 - 1.5)
    assert selection.window_starts(torch.tensor([[31]]), 62, 3.0, 10.0, "start").item() == pytest.approx(31 / 6.2 - 1.5)


def test_a_window_as_long_as_the_clip_or_longer_starts_at_zero():
    for tau in (10.0, 12.0):
        assert not selection.window_starts(torch.arange(62)[None], 62, tau, 10.0).any()
        assert (
            not selection.random_starts(4, 5, tau, 10.0, None).any()
            and not selection.uniform_starts(4, 5, tau, 10.0).any()
        )


def suppressed(peak: int | None, frames: int, window: int, clip: int) -> list[list[int]]:
    """The frames that `suppressed_peaks` zeroes after each peak (or that one): of two classes the second has its peak at
    each frame in turn, and looks elsewhere where that frame was zeroed."""
    peaks = range(frames) if peak is None else [peak]
    first = torch.eye(frames)[list(peaks)].repeat_interleave(frames, 0)
    second = 0.5 + torch.eye(frames).repeat(len(peaks), 1)
    found = selection.suppressed_peaks(torch.stack((first, second), 1), window, clip)[:, 1].view(len(peaks), frames)
    # Where everything was zeroed, the first of equal frames is the highest.
    return [list(range(frames)) if not row.any() else [t for t in range(frames) if row[t] != t] for row in found]


@pytest.mark.parametrize("frames", [5, 10, 31, 62, 100])  # the last three: ResNet38, CNN10 and AT-SCA, TALNet
@pytest.mark.parametrize("tau", [0.25, 1, 2, 2.5, 3, 4, 5, 9.99, 10])
def test_suppression_zeroes_what_a_loop_over_samples_does_after_a_peak_at_every_frame(tau, frames):
    window, clip = round(tau * 3200), 32000
    expected = [sorted(zeroed(peak, frames, window, clip)) for peak in range(frames)]
    assert suppressed(None, frames, window, clip) == expected


@pytest.mark.parametrize(
    ("frames", "tau", "peak", "gone"),
    [
        (62, 3.0, 9, range(8)),  # 9 T0 / T is 1.45 s, less than half a window from the start
        (62, 3.0, 10, range(6, 14)),
        (62, 3.0, 52, range(48, 56)),
        (62, 3.0, 53, range(54, 62)),
        (31, 1.0, 15, ()),  # a quarter of a window is less than one frame
        (31, 1.0, 30, range(31)),  # and the slice from -0 is everything
    ],
)
def test_suppressed_frames_as_in_the_released_code(frames, tau, peak, gone):
    assert suppressed(peak, frames, round(tau * RATE), 10 * RATE) == [list(gone)]


def test_suppression_sends_equal_classes_to_different_places():
    activations = torch.zeros(1, 3, 20)
    activations[:, :, 5], activations[:, :, 14], activations[:, :, 9] = 0.9, 0.8, 0.7
    assert selection.peak_frames(activations).tolist() == [[5, 5, 5]]
    assert selection.suppressed_peaks(activations, 6, 20).tolist() == [[5, 14, 9]]


def test_random_windows_fill_the_clip_and_follow_their_generator():
    draw = [selection.random_starts(500, 5, 3.0, 10.0, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert draw[0].shape == (500, 5) and draw[0].min() >= 0 and draw[0].max() <= 7
    assert draw[0].min() < 0.05 and draw[0].max() > 6.95 and abs(draw[0].mean() - 3.5) < 0.15
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])


def test_a_clip_s_random_windows_are_its_own_in_any_batch():
    def generators(seeds):
        return [torch.Generator().manual_seed(s) for s in seeds]

    together = selection.random_starts(4, 5, 3.0, 10.0, generators([3, 1, 4, 15]))
    for b, seed in enumerate([3, 1, 4, 15]):
        assert torch.equal(selection.random_starts(1, 5, 3.0, 10.0, generators([seed]))[0], together[b])
    assert len(together.unique()) == 20


def test_uniform_windows_are_evenly_spaced_from_end_to_end():
    assert selection.uniform_starts(2, 5, 3.0, 10.0).tolist() == [[0.0, 1.75, 3.5, 5.25, 7.0]] * 2
    assert selection.uniform_starts(1, 1, 3.0, 10.0).tolist() == [[3.5]]


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
    windows = selection.cut_windows(logmel, starts, tau, fps)
    assert windows.shape == (3 * len(places), 1, width, 4)
    for b in range(len(places)):
        for n in range(3):
            first = min(math.floor(starts[b, n].item() * fps + 0.501), frames - width)
            assert torch.equal(windows[3 * b + n], logmel[b, :, first : first + width])


def test_the_last_window_of_a_ten_second_clip_lies_inside_it():
    logmel = torch.arange(1001.0)[None, None, :, None]
    window = selection.cut_windows(logmel, torch.tensor([[7.0]]), 3.0, FPS)
    assert window.shape == (1, 1, 300, 1) and window[0, 0, 0] == 700 and window[0, 0, -1] == 999


@pytest.mark.parametrize(("start", "edges"), [(2.34, [0, 1, 299]), (0.0, [299]), (7.0, [0, 1])])
def test_cutting_frames_equals_cutting_the_waveform_but_for_the_padding_at_the_edges(start, edges):
    """An STFT window of 1024 samples reaches 512 = 1.6 hops over an edge: two frames at the start of a window and the
    last of its 300 see padding where the waveform was cut; all others, and those at the clip's own ends, are the same."""
    waveform = 0.1 * torch.randn(1, 10 * RATE, generator=torch.Generator().manual_seed(0))
    front_end = LogMel()
    first = round(start * RATE)
    from_frames = selection.cut_windows(front_end(waveform), torch.tensor([[start]]), 3.0, FPS)[0, 0]
    from_waveform = front_end(waveform[:, first : first + 3 * RATE])[0, 0]
    assert len(from_frames) == 300 and len(from_waveform) == 301
    difference = (from_frames - from_waveform[:300]).abs().amax(1)
    assert (difference > 1e-3).nonzero()[:, 0].tolist() == edges
    assert 1 < difference.max() < 40  # dB in a single band, on white noise
    assert (from_frames - from_waveform[:300]).abs().mean() < 0.05  # dB over the whole window


def test_a_start_between_two_frames_is_rounded_alike_whatever_its_last_bit():
    logmel = torch.arange(101.0)[None, None, :, None]
    starts = torch.tensor([[0.125, 0.135, 0.145]]).double()  # half-way between 12 and 13, 13 and 14, 14 and 15
    for noise in (-1e-7, 0.0, 1e-7):
        for dtype in (torch.float32, torch.float64):
            windows = selection.cut_windows(logmel, (starts + noise).to(dtype), 0.5, 100.0)
            assert windows[:, 0, 0, 0].tolist() == [13, 14, 15]
