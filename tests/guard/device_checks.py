"""The device form against the host form. `test_device` runs it in a process that interprets the kernels."""

import random

import pytest
import torch

from guard import ForgetTarget
from guard.device import DeviceEnforcer
from guard.layout import History, Layout
from guard.restriction import Enforcer, Row
from guard.snapshot import compile_snapshot
from guard.tables import Tables
from guard.vocabulary import Vocabulary

SLOTS, LENGTH = 4, 64
USER = 1
TOKENS = (
    b"", b"", b"Mira", b" Sol", b"en", b"ven", b"Ann", b"abel", b" ", b".", b", ", b"M", b"e", b"\xc3",
    b"\xa9", b"\xa9t", "Émi".encode(), b"le", "東".encode(), "京".encode(), "東".encode()[:2],
    "東".encode()[2:], b"Mira Solen", b"so Ann.", b"\xe2\x80", b"\x8b", b"\xff", b"wiz", b"ard", b" wizard",
)  # fmt: skip


def target(target_id, **fields):
    return ForgetTarget.parse({"id": target_id, "kind": "text", "action": "restrict"} | fields)


TARGETS = [
    target("a", phrases=["Mira Solen", "Émile", "é t"], always_on=True),
    target("b", phrases=["Ann", "Mira"], matching={"boundary": "both"}),
    target("c", phrases=["東京", "olen"], matching={"fold": [], "boundary": "none"}),
    target("d", phrases=["nothing"], matching={"soft": {}}),
]
ROUTES = [(), ("b",), ("b", "c"), ("c", "d")]


@pytest.fixture
def tables():
    return compiled()


def compiled():
    vocabulary = Vocabulary(TOKENS, frozenset({0, USER}), (0,))
    return Tables(vocabulary, compile_snapshot(TARGETS, lambda _: {"wizard": 0.5, "solven": float("inf")}))


class Both:
    """The same requests on the host and on the device, token for token."""

    def __init__(self, tables, seed):
        self.draw = random.Random(seed)
        self.host = Enforcer(tables)
        self.device = DeviceEnforcer(tables, torch.device("cpu"), SLOTS)
        self.tokens = torch.zeros(SLOTS, LENGTH, dtype=torch.int32)
        self.lengths = torch.zeros(SLOTS, dtype=torch.int32)
        self.prompts = torch.zeros(SLOTS, dtype=torch.int32)

    def open(self, slot, targets, outputs=()):
        prompt = self.draw.choices([*range(1, len(TOKENS)), 10**6], k=self.draw.randint(1, 6))
        self.tokens[slot, : len(prompt) + len(outputs)] = torch.tensor([*prompt, *outputs])
        self.prompts[slot], self.lengths[slot] = len(prompt), len(prompt) + len(outputs)
        shown = slot % 2 == 1
        self.host.open(slot, Row(prompt, targets, None, list(outputs), shown))
        self.device.open(slot, targets, None, len(prompt), shown)

    def commit(self, slot, *tokens):
        for token in tokens:
            self.tokens[slot, self.lengths[slot]] = token
            self.lengths[slot] += 1
            self.host.rows[slot].outputs.append(token)

    def compare(self, fill=0.0):
        expected = torch.full((SLOTS, len(TOKENS)), fill)
        self.host.step(expected)
        order = self.draw.sample(range(SLOTS), SLOTS)
        slots = torch.tensor(order)
        known = self.lengths[slots].long()
        layout = Layout(slots, torch.zeros_like(slots), known - 1, self.tokens[slots, known - 1])
        found = torch.full((SLOTS, len(TOKENS)), fill)
        self.device.step(found, order, layout, History(self.tokens, self.prompts))
        assert torch.equal(found, expected[slots])
        return expected


def test_device_equals_host_step_by_step(tables):
    both = Both(tables, 3)
    for slot, targets in enumerate(ROUTES):
        both.open(slot, targets)
    bans = 0
    for step in range(14):
        bans += int(torch.isneginf(both.compare()).sum())
        if step == 6:
            # A slot given to another request that was preempted, and a live change of what is forbidden.
            both.open(1, ("c",), both.draw.choices(range(1, len(TOKENS)), k=5))
            tables.install(compile_snapshot(TARGETS[:3]))
        for slot in range(SLOTS):
            both.commit(slot, *both.draw.choices(range(1, len(TOKENS)), k=both.draw.choice([1, 1, 2])))
    assert bans > 50


def test_draft_rows_are_judged_as_if_their_drafts_were_accepted(tables):
    both = Both(tables, 5)
    both.open(0, ("b", "c"))
    drafts = [TOKENS.index(token) for token in (b"Mira", b" Sol", "東".encode()[:2])]
    known = int(both.lengths[0])
    rows = len(drafts) + 1
    layout = Layout(
        torch.zeros(rows, dtype=torch.int64),
        torch.arange(rows),
        known - 1 + torch.arange(rows),
        torch.tensor([int(both.tokens[0, known - 1]), *drafts]),
    )
    history = History(both.tokens, both.prompts)
    for _ in range(2):  # none was accepted: the second step starts from the same history
        found = torch.zeros(rows, len(TOKENS))
        both.device.step(found, [0], layout, history)
        for k in range(rows):
            expected = torch.zeros(1, len(TOKENS))
            host = Enforcer(tables)
            host.open(0, Row(both.host.rows[0].prompt_ids, ("b", "c"), None, drafts[:k]))
            host.step(expected)
            assert torch.equal(found[k], expected[0]), k
    assert torch.isneginf(found[2, TOKENS.index(b"en")])


def test_row_without_any_allowed_token_ends_on_the_device_too(tables):
    both = Both(tables, 7)
    for slot in range(SLOTS):
        both.open(slot, ())
        both.commit(slot, USER, TOKENS.index(b"Mira"), TOKENS.index(b" Sol"))
    expected = both.compare(fill=-torch.inf)
    assert torch.nonzero(expected > -torch.inf).tolist() == [[slot, 0] for slot in range(SLOTS)]


def test_probe_bans_its_token_on_the_device(tables):
    both = Both(tables, 9)
    both.open(0, ())
    both.device.open(0, (), 7, int(both.prompts[0]))
    layout = Layout(*(torch.tensor([value]) for value in (0, 0, int(both.lengths[0]) - 1, 2)))
    found = torch.zeros(1, len(TOKENS))
    both.device.step(found, [0], layout, History(both.tokens, both.prompts))
    assert torch.nonzero(torch.isneginf(found[0])).flatten().tolist() == [7]


def test_free_slot_is_left_alone_and_watched_again_by_its_next_request(tables):
    both = Both(tables, 11)
    for slot in range(SLOTS):
        both.open(slot, ("b",))
        both.commit(slot, USER, TOKENS.index(b"Mira"), TOKENS.index(b" Sol"))
    prompt = int(both.prompts[2])
    both.device.open(2, ("b",), None, prompt, False, free=True)
    row = both.host.rows[2]
    both.host.close(2)
    assert not torch.isneginf(both.compare()[2]).any()
    both.host.open(2, row)
    both.device.open(2, ("b",), None, prompt)
    assert torch.isneginf(both.compare()[2, TOKENS.index(b"en")])
