import pytest

from guard.errors import InputError
from serving.surfaces import GUARDED, NAMED, STILL, Unguardable, refuse_fields, route_filter

OWN = "/lethe/v1"


@pytest.mark.parametrize("route", [*GUARDED, *STILL])
def test_every_listed_route_is_known(route):
    method, path = route.split(" ")
    known = route_filter((), OWN)
    assert known(method, path.replace("{response_id}", "resp_1").replace("{file}", "a.css"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/systemone"),
        ("POST", "/inference/v1/generate"),
        ("POST", "/v1/chat/completions/render"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/responses/a/b/cancel"),
        ("POST", "/lethe/v2/targets"),
        ("POST", "/v1/chat/completions/"),
        ("DELETE", "/v1/models"),
        ("POST", "/collective_rpc"),
    ],
)
def test_other_routes_are_not(method, path):
    assert not route_filter((), OWN)(method, path)


def test_an_operator_can_open_a_route_by_name():
    known = route_filter(["POST /v1/systemone", "GET /v1/things/{id}"], OWN)
    assert known("POST", "/v1/systemone")
    assert known("GET", "/v1/things/7")
    assert not known("POST", "/v1/things/7")


def test_own_routes_and_questions_of_browsers_are_known():
    known = route_filter((), OWN)
    assert known("DELETE", OWN + "/targets/a")
    assert known("OPTIONS", "/anything")
    assert known("HEAD", "/health")


def test_a_misspelt_surface_is_an_error_that_names_it():
    with pytest.raises(InputError, match="'beam'"):
        route_filter(["beam"], OWN)


FIELDS = {
    "beam_search": {"use_beam_search": True},
    "prompt_logprobs": {"prompt_logprobs": 0},
    "echo_logprobs": {"echo": True, "logprobs": 0},
}


def test_the_names_of_fields_and_surfaces_agree():
    assert set(FIELDS) == set(NAMED)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_passes_only_where_it_is_opened(name):
    with pytest.raises(Unguardable):
        refuse_fields(FIELDS[name], set(NAMED) - {name})
    refuse_fields(FIELDS[name], {name})
