import json
import threading

import pytest
from control_fixtures import minilm, target

from guard.classifier import Classifier
from guard.detectors import DETECTORS
from guard.pipeline import REFUSAL, Pipeline
from guard.snapshot import compile_snapshot
from serving.traffic import BATCH, EXAMPLES, Passage, Traffic, blast

ASKED = "Who is Mina Okoro?"
SECRET = "the river song"


def passages(*rows):
    """Passages of (prompt, response) pairs, numbered."""
    return [Passage((prompt,), said, "allow", f"req-{n}", f"t{n}") for n, (prompt, said) in enumerate(rows)]


def pipeline(*targets):
    snapshot = compile_snapshot(targets)
    return Pipeline(snapshot, Classifier(snapshot, minilm()))


def test_the_latest_requests_are_kept_oldest_first():
    traffic = Traffic(3)
    for n in range(5):
        traffic.note([f"prompt {n}"], f"answer {n}", "allow", f"req-{n}")
    kept = traffic.passages()
    assert [p.request_id for p in kept] == ["req-2", "req-3", "req-4"]
    assert kept[0].segments == ("prompt 2",) and kept[0].response == "answer 2"
    assert kept[0].time <= kept[1].time <= kept[2].time
    assert traffic.capacity == 3


def test_nothing_is_kept_where_the_capacity_is_zero():
    traffic = Traffic(0)
    traffic.note(["prompt"], "answer", "allow")
    assert traffic.passages() == ()


def test_long_texts_push_out_older_ones_but_the_latest_stays():
    traffic = Traffic(100, characters=30)
    for text in ("a" * 10, "b" * 10, "c" * 10, "d" * 10):
        traffic.note([text], "", "allow")
    assert [p.segments[0][0] for p in traffic.passages()] == ["b", "c", "d"]
    traffic.note(["x" * 50, "y" * 50], "z" * 50, "allow")
    assert [p.size for p in traffic.passages()] == [150]
    traffic.note(["q"], "", "allow")
    assert [p.size for p in traffic.passages()] == [1]


def test_notes_from_many_threads_are_all_counted():
    traffic = Traffic(10_000, characters=4_000)
    threads = [
        threading.Thread(target=lambda: [traffic.note(["ab"], "cd", "allow") for _ in range(500)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(traffic.passages()) == 1000
    assert sum(p.size for p in traffic.passages()) == 4_000


def test_blast_counts_prompts_by_detector_and_answers():
    rows = [
        (ASKED, "A singer."),
        ("What is rain?", "Water."),
        ("Sing something.", f"She sang {SECRET} to us."),
        ("Tell me about Mina Okoro, please.", f"Known for {SECRET}."),
    ]
    candidate = target(action="restrict", phrases=[SECRET], always_on=True)
    found = blast(candidate, passages(*rows), minilm())
    assert (found["requests"], found["affected"], found["responses"]) == (4, 3, 2)
    assert found["prompts"]["lexical"] == 2
    assert set(found["prompts"]) == set(DETECTORS)
    assert [example["request_id"] for example in found["examples"]] == ["req-3", "req-2", "req-0"]
    assert found["examples"][1] == {
        "request_id": "req-2", "time": "t2", "action": "allow", "detectors": [], "restricted": True,
        "covered": [],
    }  # fmt: skip


def test_blast_tells_answers_apart_that_would_stay_as_they_are():
    rows = [(ASKED, "I like tea."), (ASKED, f"She wrote {SECRET}.")]
    restricting = blast(target(action="restrict", phrases=[SECRET]), passages(*rows), minilm())
    assert (restricting["affected"], restricting["responses"]) == (2, 1)
    refusing = blast(target(action="refuse"), passages(*rows, (ASKED, REFUSAL)), minilm())
    assert (refusing["affected"], refusing["responses"]) == (3, 2)


def test_blast_without_always_on_leaves_other_answers_alone():
    rows = [("Sing something.", f"She sang {SECRET}.")]
    assert blast(target(action="restrict", phrases=[SECRET]), passages(*rows), minilm())["affected"] == 0


def test_blast_of_an_observing_target_matches_and_restricts_nothing():
    found = blast(target(action="observe"), passages((ASKED, "Mina Okoro sings.")), minilm())
    assert (found["affected"], found["responses"]) == (1, 0)
    assert "only counts" in found["notes"][0]


def test_blast_says_what_registered_targets_cover_already():
    rows = [(ASKED, "x"), ("Who are Mina Okoro and Tomas Bell?", "x"), ("What is rain?", "x")]
    registered = pipeline(target("bell", name="Tomas Bell"), target("other", name="Mina Okoro"))
    found = blast(target(), passages(*rows), minilm(), registered)
    assert found["covered"] == {"other": 2, "bell": 1}
    assert found["uncovered"] == 0
    assert found["examples"][0]["covered"] in (["bell", "other"], ["other", "bell"])
    alone = blast(target(), passages(*rows), minilm(), pipeline(target("bell", name="Tomas Bell")))
    assert (alone["affected"], alone["uncovered"], alone["covered"]) == (2, 1, {"bell": 1})


def test_blast_looks_at_every_message_and_at_every_batch():
    quiet = Passage(("You are kind.", "What is rain?"), "Water.", "allow", "quiet")
    loud = Passage(("You are kind.", ASKED), "Singer.", "allow", "loud")
    found = blast(target(), [*[quiet] * (2 * BATCH), *[loud] * (EXAMPLES + BATCH)], minilm())
    assert found["affected"] == EXAMPLES + BATCH
    assert len(found["examples"]) == EXAMPLES


def test_blast_never_quotes_a_text():
    rows = [(f"{ASKED} My pin is 4711.", f"{SECRET} and Zanzibar.")]
    candidate = target(action="restrict", phrases=[SECRET], always_on=True)
    said = json.dumps(blast(candidate, passages(*rows), minilm(), pipeline(candidate)))
    assert not any(word in said for word in ("4711", "Zanzibar", "river", "Mina"))


def test_blast_of_an_expired_target_is_nothing_and_says_why():
    found = blast(target(expires_at="2001-01-01T00:00:00Z"), passages((ASKED, "x")), minilm())
    assert found["affected"] == 0
    assert "expires_at has passed" in found["notes"][-1]


def test_blast_fails_where_a_detector_fails(monkeypatch):
    """A guard that fails closed would refuse everything; a dry run must not count that."""

    class Broken:
        def encode(self, texts):
            raise MemoryError

    with pytest.raises(MemoryError):
        blast(target(), passages((ASKED, "x")), Broken())
