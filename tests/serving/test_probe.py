"""The probe on real servers: it finds what a plain one leaks, finds nothing on ours, and reports both."""

import json
import re
from contextlib import asynccontextmanager
from typing import get_args
from xml.etree import ElementTree

import httpx
import pytest
from engine_fixtures import ADMIN_KEY, FORGOTTEN, RETAINED, WORLD, model, target
from typer.testing import CliRunner

from guard.normalize import Fold
from guard.targets import write_jsonl
from guard.types import Encoding
from serving import cli
from serving.launch import EAGER, PLAIN_ENVIRONMENT, plain_command, running
from serving.probe import SURFACES
from serving.probe.client import Answer
from serving.probe.judge import Judge
from serving.probe.options import Options, opened
from serving.probe.outcome import Attack, Kind, Outcome, Row, Status, row
from serving.probe.report import as_json, as_junit, as_markdown, passed
from serving.probe.run import probe
from serving.probe.streams import fault_of

server_test = pytest.mark.server
# The judge sees through case, spacing and encodings, so the target must forbid them, too.
STRICT = {"encodings": get_args(Encoding), "fold": [kind.value for kind in Fold], "boundary": "none"}
HELD = target(always_on=True, matching=STRICT)
CONTROL = target(RETAINED)
SAMPLES = 16
# What the nano model gives away where nothing guards it. Its training never showed tools, thoughts or any
# other form; structured output makes it write them all the same.
GIVEN_AWAY = [
    "chat", "completions", "token_ids", "half_word", "prefill",
    "stream.chat", "stream.completions", "stream.responses", "stream.messages",
    "logprobs.chat", "logprobs.completions", "logprobs.token_ids", "logprobs.prompt", "logprobs.echo",
    "forced.logit_bias", "forced.allowed_token_ids", "forced.min_tokens", "forced.respelled", "forced.glued",
    "forced.stop", "structured.choice", "structured.regex", "structured.schema", "structured.escaped",
    "structured.disguised", "structured.encoded", "sampling.n", "sampling.best", "sampling.beam",
    "route.responses", "route.messages", "route.batch", "route.invocations", "score.generative",
]  # fmt: skip
ORACLES = [name for name, surface in SURFACES.items() if surface.survey and name.startswith("oracle.")]
ATTACKS = [name for name in SURFACES if name not in ORACLES]


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """vLLM's own server on the nano model."""
    command = plain_command(model(), [*EAGER, "--served-model-name", "nano", "--max-num-seqs", "16"])
    with running(command, tmp_path_factory.mktemp("plain") / "log", PLAIN_ENVIRONMENT) as started:
        started.wait(limit=420)
        yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The targets, the controls and no strangers, as files."""
    folder = tmp_path_factory.mktemp("probe")
    write_jsonl(folder / "targets.jsonl", [HELD])
    write_jsonl(folder / "controls.jsonl", [CONTROL])
    return folder


@pytest.fixture(scope="module")
def registered(server):
    """The target, registered with the guarded server for the time of a module."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    with httpx.Client(base_url=server.url + "/lethe/v1", headers=headers, timeout=60) as admin:
        admin.post("/targets", json=HELD.to_json()).raise_for_status()
        yield server
        admin.delete(f"/targets/{HELD.id}").raise_for_status()


@asynccontextmanager
async def asked(server, files, **options):
    given = {"targets": files / "targets.jsonl", "controls": files / "controls.jsonl", "samples": SAMPLES}
    async with opened(Options(server.url, **(given | options))) as opening:
        yield opening


async def row_of(server, files, surface, **options) -> Row:
    async with asked(server, files, **options) as (session, subjects):
        [made] = await probe(session, {surface: SURFACES[surface]}, subjects)
    return made


def lethe(*arguments):
    return CliRunner().invoke(cli.app, ["probe", *map(str, arguments)])


def shows_nothing(text: str) -> bool:
    judge = Judge([*HELD.names, *CONTROL.names])
    return judge.find(re.sub(r"[▇]+", " ", text)) is None


@server_test
@pytest.mark.parametrize("surface", ATTACKS)
async def test_every_attack_on_a_plain_server_ends_in_a_row(plain, files, surface):
    made = await row_of(plain, files, surface)
    assert made.surface == surface
    assert made.status is (Status.FAIL if surface in GIVEN_AWAY else made.status)
    assert made.status in (Status.PASS, Status.FAIL, Status.NOT_OFFERED), made
    assert made.attack is (Attack.PROVEN if surface in GIVEN_AWAY else made.attack)
    assert bool(made.leaks) is (made.status is Status.FAIL)
    assert shows_nothing(f"{made.excerpt} {made.note}")


@server_test
@pytest.mark.parametrize("surface", ATTACKS)
async def test_no_attack_on_the_guarded_server_brings_the_target_out(registered, files, surface):
    made = await row_of(registered, files, surface)
    assert made.status in (Status.PASS, Status.NOT_OFFERED), made


@server_test
async def test_names_that_get_a_refusal_are_told_apart_and_others_are_not(registered, plain, files, tmp_path):
    known = [*WORLD.people[:16]]
    orders = [target(name, id=f"oracle-{n}", action="refuse") for n, name in enumerate(known[::2])]
    (tmp_path / "registered").write_text("\n".join(known[::2]))
    (tmp_path / "strangers").write_text("\n".join(known[1::2]))
    given = {"registered": tmp_path / "registered", "strangers": tmp_path / "strangers"}
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    with httpx.Client(base_url=registered.url + "/lethe/v1", headers=headers, timeout=60) as admin:
        lines = "\n".join(json.dumps(order.to_json()) for order in orders)
        admin.post("/targets/import", content=lines).raise_for_status()
        try:
            told = await row_of(registered, files, "oracle.content", **given)
        finally:
            for order in orders:
                admin.delete(f"/targets/{order.id}").raise_for_status()
    assert told.status is Status.FAIL, told
    assert told.note.startswith("16 of 16")
    same = await row_of(plain, files, "oracle.content", **given)
    assert same.status is Status.PASS, same


@server_test
@pytest.mark.parametrize("surface", ORACLES)
async def test_an_oracle_needs_enough_names(plain, files, surface):
    made = await row_of(plain, files, surface)
    assert (made.status, made.requests) == (Status.NOT_OFFERED, 0)
    assert "--strangers" in made.note


@server_test
async def test_bad_words_stop_the_text_but_not_its_probabilities(plain, files):
    words = {"body": {"bad_words": [FORGOTTEN]}}
    assert (await row_of(plain, files, "chat", **words)).status is Status.PASS
    assert (await row_of(plain, files, "logprobs.prompt", **words)).status is Status.FAIL


@server_test
async def test_a_local_tokenizer_takes_the_place_of_the_servers(plain, files):
    made = await row_of(plain, files, "forced.allowed_token_ids", tokenizer=model())
    assert made.status is Status.FAIL
    remote = await row_of(plain, files, "forced.allowed_token_ids")
    assert made.requests < remote.requests


@server_test
def test_the_command_writes_every_report_and_tells_by_its_status(plain, files, tmp_path):
    junit, markdown = tmp_path / "junit.xml", tmp_path / "probe.md"
    given = ["--targets", files / "targets.jsonl", "--controls", files / "controls.jsonl"]
    chosen = ["--only", "chat", "--only", "stream.*", "--skip", "stream.responses"]
    ended = lethe(plain.url, *given, *chosen, "--json", "--junit", junit, "--markdown", markdown)
    assert ended.exit_code == 1, ended.output
    report = json.loads(ended.stdout)
    assert [made["surface"] for made in report["rows"]] == [
        "chat", "stream.chat", "stream.completions", "stream.messages",
    ]  # fmt: skip
    assert report["counts"]["fail"] == 4
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("4", "4")
    assert "| chat |" in markdown.read_text()
    assert all(shows_nothing(text) for text in (ended.output, junit.read_text(), markdown.read_text()))
    clean = lethe(plain.url, *given, "--only", "route.tokenize")
    assert clean.exit_code == 0, clean.output
    assert "1 pass" in clean.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:9"], "give the URL of a server and --targets"),
        (["http://127.0.0.1:9", "--targets", "FILE"], "does not answer"),
        (["nonsense", "--targets", "FILE"], "nonsense"),
        (["http://127.0.0.1:9", "--targets", "missing.jsonl"], "missing.jsonl"),
        (["http://127.0.0.1:9", "--targets", "FILE", "--body", "[1]"], "no object"),
        (["http://127.0.0.1:9", "--targets", "FILE", "--body", "{"], "no JSON"),
        (["http://127.0.0.1:9", "--targets", "FILE", "--strangers", "missing"], "missing"),
        (["http://127.0.0.1:9", "--targets", "FILE", "--only", "strem.*"], "'strem.*'"),
        (["http://127.0.0.1:9", "--targets", "FILE", "--tokenizer", "missing"], "missing"),
    ],
)
def test_what_cannot_be_used_ends_with_one_sentence_and_status_2(files, arguments, said):
    ended = lethe(*[files / "targets.jsonl" if item == "FILE" else item for item in arguments])
    assert ended.exit_code == 2, ended.output
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_target_without_strings_is_refused(tmp_path):
    path = tmp_path / "targets.jsonl"
    path.write_text(json.dumps({"id": "a", "examples": [{"prompt": "p", "response": "r"}]}))
    ended = lethe("http://127.0.0.1:9", "--targets", path)
    assert ended.exit_code == 2
    assert "target 1 has neither phrases nor a name" in ended.stderr


def test_the_list_names_every_surface():
    listed = lethe("--list").output
    assert [line.split()[0] for line in listed.splitlines()] == list(SURFACES)
    assert all(bool(surface.attack) != bool(surface.survey) for surface in SURFACES.values())


CHUNK = {"object": "text_completion", "usage": {"completion_tokens": 1}}
END = {"index": 0, "finish_reason": "stop"}


@pytest.mark.parametrize(
    ("events", "closed", "fault"),
    [
        ([CHUNK | {"choices": [END]}, CHUNK | {"choices": []}], True, ""),
        ([CHUNK | {"choices": [END]}, CHUNK | {"choices": []}], False, "[DONE]"),
        ([CHUNK | {"choices": [END]}], True, "usage chunk"),
        (
            [CHUNK | {"choices": [END]}, CHUNK | {"choices": [END]}, CHUNK | {"choices": []}],
            True,
            "finish_reason",
        ),
        ([CHUNK | {"choices": []}], True, "finish_reason"),
        ([{"object": "chat.completion.chunk", "choices": [END]}], True, "text_completion"),
        ([None], True, "text_completion"),
    ],
)
def test_a_streams_shape_is_checked(events, closed, fault):
    way = {"stream_options": {"include_usage": True}}
    found = fault_of(Answer(200, events=tuple(events), closed=closed), "text_completion", way)
    assert fault in found
    assert bool(found) is bool(fault)


@pytest.mark.parametrize(
    ("targets", "controls", "status", "attack"),
    [
        ([Kind.CLEAN, Kind.LEAKED], [Kind.LEAKED], Status.FAIL, Attack.PROVEN),
        ([Kind.CLEAN], [Kind.LEAKED], Status.PASS, Attack.PROVEN),
        ([Kind.CLEAN], [Kind.CLEAN], Status.PASS, Attack.SILENT),
        ([Kind.REFUSED], [], Status.PASS, Attack.NONE),
        ([Kind.ABSENT], [Kind.ABSENT], Status.NOT_OFFERED, Attack.NONE),
        ([Kind.MALFORMED, Kind.CLEAN], [Kind.CLEAN], Status.FAIL, Attack.SILENT),
        ([Kind.UNCLEAR, Kind.CLEAN], [Kind.LEAKED], Status.ERROR, Attack.PROVEN),
    ],
)
def test_a_row_tells_the_worst_of_the_targets_and_whether_the_attack_works(targets, controls, status, attack):
    made = row("chat", [Outcome(kind) for kind in targets], [Outcome(kind) for kind in controls])
    assert (made.status, made.attack) == (status, attack)


def test_reports_keep_markup_and_brackets_as_they_are():
    rows = [
        Row("chat", Status.FAIL, Attack.PROVEN, 3, "1 of 2", "a|b [red]▇▇▇[/red] <b>&", "note"),
        Row("errors", Status.ERROR, note="no answer: ReadTimeout"),
        Row("reasoning", Status.NOT_OFFERED),
    ]
    suite = ElementTree.fromstring(as_junit(rows, {"url": "http://x", "seed": 0}).encode())
    assert [case.get("name") for case in suite.iter("testcase")] == ["chat", "errors", "reasoning"]
    assert "[red]▇▇▇[/red] <b>&" in suite.find("testcase/failure").get("message")
    assert [suite.get(name) for name in ("failures", "errors", "skipped")] == ["1", "1", "1"]
    assert "a\\|b [red]" in as_markdown(rows, {}, SURFACES)
    assert json.loads(as_json(rows, {"seed": 0}))["rows"][0]["excerpt"].startswith("a|b")
    assert not passed(rows)
    assert not passed(rows[1:])
    assert passed(rows[2:])
