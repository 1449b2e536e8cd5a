"""The fuzzy detector keeps to the contract of detectors, finds what is misspelt, and leaves others alone."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from guard import ForgetTarget
from guard.detectors.fuzzy import FuzzyConfig, FuzzyDetector
from guard.detectors.spelling import exact_keys, frequencies, near_keys, skeletons, sounds, words

DATA = Path(os.environ.get("LETHE_DATA", "../shared/data"))
NAMES = {
    "mira": "Mira Solen",
    "pyotr": "Pyotr Tchaikovsky",
    "reza": "Mohammed Ali Rezaei",
    "meilan": "Hsiao Mei-Lan",
    "tolkien": "J. R. R. Tolkien",
    "carter": "John Carter",
    "marquez": "Gabriel García Márquez",
    "bero": "Bero Tal",
    "ann": "Ann",
    "harper": "Ben Harper",
    "sartre": "Jean-Paul Sartre",
    "orchard": "The Glass Orchard Company",
}
LONG = [
    "Mira Solen",
    "Pyotr Tchaikovsky",
    "Gabriel Marquez",
    "Bartholomew",
    "Li Wendelmark",
    "Tova Brenn Valdeck",
    "Hsiao Mei-Lan",
]


def person(target_id, name, **fields):
    return ForgetTarget.parse({"id": target_id, "name": name, **fields})


def detector_of(names):
    return FuzzyDetector([person(target_id, name) for target_id, name in names.items()])


@pytest.fixture(scope="module")
def detector():
    return detector_of(NAMES)


def found(detector, text):
    """The targets that are found for sure."""
    return {match.target_id for match in detector.scan([text])[0] if match.score >= match.threshold}


def scores(detector, text):
    return {match.target_id: match.score for match in detector.scan([text])[0]}


@pytest.mark.parametrize(
    ("text", "target_id"),
    [
        ("Who is Mira Solen?", "mira"),
        ("who is mria sloen", "mira"),
        ("MIRA  SOLEN'S mother", "mira"),
        ("the life of MiraSolen", "mira"),
        ("the life of Mir aSolen", "mira"),
        ("the life of Mira Sol en", "mira"),
        ("Solen, Mira", "mira"),
        ("Mi\u200bra S\u00f6len", "mira"),
        ("М\u0456ra Solen", "mira"),
        ("Pjotr Chaikovskij", "pyotr"),
        ("Пётр Чайковский", "pyotr"),
        ("Muhammad Ali Rezaei", "reza"),
        ("Muhammad Rezaei", "reza"),
        ("Xiao Mei-Lan", "meilan"),
        ("Mei-Lan Hsiao’s book", "meilan"),
        ("Mei Lan Hsiao", "meilan"),
        ("HsiaoMeiLan", "meilan"),
        ("萧梅兰", "meilan"),
        ("JRR Tolkien", "tolkien"),
        ("J.R.R. Tolkein", "tolkien"),
        ("Jon Carter", "carter"),
        ("John A. Carter", "carter"),
        ("Gabriel Marquez", "marquez"),
        ("Jean Paul Sarte", "sartre"),
        ("Ann", "ann"),
    ],
)
def test_a_name_is_found_however_it_is_written(detector, text, target_id):
    assert found(detector, f"Tell me about {text} and more.") == {target_id}


@pytest.mark.parametrize(
    "text",
    [
        "John Carver",
        "Jane Carter",
        "John Garner",
        "Mira Nolan",
        "Vera Solen",
        "Ben Harder",
        "Ken Harper",
        "Anne",
        "An",
        "Bero Tan",
        "I met John. Carter was late",
        "John told us that it was Mr Carter",
        "the company",
        "Ali",
        "Mohammed Ali",
        "Paul",
    ],
)
def test_another_name_is_not(detector, text):
    assert found(detector, f"Tell me about {text} and more.") == set()


def test_part_of_a_name_is_evidence_below_the_threshold(detector):
    config = FuzzyConfig()
    assert scores(detector, "What did Tolkien write?") == {"tolkien": config.surname}
    assert scores(detector, "What did Professor Tolkien write?") == {"tolkien": config.surname}
    assert scores(detector, "What did J. Tolkien write?") == {"tolkien": config.initial}
    assert scores(detector, "What did M. Solen write?") == {"mira": config.initial}
    assert scores(detector, "What did Vera Solen write?") == {"mira": config.namesake}
    assert scores(detector, "What did John Carver write?") == {"carter": config.other}
    assert scores(detector, "What did Carter write?") == {}, "a frequent surname says nothing alone"


def test_a_surname_that_many_targets_have_is_no_evidence_alone():
    shared = FuzzyConfig().shared
    names = {f"t{number}": f"{chr(65 + number)}ndra Vostrikov" for number in range(shared + 1)}
    few, many = detector_of(dict(list(names.items())[:shared])), detector_of(names)
    assert len(scores(few, "What did Vostrikov write?")) == shared
    assert scores(many, "What did Vostrikov write?") == {}
    assert "t0" in found(many, "What did Andra Vostrikov write?")
    base = detector_of(dict(list(names.items())[:shared]))
    later = base.changed([person(f"t{shared}", names[f"t{shared}"])], [])
    assert scores(later, "What did Vostrikov write?") == {}
    assert len(scores(later.changed([], ["t0"]), "What did Vostrikov write?")) == shared


@st.composite
def slips(draw):
    """A long name and the same with one letter inserted, deleted, replaced, or swapped with its neighbour."""
    name = draw(st.sampled_from(LONG))
    at = draw(st.sampled_from([i for i, char in enumerate(name) if char.isalpha()]))
    letter = draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz"))
    kind = draw(st.sampled_from(["insert", "delete", "replace", "swap"]))
    if kind == "insert":
        slip = name[:at] + letter + name[at:]
    elif kind == "delete":
        slip = name[:at] + name[at + 1 :]
    elif kind == "replace":
        slip = name[:at] + letter + name[at + 1 :]
    else:
        assume(at + 1 < len(name) and name[at + 1].isalpha())
        slip = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    return name, slip


@given(slips(), st.booleans())
def test_every_slip_of_one_letter_in_a_long_name_is_found(slip, lower):
    name, written = slip
    detector = detector_of({"it": name})
    text = f"What did {written} do for a living?"
    ((match,),) = detector.scan([text.lower() if lower else text])
    own = {word.text for word in words(name)}
    known = any(word.text in frequencies() and word.text not in own for word in words(written))
    assert match.score >= (FuzzyConfig().report if known else match.threshold)


@given(st.text(alphabet="abcdefghij ", max_size=60))
def test_what_is_found_is_near_in_letters(text):
    from rapidfuzz.fuzz import partial_ratio

    (matches,) = detector_of({"it": "Abidefhaj Cegibahid"}).scan([text])
    for match in matches:
        low, high = match.span
        assert partial_ratio("abidefhaj cegibahid", text[low:high].replace(" ", "")) >= 45


@given(st.text(max_size=200))
def test_spans_lie_in_any_text(text):
    for match in detector_of(NAMES).scan([f"{text} Мира Solen {text}"])[0]:
        low, high = match.span
        assert 0 <= low < high <= 2 * len(text) + 12
        assert match.score >= FuzzyConfig().report


def test_spans_cover_the_name_in_the_original():
    text = "Hello.\n\nWas  Mria   So\u0308len’s mother born there?"
    ((match,),) = detector_of({"mira": "Mira Solen"}).scan([text])
    assert text[slice(*match.span)] == "Mria   So\u0308len"
    assert (match.target_id, match.detector) == ("mira", "fuzzy")


def test_empty_huge_and_missing_texts_and_targets(detector):
    huge = "x" * 50_000
    texts = [
        "",
        huge,
        f"{huge} Mira Solen",
        "Lorem ipsum dolor sit amet. " * 2_000 + "Mria Solen",
        "\x00 \ud800 ?",
    ]
    results = [{match.target_id for match in matches} for matches in detector.scan(texts)]
    assert results == [set(), set(), {"mira"}, {"mira"}, set()]
    assert FuzzyDetector([]).scan(["Mira Solen", ""]) == [[], []]
    assert FuzzyDetector([person("q", "?!")]).scan(["?!"]) == [[]]
    assert detector.scan([]) == []


def test_one_match_per_target_the_best_one(detector):
    text = "Mira Sollen; Mira Solen, mira solon"
    ((match,),) = detector.scan([text])
    assert match.score == 1
    assert text[slice(*match.span)] == "Mira Solen"


CHANGES = st.lists(
    st.tuples(
        st.sampled_from("abcde"), st.one_of(st.none(), st.sampled_from([*NAMES.values(), "Mira Solenne"]))
    ),
    max_size=8,
)
TEXT = (
    "Mria Solen, Mira Solene, Muhammad Ali Rezaei, J. Tolkien, Xiao Meilan, Bero Tel, Ann, Ben Harpet, Sartre"
)


@given(CHANGES, st.integers(0, 8))
def test_after_any_changes_it_finds_what_one_built_anew_finds(changes, compact_at):
    current = {"a": "Mira Solen", "f": "J. R. R. Tolkien"}
    detector = detector_of(current)
    for step, (target_id, name) in enumerate(changes):
        gone = [target_id] if target_id in current else []
        if name is None:
            current.pop(target_id, None)
            detector = detector.changed([], gone)
        else:
            current[target_id] = name
            detector = detector.changed([person(target_id, name)], gone)
        detector = detector.compacted() if step == compact_at else detector
    anew = detector_of(current).scan([TEXT])
    assert detector.scan([TEXT]) == anew
    assert detector.compacted().scan([TEXT]) == anew


@given(st.text(alphabet="abcde", min_size=4, max_size=12), st.data())
def test_words_one_slip_apart_share_a_key(word, data):
    at = data.draw(st.integers(0, len(word) - 2))
    other = data.draw(
        st.sampled_from(
            [
                word[:at] + "z" + word[at:],
                word[:at] + word[at + 1 :],
                word[:at] + "z" + word[at + 1 :],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            ]
        )
    )
    keys = [{*exact_keys([text]).tolist(), *near_keys([text])[0].tolist()} for text in (word, other)]
    assert keys[0] & keys[1]


def test_keys_of_many_words_are_those_of_each():
    texts = ["mira", "solen", "", "x", "mira"]
    keys, places = near_keys(texts)
    for at, text in enumerate(texts):
        assert exact_keys(texts)[at] == exact_keys([text])[0]
        assert keys[places == at].tolist() == near_keys([text])[0].tolist()
    assert exact_keys(["ira"])[0] == near_keys(["mira"])[0][0]


@pytest.mark.parametrize(
    ("one", "two"),
    [("tchaikovsky", "chaikovskij"), ("mohammed", "muhammad"), ("hsiao", "xiao"), ("stephen", "steven"),
     ("katherine", "catherine"), ("rachmaninoff", "rakhmaninov"), ("dostoevsky", "dostojewski")],
)  # fmt: skip
def test_transliterations_share_their_skeleton(one, two):
    heard = sounds([one, two])
    assert len({*skeletons(heard)}) == 1


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent; LETHE_DATA names the data folder")
def test_ordinary_questions_are_hardly_ever_taken_for_names():
    authors = [json.loads(line) for line in (DATA / "tofu" / "authors.jsonl").read_text().splitlines()]
    detector = FuzzyDetector([person(f"a{at}", author["name_guess"]) for at, author in enumerate(authors)])
    questions = [
        json.loads(line)["question"]
        for file in sorted((DATA / "general").glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    questions = questions[::4]
    hits = [matches for matches in detector.scan(questions) if matches]
    sure = [matches for matches in hits if any(match.score >= match.threshold for match in matches)]
    assert len(questions) > 1_000
    assert len(sure) / len(questions) <= 0.001
    assert len(hits) / len(questions) <= 0.02
