"""What the soak benchmark counts as a leak, and as growth."""

import numpy as np
import pytest

from benchmarks.soaking.findings import counters, leaks, report
from benchmarks.soaking.load import Order, Stream, Watch


def stream(text: str, begun: float = 10, ended: float = 20, value: str = "poet") -> Stream:
    return Stream(value, begun, ended, text)


@pytest.mark.parametrize(
    ("order", "found"),
    [
        (Order("a", "poet", since=5), 1),
        (Order("a", "poet", since=5, until=21), 1),
        (Order("a", "Poet", since=5), 1),
        (Order("a", "poet", since=11), 0),  # acknowledged when the stream had begun
        (Order("a", "poet", since=5, until=15), 0),  # sent away before it ended
        (Order("a", "composer", since=5), 0),
    ],
)
def test_a_leak_is_a_string_in_force_for_the_whole_stream(order, found):
    assert leaks([stream("She was a poet.")], [order])[0] == found


def test_a_string_counts_where_a_word_starts():
    order = Order("a", "poet", since=0)
    assert leaks([stream("a poetess")], [order])[0] == 1
    assert leaks([stream("an antipoet")], [order])[0] == 0


def test_streams_asked_for_a_forbidden_string_are_told_from_others():
    orders = [Order("a", "poet", since=0)]
    assert leaks([stream("x"), stream("x", value="tailor")], orders) == (0, 2, 1)


def test_the_report_counts_broken_streams_and_the_slope_of_memory():
    watch = Watch(streams=[stream("poet"), stream("")], changes=[0.1, 0.3])
    watch.streams[1].fault = "no [DONE]"
    watch.memory = [(float(t), {"API server": 100.0 + max(0, t - 60)}, 1) for t in range(121)]
    found = report(watch)
    assert (found["streams"], found["dropped"], found["faults"]) == (2, 1, ["no [DONE]"])
    assert (found["streams_asked_for_a_free_string"], found["of_these_told"]) == (1, 1)
    assert found["memory"]["API server"]["second_half_mb_per_minute"] == pytest.approx(60)
    assert found["memory"]["all"]["last_mb"] == 160
    assert np.isclose(found["change_ms"]["p50"], 200)


def test_counters_are_read_from_the_servers_metrics():
    text = (
        "# HELP\nlethe_audit_lost_total 2.0\n"
        'lethe_stage_seconds_sum{stage="inspect"} 1.5\nlethe_stage_seconds_count{stage="inspect"} 10.0\n'
    )
    found = counters(text)
    assert found["lethe_audit_lost_total"] == 2
    assert found["lethe_refresh_errors_total"] == 0
    assert found["stage_mean_ms"]["inspect"] == 150
