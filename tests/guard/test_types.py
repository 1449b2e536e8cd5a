import json
import pickle
from datetime import UTC, datetime, timedelta

import pytest

import guard.errors
from guard import Action, ForgetTarget, LetheError
from guard.errors import TargetError

SECRET = "Mira Solen"


def test_action_strength_orders_from_allow_to_refuse():
    ordered = sorted(Action, key=lambda a: a.strength)
    assert [a.value for a in ordered] == ["allow", "observe", "rewrite", "restrict", "steer", "refuse"]
    assert [a for a in ordered if a.enforces] == ordered[2:]


@pytest.mark.parametrize(
    "given", [{"name": "x"}, {"phrases": ["x"]}, {"examples": [{"prompt": "p", "response": "r"}]}]
)
def test_one_of_name_phrases_examples_is_enough(given):
    assert ForgetTarget.parse({"id": "a", **given}).id == "a"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"id": "a", "name": SECRET, "colour": "red"}, "colour"),
        ({"id": "a"}, "name, phrases, examples"),
        ({"name": SECRET}, "'id'"),
        ({"id": "a b", "name": SECRET}, "'id'"),
        ({"id": "a", "name": SECRET, "action": "delete"}, "'delete'"),
        ({"id": "a", "name": SECRET, "kind": "person"}, "'person'"),
        ({"id": "a", "name": ""}, "'name'"),
        ({"id": "a", "name": SECRET, "examples": [{"response": SECRET}]}, "examples.0.prompt"),
        (
            {"id": "a", "name": SECRET, "examples": [{"prompt": SECRET, "response": "r", "x": 1}]},
            "examples.0.x",
        ),
        ({"id": "a", "name": SECRET, "expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ([SECRET], "target"),
    ],
)
def test_malformed_target_names_the_field_and_keeps_the_text_to_itself(data, named):
    with pytest.raises(TargetError) as caught:
        ForgetTarget.parse(data)
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("matching", "named"),
    [
        ({"fold": ["case", "colour"]}, "matching.fold.1"),
        ({"boundary": "right"}, "'right'"),
        ({"beta": 0}, "matching.beta' is 0"),
        ({"beta": 1.5}, "matching.beta' is 1.5"),
        ({"fold": ["spacing"]}, "set boundary to 'none'"),
        ({"boundary": "both", "beta": 0.5}, "set boundary to 'left'"),
        ({"encodings": ["pig latin"]}, "'pig latin'"),
        ({"soft": {"delta": 0}}, "matching.soft.delta' is 0"),
        ({"soft": {"weight": -1}}, "matching.soft.weight' is -1"),
        ({"soft": {"floor": 0.6}}, "floor 0.6 is above delta 0.5"),
        ({"soft": {"floor": -2}}, "matching.soft.floor' is -2"),
        (
            {"soft": {"sigma": 1}},
            "unknown field 'matching.soft.sigma'; known fields are delta, weight, floor",
        ),
        ({"case": True}, "unknown field 'matching.case'; known fields are fold, boundary"),
    ],
)
def test_matching_out_of_range_is_refused_with_value_and_fix(matching, named):
    with pytest.raises(TargetError) as caught:
        ForgetTarget.parse({"id": "a", "name": SECRET, "matching": matching})
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)


def test_foldings_and_encodings_are_kept_once_in_one_order():
    one = ForgetTarget.parse({"id": "a", "name": "x", "matching": {"fold": ["width", "case", "case"]}})
    two = ForgetTarget.parse({"id": "a", "name": "x", "matching": {"fold": ["case", "width"]}})
    assert one == two
    assert one.to_json()["matching"] == {"fold": ["case", "width"]}


def test_target_survives_a_round_trip_through_json(mira):
    assert ForgetTarget.parse(json.loads(json.dumps(mira.to_json()))) == mira


def test_target_expires_at_its_time():
    now = datetime(2030, 1, 1, tzinfo=UTC)
    target = ForgetTarget.parse({"id": "a", "name": "x", "expires_at": now.isoformat()})
    assert target.expired(now)
    assert not target.expired(now - timedelta(seconds=1))


@pytest.mark.parametrize("cls", [c for c in vars(guard.errors).values() if isinstance(c, type)])
def test_errors_survive_pickling_and_show_their_message_plainly(cls):
    copy = pickle.loads(pickle.dumps(cls("value 'x'; use y")))
    assert type(copy) is cls
    assert isinstance(copy, LetheError)
    assert str(copy) == "value 'x'; use y"


def test_every_error_stands_in_the_tree_at_the_top():
    for name, cls in vars(guard.errors).items():
        if isinstance(cls, type):
            assert name in guard.errors.__doc__
