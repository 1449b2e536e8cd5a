"""Adapting a head to a shifted distribution, and what holds it back."""

import math

import numpy as np
import pytest

from guard.adaptation import AdaptationConfig, Adapter, entropy
from guard.errors import InputError
from guard.heads.logistic import LogisticHead
from guard.heads.mlp import MlpConfig, MlpHead

SEEDS = range(6)
WIDTH = 16
ON = AdaptationConfig(enabled=True, redundant=0.9)
FITTED = {"logistic": LogisticHead(), "mlp": MlpHead(MlpConfig(hidden=(64, 64), epochs=25))}


class Shifted:
    """Two Gaussian classes that a head was fitted on, and the same two after a shift of all rows."""

    def __init__(self, head, seed):
        random = np.random.default_rng(seed)
        along, aside = np.linalg.qr(random.standard_normal((WIDTH, 2)))[0].T
        shift = 1.2 * along + 2.0 * aside
        self.rows, self.labels = self.draw(random, 300, along, 0.0)
        self.stream, _ = self.draw(random, 640, along, shift)
        self.test, self.truth = self.draw(random, 1500, along, shift)
        self.head = head.fit(self.rows, self.labels, [""] * len(self.rows))

    @staticmethod
    def draw(random, count, along, shift):
        labels = random.random(count) < 0.5
        rows = random.standard_normal((count, WIDTH)) + np.where(labels, 2.5, -2.5)[:, None] * along + shift
        return rows.astype(np.float32), labels

    def adapted(self, config=ON):
        adapter = Adapter(self.head, self.rows, config)
        for batch in np.split(self.stream, 20):
            adapter.observe(batch)
        return adapter


@pytest.fixture(scope="module", params=FITTED)
def worlds(request):
    return [Shifted(FITTED[request.param], seed) for seed in SEEDS]


def test_an_adapted_head_is_no_worse_on_shifted_rows_and_usually_better(worlds):
    gains = []
    for world in worlds:
        frozen, adapted = accuracy(world, world.head), accuracy(world, world.adapted().head)
        gains.append(adapted - frozen)
    assert min(gains) > -0.002
    assert sum(gain > 0 for gain in gains) > len(gains) / 2
    assert np.mean(gains) > 0.0005


def test_adapting_does_not_raise_the_calibration_error(worlds):
    frozen = np.mean([calibration_error(world, world.head) for world in worlds])
    adapted = np.mean([calibration_error(world, world.adapted().head) for world in worlds])
    assert adapted <= frozen + 0.0005


def test_a_larger_anchor_keeps_the_head_closer_to_its_first_weights(worlds):
    moved = [
        distance(worlds[0].head, worlds[0].adapted(AdaptationConfig(True, redundant=0.9, anchor=anchor)).head)
        for anchor in (0.0, 0.1, 1.0, 100.0)
    ]
    assert moved == sorted(moved, reverse=True) and moved[0] > 2 * moved[2] > 0 and moved[3] < 0.01


def test_a_network_that_is_led_astray_is_held_by_the_anchor():
    """Confident rows that creep from the other class towards the forget class, batch by batch."""
    world = Shifted(FITTED["mlp"], 0)
    own, other = world.rows[world.labels], world.rows[~world.labels]
    recalls = []
    for anchor in (0.0, ON.anchor):
        random = np.random.default_rng(0)
        adapter = Adapter(world.head, world.rows, AdaptationConfig(True, redundant=1.1, anchor=anchor))
        for step in np.linspace(0, 0.6, 60):
            adapter.observe(other[random.integers(0, len(other), 32)] + step * (own.mean(0) - other.mean(0)))
        recalls.append((adapter.head.probability(own) > 0.5).mean())
    assert recalls[0] < 0.9 and recalls[1] > 0.97


def test_switched_off_nothing_changes_and_it_is_off_by_default(worlds):
    world = worlds[0]
    adapter = Adapter(world.head, world.rows)
    seen = adapter.observe(world.stream)
    assert (seen.seen, seen.reliable, seen.used) == (640, 0, 0)
    assert seen.head is world.head and adapter.head is world.head


def test_reset_gives_the_first_head_bit_for_bit_and_forgets_what_was_met(worlds):
    world = worlds[0]
    before = {name: array.copy() for name, array in world.head.to_arrays().items()}
    adapter = world.adapted()
    once = adapter.head.to_arrays()
    assert distance(world.head, adapter.head) > 0
    after = adapter.reset().to_arrays()
    assert all(np.array_equal(after[name], before[name]) for name in before)
    for batch in np.split(world.stream, 20):
        adapter.observe(batch)
    assert all(np.array_equal(once[name], array) for name, array in adapter.head.to_arrays().items())


def test_rows_the_head_is_unsure_of_are_not_used():
    head = LogisticHead(layers=((np.eye(4, 1, dtype=np.float32), np.zeros(1, np.float32)),))
    rows = np.zeros((6, 4), np.float32)
    rows[:, 0] = [3.0, -3.0, 2.0, 0.0, 1.0, -0.5]
    adapter = Adapter(head, rows, AdaptationConfig(True, redundant=1.1))
    assert (entropy(head.probability(rows)) < 0.4 * math.log(2)).tolist() == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert [(o.reliable, o.used) for o in (adapter.observe(rows), adapter.observe(rows[3:]))] == [
        (2, 2),
        (0, 0),
    ]
    unsure = Adapter(head, rows, AdaptationConfig(True))
    assert unsure.observe(rows[2:]).head is head


def test_rows_like_those_learned_from_lately_are_not_used_again():
    head = LogisticHead(layers=((np.full((4, 1), 5.0, np.float32), np.zeros(1, np.float32)),))
    one, other = np.eye(4, dtype=np.float32)[:2]
    adapter = Adapter(head, np.stack([one, other]), AdaptationConfig(True))
    batches = [np.stack([one] * 5), np.stack([one] * 5), np.stack([one, other, other])]
    assert [(o.reliable, o.used) for o in map(adapter.observe, batches)] == [(5, 5), (5, 0), (3, 2)]


def test_a_head_with_nothing_to_forget_does_not_adapt():
    seen = Adapter(LogisticHead(), np.ones((3, 4), np.float32), ON).observe(np.ones((3, 4), np.float32))
    assert (seen.seen, seen.used) == (3, 0) and seen.head == LogisticHead()


def test_adapting_without_source_rows_is_an_error_that_says_so(worlds):
    with pytest.raises(InputError, match="source rows"):
        Adapter(worlds[0].head, np.empty((0, WIDTH), np.float32), ON)


def accuracy(world, head):
    return float(((head.probability(world.test) > 0.5) == world.truth).mean())


def calibration_error(world, head, bins=10):
    """By how much confidence and accuracy differ, averaged over bins of confidence."""
    found = head.probability(world.test)
    confidence, right = np.maximum(found, 1 - found), (found > 0.5) == world.truth
    places = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    gaps = [abs((confidence - right)[places == place].sum()) for place in range(bins)]
    return sum(gaps) / len(found)


def distance(one, other):
    pairs = zip(one.to_arrays().values(), other.to_arrays().values(), strict=True)
    return math.sqrt(sum(float(((a - b) ** 2).sum()) for a, b in pairs))
