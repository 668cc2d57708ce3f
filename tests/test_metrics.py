import math
import warnings
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from glat.bootstrap import bootstrap, difference, interval, multiplicities, paired_bootstrap, resample, resampled
from glat.errors import GlatError
from glat.metrics import average_precision, d_prime, roc_auc, summary


def reference(target, score, weight=None):
    """scikit-learn class by class: AP and AUC, NaN where this project says that there is no value."""
    ap, auc = np.full((2, target.shape[1]), np.nan)
    # A clip of weight 0 is a clip that isn't there.
    kept = slice(None) if weight is None else weight > 0
    weight = None if weight is None else weight[kept]
    for label, (y, s) in enumerate(zip(target[kept].T, score[kept].T, strict=True)):
        if y.any():
            ap[label] = average_precision_score(y, s, sample_weight=weight)
            if not y.all():
                auc[label] = roc_auc_score(y, s, sample_weight=weight)
    return ap, auc


def clips_and_scores(clips=300, classes=12, seed=0, decimals=None, skill=1.0):
    random = np.random.default_rng(seed)
    target = random.random((clips, classes)) < random.uniform(0.01, 0.3, classes)
    score = random.standard_normal((clips, classes)) + skill * target
    return target, score if decimals is None else score.round(decimals)


def agree(target, score):
    ap, auc = reference(np.asarray(target), np.asarray(score))
    np.testing.assert_allclose(average_precision(target, score), ap, rtol=0, atol=1e-9)
    np.testing.assert_allclose(roc_auc(target, score), auc, rtol=0, atol=1e-9)


@pytest.mark.parametrize("decimals", [None, 2, 1, 0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_equals_scikit_learn_with_and_without_ties(decimals, dtype):
    target, score = clips_and_scores(decimals=decimals)
    agree(target, score.astype(dtype))


def test_scores_that_differ_in_the_last_bit_are_no_tie():
    target = np.array([[True], [False], [True], [False]])
    one = np.float32(0.5)
    next_up = np.nextafter(one, np.float32(1))
    agree(target, np.array([[one], [next_up], [next_up], [one]], np.float32))
    agree(target, np.array([[one], [next_up], [one], [one]], np.float32))


def test_constant_scores_one_positive_and_all_positive():
    target = np.zeros((50, 3), bool)
    target[:20, 0] = target[7, 1] = target[:, 2] = True
    score = np.random.default_rng(0).random((50, 3))
    score[:, 0] = 0.5
    agree(target, score)
    assert average_precision(target, score)[0] == pytest.approx(20 / 50)
    assert roc_auc(target, score)[0] == 0.5
    assert average_precision(target, score)[2] == 1
    assert np.isnan(roc_auc(target, score)[2])


def test_signed_zeros_tie_and_integer_targets_and_torch_tensors_are_taken():
    target = torch.tensor([[1], [0], [0], [1]])
    score = torch.tensor([[0.0], [-0.0], [-1.0], [2.0]])
    agree(target, score)
    assert roc_auc(target, score) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    agree(target, torch.tensor([[3], [3], [1], [2]]))


CASES = st.integers(1, 30).flatmap(
    lambda clips: st.tuples(
        arrays(bool, (clips, 2)),
        arrays(np.float64, (clips, 2), elements=st.sampled_from([-2.0, -1e-9, 0.0, 1e-9, 0.25, 0.5, 1e9])),
    )
)


@settings(deadline=None, max_examples=150)
@given(CASES)
def test_equals_scikit_learn_on_drawn_cases(case):
    agree(*case)


@settings(deadline=None, max_examples=100)
@given(CASES, st.integers(0, 2**32 - 1))
def test_a_resample_equals_scikit_learn_on_drawn_cases(case, seed):
    target, score = case
    counts = multiplicities(len(target), 3, seed)
    for weight, ap, auc in zip(counts, *resampled(target, score, counts), strict=True):
        expected = reference(target, score, weight)
        np.testing.assert_allclose([ap, auc], expected, rtol=0, atol=1e-9)


def test_d_prime():
    assert d_prime(0.5) == pytest.approx(0, abs=1e-12)
    for auc in (0.001, 0.3, 0.969, 0.9999):
        assert d_prime(auc) == pytest.approx(math.sqrt(2) * NormalDist().inv_cdf(auc), abs=1e-9)
    assert d_prime(0.974) == pytest.approx(2.742, abs=0.01)  # CNN10 + GL-AT in the paper's Table 1
    assert d_prime(1) == math.inf and d_prime(0) == -math.inf and math.isnan(d_prime(math.nan))
    with pytest.raises(GlatError, match="from 0 to 1, not 1.5"):
        d_prime(1.5)


def test_summary_leaves_out_and_counts_classes_without_a_positive():
    target, score = clips_and_scores(classes=6)
    target[:, [1, 4]] = False
    target[:, 5] = True
    found, (ap, auc) = summary(target, score), reference(target, score)
    assert found.left_out.tolist() == [1, 4] and found.scored.tolist() == [0, 2, 3, 5]
    assert found.positives.tolist() == target.sum(axis=0).tolist()
    assert found.mAP == pytest.approx(ap[[0, 2, 3, 5]].mean(), abs=1e-12)
    assert found.mAUC == pytest.approx(auc[[0, 2, 3]].mean(), abs=1e-12)
    assert found.d_prime == pytest.approx(d_prime(found.mAUC))
    assert np.isnan(found.ap[[1, 4]]).all() and np.isnan(found.auc[[1, 4, 5]]).all()


def test_summary_without_any_positive_has_no_mean():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = summary(np.zeros((5, 2), bool), np.random.default_rng(0).random((5, 2)))
    assert math.isnan(found.mAP) and math.isnan(found.mAUC) and math.isnan(found.d_prime)
    assert len(found.scored) == 0 and found.left_out.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("target", "score", "sentence"),
    [
        (
            np.zeros((3, 2)),
            np.zeros((3, 4)),
            r"must both be \(clips, classes\): target is \(3, 2\), score is \(3, 4\)",
        ),
        (np.zeros(3), np.zeros(3), r"target is \(3,\)"),
        (np.zeros((0, 4)), np.zeros((0, 4)), "nothing to score: 0 clips, 4 classes"),
        (
            np.array([[1, 0], [2, 0]]),
            np.zeros((2, 2)),
            "target has 1 of 4 .* neither 0 nor 1: the first is 2, clip 1, class 0",
        ),
        (np.array([[1, np.nan]]), np.zeros((1, 2)), "target has 1 of 2 .* the first is nan, clip 0, class 1"),
        (
            np.eye(2),
            np.array([[0, np.nan], [np.inf, 0]]),
            "score has 2 of 4 .* not finite: the first is nan, clip 0, class 1",
        ),
        (np.eye(1), np.array([["0.5"]]), "score must hold real numbers, not <U3"),
    ],
)
def test_bad_input_is_one_clear_sentence(target, score, sentence):
    for metric in (average_precision, roc_auc, summary, bootstrap):
        with pytest.raises(GlatError, match=sentence) as refused:
            metric(target, score)
        assert "\n" not in str(refused.value)


def test_bad_bootstrap_settings_are_refused():
    target, score = clips_and_scores()
    with pytest.raises(GlatError, match="at least 1 resample, not 0"):
        bootstrap(target, score, resamples=0)
    with pytest.raises(GlatError, match="between 0 and 1 .* not 95"):
        bootstrap(target, score, confidence=95)
    with pytest.raises(GlatError, match="at least 1 worker, not 0"):
        bootstrap(target, score, workers=0)
    with pytest.raises(GlatError, match=r"counts must be \(resamples, 300 clips\), not \(5, 299\)"):
        resampled(target, score, np.ones((5, 299), np.int32))


@pytest.mark.parametrize("decimals", [None, 0])
def test_bootstrap_equals_a_loop_over_repeated_clips(decimals):
    target, score = clips_and_scores(clips=80, classes=5, decimals=decimals)
    target[:, 0] = False
    target[:, 1] = np.arange(80) == 3  # absent from about a third of the resamples
    counts = multiplicities(80, 60, seed=4)
    assert (counts.sum(axis=1) == 80).all()
    means = []
    for count in counts:
        clips = np.repeat(np.arange(80), count)
        means.append([np.nanmean(values) for values in reference(target[clips], score[clips])])
    mean_ap, mean_auc = np.sort(means, axis=0).T
    found = bootstrap(target, score, resamples=60, seed=4, confidence=0.9)
    # (60 + 1) * 0.05 = 3.05: the third from either end.
    assert found.mAP[1:] == pytest.approx((mean_ap[2], mean_ap[-3]), abs=1e-9)
    assert found.mAUC[1:] == pytest.approx((mean_auc[2], mean_auc[-3]), abs=1e-9)
    assert found.d_prime[1:] == pytest.approx((d_prime(mean_auc[2]), d_prime(mean_auc[-3])), abs=1e-6)
    point = summary(target, score)
    assert (found.mAP.estimate, found.mAUC.estimate, found.d_prime.estimate) == (point.mAP, point.mAUC, point.d_prime)


def test_bootstrap_depends_on_the_seed_and_not_on_the_workers():
    target, score = clips_and_scores(clips=200, classes=8)
    threads = torch.get_num_threads()
    one, two, three = (bootstrap(target, score, resamples=300, seed=1, workers=workers) for workers in (1, 2, 3))
    assert one == two == three == bootstrap(target, score, resamples=300, seed=1)
    assert one != bootstrap(target, score, resamples=300, seed=2)
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(multiplicities(50, 10, seed=3)[:4], multiplicities(50, 4, seed=3))


def test_interval_covers_a_known_auc():
    """Normal scores one standard deviation apart: AUC = Phi(1 / sqrt(2)), so that d' = 1."""
    covered, width = 0, []
    for trial in range(100):
        random = np.random.default_rng(trial)
        target = random.random((400, 1)) < 0.3
        score = random.standard_normal((400, 1)) + target
        interval = bootstrap(target, score, resamples=200, seed=trial).d_prime
        covered += interval.low <= 1 <= interval.high
        width.append(interval.high - interval.low)
    # 95 % of 100 trials, give or take four standard deviations.
    assert 86 <= covered <= 100
    assert 0.3 < np.mean(width) < 0.7


def test_perfect_scores_have_an_infinite_d_prime_and_no_nan():
    target = np.random.default_rng(0).random((60, 3)) < 0.3
    found = bootstrap(target, target.astype(float), resamples=50)
    assert found.mAP == (1, 1, 1) and found.d_prime == (math.inf, math.inf, math.inf)
    same = paired_bootstrap(target, target.astype(float), target * 2.0, resamples=50)
    assert same.mAP == same.mAUC == same.d_prime == (0, 0, 0, 1)


def test_bootstrap_without_a_positive_has_no_interval():
    found = bootstrap(np.zeros((5, 2), bool), np.random.default_rng(0).random((5, 2)), resamples=10)
    assert all(math.isnan(value) for value in found.mAP + found.mAUC + found.d_prime)


def test_paired_bootstrap_scores_both_systems_in_each_resample():
    target, weak = clips_and_scores(clips=200, classes=6, skill=1.0)
    strong = weak + target
    found = paired_bootstrap(target, strong, weak, resamples=200, seed=5)
    counts = multiplicities(200, 200, seed=5)
    gain = np.nanmean(resampled(target, strong, counts)[0] - resampled(target, weak, counts)[0], axis=1)
    assert found.mAP[1:3] == pytest.approx((np.sort(gain)[4], np.sort(gain)[-5]))
    assert found.mAP.difference == pytest.approx(summary(target, strong).mAP - summary(target, weak).mAP)
    assert found.mAP.low > 0 and found.mAP.p == pytest.approx(2 / 201)
    reverse = paired_bootstrap(target, weak, strong, resamples=200, seed=5)
    assert reverse.d_prime == pytest.approx(
        (-found.d_prime.difference, -found.d_prime.high, -found.d_prime.low, found.d_prime.p)
    )


def test_paired_p_is_seldom_small_when_nothing_differs():
    """Two systems of equal skill: p < 0.1 in about a tenth of the trials."""
    small = 0
    for trial in range(60):
        target, one = clips_and_scores(clips=150, classes=3, seed=trial)
        other = np.random.default_rng(1000 + trial).standard_normal(one.shape) + target
        small += paired_bootstrap(target, one, other, resamples=150, seed=trial).mAUC.p < 0.1
    assert small <= 16


def test_over_several_seeds_clips_and_seeds_are_drawn_as_a_loop_would():
    target, _ = clips_and_scores(clips=60, classes=4)
    scores = {
        name: [clips_and_scores(60, 4, seed=s)[1] + 0.2 * (name == "a") * target for s in (1, 2, 3)] for name in "ab"
    }
    found = {name: [resample(target, score, 40, seed=7) for score in several] for name, several in scores.items()}
    values = {name: np.array([one.values["mAP"] for one in several]) for name, several in found.items()}
    estimates = {name: [one.estimate["mAP"] for one in several] for name, several in found.items()}
    draws = np.random.default_rng(3).integers(3, size=(3, 40))  # which of the three seeds each resample takes, thrice
    naive = []
    for r, count in enumerate(multiplicities(60, 40, seed=7)):
        clips = np.repeat(np.arange(60), count)
        aps = [
            np.nanmean(reference(target[clips], scores["a"][s][clips])[0])
            - np.nanmean(reference(target[clips], scores["b"][s][clips])[0])
            for s in draws[:, r]
        ]
        naive.append(np.mean(aps))
    naive = np.sort(naive)
    paired = difference(estimates["a"], values["a"], estimates["b"], values["b"])
    assert paired.difference == pytest.approx(np.mean(estimates["a"]) - np.mean(estimates["b"]), abs=1e-12)
    assert (paired.low, paired.high) == pytest.approx((naive[0], naive[-1]), abs=1e-9)
    assert paired.p == pytest.approx(2 * (min((naive <= 0).sum(), (naive >= 0).sum()) + 1) / 41)
    alone = interval(estimates["a"], values["a"])
    assert alone.low < alone.estimate < alone.high


def test_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    clips = rng.normal(0.5, 0.01, (1, 1000))
    same, spread = np.repeat(clips, 3, 0), clips + np.array([[-0.1], [0.0], [0.1]])
    narrow, wide = interval([0.5] * 3, same), interval([0.4, 0.5, 0.6], spread)
    assert wide.estimate == pytest.approx(narrow.estimate)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
