import json
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.background import texts
from guard.calibration import (
    Calibration,
    Threshold,
    band,
    calibrate,
    conformal,
    cusum,
    fingerprint,
    load_calibration,
    needed,
    sliding,
    streams,
)
from guard.errors import InputError

ALPHAS = (0.001, 0.01, 0.05)
PERCENTS = (0.01, 0.05, 0.1)
SHORT = 80  # characters; longer prompts would only make the encoder slower
THRESHOLD = {"value": 0.5, "alpha": 0.05, "n": 40, "data": "abc"}

finite = st.floats(-10, 10)


@pytest.mark.parametrize(
    ("n", "alpha", "rank"),
    [(9, 0.1, 9), (19, 0.1, 18), (99, 0.01, 99), (199, 0.01, 198), (7, 0.25, 6), (99, 0.29, 71)],
)
def test_conformal_takes_the_rank_of_the_formula(n, alpha, rank):
    scores = list(range(1, n + 1))
    random.Random(n).shuffle(scores)
    assert conformal(scores, alpha) == rank


@given(st.lists(st.integers(0, 20), min_size=99, max_size=130), st.integers(1, 60))
def test_conformal_is_the_least_score_with_few_enough_above_it(scores, percent):
    fit = [s for s in scores if 100 * (sum(other > s for other in scores) + 1) <= percent * (len(scores) + 1)]
    assert conformal(scores, percent / 100) == min(fit)


def test_conformal_flags_no_ties():
    tau = conformal([0.3] * 50, 0.05)
    assert tau == 0.3 and not any(score > tau for score in [0.3] * 50)


def test_too_few_scores_are_an_error_that_says_how_many_it_takes():
    with pytest.raises(InputError, match=r"98 benign scores .* 99 are needed"):
        conformal(range(98), 0.01)
    assert conformal(range(99), 0.01) == 98
    assert [needed(alpha) for alpha in (*ALPHAS, 0.3, 0.5)] == [999, 99, 19, 3, 1]


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 5, math.nan])
def test_alpha_outside_of_0_to_1_is_an_error(alpha):
    with pytest.raises(InputError, match="alpha is"):
        conformal([1.0] * 100, alpha)


def test_a_score_that_is_no_number_is_an_error():
    with pytest.raises(InputError, match="NaN"):
        conformal([*range(99), math.nan], 0.1)


@given(st.integers(1, 80), st.floats(0.01, 0.99))
def test_band_holds_the_confidence_of_the_binomial_law(n, p):
    low, high = band(n, p)
    inside = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(low, high + 1))
    assert inside >= 0.99 - 1e-9


def test_band_of_a_calibrated_threshold_is_that_of_rank_statistics():
    """One score sets the threshold, two are held out: all orders of the three are equally likely."""
    assert band(2, 0.5, confidence=0.4, calibrated_on=1) == (0, 2)
    # P(count) = 1/3 each; a binomial law would put half of the weight on 1.
    assert band(2, 0.5, confidence=0.4) == (1, 1)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_synthetic_false_positives_lie_in_the_band(alpha):
    """Held-out counts are beta-binomial, as the threshold is random too; a plain binomial is too narrow."""
    rng = np.random.default_rng(7)
    flagged = []
    for _ in range(200):
        scores = rng.gumbel(size=4000)
        flagged.append(int((scores[2000:] > conformal(scores[:2000], alpha)).sum()))
    low, high = band(2000, alpha, calibrated_on=2000)
    inside = np.mean([low <= count <= high for count in flagged])
    naive_low, naive_high = band(2000, alpha)
    assert inside >= 0.97
    assert np.mean([naive_low <= count <= naive_high for count in flagged]) < inside
    assert np.mean(flagged) / 2000 <= alpha + 4 * np.std(flagged) / 2000 / math.sqrt(200)


@pytest.fixture(scope="module")
def similarities(encoder):
    """Of shipped benign prompts: the cosine to the nearest example of a target, the retrieval score."""
    examples = encoder.encode(["Where did Mira Solen learn to make clocks?", "Who is Mira Solen?"])
    short = [text for text in texts() if len(text) <= SHORT][:400]
    return (encoder.encode(short) @ examples.T).max(axis=1).astype(float)


@pytest.mark.parametrize("alpha", PERCENTS)
def test_real_false_positives_lie_in_the_band(similarities, alpha):
    rng, half = np.random.default_rng(3), len(similarities) // 2
    low, high = band(half, alpha, calibrated_on=half)
    flagged = []
    for _ in range(300):
        scores = rng.permutation(similarities)
        flagged.append(int((scores[half:] > conformal(scores[:half], alpha)).sum()))
    assert low <= flagged[0] <= high
    assert np.mean([low <= count <= high for count in flagged]) >= 0.97
    # Over all splits of the same scores the mean is floor((n+1) alpha) / (n+1) exactly, unless scores repeat.
    expected = math.floor((half + 1) * alpha) / (half + 1)
    assert np.mean(flagged) / half == pytest.approx(expected, abs=4 * np.std(flagged) / half / math.sqrt(300))


@pytest.mark.parametrize(
    "statistic",
    [lambda scores: cusum(scores, drift=0.5), lambda scores: sliding(scores, width=16)],
    ids=["cusum", "sliding"],
)
def test_stream_statistics_keep_the_bound_on_padded_streams_too(statistic):
    rng = np.random.default_rng(11)
    made = streams([str(i) for i in range(20_000)], random.Random(5), padded=0.3)
    values = []
    for stream in made:
        length = sum(len(turn.split()) for turn in stream)
        values.append(statistic(rng.normal(0.2, 0.3, size=length)))
    half = len(values) // 2
    tau = conformal(values[:half], 0.05)
    low, high = band(len(values) - half, 0.05, calibrated_on=half)
    assert low <= sum(value > tau for value in values[half:]) <= high


def test_streams_use_a_prompt_once_and_keep_their_shape():
    prompts = [f"prompt {i}" for i in range(500)]
    plain = streams(prompts, random.Random(1), padded=0)
    assert all(1 <= len(stream) <= 6 for stream in plain)
    assert len({len(stream) for stream in plain}) == 6
    turns = [turn for stream in plain for turn in stream]
    assert len(turns) == len(set(turns)) and set(turns) <= set(prompts) and len(turns) > 490
    padded = streams(prompts, random.Random(1), padded=1)
    assert all(len(stream) == 1 and 8 <= len(stream[0].split("\n\n")) <= 40 for stream in padded)
    mixed = streams(prompts, random.Random(1), padded=0.5)
    assert 0.2 < np.mean(["\n\n" in stream[0] for stream in mixed]) < 0.8
    assert mixed == streams(prompts, random.Random(1), padded=0.5) != streams(prompts, random.Random(2), 0.5)


def test_streams_refuse_a_share_that_is_none():
    with pytest.raises(InputError, match="20"):
        streams(["a"], random.Random(0), padded=20)


def test_cusum_of_a_hand_computed_series():
    # C = 0.5, 0, 1.5, 1.0
    assert cusum([1, 0, 2, 0], drift=0.5) == 1.5
    assert cusum([], drift=0.5) == cusum([0.1, 0.2], drift=0.5) == 0.0


@given(st.lists(finite, max_size=60), st.floats(-1, 2))
def test_cusum_is_its_recursion(scores, drift):
    highest = state = 0.0
    for score in scores:
        state = max(0.0, state + score - drift)
        highest = max(highest, state)
    assert cusum(scores, drift) == pytest.approx(highest, abs=1e-9)


def test_sliding_of_a_hand_computed_series():
    assert sliding([0, 1, 3, 2, 0], width=2) == 2.5
    assert sliding([1, 2], width=5) == 1.5
    assert sliding([], width=3) == 0.0
    with pytest.raises(InputError, match="width of a window is 0"):
        sliding([1.0], width=0)


@given(st.lists(finite, min_size=1, max_size=60), st.integers(1, 70))
def test_sliding_is_the_highest_mean_of_all_windows(scores, width):
    width_had = min(width, len(scores))
    windows = [scores[i : i + width_had] for i in range(len(scores) - width_had + 1)]
    assert sliding(scores, width) == pytest.approx(max(sum(w) / width_had for w in windows), abs=1e-9)


def test_local_statistics_are_not_diluted_by_harmless_padding():
    burst, padding = [0.9] * 16, [0.1] * 1600
    assert np.mean(padding + burst) < 0.11
    assert sliding(padding + burst, 16) == pytest.approx(sliding(burst, 16))
    assert cusum(padding + burst, 0.3) == pytest.approx(cusum(burst, 0.3))


def test_fingerprint_depends_on_the_set_of_texts_alone():
    assert fingerprint(["a", "b"]) == fingerprint(["b", "a"])
    assert len({fingerprint(each) for each in ([], ["a"], ["b"], ["a", "b"], ["ab"], ["a", "a"])}) == 6


def calibration(**scores) -> Calibration:
    return calibrate(scores, 0.05, detectors="all-1", snapshot="f00", data=fingerprint(["x"]))


def test_a_group_has_its_own_threshold_unless_it_has_too_few_scores():
    made = calibration(people=range(19), works=range(100, 118))
    assert made.threshold("people") == Threshold(18.0, 0.05, 19, fingerprint(["x"]))
    pooled = [*range(19), *range(100, 118)]
    for group in ("works", "never seen", ""):
        assert made.threshold(group) == Threshold(conformal(pooled, 0.05), 0.05, 37, fingerprint(["x"]))
    with pytest.raises(InputError, match="18 benign scores"):
        calibration(people=range(18))


def test_calibration_is_stale_after_a_change_of_targets_or_detectors():
    made = calibration(people=range(19))
    assert not made.stale("f00", "all-1")
    assert made.stale("f01", "all-1") and made.stale("f00", "all-2")


def test_calibration_survives_a_file(tmp_path):
    made = calibration(people=np.linspace(0, 1 / 3, 30), works=range(40))
    made.save(tmp_path / "thresholds.json")
    assert load_calibration(tmp_path / "thresholds.json") == made
    assert [path.name for path in tmp_path.iterdir()] == ["thresholds.json"]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("value", "0.5", "'value'"),
        ("value", math.inf, "'value'"),
        ("n", 1.5, "'n'"),
        ("n", 18, "18; its alpha needs 19"),
        ("alpha", 2.0, "alpha is 2"),
        ("alpha", True, "'alpha'"),
        ("data", None, "'data'"),
        ("more", 1, "exactly the fields"),
    ],
)
def test_a_malformed_threshold_is_an_error_that_names_the_field(field, value, named):
    assert Threshold.parse(THRESHOLD).to_json() == THRESHOLD
    with pytest.raises(InputError, match=named):
        Threshold.parse({**THRESHOLD, field: value})


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{",
        "[]",
        json.dumps({"format": 2, "detectors": "d", "snapshot": "s", "thresholds": {"": THRESHOLD}}),
        json.dumps({"format": 1, "detectors": "d", "snapshot": "s", "thresholds": {"a": THRESHOLD}}),
        json.dumps({"format": 1, "detectors": "d", "snapshot": "s", "thresholds": []}),
    ],
    ids=["missing", "cut", "list", "format", "no default", "no groups"],
)
def test_a_file_that_is_no_calibration_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "thresholds.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="thresholds.json cannot be used"):
        load_calibration(path)
