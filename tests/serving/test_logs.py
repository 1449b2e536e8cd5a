"""What the guard's log lines look like, and whose loggers are left alone."""

import json
import logging
from contextlib import contextmanager

import pytest

from guard.types import Action
from serving import logs
from serving.exchange import Exchange, exchange

SECRET = "Mina Okoro"


@pytest.fixture(autouse=True)
def loggers():
    """Puts our packages' loggers back after a test."""
    found = {name: logging.getLogger(name) for name in logs.PACKAGES}
    before = {name: (list(log.handlers), log.level, log.propagate) for name, log in found.items()}
    yield found
    for name, log in found.items():
        log.handlers[:], log.level, log.propagate = before[name]
        logging.getLogger(name).setLevel(log.level)  # drops what the loggers below remember


@contextmanager
def asking(request_id: str):
    current = Exchange("/v1/chat/completions")
    token = exchange.set(current)
    current.tell(Action.ALLOW, "v1", request_id)
    try:
        yield
    finally:
        exchange.reset(token)


def test_json_is_one_object_a_line_on_standard_error(capfd):
    logs.configure("json")
    logging.getLogger("serving.live").info("snapshot %s with %d targets is in force", "v7", 2)
    logging.getLogger("guard.classifier").warning("two\nlines")
    out, err = capfd.readouterr()
    first, second = (json.loads(line) for line in err.splitlines())
    assert out == ""
    assert (first["event"], first["logger"], first["level"]) == (
        "snapshot v7 with 2 targets is in force",
        "serving.live",
        "info",
    )
    assert first["timestamp"].endswith("Z")
    assert second["event"] == "two\nlines"


def test_text_names_time_level_and_logger(capfd):
    logs.configure("text")
    logging.getLogger("serving.live").error("it went wrong")
    line = capfd.readouterr().err
    assert line.count("\n") == 1
    for part in ("error", "it went wrong", "serving.live", "Z ["):
        assert part in line


@pytest.mark.parametrize("form", ["json", "text"])
def test_every_line_of_a_request_has_its_id_and_no_other_line_has(capfd, form):
    logs.configure(form)
    log = logging.getLogger("serving.engine")
    with asking("chatcmpl-1"):
        log.info("inside")
    log.info("outside")
    inside, outside = capfd.readouterr().err.splitlines()
    assert "request_id" in inside
    assert "chatcmpl-1" in inside
    assert "request_id" not in outside


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_told_by_class_and_place_without_its_message(capfd, form):
    logs.configure(form)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("serving.live").exception("a change failed", extra={"prompt": SECRET})
    said = capfd.readouterr().err
    assert "ValueError" in said
    assert "test_logs.py" in said
    assert SECRET not in said


def test_debug_lines_are_not_shown(capfd):
    logs.configure("json")
    logging.getLogger("guard.classifier").debug("detail")
    assert capfd.readouterr().err == ""


def test_to_configure_twice_is_to_configure_anew(capfd):
    logs.configure("text")
    logs.configure("json")
    logging.getLogger("serving.live").info("once")
    assert json.loads(capfd.readouterr().err)["event"] == "once"


def test_a_handler_of_the_operators_own_stays(loggers, capfd):
    own = logging.NullHandler()
    loggers["guard"].addHandler(own)
    logs.configure("json")
    assert loggers["guard"].handlers == [own]
    logging.getLogger("serving.live").info("still ours")
    assert "still ours" in capfd.readouterr().err


def test_other_loggers_are_left_alone(capfd):
    others = [logging.getLogger(name) for name in (None, "vllm", "uvicorn", "opentelemetry")]

    def state():
        return [(list(log.handlers), log.level, log.propagate, list(log.filters)) for log in others]

    before = state()
    logs.configure("json")
    assert state() == before
    logging.getLogger("vllm.engine").warning("theirs")
    assert not capfd.readouterr().err.startswith("{")
