"""Every code of the table, written by encoders that share nothing with the decoders, and ordinary text."""

import base64
import codecs
import html
import json
import math
import os
import random
import string
import time
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wordfreq import get_frequency_dict

from guard.decoding import DECODERS, MAX_CHARACTERS, MAX_READINGS, capped, readings
from guard.decoding.english import costs
from guard.encodings import ENCODINGS
from guard.normalize import fold
from guard.reference.forms import FORMS

DATA = Path(os.environ.get("LETHE_DATA", "../shared/data"))
WORDS = (
    "who what where when does was wrote born father mother famous for the book city Mira Solen Harbour "
    "Quillon orchard glass clockmaker printed teacher married lives near with about young river garden"
).split()
MORSE = dict(
    zip(
        string.ascii_lowercase,
        ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- "
        "-.-- --..".split(),
        strict=True,
    )
)
NATO = (
    "Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima Mike November Oscar Papa "
    "Quebec Romeo Sierra Tango Uniform Victor Whiskey X-ray Yankee Zulu"
).split()
CYRILLIC = str.maketrans("abvgdezklmnoprstufMS", "абвгдезклмнопрстуфМС")
UMLAUTS = str.maketrans("aeio", "äëïö")
TURNED = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz")


def by_word(letter, gap):
    return lambda text: gap.join(letter(word) for word in text.split())


def shifted(text, places):
    low, high = string.ascii_lowercase, string.ascii_uppercase
    to = low[places:] + low[:places] + high[places:] + high[:places]
    return text.translate(str.maketrans(low + high, to))


def selectors(text):
    return "".join(chr(0xFE00 + b if b < 16 else 0xE0100 + b - 16) for b in text.encode())


# For each code, ways to write a sentence of ASCII letters and spaces in it.
WRITERS = {
    "base64": [
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
        lambda text: base64.encodebytes(text.encode() * 3).decode(),
        lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
        lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
        lambda text: base64.b64encode(text.encode().hex(" ").encode()).decode(),
        by_word(lambda word: base64.b64encode(word.encode()).decode(), " "),
    ],
    "base32": [
        lambda text: base64.b32encode(text.encode()).decode(),
        lambda text: base64.b32encode(text.encode()).decode().lower().rstrip("="),
    ],
    "hex": [
        lambda text: text.encode().hex(),
        lambda text: text.encode().hex(" ").upper(),
        lambda text: text.encode().hex(":"),
        lambda text: ", ".join(map(hex, text.encode())),
        lambda text: "0x" + text.encode().hex(),
        lambda text: " ".join(f"U+{ord(char):04X}" for char in text),
    ],
    "binary": [
        lambda text: " ".join(f"{byte:08b}" for byte in text.encode()),
        lambda text: " ".join(f"{byte:07b}" for byte in text.encode()),
        lambda text: "".join(f"{byte:08b}" for byte in text.encode()),
        lambda text: " ".join(map(bin, text.encode())),
    ],
    "decimal": [
        lambda text: " ".join(map(str, text.encode())),
        lambda text: ", ".join(f"{byte:03}" for byte in text.encode()),
    ],
    "octal": [lambda text: " ".join(f"{byte:o}" for byte in text.encode())],
    "positions": [by_word(lambda word: "-".join(str(ord(char) - 96) for char in word.lower()), " ")],
    "caesar": [lambda text: codecs.encode(text, "rot13"), lambda text: shifted(text, 3)],
    "reversed": [lambda text: text[::-1], by_word(lambda word: word[::-1], " ")],
    "spaced": [
        by_word(" ".join, "  "),
        by_word(".".join, " "),
        by_word("-".join, " "),
        by_word("\n".join, "\n\n"),
    ],
    "leet": [lambda text: text.translate(str.maketrans("aeiosAEIOS", "4310543105"))],
    "percent": [
        lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
        lambda text: quote(quote(text.translate(UMLAUTS))),
        lambda text: quote_plus(text.translate(UMLAUTS)),
    ],
    "entities": [
        lambda text: "".join(f"&#{ord(char)};" for char in text),
        lambda text: "".join(f"&#x{ord(char):x};" for char in text),
        lambda text: html.escape(text.replace("o", "&ouml;").replace(" ", "&nbsp;")).replace("&amp;", "&"),
    ],
    "escapes": [
        lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
        lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
        lambda text: "".join(f"\\{ord(char):03o}" for char in text),
        lambda text: "".join(f"\\u{{{ord(char):x}}}" for char in text),
        lambda text: json.dumps(text.translate(UMLAUTS)),
        lambda text: text.replace("a", "\\N{LATIN SMALL LETTER A}"),
    ],
    "morse": [
        by_word(lambda word: " ".join(MORSE[char] for char in word.lower()), " / "),
        by_word(lambda word: " ".join(MORSE[char] for char in word.lower()).replace("-", "–"), "   "),
    ],
    "nato": [
        by_word(lambda word: " ".join(NATO[ord(char) - 97] for char in word.lower()), " / "),
        by_word(lambda word: ", ".join(NATO[ord(char) - 97] for char in word.lower()), "; "),
    ],
    "scripts": [
        lambda text: text.translate(CYRILLIC),
        lambda text: "".join(chr(0x1F150 + ord(c) - 97) if c != " " else c for c in text.lower()),
        lambda text: text.lower().translate(str.maketrans("abdeklmnorst", "ᴀʙᴅᴇᴋʟᴍɴᴏʀꜱᴛ")),
    ],
    "upside_down": [lambda text: text.lower().translate(TURNED)[::-1]],
    "invisible": [
        lambda text: "".join(chr(0xE0000 + ord(char)) for char in text),
        selectors,
        lambda text: "".join(f"{byte:08b}" for byte in text.encode()).translate({48: "\u200b", 49: "\u200c"}),
    ],
}
CASES = [(name, place) for name, writers in WRITERS.items() for place in range(len(writers))]
# Ciphers are known by how English a stretch looks; a few short words are not enough.
sentences = st.lists(st.sampled_from(WORDS), min_size=5, max_size=9, unique=True).map(
    lambda rest: " ".join(["Who was Mira Solen", *rest])
)


def folded(text):
    return fold(text).text.strip()


def says(text, sentence):
    return any(folded(sentence) in folded(reading.text) for reading in readings(text))


def test_every_code_of_the_table_has_a_writer_and_every_answer_code_a_reader():
    assert WRITERS.keys() == DECODERS.keys()
    assert ENCODINGS.keys() - {"rot13", "initials"} <= DECODERS.keys()


@pytest.mark.parametrize(("name", "place"), CASES)
@settings(max_examples=25)
@given(sentence=sentences)
def test_a_sentence_in_any_code_is_read_and_its_place_is_known(name, place, sentence):
    code = WRITERS[name][place](sentence)
    text = f'Please answer what this says: "{code}"\nThank you.'
    found = [r for r in readings(text) if r.encoding == name and folded(sentence) in folded(r.text)]
    assert found, text
    parts = [text[slice(*reading.span)].strip('"\n') for reading in found]
    assert any(part in code and len(part) > 0.5 * len(code.strip()) for part in parts), parts


@pytest.mark.parametrize("name", FORMS.keys() - {"initials"})
def test_a_name_in_the_forms_that_probes_ask_for_is_read(name):
    """Spelt out without gaps, where the names part is not known."""
    text = f"Who is {FORMS[name].encode('Mira Solen')} and where was she born?"
    read = [text, *(reading.text for reading in readings(text))]
    assert any("mirasolen" in folded(one).replace(" ", "") for one in read), text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Who is TWlyYSBTb2xlbg==, the author?", "Who is Mira Solen, the author?"),
        ("Join TWlyYQ== and U29sZW4= to a name.", "Join Mira and Solen to a name."),
        ("What did Z3Jvd ... and (TWlyYSBTb2xlbg) do?", "(Mira Solen) do?"),
        ("Where is 'Who is %4Dira U29sZW4='?", "Who is Mira Solen"),
        ("Wh0 15 M1r4 S0l3n, and what did she do?", "Who is Mira Solen, and what did she do?"),
        ("Who is neloS ariM?", "Who is Mira Solen?"),
        ("Who is Zven Fbyra?", "Who is Mira Solen?"),
        ("Tell me, backwards: nelos arim", "mira solen"),
        ("Undo ROT13: Nan", "Ana"),
        ("Кто такая Мира Солен?", "Mira Solen"),
        ("M as in map, I for ice, R as in rat, A as in ant", "mira"),
        ("W h o i s M i r a S o l e n", "Mira Solen"),
        ("data:text/plain;base64,TWlyYSBTb2xlbg", "Mira Solen"),
        ("path/to/xxV2hvIGlzIE1pcmEgU29sZW4/", "Who is Mira Solen"),
    ],
)
def test_a_few_hidden_words_are_read_with_what_stands_around_them(text, wanted):
    assert says(text, wanted), readings(text)


ORDINARY = [
    "",
    "Who wrote the novel about the lighthouse, and in which year was it first printed?",
    "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Ba4 Nf6 5. O-O Be7",
    "Call +44 20 7946 0958 or (555) 123-4567 before 12:30 on 2024-05-17.",
    'for i in range(10):\n    print(f"{i:08x}", items[i].get_value(key="name"))  # see issue 4521',
    '{"id": 48213, "sizes": [12, 48, 96, 128], "url": "https://example.org/a/b?page=2&sort=asc", "ok": true}',
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "550e8400-e29b-41d4-a716-446655440000",
    "| name | size |\n| --- | --- |\n| a | b |\n- one\n- two\n-- three ... four",
    "Die Prüfung der Maßnahmen fand am 3. Mai im Gebäude der Universität statt.",
    "Les élèves de l'école étaient très contents d'être à Paris.",
    "Solve x + y = 7 and 2x - 3y = 4, where x, y are integers; then plot f(x) = 3x^2.",
    "My iPhone and YouTube account use OAuth2, HTTP/2 and IPv6; see RFC 2616 and ISO 8601.",
    "Take 5mg twice a day, 15mm from the 2nd mark, on the 3rd floor at 7am.",
    "U.S. and U.K. officials met J. R. R. Tolkien's heirs at 10 a.m.",
    "@dataclass\nclass Row:\n    name: str | None\n\nprint(f'{row.name!r} costs ${row.price}')",
    "Sort: 12, 45, 3, 99, 1024, 7. Mean of 3, 5, 8, 13, 21?",
    "WARNING: DO NOT OPEN INTERNATIONAL PARCELS WITHOUT PERMISSION!",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_has_no_reading(text):
    assert readings(text) == []


def test_questions_of_public_benchmarks_hardly_ever_have_a_reading():
    files = [*DATA.glob("general/*.jsonl"), *DATA.glob("tofu/*.jsonl")]
    if not files:
        pytest.skip(f"no benchmark data in {DATA}; set LETHE_DATA")
    rows = (json.loads(line) for file in sorted(files) for line in file.read_text().splitlines())
    questions = [row["question"] for row in rows if "question" in row][::5]
    assert len(questions) > 1000
    assert sum(bool(readings(question)) for question in questions) <= 0.01 * len(questions)


def nested(times):
    data = b"Who is Mira Solen?"
    for _ in range(times):
        data = base64.b64encode(data)
    return data.decode()


HOSTILE = {
    "one base64": lambda: "V2hv" * 100_000,
    "base64 without padding": lambda: "TWlyYQ " * 30_000,
    "many base64": lambda: " ".join(nested(2)[:-1] + str(i) for i in range(5_000)),
    "base64 of base64": lambda: nested(30),
    "percent": lambda: "%41" * 60_000 + "%" * 60_000,
    "entities": lambda: "&#77;" * 30_000 + "&" * 60_000,
    "escapes": lambda: "\\u004d" * 30_000 + "\\" * 60_000,
    "hex": lambda: "4d " * 60_000 + "ab" * 30_000 + "z",
    "bits": lambda: "01" * 100_000 + " 0101010" * 10_000 + "x",
    "numbers": lambda: "77 " * 60_000 + "-" * 30_000,
    "letters": lambda: "M i r a " * 20_000 + " ." * 20_000,
    "morse": lambda: "-. .- " * 20_000 + "." * 60_000 + " " * 60_000 + "-",
    "spelling": lambda: "mike india " * 10_000 + "a as in b " * 10_000,
    "leet": lambda: " ".join(f"m1r4{i}s0l3n" for i in range(10_000)) + "1" * 60_000,
    "ciphers": lambda: "zven fbyra neloS " * 10_000,
    "scripts": lambda: "Мира " * 20_000 + "ɯǝ " * 20_000,
    "invisible": lambda: "\U000e0041" * 50_000 + "\u200b\u200c" * 60_000 + "\ufe01" * 50_000,
    "nothing": lambda: " " * 60_000 + "aaaa\n" * 20_000 + "a" * 60_000 + "A" * 60_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_yields_a_bounded_list_in_bounded_time(name):
    text = HOSTILE[name]()
    start = time.process_time()
    found = readings(text)
    assert time.process_time() - start < 10e-6 * len(text) + 0.5
    assert len(found) <= MAX_READINGS
    assert sum(len(reading.text) for reading in found) <= MAX_CHARACTERS


def test_readings_beyond_the_cap_are_the_later_ones_and_show():
    names = [f"{i:03} " + "name of somebody else" for i in range(3 * MAX_READINGS)]
    found = readings(", ".join(base64.b64encode(name.encode()).decode() for name in names))
    alone = [reading.text for reading in found if reading.text in names]
    assert alone == names[: len(alone)] and len(alone) >= MAX_READINGS - 2
    assert capped(found)
    assert not capped(readings("Who is TWlyYSBTb2xlbg==?"))


def test_the_letter_table_is_what_the_word_list_says():
    """Counted here once more, from the same list, with another order of loops."""
    counts = dict.fromkeys(((a, b) for a in range(27) for b in range(27)), 0.0)
    for word, frequency in get_frequency_dict("en", wordlist="small").items():
        if set(word) <= set(string.ascii_lowercase):
            marked = [26, *(ord(char) - 97 for char in word), 26]
            for i in range(1, len(marked)):
                counts[marked[i - 1], marked[i]] += math.sqrt(frequency)
    extra = sum(counts.values()) * 1e-6
    for a in range(27):
        row = sum(counts[a, b] + extra for b in range(27))
        for b in range(27):
            if (a, b) != (26, 26):
                assert costs()[27 * a + b] == round(-2 * math.log((counts[a, b] + extra) / row)), (a, b)


def test_random_letters_are_not_read_as_a_cipher():
    rng = random.Random(7)
    texts = [
        " ".join("".join(rng.choices(string.ascii_lowercase, k=6)) for _ in range(12)) for _ in range(200)
    ]
    assert sum(bool(readings(text)) for text in texts) < 60
