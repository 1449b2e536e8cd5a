import json

import pytest

from guard import ForgetTarget
from guard.errors import InputError, TargetError
from guard.targets import MemoryTargetStore, parse_jsonl, read_jsonl, write_jsonl


def test_jsonl_round_trip_keeps_order_and_content(tmp_path, mira):
    other = ForgetTarget.parse({"id": "line", "name": "two\u2028lines"})
    write_jsonl(tmp_path / "t.jsonl", [mira, other])
    assert read_jsonl(tmp_path / "t.jsonl") == [mira, other]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "line 3: no JSON"),
        ('{"id": "c", "name": "Secret Name", "colour": 1}', "line 3: unknown field 'colour'"),
        ('{"id": "a", "name": "Secret Name"}', "line 3: id 'a' occurs twice"),
    ],
)
def test_bad_line_is_named_without_its_text(line, named):
    text = "\n".join([json.dumps({"id": "a", "name": "x"}), "", line])
    with pytest.raises(TargetError) as caught:
        parse_jsonl(text, "t.jsonl")
    assert named in str(caught.value)
    assert "Secret" not in str(caught.value)


def test_unreadable_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.jsonl"):
        read_jsonl(tmp_path / "absent.jsonl")


def test_json_nested_beyond_reading_is_an_error_that_names_the_line():
    with pytest.raises(TargetError, match="line 2: JSON that is nested too deeply"):
        parse_jsonl("\n" + "[" * 100_000)


def test_adding_is_all_or_nothing(mira):
    store = MemoryTargetStore([mira])
    fresh = mira.model_copy(update={"id": "fresh"})
    before = store.revision()
    with pytest.raises(ValueError, match="'mira'"):
        store.add(fresh, mira)
    assert [t.id for t in store.list()] == ["mira"]
    assert store.revision() == before
