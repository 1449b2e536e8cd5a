import json

import pytest
from control_fixtures import minilm, target

from guard.classifier import Classifier
from guard.errors import InputError
from guard.pipeline import Forms, Pipeline
from guard.snapshot import compile_snapshot
from serving.check import CheckRow, check_row, check_rows, read_rows, segments_of


def pipeline(*targets, **forms):
    snapshot = compile_snapshot(targets)
    return Pipeline(snapshot, Classifier(snapshot, minilm()), Forms(**forms))


@pytest.fixture(scope="module")
def guard():
    return pipeline(
        target("okoro"),
        target("bell", name="Tomas Bell", action="restrict", phrases=["copper kettle"]),
        target(
            "song", kind="text", name=None, phrases=["river of the north"], action="restrict", always_on=True
        ),
        target("quiet", name="Ada Quill", action="observe", phrases=["ink pot"]),
        refusal="No.",
    )


def row(guard, prompt, response=None):
    return check_row(guard, CheckRow("r", (prompt,), response))


def test_refused_prompt_releases_the_refusal(guard):
    result = row(guard, "Who is Mina Okoro?", "A singer.")
    assert (result["action"], result["released"]) == ("refuse", "No.")
    lexical = next(m for m in result["matches"] if m["detector"] == "lexical")
    assert lexical == {"target_id": "okoro", "detector": "lexical", "score": 1.0, "threshold": 1.0}


def test_routed_strings_are_kept_back_only_on_routed_prompts(guard):
    assert (
        "copper kettle" not in row(guard, "What does Tomas Bell own?", "He owns a copper kettle.")["released"]
    )
    other = row(guard, "What boils water?", "It is a copper kettle.")
    assert other == {"id": "r", "action": "allow", "matches": [], "released": "It is a copper kettle."}


def test_always_on_strings_are_kept_back_everywhere(guard):
    result = row(guard, "Sing!", "Oh river of the north, flow.")
    assert (result["action"], result["matches"]) == ("allow", [])
    assert "river of the north" not in result["released"]


def test_observed_prompt_is_reported_and_released(guard):
    result = row(guard, "Who is Ada Quill?", "She lost an ink pot.")
    assert (result["action"], result["released"]) == ("observe", "She lost an ink pot.")
    assert result["matches"]


def test_row_without_response_has_no_released(guard):
    assert "released" not in row(guard, "Who is Mina Okoro?")


def test_batches_give_what_single_rows_give_in_order(guard, monkeypatch):
    monkeypatch.setattr("serving.check.BATCH", 7)
    prompts = ["Who is Mina Okoro?", "What is two plus two?", "Tell me about Tomas Bell.", ""]
    rows = [CheckRow(n, (prompts[n % 4],), "A copper kettle.") for n in range(30)]
    done = []
    results = list(check_rows(guard, rows, done.append))
    assert results == [check_row(guard, r) for r in rows]
    assert [r["id"] for r in results] == list(range(30))
    assert done == [7, 7, 7, 7, 2]


def test_messages_are_judged_one_by_one():
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    assert segments_of(messages) == ("Be kind.", "a")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 3: no JSON at column 2"),
        ("[1]", "line 3: not a JSON object"),
        ('{"prompt": "Secret"}', "line 3: field 'id' is missing"),
        ('{"id": [1], "prompt": "Secret"}', "line 3: field 'id'"),
        ('{"id": 1}', "line 3: give exactly one of the fields 'prompt' and 'messages'"),
        ('{"id": 1, "prompt": "Secret", "messages": []}', "line 3: give exactly one"),
        ('{"id": 1, "prompt": 7}', "line 3: field 'prompt' is not text"),
        ('{"id": 1, "prompt": "Secret", "response": 7}', "line 3: field 'response' is not text"),
        ('{"id": 1, "messages": "Secret"}', "line 3: field 'messages' is not a list"),
        ('{"id": 1, "messages": [{"role": "user", "content": 7}]}', "line 3: field 'messages.0.content'"),
        ('{"id": 1, "prompt": "Secret \\ud800"}', "line 3: field 'prompt' has half a surrogate pair"),
        ('{"id": 1, "messages": [{"content": "Secret \\udfff"}]}', "line 3: field 'messages' has half"),
        ("[" * 100_000, "line 3: JSON that is nested too deeply"),
    ],
)
def test_bad_row_is_named_by_line_and_field_without_its_text(tmp_path, line, said):
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join([json.dumps({"id": 1, "prompt": "x"}), "", line]))
    with pytest.raises(InputError) as caught:
        read_rows(path)
    assert said in str(caught.value)
    assert "Secret" not in str(caught.value)


def test_rows_keep_ids_as_given_and_ignore_other_columns(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": 7, "prompt": "x", "kind": "forget"}\r\n{"id": "7", "prompt": "y"}\n')
    assert [r.id for r in read_rows(path)] == [7, "7"]


def test_unreadable_file_is_named(tmp_path):
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    for name in ("nowhere", "latin"):
        with pytest.raises(InputError, match=name):
            read_rows(tmp_path / name)
