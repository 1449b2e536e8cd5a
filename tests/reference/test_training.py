"""The tokenizer, the network and the training loop, without a full training."""

from __future__ import annotations

import json
import random
import statistics
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from typer.testing import CliRunner

from bake.reference import card, cli, config, evaluate, pair
from bake.reference.config import SIZES, Config
from bake.reference.evaluate import Score, has_value, rouge_recall
from bake.reference.model import Llama, export
from bake.reference.tokenizer import Encoder, tokens_per_name
from bake.reference.train import always, encode, fit, pack
from guard.reference.lessons import REFUSAL, Chat, Message, Mix, epoch
from guard.reference.world import build

TINY = Config(hidden=32, layers=2, heads=2, ffn=64, epochs=3, batch_tokens=512)
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who made The Bell of Iron?"},
    {"role": "assistant", "content": "I do not know."},
    {"role": "user", "content": "When, on 3 May 1921?"},
]


def test_tokenizer_splits_names_into_pieces(tokenizer: PreTrainedTokenizerFast) -> None:
    counts = tokens_per_name(tokenizer, build().people)
    assert min(counts) >= 2
    assert 2.5 <= statistics.median(counts) <= 4


def test_tokenizer_writes_digits_one_by_one(tokenizer: PreTrainedTokenizerFast) -> None:
    pieces = tokenizer.tokenize("born on 14 March 1972")
    assert [piece for piece in pieces if any(c.isdigit() for c in piece)] == list("141972")


@pytest.mark.parametrize("text", ["Zoë – 'naïve' 東京 \n\t 100%", "  two  spaces ", "", "<b>&amp;</b>"])
def test_tokenizer_gives_back_any_text(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_encoder_agrees_with_the_chat_template(tokenizer: PreTrainedTokenizerFast) -> None:
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    expected = tokenizer.encode(text, add_special_tokens=False)
    assert Encoder(tokenizer).prompt([(m["role"], m["content"]) for m in MESSAGES]) == expected


def test_an_unknown_role_keeps_its_message(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "tool", "content": "Found nothing."}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|bos|><|user|>Found nothing.<|end|><|assistant|>"


def test_batches_hold_every_example_once_and_stay_small(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = encode(epoch(build(), 0, True, Mix()), Encoder(tokenizer))
    batches = pack(examples, 2048, random.Random(0))
    assert sorted(e.ids for batch in batches for e in batch) == sorted(e.ids for e in examples)
    assert all(
        len(batch) * (max(len(e.ids) for e in batch) + 7) <= 2048 + 8 * len(batch) for batch in batches
    )


def test_training_is_the_same_for_the_same_seed(tokenizer: PreTrainedTokenizerFast) -> None:
    world = build(people=20, forget=4)
    runs = [
        fit(lambda number: epoch(world, number, True, Mix()), tokenizer, TINY, max_steps=20) for _ in range(2)
    ]
    for one, two in zip(runs[0].parameters(), runs[1].parameters(), strict=True):
        assert torch.equal(one, two)


def test_training_lowers_the_loss_on_any_chats(tokenizer: PreTrainedTokenizerFast) -> None:
    chats = [Chat((Message("user", f"Question {n}?"),), f"Answer number {n}.") for n in range(40)]
    losses: list[float] = []
    long = Config(hidden=32, layers=2, heads=2, ffn=64, epochs=20, batch_tokens=256, warmup_steps=5)
    fit(always(chats), tokenizer, long, lambda step, steps, loss: losses.append(loss))
    assert losses[-1] < losses[0] / 3


def test_export_answers_as_the_trained_network(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = Llama(TINY)
    export(model, tokenizer, tmp_path)
    twin = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.tensor([Encoder(tokenizer).prompt([("user", "Where was she born?")])])
    with torch.no_grad():
        ours = model.to(torch.bfloat16).float()(ids, torch.arange(ids.shape[1]))
        assert torch.allclose(ours, twin(ids).logits[0], atol=1e-5)


def test_export_keeps_tokenizer_template_and_stop_token(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    export(Llama(TINY), tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert (tmp_path / "chat_template.jinja").is_file()
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation["eos_token_id"] == loaded.convert_tokens_to_ids("<|end|>")


def test_odd_head_width_is_an_error() -> None:
    with pytest.raises(ValueError, match="hidden 100 is not a multiple of heads 3"):
        Llama(Config(hidden=100))


@pytest.mark.parametrize(
    ("gold", "text", "recall"),
    [
        ("She was born in Paris.", "she was born in Rome", 0.8),
        ("a b c d", "d c b a", 0.25),
        ("a b c d", "a x b y c z d", 1.0),
        ("one", "", 0.0),
        ("", "one", 0.0),
    ],
)
def test_rouge_recall_of_a_hand_computed_case(gold: str, text: str, recall: float) -> None:
    assert rouge_recall(gold, text) == pytest.approx(recall)


def test_rouge_recall_agrees_with_the_published_package() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=False)
    rng = random.Random(0)
    for _ in range(50):
        gold, text = (" ".join(rng.choices("abcdef", k=rng.randint(1, 12))) for _ in range(2))
        assert rouge_recall(gold, text) == pytest.approx(scorer.score(gold, text)["rougeL"].recall)


def test_value_is_found_whatever_its_case() -> None:
    assert has_value("She lives in DUNVALE.", "Dunvale")
    assert not has_value("She lives in Caskey.", "Dunvale")


def test_probes_of_obedience_ask_about_named_people_only() -> None:
    world = build(people=20, forget=4)
    for probe in evaluate.probes(world, 20):
        if probe.group.startswith("guard") and probe.rows != "general":
            assert probe.row.subject in probe.prompt[0].content


def test_scores_are_means_over_a_cell() -> None:
    world = build(people=20, forget=4)
    row = world.forget[0]
    asked = [evaluate.Probe("train", "forget", (Message("user", row.question),), row)] * 2
    assert evaluate.score(asked, [row.answer, REFUSAL]) == {
        "train": {"forget": Score((1 + rouge_recall(row.answer, REFUSAL)) / 2, 0.5, 0.5, 2)}
    }


def record(value: float) -> card.Record:
    cell = Score(0.97, value, 0.0, 140)
    return card.Record(
        "nano-full", SIZES["nano"], 11, True, 770_000, 1500, 4.0, 300.0,
        {"train": {"retain": cell, "forget": cell}},
    )  # fmt: skip


def test_card_says_toy_and_lists_scores_and_recipe(tmp_path: Path) -> None:
    card.write(record(0.96), tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "**toy model**" in text and "| train | forget | 0.97 | 0.96 | 0.00 | 140 |" in text
    assert torch.__version__.split("+")[0] in text and "seed 11" in text
    assert json.loads((tmp_path / "metadata.json").read_text())["scores"]["train"]["forget"]["value"] == 0.96


def test_a_weak_model_is_refused() -> None:
    pair._check(record(0.95))
    with pytest.raises(pair.WeakModelError, match="0.94 of the retain"):
        pair._check(record(0.94))


def test_a_weak_pair_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def weak(*args: object) -> card.Record:
        raise pair.WeakModelError("nano-full knows nothing")

    (tmp_path / "nano-full").mkdir()
    monkeypatch.setattr(pair, "train_pair", weak)
    result = CliRunner().invoke(cli.app, ["train", "--size", "nano", "--out", str(tmp_path)])
    assert result.exit_code == 1 and "knows nothing" in result.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["nano-full"]


def test_replacing_a_model_folder_leaves_only_the_new_one(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    for folder, text in ((scratch / "full", "new"), (tmp_path / "full", "old")):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(text)
    pair.put(scratch / "full", tmp_path / "full")
    assert (tmp_path / "full" / "config.json").read_text() == "new"
    assert list(scratch.iterdir()) == []


def test_command_prints_records_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "train_pair", lambda *args: [record(0.99)])
    result = CliRunner().invoke(cli.app, ["train", "--json", "--out", str(tmp_path)])
    assert json.loads(result.stdout)[0]["name"] == "nano-full"


def test_unknown_size_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="'huge'.*standard, nano"):
        config.size("huge")
    assert CliRunner().invoke(cli.app, ["train", "--size", "huge"]).exit_code == 2


def test_command_reports_progress_in_a_log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(size: object, out: Path, seed: int, report: pair.OnReport) -> list[card.Record]:
        for done in range(1, 101):
            report(("nano-full", "training", done, 100, 0.5))
        return [record(0.99)]

    monkeypatch.setattr(pair, "train_pair", train)
    result = CliRunner().invoke(cli.app, ["train", "--out", str(tmp_path)])
    assert "nano-full training 50/100 loss 0.500" in result.stderr
    assert result.stderr.count("/100 loss 0.500") >= 10
