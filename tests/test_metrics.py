import math
import warnings
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from glat.lib.errors import GlatError
from glat.scoring.jackknife import jackknife
from glat.scoring.metrics import average_precision, d_prime, roc_auc, summary


def reference(target, score):
    """scikit-learn class by class: AP and AUC, NaN where this project says that there is no value."""
    ap, auc = np.full((2, target.shape[1]), np.nan)
    for label, (y, s) in enumerate(zip(target.T, score.T, strict=True)):
        if y.any():
            ap[label] = average_precision_score(y, s)
            if not y.all():
                auc[label] = roc_auc_score(y, s)
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
        (np.zeros((3, 2)), np.zeros((3, 4)), r"must both be \(clips, classes\): target is \(3, 2\), score is \(3, 4\)"),
        (np.zeros(3), np.zeros(3), r"target is \(3,\)"),
        (np.zeros((0, 4)), np.zeros((0, 4)), "nothing to score: 0 clips, 4 classes"),
        (np.array([[1, 0], [2, 0]]), np.zeros((2, 2)), "target has 1 of 4 .* neither 0 nor 1: the first is 2, clip 1, class 0"),
        (np.array([[1, np.nan]]), np.zeros((1, 2)), "target has 1 of 2 .* the first is nan, clip 0, class 1"),
        (np.eye(2), np.array([[0, np.nan], [np.inf, 0]]), "score has 2 of 4 .* not finite: the first is nan, clip 0, class 1"),
        (np.eye(1), np.array([["0.5"]]), "score must hold real numbers, not <U3"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_sentence(target, score, sentence):
    for metric in (average_precision, roc_auc, summary, jackknife):
        with pytest.raises(GlatError, match=sentence) as refused:
            metric(target, score)
        assert "\n" not in str(refused.value)
