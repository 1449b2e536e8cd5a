"""Every encoding of the table against independent readers and writers, and against ordinary text."""

import ast
import base64
import codecs
import html
import json
import os
import random
import re
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote_plus

import pytest

from guard.automaton import Automaton, Phrase, Rule, automata_of
from guard.encodings import ENCODINGS, encoded
from guard.normalize import EXACT, PHRASES, fold
from guard.phrases import as_phrases
from guard.types import Boundary, ForgetTarget, Matching

DATA = Path(os.environ.get("LETHE_DATA", "../shared/data"))
NAMES = ["Mira Anna Solen", "Émile Zola à Paris", "Jonas O'Brien", "Wax Joyce 1988", "Zoë-Łucja Brånd"]
# The Morse tree, level by level: a dot goes left, a dash right.
TREE = "..ETIANMSURWDKGOHVF.L.PJBXCYZQ..54.3.É.2.......16.......7...8.90"
FIGURES = "zero one two three four five six seven eight nine".split()
LEET = str.maketrans("4310570", "aeiosto")


def letters(text):
    """Letters and digits only, folded: what must come back whatever became of spaces and accents."""
    return "".join(c for c in fold(text, PHRASES).text if c.isalnum())


def from_base64(text):
    """At each alignment; a first character that only completes a byte in front is skipped."""
    text = text.translate(str.maketrans("-_", "+/"))
    whole = ["A" * skip + text for skip in (0, 2, 3)]
    data = [base64.b64decode(part[: len(part) - len(part) % 4]) for part in whole]
    return [part[start:].decode(errors="ignore") for part in data for start in (0, 2, 3)]


def from_bytes(data):
    return data.decode(errors="replace")


def from_numbers(numbers):
    points = "".join(chr(number) for number in numbers)
    return [points, from_bytes(bytes(numbers))] if max(numbers) < 256 else [points]


def from_escapes(text):
    plain = re.sub(r"\\u\{(\w+)\}", lambda match: f"\\U{int(match[1], 16):08x}", text)
    read = ast.literal_eval('"' + plain.replace('"', '\\"') + '"')
    read = read.encode("utf-16", "surrogatepass").decode("utf-16")
    return [read, from_bytes(read.encode("latin-1", "replace"))]


def from_binary(text):
    groups = text.split() if " " in text else [text[i : i + 8] for i in range(0, len(text), 8)]
    return [from_bytes(bytes(int(group, 2) for group in groups))]


def from_morse(text):
    """Climbs down the tree; a sign that is no letter or figure leaves nothing."""
    text = text.translate(str.maketrans({"·": ".", "•": ".", "−": "-", "–": "-"}))
    read = ""
    for code in re.split(r"[ /]+", text):
        node = 1
        for mark in code:
            node = 2 * node + (mark == "-")
        read += TREE[node] if node < len(TREE) else ""
    return [read]


def from_nato(text):
    """First letters of the words; a letter that its word follows is left out."""
    words = re.sub(r" (as in|for) ", " ", text.replace("X-ray", "Xray").replace("x-ray", "xray")).split()
    read = [str(FIGURES.index(word.lower())) if word.lower() in FIGURES else word[0] for word in words]
    return ["".join(read), "".join(read[1::2])]


READERS = {
    "base64": from_base64,
    "hex": lambda text: [from_bytes(bytes.fromhex(re.sub("0?x", "", text)))],
    "rot13": lambda text: [codecs.decode(text, "rot13")],
    "reversed": lambda text: [text[::-1]],
    "spaced": lambda text: [text.replace(" ", "")],
    "percent": lambda text: [unquote_plus(text)],
    "entities": lambda text: [html.unescape(text)],
    "escapes": from_escapes,
    "decimal": lambda text: from_numbers([int(number) for number in text.split()]),
    "binary": from_binary,
    "morse": from_morse,
    "nato": from_nato,
    "leet": lambda text: [text.translate(LEET)],
}


@pytest.mark.parametrize("name", ENCODINGS.keys() - {"initials"})
@pytest.mark.parametrize("phrase", NAMES)
def test_every_form_is_read_as_the_phrase_by_an_independent_decoder(name, phrase):
    forms = encoded(phrase, [name])
    assert forms or name == "initials"
    wanted = letters(phrase)
    for form in forms:
        read = [letters(text) for text in READERS[name](form.text)]
        if name == "base64":  # some bits of the outer letters are left out
            assert any(len(text) >= len(wanted) - 7 and text in wanted for text in read), form
        elif name == "leet":
            assert read == [wanted.translate(LEET)], form
        elif name == "morse":  # letters with accents have codes that the tree lacks
            pattern = "".join(c if c.isascii() else f"{letters(c)}?" for c in phrase.lower() if c.isalnum())
            assert re.fullmatch(pattern, read[0]), form
        else:
            assert wanted in read, form


def bits(text, form="08b"):
    return [format(byte, form) for byte in text.encode()]


def spelt(text, shape="{word}"):
    """The words of the official alphabet."""
    words = (
        "Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima Mike November Oscar Papa "
        "Quebec Romeo Sierra Tango Uniform Victor Whiskey X-ray Yankee Zulu"
    ).split()
    of = {word[0]: word for word in words}
    return [shape.format(letter=c, word=of[c]) for c in text.upper() if c in of]


def in_morse(text, gap):
    def code(char):
        node, marks = TREE.index(char), ""
        while node > 1:
            node, marks = node // 2, ".-"[node % 2] + marks
        return marks

    return gap.join(" ".join(code(char) for char in word) for word in text.upper().split())


NAME = "Ilvar Tesk Moren"
DIGITS = str.maketrans("aeiost", "431057")
WRITTEN = {
    "base64": [base64.b64encode(f"{before}{NAME}!".encode()).decode() for before in ("", "a", "ab")],
    "hex": [NAME.encode().hex(), NAME.encode().hex(" ").upper(), NAME.lower().encode().hex(":")],
    "rot13": ["Vyine Grfx Zbera", "VYINE GRFX ZBERA"],
    "reversed": ["neroM kseT ravlI", "nerom kset ravli"],
    "spaced": ["I-l-v-a-r T-e-s-k M-o-r-e-n", "I l v a r  T e s k  M o r e n"],
    "initials": ["ITM", "I.T.M."],
    "percent": [
        "".join(f"%{byte:02x}" for byte in NAME.encode()),
        f"https://example.org/?q={quote(NAME)}&n=1",
        quote(NAME.upper()),
        "%49%6C%76%61%72+%54%65%73%6B+%4D%6F%72%65%6E",
    ],
    "entities": [
        "".join(f"&#{ord(c)};" for c in NAME),
        "".join(f"&#x{ord(c):X};" for c in NAME.upper()),
        "".join(c if c == " " else f"&#{ord(c)};" for c in NAME.lower()),
    ],
    "escapes": [
        "".join(f"\\u{ord(c):04X}" for c in NAME),
        "".join(f"\\x{ord(c):02x}" for c in NAME.lower()),
        "".join(f"\\U{ord(c):08x}" for c in NAME),
        "".join(f"\\u{{{ord(c):x}}}" for c in NAME),
        "".join(c if c == " " else f"\\u{ord(c):04x}" for c in NAME),
    ],
    "decimal": [
        " ".join(str(ord(c)) for c in NAME),
        str([ord(c) for c in NAME.lower()]),
        ", ".join(f"{ord(c):03}" for c in NAME),
        " / ".join(",".join(str(ord(c)) for c in word) for word in NAME.split()),
    ],
    "binary": [
        "".join(bits(NAME)),
        " ".join(bits(NAME.upper())),
        "\n".join(" ".join(bits(word)) for word in NAME.split()),
        ", ".join(bits(NAME, "#b")),
    ],
    "morse": [in_morse(NAME, gap) for gap in (" / ", "/", "   ", "  ")]
    + [in_morse(NAME, " / ").replace(".", "·").replace("-", "−")],
    "nato": [
        " ".join(spelt(NAME)),
        "-".join(spelt(NAME)).replace("Alfa", "Alpha"),
        "\n".join(spelt(NAME, "{letter} - {word}")),
        ", ".join(spelt(NAME, "{letter} as in {word}")).lower(),
    ],
    "leet": [NAME.lower().translate(DIGITS), NAME.translate(str.maketrans("aeo", "430")), "Ilv4r T3sk Mor3n"],
}


def finds(phrase, name, text):
    matching = {"encodings": [name]}
    target = ForgetTarget.parse({"id": "t", "kind": "text", "phrases": [phrase], "matching": matching})
    return any(automaton.found_in(text) for automaton in automata_of(as_phrases(target, [phrase])[1:]))


def test_every_encoding_has_a_reader_and_usual_spellings():
    assert WRITTEN.keys() == ENCODINGS.keys() == READERS.keys() | {"initials"}


@pytest.mark.parametrize(("name", "written"), [(name, text) for name in WRITTEN for text in WRITTEN[name]])
def test_the_usual_spellings_are_found_in_running_text_and_another_name_is_not(name, written):
    assert finds(NAME, name, f"Of course, here it is: {written}, as you asked.")
    assert not finds("Orvan Silt Beske", name, f"Of course, here it is: {written}, as you asked.")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("percent", quote("zoë brånd")),
        ("percent", quote_plus("Zoë Brånd")),
        ("entities", "Zo&euml; Br&aring;nd"),
        ("entities", "Zoë Brånd".encode("ascii", "xmlcharrefreplace").decode()),
        ("escapes", json.dumps("Zoë Brånd")),
        ("escapes", ascii("zoë brånd")),
        ("escapes", str("Zoë Brånd".encode())),
        ("decimal", str(list("Zoë Brånd".encode()))),
        ("decimal", str([ord(c) for c in "Zoë Brånd"])),
        ("binary", " ".join(bits("Zoë Brånd"))),
        ("morse", "--.. --- . / -... .-. .- -. -.."),
        ("morse", "--.. --- . / -... .-. .--.- -. -.."),
        ("nato", " ".join(spelt("Zoe Brand"))),
        ("leet", "Z03 Br4nd"),
    ],
)
def test_names_with_accents_are_found_as_programs_and_people_write_them(name, written):
    assert finds("Zoë Brånd", name, f'{{"text": {written}}}')


@pytest.mark.parametrize("phrase", ["Tom", "é", "AI", "x", "Al"])
@pytest.mark.parametrize(
    "name", ["percent", "entities", "escapes", "decimal", "binary", "morse", "nato", "leet"]
)
def test_phrases_of_three_letters_have_no_form_that_numbers_or_call_signs_could_be(name, phrase):
    assert encoded(phrase, [name]) == ()


@pytest.mark.parametrize(
    ("name", "phrase"),
    [("morse", "eeee"), ("morse", "Otto"), ("leet", "Tess"), ("leet", "I, Robot"), ("leet", "Planet"),
     ("leet", "ISMM"), ("nato", "1988")],
)  # fmt: skip
def test_forms_of_leaders_rules_and_plain_numbers_are_left_out(name, phrase):
    texts = [form.text for form in encoded(phrase, [name])]
    assert not {". . . .", "--- - - ---", "7355", "1 robot", "plane7", "15mm", "One Nine Eight Eight"} & set(
        texts
    )


# Rotated, reversed, spaced letters and initials may be a word or an abbreviation of their own.
CODED = sorted(ENCODINGS.keys() - {"rot13", "reversed", "spaced", "initials"})


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent; LETHE_DATA names the data folder")
@pytest.mark.slow
def test_ordinary_text_holds_no_form_of_the_names_and_words_in_it():
    texts = [file.read_text(encoding="utf-8") for file in sorted(DATA.glob("*/*.jsonl"))]
    found = re.findall(r"\b[A-Z][a-z']{3,}(?: [A-Z][a-z]+){0,2}\b", " ".join(texts))
    phrases = random.Random(0).sample(sorted(set(found)), 400)
    forms = [form for phrase in phrases for form in encoded(phrase, CODED)]
    loose = Automaton.build([form.text for form in forms if not form.exact])
    anywhere = Rule(EXACT, Boundary.NONE)
    exact = Automaton.build([Phrase(f.text, anywhere, verbatim=True) for f in forms if f.exact], anywhere)
    assert len(forms) > 80 * len(phrases)
    hits = [i for i, text in enumerate(texts) if loose.found_in(text) or exact.found_in(text)]
    assert hits == []


@pytest.mark.parametrize("gap", [" ", "\n", "-", "\r\n  "])
@pytest.mark.parametrize("name", ["base64", "hex", "binary"])
def test_a_code_broken_by_blanks_or_punctuation_is_caught(name, gap):
    target = ForgetTarget(id="t", phrases=("Nëmi Torsa Quelid",), matching=Matching(encodings=(name,)))
    watching = automata_of(as_phrases(target, target.phrases))
    data = target.phrases[0].encode()
    whole = {
        "base64": base64.b64encode(data).decode(),
        "hex": data.hex(),
        "binary": "".join(f"{byte:08b}" for byte in data),
    }[name]
    for cut in (5, len(whole) - 2):
        broken = f"It is {whole[:cut]}{gap}{whole[cut:]}."
        assert any(automaton.found_in(broken) for automaton in watching), cut
    assert not any(automaton.found_in(f"It is {whole[: len(whole) // 2]}.") for automaton in watching)
