"""Every head of the table keeps the contract; the bottleneck forgets a target exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from guard.errors import InputError
from guard.heads import HEADS
from guard.heads.bottleneck import BottleneckConfig, BottleneckHead
from guard.heads.mlp import MlpConfig, MlpHead

WIDTH = 24
SMALL = BottleneckConfig(codebooks=16, keys=8, width=4)


def clusters(count, seed=0, apart=3.0):
    """Rows of two targets and of background, each around its own centre; half of each for a test."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((3, WIDTH))
    owners = np.asarray(["a", "b", ""])[np.arange(count) % 3]
    rows = apart * centres[np.arange(count) % 3] + random.standard_normal((count, WIDTH))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), owners != "", owners.tolist()


@pytest.fixture(scope="module", params=HEADS)
def fitted(request):
    return request.param, HEADS[request.param]().fit(*clusters(120))


def test_every_head_learns_separable_rows_and_gives_probabilities(fitted):
    rows, labels, _ = clusters(90, seed=1)
    found = fitted[1].probability(rows)
    assert found.dtype == np.float32 and found.shape == (90,)
    assert (found >= 0).all() and (found <= 1).all()
    assert ((found > 0.5) == labels).all()


def test_every_head_is_the_same_for_the_same_rows_and_seed(fitted):
    name, head = fitted
    again = HEADS[name]().fit(*clusters(120))
    assert same_arrays(head.to_arrays(), again.to_arrays())


def test_every_head_forgets_what_it_was_fitted_on_before(fitted):
    _, head = fitted
    rows, labels, owners = clusters(120, seed=2)
    assert same_arrays(
        head.fit(rows, labels, owners).to_arrays(), type(head)().fit(rows, labels, owners).to_arrays()
    )


def test_every_head_judges_the_same_after_a_file(fitted, tmp_path):
    name, head = fitted
    rows = clusters(30, seed=3)[0]
    for given_head in (head, HEADS[name]()):
        save_file(given_head.to_arrays(), tmp_path / "head.safetensors")
        loaded = type(head).from_arrays(load_file(tmp_path / "head.safetensors"))
        assert np.array_equal(loaded.probability(rows), given_head.probability(rows))


def test_every_head_judges_a_row_alone_as_in_a_batch(fitted):
    rows = clusters(30, seed=4)[0]
    alone = np.concatenate([fitted[1].probability(row[None]) for row in rows])
    np.testing.assert_allclose(alone, fitted[1].probability(rows), atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_with_nothing_to_forget_gives_probability_0(name):
    rows, labels, _ = clusters(30)
    background = HEADS[name]().fit(rows[~labels], labels[~labels], ["" for _ in range(10)])
    nothing = HEADS[name]().fit(np.empty((0, 0), np.float32), np.empty(0, bool), [])
    for head in (background, nothing, HEADS[name]()):
        assert head.probability(rows).tolist() == [0.0] * 30
        assert head.probability(np.empty((0, 0), np.float32)).shape == (0,)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_refuses_rows_it_cannot_learn_from_and_says_why(name):
    rows, labels, owners = clusters(12)
    head = HEADS[name]()
    with pytest.raises(InputError, match="8 rows .* background"):
        head.fit(rows[labels], labels[labels], [owner for owner in owners if owner])
    with pytest.raises(InputError, match="11 owners"):
        head.fit(rows, labels, owners[:-1])
    with pytest.raises(InputError, match="not finite"):
        head.fit(np.where(rows == rows[3], np.nan, rows), labels, owners)


def test_every_head_refuses_rows_of_another_width(fitted):
    with pytest.raises(InputError, match=rf"\(2, 7\).*{WIDTH}"):
        fitted[1].probability(np.zeros((2, 7), np.float32))
    assert fitted[1].probability(np.empty((0, 0), np.float32)).shape == (0,)


def test_training_a_network_leaves_the_global_random_numbers_alone():
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    MlpHead(MlpConfig(epochs=1)).fit(*clusters(30))
    assert torch.equal(torch.rand(3), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=40), st.data()
)
def test_a_bottleneck_without_a_target_is_bit_for_bit_one_never_fitted_on_it(seed, owners, data):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((len(owners), WIDTH)).astype(np.float32)
    # A target's own neighbors are labelled False and go with it.
    labels = np.asarray([owner != "" and data.draw(st.booleans()) for owner in owners])
    labels[0], owners[0] = False, ""
    kept = np.asarray([owner != "a" for owner in owners])
    never = BottleneckHead(SMALL).fit(
        rows[kept], labels[kept], [owner for owner in owners if owner != "a"], seed
    )
    without = BottleneckHead(SMALL).fit(rows, labels, owners, seed).without("a")
    assert same_arrays(without.to_arrays(), never.to_arrays())
    assert np.array_equal(without.values, never.values) and np.array_equal(without.counts, never.counts)
    assert np.array_equal(without.probability(rows), never.probability(rows))


def test_nothing_in_a_bottleneck_tells_who_was_removed():
    """A membership check: the removed rows score like rows that were never seen, and no key names them."""
    random = np.random.default_rng(7)
    rows = random.standard_normal((300, WIDTH)).astype(np.float32)
    owners = ["gone"] * 60 + ["stays"] * 60 + [""] * 120 + ["unseen"] * 60
    labels = np.asarray([owner in ("gone", "stays", "unseen") for owner in owners])
    before = BottleneckHead(BottleneckConfig(codebooks=64, keys=64)).fit(
        rows[:240], labels[:240], owners[:240]
    )
    after = before.without("gone")
    assert advantage(before.probability(rows[:60]), before.probability(rows[240:])) > 0.8
    assert abs(advantage(after.probability(rows[:60]), after.probability(rows[240:])) - 0.5) < 0.1
    assert (after.counts >= 0).all() and after.counts.sum() == 64 * 180
    assert b"gone" not in b"".join(array.tobytes() for array in after.to_arrays().values())


def test_a_bottlenecks_values_are_the_log_odds_of_counts():
    head = BottleneckHead(BottleneckConfig(codebooks=1, keys=2, width=1, smoothing=1.0, gain=2.0), inputs=1)
    codes = np.asarray([[0], [0], [0], [1], [1]], np.uint16)
    labels = np.asarray([True, True, False, False, False])
    head = BottleneckHead(head.config, 1, 0, codes, labels, ("t", "t", "", "", ""))
    # forget: 3/4 and 1/4, retain: 2/5 and 3/5 after smoothing by 1
    np.testing.assert_allclose(head.values, np.log([[0.75 / 0.4, 0.25 / 0.6]]))
    code = head.codes_of(np.ones((1, 1), np.float32))[0, 0]
    odds = np.exp(2.0 * head.values[0, code])
    np.testing.assert_allclose(head.probability(np.ones((1, 1), np.float32)), odds / (1 + odds), rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 50))
def test_keys_of_a_row_do_not_depend_on_the_rows_beside_it(seed, count):
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    head = BottleneckHead(SMALL, inputs=WIDTH, seed=seed)
    alone = np.concatenate([head.codes_of(row[None]) for row in rows])
    assert np.array_equal(head.codes_of(rows), alone)


def advantage(inside, outside):
    """Probability that a row from inside scores above one from outside: 0.5 means that they look alike."""
    more = inside[:, None] > outside[None, :]
    return float((more + 0.5 * (inside[:, None] == outside[None, :])).mean())


def same_arrays(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
