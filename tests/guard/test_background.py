import gzip
import importlib
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from guard.background import FILE, background, texts
from guard.normalize import fold
from guard.reference import names
from guard.reference.relations import CITIES

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LETHE_DATA", "../shared/data"))
KINDS = (
    "people arts sport history science geography howto code maths rewriting email recipe health law choice "
    "cloze fewshot roleplay prefilled tools chitchat novelist private foreign long tiny encoded"
)


@pytest.fixture
def script(monkeypatch):
    """The script that makes the file, as a module."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("background")


def test_the_script_reproduces_the_shipped_file(script, capsys):
    # Its content byte for byte: how it is compressed differs between builds of zlib.
    assert script.content() == gzip.decompress(FILE.read_bytes())
    assert script.main(["--check"]) == 0 and not capsys.readouterr().out


def test_the_check_notices_a_file_out_of_date(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "FILE", tmp_path / "prompts.jsonl.gz")
    assert script.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().out
    script.main([])
    assert gzip.decompress((tmp_path / "prompts.jsonl.gz").read_bytes()) == gzip.decompress(FILE.read_bytes())


def test_no_template_dominates(script):
    slots, parts = script.material()
    most = max(
        len(list(script.filled(template, slots, part.count))) for part in parts for template in part.templates
    )
    assert 1 < most <= 40
    assert sum(len(part.templates) for part in parts) > 800


def test_prompts_are_many_and_distinct():
    folded = {fold(text).text for text in texts()}
    assert len(texts()) == len(folded) >= 4000
    assert FILE.stat().st_size < 400_000


def test_every_promised_kind_and_language_is_there():
    kinds = Counter(prompt.kind for prompt in background())
    assert set(KINDS.split()) <= kinds.keys()
    assert max(kinds.values()) < 0.15 * len(background())
    assert {"en", "es", "fr", "de", "it", "pt", "zh", "ru", "mixed"} <= {p.lang for p in background()}


def test_lengths_run_from_a_word_to_a_document():
    lengths = sorted(map(len, texts()))
    assert lengths[0] <= 3 and sum(length >= 2000 for length in lengths) >= 20
    assert 4000 < lengths[-1] <= 8000


def test_order_mixes_the_kinds():
    """So that the first prompts are a fair sample of all."""
    first = Counter(prompt.kind for prompt in background()[:500])
    everything = Counter(prompt.kind for prompt in background())
    for kind, count in everything.items():
        assert abs(first[kind] / 500 - count / len(background())) < 0.04, kind


def test_no_slot_is_left_unfilled():
    assert not [text for text in texts() if re.search(r"\{[a-z_]+\}", text) and "```" not in text]


def test_names_of_the_invented_world_do_not_occur():
    """The world's people are targets in tests and in the demo; a benign corpus must not name them."""
    used = set(re.findall(r"\w+", "\n".join(texts())))
    given = {head + tail for head in names._GIVEN_HEADS for tail in names._GIVEN_TAILS}
    family = {head + tail for head in names._FAMILY_HEADS for tail in names._FAMILY_TAILS}
    assert not used & (given | family | set(CITIES))


def test_subjects_of_the_benchmark_do_not_occur():
    path = DATA / "rwku" / "targets.jsonl"
    if not path.exists():
        pytest.skip(f"no benchmark data at {DATA}; set LETHE_DATA")
    subjects = [json.loads(line)["subject"] for line in path.read_text().splitlines()]
    everything = fold("\n".join(texts())).text
    assert [subject for subject in subjects if fold(subject).text in everything] == []
