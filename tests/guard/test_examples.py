"""Examples: the nearest are found, exactly among few, nearly always among many, repetitions always."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.detectors import index as indexes
from guard.detectors.examples import Examples, nearest
from guard.detectors.layers import Layers

WIDTH = 32


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(count, seed=0):
    """Vectors around 40 directions, as questions in the same words about different names are."""
    draw = np.random.default_rng(seed)
    middles = draw.normal(size=(40, WIDTH))
    return unit(middles[draw.integers(40, size=count)] + 0.6 * draw.normal(size=(count, WIDTH)))


def owners_of(count, each=2):
    return [f"t{row // each:05d}" for row in range(count)]


def naive(owners, vectors, query, count, gone=()):
    scored = [(float(vector @ query), owner) for owner, vector in zip(owners, vectors, strict=True)]
    return sorted((pair for pair in scored if pair[1] not in gone), reverse=True)[:count]


@pytest.fixture
def few(monkeypatch):
    """Cells from 1,000 vectors on, so that both kinds of index are quick to test."""
    monkeypatch.setattr(indexes, "FLAT_LIMIT", 1_000)


@given(st.integers(0, 30), st.integers(1, 8), st.sets(st.integers(0, 14)), st.integers(0, 99))
def test_among_few_the_nearest_are_those_that_comparing_with_all_finds(size, count, gone, seed):
    owners, vectors = owners_of(size), clustered(size, seed) if size else np.empty((0, WIDTH), np.float32)
    left_out = frozenset(f"t{number:05d}" for number in gone)
    queries = clustered(3, seed + 1)
    found = Examples(owners, vectors).nearest(queries, count, left_out)
    for query, line in zip(queries, found, strict=True):
        expected = naive(owners, vectors, query, count, left_out)
        assert [owner for _, owner in line] == [owner for _, owner in expected]
        assert [score for score, _ in line] == pytest.approx([score for score, _ in expected], abs=1e-5)


def test_among_many_nearly_all_of_the_nearest_are_found(few):
    vectors = clustered(5_000)
    owners = owners_of(5_000, 1)
    examples = Examples(owners, vectors)
    assert hasattr(examples._index, "nprobe")
    queries = clustered(50, 1)
    found = examples.nearest(queries, 16)
    shares = [
        len({owner for _, owner in line} & {owner for _, owner in naive(owners, vectors, query, 16)}) / 16
        for query, line in zip(queries, found, strict=True)
    ]
    assert np.mean(shares) > 0.95
    for query, line in zip(queries, found, strict=True):
        assert [score for score, _ in line] == sorted((score for score, _ in line), reverse=True)
        for score, owner in line:
            assert score == pytest.approx(float(vectors[owners.index(owner)] @ query), abs=1e-3)


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_no_repetition_of_an_example_is_missed_among_many(few, noise):
    vectors = clustered(5_000)
    owners = owners_of(5_000, 1)
    again = unit(vectors + noise * np.random.default_rng(3).normal(size=vectors.shape))
    examples = Examples(owners, vectors)
    changed = Examples.join((examples, frozenset(owners[:1_000])), (Examples(["new"], clustered(1, 9)), ()))
    for kept, start in ((examples, 0), (changed, 1_000)):
        found = kept.nearest(again[start:], 4)
        for owner, line in zip(owners[start:], found, strict=True):
            assert {o: s for s, o in line}.get(owner, 0) > 0.999


@pytest.mark.parametrize("kept", [4_500, 1_500, 300])
def test_a_joined_index_holds_what_is_left_of_its_parts(few, kept):
    vectors, owners = clustered(4_500), owners_of(4_500)
    gone = frozenset(owners[kept:])
    more, names = clustered(700, 5), [f"u{row}" for row in range(700)]
    joined = Examples.join((Examples(owners, vectors), gone), (Examples(names, more), frozenset(["u1"])))
    assert joined.owners == sorted({*owners[:kept], *names} - {"u1"})
    found = joined.nearest(np.concatenate([vectors, more]), 1)
    for owner, ((score, near),) in zip([*owners, *names], found, strict=True):
        if owner in joined.owners:
            assert (near, score) == (owner, pytest.approx(1, abs=1e-3))
        else:
            assert near != owner


def test_cells_are_kept_while_they_fit_and_made_anew_when_they_do_not(few):
    base = Examples(owners_of(4_000), clustered(4_000))
    cells = base._index.nlist
    near = Examples.join((base, ["t00001"]), (Examples(["u"], clustered(1, 8)), ()))
    centres = [part._index.quantizer.reconstruct_n(0, cells) for part in (base, near)]
    assert np.array_equal(*centres)
    grown = Examples.join((base, ()), (Examples(owners_of(30_000, 30), clustered(30_000, 2)), ()))
    assert grown._index.nlist > 2 * cells
    assert grown._index.ntotal == 34_000


def test_targets_that_are_gone_are_passed_over_however_many(few):
    vectors, owners = clustered(5_000), owners_of(5_000, 1)
    examples = Examples(owners, vectors)
    gone = frozenset(owners[50:])
    for query, line in zip(vectors[:20], examples.nearest(vectors[:20], 10, gone), strict=True):
        assert line[0][1] == naive(owners[:50], vectors[:50], query, 1)[0][1]
        assert len(line) == 10
        assert not gone & {owner for _, owner in line}
    assert examples.nearest(vectors[:1], 10, frozenset(owners)) == [[]]
    assert examples.nearest(vectors[60:61], 1) == [[(pytest.approx(1, abs=1e-3), owners[60])]]


def test_layers_find_what_one_index_finds():
    vectors, owners = clustered(300), owners_of(300)
    changed = Layers(Examples(owners[:200], vectors[:200])).changed(
        Examples(owners[190:], vectors[190:]), set(owners[190:]), set(owners[190:200]) | {owners[0]}
    )
    left = Examples(owners[2:], vectors[2:])
    for layers in (changed, changed.compacted()):
        for line, expected in zip(
            nearest(layers, vectors[:20], 5), left.nearest(vectors[:20], 5), strict=True
        ):
            assert [owner for _, owner in line] == [owner for _, owner in expected]


def test_without_examples_nothing_is_near():
    empty = Examples([], np.empty((0, 0), dtype=np.float32))
    assert empty.owners == []
    assert empty.nearest(clustered(2), 3) == [[], []]
    joined = Examples.join((empty, ()), (Examples(["a"], clustered(1)), ["a"]))
    assert joined.owners == []
    assert joined.nearest(clustered(2), 3) == [[], []]


def test_the_vectors_given_are_copied():
    vectors = clustered(10)
    examples = Examples(owners_of(10, 1), vectors)
    query = vectors[:1].copy()
    vectors[:] = 0
    assert examples.nearest(query, 1)[0][0][1] == "t00000"
