"""pass@k is the published estimator, and its interval is one."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.passk import bootstrap, estimate, pass_at_k, wilson


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (6, 3, 1, 0.5),  # the example of human-eval's README: 3 of 6 samples pass, pass@1 is 0.4999999999999999 there
        (10, 3, 1, 0.3),
        (5, 2, 2, 0.7),  # 1 - C(3, 2) / C(5, 2)
        (10, 2, 5, 7 / 9),  # 1 - C(8, 5) / C(10, 5) = 1 - 56 / 252
        (200, 1, 100, 0.5),
        (200, 0, 100, 0.0),
        (200, 101, 100, 1.0),  # fewer than k fail
        (1, 1, 1, 1.0),
    ],
)
def test_pass_at_k_has_the_values_worked_out_by_hand(n: int, c: int, k: int, expected: float):
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-15)


@st.composite
def counts(draw: st.DrawFn, most: int) -> tuple[int, int, int]:
    n = draw(st.integers(1, most))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@given(counts(8))
def test_it_is_the_share_of_draws_of_k_samples_that_hold_one_that_passes(case: tuple[int, int, int]):
    n, c, k = case
    draws = [any(sample < c for sample in draw) for draw in combinations(range(n), k)]
    assert pass_at_k(n, c, k) == pytest.approx(sum(draws) / len(draws), abs=1e-15)


@given(counts(300))
def test_it_agrees_with_the_product_that_the_paper_computes(case: tuple[int, int, int]):
    n, c, k = case
    product = math.prod(1 - k / i for i in range(n - c + 1, n + 1))
    assert pass_at_k(n, c, k) == pytest.approx(1.0 if n - c < k else 1 - product, abs=1e-12)


@given(st.integers(1, 25), st.data(), st.floats(0, 1))
def test_it_is_unbiased_its_mean_over_all_outcomes_is_the_chance_itself(n: int, data: st.DataObject, p: float):
    k = data.draw(st.integers(1, n))
    mean = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
    assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-9)


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0)])
def test_what_cannot_be_drawn_is_refused(n: int, c: int, k: int):
    with pytest.raises(ValueError, match=f"n = {n}, c = {c}, k = {k}"):
        pass_at_k(n, c, k)


def test_the_interval_of_one_greedy_sample_is_wilsons():
    # Brown, Cai and DasGupta 2001 give the formula; 119 of 164 is worked out by it: .720446 ± .067702.
    at = estimate(1, [1] * 119 + [0] * 45, 1)
    assert (at.value, at.low, at.high) == (
        0.72561,
        pytest.approx(0.652744, abs=2e-6),
        pytest.approx(0.788148, abs=2e-6),
    )


@given(st.integers(1, 400), st.data())
def test_wilsons_interval_holds_the_share_and_has_a_width_also_where_none_or_all_pass(trials: int, data: st.DataObject):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert high - low > 0.001


def test_the_interval_of_several_samples_is_over_problems_and_the_same_each_time():
    passed = [0, 3, 10, 5] * 40
    at = estimate(10, passed, 1)
    assert at == estimate(10, passed, 1)
    assert at.value == 0.45
    # The mean of 160 values with deviation .364: 1.96 standard errors are .0565.
    assert at.low == pytest.approx(0.45 - 0.0565, abs=0.004) and at.high == pytest.approx(0.45 + 0.0565, abs=0.004)


def test_a_bootstrap_of_more_problems_is_narrower():
    few, many = (bootstrap([0.0, 0.5, 1.0, 0.3] * times) for times in (5, 80))
    assert many[1] - many[0] < few[1] - few[0]


def test_samples_that_all_fail_have_an_interval_that_is_not_empty():
    at = estimate(10, [0] * 20, 1)
    assert (at.value, at.low) == (0.0, 0.0) and at.high > 0.1


def test_a_benchmark_without_problems_has_no_score():
    with pytest.raises(ValueError, match="at least one problem"):
        estimate(1, [], 1)
