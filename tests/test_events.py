"""What becomes of scores: events, means over overlaps, thresholds, text; against loops, scikit-learn and pandas."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy.ndimage import median_filter
from sklearn.metrics import f1_score, precision_score, recall_score

from glat.use import formats, thresholds
from glat.use.events import Event, Hysteresis, MedianFilter, odd_steps
from glat.use.formats import Format, Tag
from glat.use.overlaps import Overlaps


def blocks(rng, scores):
    """Scores in blocks of any length, none among them."""
    places = np.sort(rng.integers(0, len(scores) + 1, rng.integers(0, 5)))
    return np.split(scores, places)


def naive_events(scores, high, low, width):
    """As the definition says, frame by frame."""
    found, half = [], width // 2
    for label in range(scores.shape[1]):
        padded = np.pad(scores[:, label], half, "edge")
        smooth = [np.median(padded[t : t + width]) for t in range(len(scores))]
        t = 0
        while t < len(smooth):
            begin = t
            while t < len(smooth) and smooth[t] >= low[label]:
                t += 1
            if t > begin and max(smooth[begin:t]) >= high[label]:
                found.append(Event(label, begin, t, max(smooth[begin:t])))
            t = max(t, begin + 1)
    return sorted(found, key=lambda event: (event.onset, event.label))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([1, 3, 7]))
def test_events_in_blocks_are_those_of_a_loop_over_all_frames(seed, frames, width):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random((frames, 3)), 1)  # so that some are equal
    high, low = rng.random(3), rng.random(3) * 0.6
    low = np.minimum(low, high)
    smooth, runs, found = MedianFilter(width), Hysteresis(high, low), []
    for block in blocks(rng, scores):
        found += runs.add(smooth.add(block))
    found += [*runs.add(smooth.end()), *runs.end()]
    assert found == naive_events(scores, high, low, width)  # in order of onset, too


def test_the_filter_is_scipys_and_a_class_over_any_score_has_no_event():
    scores = np.random.default_rng(0).random((50, 4)).astype("f4")
    for width in (5, 41):
        smooth = MedianFilter(width)
        parts = [smooth.add(scores[:20]), smooth.add(scores[20:]), smooth.end()]
        expected = median_filter(scores, (width, 1), mode="nearest")
        np.testing.assert_array_equal(np.concatenate([part for part in parts if len(part)]), expected)
    never = Hysteresis(np.full(4, thresholds.NEVER), np.zeros(4))
    assert never.add(scores) + never.end() == []
    assert [odd_steps(seconds, 0.16) for seconds in (0, 0.1, 0.5, 0.7, 1)] == [1, 1, 3, 5, 7]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 6))
def test_overlapping_clips_are_merged_as_a_loop_does(seed, hop, count):
    rng = np.random.default_rng(seed)
    clips = rng.random((count, 9, 2)).astype("f4")
    total, many = np.zeros(((count - 1) * hop + 9, 2)), np.zeros(((count - 1) * hop + 9, 1))
    merged, parts = Overlaps(), []
    for k, clip in enumerate(clips):
        total[k * hop : k * hop + 9] += clip
        many[k * hop : k * hop + 9] += 1
        parts.append(merged.add(k * hop, clip))
        assert sum(map(len, parts)) == k * hop  # no frame waits that is certain
    parts.append(merged.end())
    np.testing.assert_allclose(np.concatenate(parts), total / many, rtol=1e-5)


@pytest.mark.parametrize("aim", [None, 0.7])
def test_thresholds_are_the_best_of_all_that_can_be_tried(aim):
    rng = np.random.default_rng(3)
    target = rng.random((40, 5)) < [0.3, 0.1, 0.5, 0.02, 0]
    target[:2, 3], target[:, 4] = True, False
    scores = np.round(np.clip(rng.normal(0.4, 0.2, target.shape) + 0.2 * target, 0, 1), 1 if aim else 2)
    found = thresholds.choose(target, scores, aim)
    for c in range(5):
        truth, tried = target[:, c], {}
        for t in np.unique(scores[:, c]):
            tried[t] = [
                of(truth, scores[:, c] >= t, zero_division=0) for of in (precision_score, recall_score, f1_score)
            ]
        if not truth.any():
            assert np.isnan(found.threshold[c]) and np.isnan(found.f1[c])
            continue
        good = [v[1] for v in tried.values() if v[0] >= aim and v[1]] if aim else [v[2] for v in tried.values()]
        if not good:
            assert np.isnan(found.threshold[c])
            continue
        decided = scores[:, c] >= found.threshold[c]
        measured = [of(truth, decided, zero_division=0) for of in (precision_score, recall_score, f1_score)]
        assert measured == pytest.approx([found.precision[c], found.recall[c], found.f1[c]])
        assert measured[1 if aim else 2] == pytest.approx(max(good)) and (not aim or measured[0] >= aim)


TAGS = [Tag(Path("a/b.wav"), 0.0, 10.0, 'Child speech, "kid"', 0.75), Tag(Path("tab\there.wav"), 1.5, 2.25, "Ü", 0.5)]


def test_formats_are_read_back_by_others():
    text = {form: "".join(formats.lines(form, TAGS)) for form in Format}
    names, places = ["a/b.wav", "tab\there.wav"], [(0.0, 10.0), (1.5, 2.25)]
    table = pd.read_csv(io.StringIO(text[Format.csv]))
    assert list(table.columns) == ["file", "start", "end", "label", "score"] and table["file"].tolist() == names
    assert table["label"].tolist() == ['Child speech, "kid"', "Ü"] and table["score"].tolist() == [0.75, 0.5]
    dcase = pd.read_csv(io.StringIO(text[Format.dcase]), sep="\t")
    assert list(dcase.columns) == ["filename", "onset", "offset", "event_label"]
    assert list(zip(dcase["onset"], dcase["offset"], strict=True)) == places
    assert (
        dcase["filename"].tolist() == ["b.wav", r"tab\there.wav"] and dcase["event_label"][0] == 'Child speech, "kid"'
    )
    objects = [json.loads(line) for line in text[Format.jsonl].splitlines()]
    assert [(one["file"], one["start"], one["end"], one["label"], one["score"]) for one in objects] == [
        (str(t.file), *t[1:]) for t in TAGS
    ]
    assert text[Format.audacity].splitlines()[1].split("\t") == ["1.500000", "2.250000", "Ü"]
    assert text[Format.table].splitlines()[1] == "tab\\there.wav\t1.5\t2.2\t0.500\tÜ"
    assert "".join(formats.lines(Format.csv, [])).startswith("file,start")  # of nothing, the header
