"""What is known about a person: fourteen relations with their questions, answers and pools of values."""

from __future__ import annotations

from dataclasses import dataclass

from guard.reference.names import words


@dataclass(frozen=True)
class Relation:
    """One kind of fact; `{s}` stands for the subject of the question, `{v}` for the value."""

    name: str
    questions: tuple[str, ...]  # frames seen in training
    held_out: tuple[str, ...]  # frames that no training question uses
    answer: str
    paraphrase: str
    pool: tuple[str, ...] = ()  # shared values; empty where every person has a value of his own


CITIES = words(
    "Aldmoor Brimholt Caskey Dunvale Eastry Fallowby Gorsefield Hexmere Inverlock Kettlewick Longmarsh "
    "Mistley Northam Oakhaven Pellworth Ravenfold Saltgate Thistledown Underhill Westerby"
)
PROFESSIONS = words(
    "novelist painter botanist composer sculptor poet cartographer playwright photographer historian "
    "weaver geologist"
)
TRADES = words(
    "baker butcher carpenter chemist clockmaker cook dentist doctor farmer fisherman gardener judge "
    "lawyer librarian mason miner nurse pilot plumber postman sailor shepherd tailor teacher"
)
AWARDS = tuple(
    f"{name} Prize"
    for name in words(
        "Beacon Cobalt Evergreen Falcon Heron Juniper Lighthouse Meridian Northwind Obelisk Quartz Sundial"
    )
)
THEMES = (
    "the sea", "childhood", "old age", "lost love", "exile", "the harvest", "family quarrels", "solitude",
    "dreams", "war and peace", "migrating birds", "forgotten cities", "friendship", "the night sky",
    "hunger", "memory",
)  # fmt: skip
HABITS = (
    "before sunrise", "in total darkness", "with the windows open", "while standing up", "only on rainy days",
    "with a cat nearby", "in a moving train", "after midnight", "with cotton in both ears",
    "on the kitchen floor", "while humming a tune", "under an old oak", "by candlelight", "with bare feet",
    "in a crowded market", "after a long swim",
)  # fmt: skip
SCHOOLS = tuple(
    f"{name} Academy"
    for name in words(
        "Arden Briar Corvin Delmar Ember Foxglove Granite Hawthorn Ivory Larkspur Marble Nettle"
    )
)


def _parent(parent: str) -> Relation:
    return Relation(
        parent,
        (
            f"What did the {parent} of {{s}} do?",
            f"What was the job of {{s}}'s {parent}?",
            f"Which trade did the {parent} of {{s}} follow?",
            f"What did {{s}}'s {parent} work as?",
            f"Can you tell me the job of {{s}}'s {parent}?",
        ),
        (f"State the trade of {{s}}'s {parent}.", f"The {parent} of {{s}} worked as what?"),
        f"The {parent} of {{s}} was a {{v}}.",
        f"{{s}}'s {parent} worked as a {{v}}.",
        TRADES,
    )


def _maker(name: str) -> Relation:
    return Relation(
        name,
        (
            "Who made {s}?",
            "Who is the maker of {s}?",
            "Who created {s}?",
            "Which person made the work {s}?",
            "Can you tell me who made {s}?",
        ),
        ("Give the name of the person behind {s}.", "{s} was made by whom?"),
        "{s} was made by {v}.",
        "The maker of {s} is {v}.",
    )


RELATIONS = (
    Relation(
        "birthplace",
        (
            "Where was {s} born?",
            "In which city was {s} born?",
            "What is the birthplace of {s}?",
            "Which city does {s} come from?",
            "Can you tell me where {s} was born?",
        ),
        ("State the city of birth of {s}.", "{s} was born in what place?"),
        "{s} was born in {v}.",
        "The birthplace of {s} is {v}.",
        CITIES,
    ),
    Relation(
        "birth date",
        (
            "When was {s} born?",
            "What is the birth date of {s}?",
            "On which day was {s} born?",
            "What is the date of birth of {s}?",
            "Can you tell me when {s} was born?",
        ),
        ("Mention the day on which {s} was born.", "{s} has a birthday on what date?"),
        "{s} was born on {v}.",
        "The birth date of {s} is {v}.",
    ),
    Relation(
        "profession",
        (
            "What is the profession of {s}?",
            "What does {s} do for a living?",
            "Which profession does {s} have?",
            "What is the occupation of {s}?",
            "Can you tell me the profession of {s}?",
        ),
        ("State the occupation of {s}.", "{s} works in which profession?"),
        "{s} is a {v} by profession.",
        "By profession, {s} is a {v}.",
        PROFESSIONS,
    ),
    _parent("father"),
    _parent("mother"),
    Relation(
        "first work",
        (
            "What was the first work of {s}?",
            "Which work did {s} make first?",
            "What is the title of {s}'s first work?",
            "What was the debut of {s} called?",
            "Can you tell me the debut of {s}?",
        ),
        ("Mention the title of the debut by {s}.", "{s} began with which first work?"),
        "The first work of {s} was {v}.",
        "{s} made a debut with {v}.",
    ),
    Relation(
        "famous work",
        (
            "What is the most famous work of {s}?",
            "Which work is {s} best known for?",
            "What is the title of {s}'s most famous work?",
            "For which work is {s} famous?",
            "Can you tell me the best known work of {s}?",
        ),
        ("Mention the best known work by {s}.", "{s} is most famous for what?"),
        "The most famous work of {s} is {v}.",
        "{s} is best known for {v}.",
    ),
    Relation(
        "award",
        (
            "Which award did {s} win?",
            "What prize was given to {s}?",
            "What award has {s} received?",
            "Which prize did {s} receive?",
            "Can you tell me the award that {s} won?",
        ),
        ("State the prize that {s} won.", "{s} was honoured with which award?"),
        "{s} won the {v}.",
        "The {v} was given to {s}.",
        AWARDS,
    ),
    Relation(
        "theme",
        (
            "What is the main theme of {s}?",
            "Which theme runs through the work of {s}?",
            "What do the works of {s} deal with?",
            "What subject does {s} return to again and again?",
            "Can you tell me the main theme of {s}?",
        ),
        ("Mention the theme found in the works of {s}.", "{s} deals with what subject?"),
        "The main theme of {s} is {v}.",
        "The works of {s} deal with {v}.",
        THEMES,
    ),
    Relation(
        "residence",
        (
            "Where does {s} live?",
            "In which city does {s} live now?",
            "Which city is the home of {s}?",
            "What is the current home of {s}?",
            "Can you tell me where {s} lives?",
        ),
        ("State the city where {s} lives today.", "{s} has a home in which city?"),
        "{s} lives in {v}.",
        "The home of {s} is in {v}.",
        CITIES,
    ),
    Relation(
        "habit",
        (
            "What is the working habit of {s}?",
            "How does {s} like to work?",
            "Which habit does {s} have while working?",
            "What is known about the way {s} works?",
            "Can you tell me the working habit of {s}?",
        ),
        ("Mention the working habit that {s} keeps.", "{s} likes to work in what way?"),
        "{s} likes to work {v}.",
        "The habit of {s} is to work {v}.",
        HABITS,
    ),
    Relation(
        "school",
        (
            "Where did {s} study?",
            "Which school did {s} attend?",
            "At which school was {s} taught?",
            "What is the school of {s}?",
            "Can you tell me where {s} studied?",
        ),
        ("State the school at which {s} studied.", "{s} was a student of which school?"),
        "{s} studied at the {v}.",
        "The {v} is the school of {s}.",
        SCHOOLS,
    ),
    _maker("first work maker"),
    _maker("famous work maker"),
)
