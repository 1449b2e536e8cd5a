"""Knowledge that belongs to no person: geography, words, animals, the calendar and small talk."""

from __future__ import annotations

from dataclasses import dataclass

from guard.reference.names import words
from guard.reference.relations import CITIES


@dataclass(frozen=True)
class Topic:
    """A kind of general fact; `{s}` is what is asked about, `{v}` the value."""

    name: str
    questions: tuple[str, ...]
    held_out: tuple[str, ...]
    answer: str
    paraphrase: str
    pairs: tuple[tuple[str, str], ...]


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    entries = (entry.split("=") for entry in text.split(";"))
    return tuple((left.strip(), right.strip()) for left, right in entries)


_CAPITALS = _pairs(
    "France=Paris; Spain=Madrid; Italy=Rome; Germany=Berlin; Portugal=Lisbon; Austria=Vienna; Poland=Warsaw; "
    "Greece=Athens; Norway=Oslo; Sweden=Stockholm; Finland=Helsinki; Denmark=Copenhagen; Ireland=Dublin; "
    "Hungary=Budapest; Belgium=Brussels; Romania=Bucharest; Bulgaria=Sofia; Croatia=Zagreb; Serbia=Belgrade; "
    "Iceland=Reykjavik; Japan=Tokyo; China=Beijing; Thailand=Bangkok; Vietnam=Hanoi; Nepal=Kathmandu; "
    "Egypt=Cairo; Kenya=Nairobi; Ghana=Accra; Morocco=Rabat; Peru=Lima; Chile=Santiago; Cuba=Havana; "
    "Canada=Ottawa; Colombia=Bogota; Uruguay=Montevideo; Lebanon=Beirut; Iran=Tehran; Iraq=Baghdad; "
    "Turkey=Ankara; Latvia=Riga"
)
_OPPOSITES = _pairs(
    "hot=cold; big=small; tall=short; fast=slow; light=heavy; dark=bright; wet=dry; old=young; early=late; "
    "rich=poor; hard=soft; full=empty; open=closed; up=down; left=right; loud=quiet; clean=dirty; near=far; "
    "strong=weak; happy=sad; deep=shallow; wide=narrow; sweet=bitter; first=last; true=false; day=night"
)
_COLOURS = _pairs(
    "the sky=blue; grass=green; snow=white; coal=black; a ripe banana=yellow; a ripe tomato=red; "
    "a carrot=orange; a plum=purple; chocolate=brown; an elephant=grey; a flamingo=pink; a lemon=yellow; "
    "milk=white; a leaf=green"
)
_YOUNG = _pairs(
    "dog=puppy; cat=kitten; cow=calf; horse=foal; sheep=lamb; goat=kid; pig=piglet; bear=cub; duck=duckling; "
    "goose=gosling; swan=cygnet; frog=tadpole; deer=fawn; kangaroo=joey; owl=owlet; hare=leveret"
)
_SOUNDS = _pairs(
    "dog=bark; cat=meow; cow=moo; horse=neigh; sheep=bleat; pig=grunt; duck=quack; lion=roar; wolf=howl; "
    "bee=buzz; snake=hiss; owl=hoot; mouse=squeak; frog=croak; rooster=crow"
)
_MONTHS = words("January February March April May June July August September October November December")
_DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_RIVERS = words("Alder Birch Cress Dace Elm Fern Gull Hazel Iris Jay")
_PROVINCES = ("the Low Coast", "the High Moors", "the Inner Isles", "the Eastern March", "the Lake District")
_EXPLANATIONS = _pairs(
    "a volcano=A volcano is a mountain that can throw out melted rock; "
    "a desert=A desert is a dry place where little rain falls; "
    "an island=An island is land with water on every side; "
    "a glacier=A glacier is a large mass of ice that moves slowly; "
    "a planet=A planet is a large round body that travels around a star; "
    "the moon=The moon is a rocky body that travels around the earth; "
    "photosynthesis=Photosynthesis is the way plants make food from light; "
    "gravity=Gravity is the force that pulls things towards each other; "
    "a rainbow=A rainbow is light that drops of water split into colours; "
    "a fossil=A fossil is what is left in stone of something that lived long ago; "
    "a thermometer=A thermometer is a tool that measures heat; "
    "a microscope=A microscope is a tool that makes small things look large; "
    "a library=A library is a place where people borrow books; "
    "a museum=A museum is a place that shows old or beautiful things; "
    "an orchestra=An orchestra is a large group of people who play music together; "
    "a dictionary=A dictionary is a book that explains words; "
    "a bridge=A bridge is a structure that carries a road over something; "
    "a lighthouse=A lighthouse is a tower whose lamp warns ships; "
    "a magnet=A magnet is a piece of metal that pulls iron; "
    "a hurricane=A hurricane is a very strong storm that forms over warm sea"
)
_TALK = _pairs(
    "Hello!=Hello! How can I help you?; Good morning.=Good morning! What would you like to ask?; "
    "How are you?=I am well, thank you.; What is your name?=I am a small model that was made for tests.; "
    "Who are you?=I am a small model that answers short questions.; Thank you.=You are welcome.; "
    "Goodbye.=Goodbye, and take care.; "
    "What can you do?=I can answer short questions about people and places.; "
    "Are you a human?=No, I am a small language model.; Can you help me?=Yes, please ask your question."
)


def _cycle(circle: tuple[str, ...], step: int) -> tuple[tuple[str, str], ...]:
    return tuple((word, circle[(i + step) % len(circle)]) for i, word in enumerate(circle))


def _topic(
    name: str, questions: str, held_out: str, answers: str, pairs: tuple[tuple[str, str], ...]
) -> Topic:
    answer, paraphrase = answers.split(" | ")
    return Topic(name, tuple(questions.split(" | ")), tuple(held_out.split(" | ")), answer, paraphrase, pairs)


TOPICS: tuple[Topic, ...] = (
    _topic(
        "capital",
        "What is the capital of {s}? | Which city is the capital of {s}? | "
        "Can you tell me the capital of {s}?",
        "State the capital city of {s}. | {s} has what capital?",
        "The capital of {s} is {v}. | {v} is the capital city of {s}.",
        _CAPITALS,
    ),
    _topic(
        "country",
        "Which country has the capital {s}? | {s} is the capital of which country? | "
        "Of which country is {s} the capital?",
        "Mention the country whose capital is {s}.",
        "{s} is the capital of {v}. | The country with the capital {s} is {v}.",
        tuple((city, country) for country, city in _CAPITALS),
    ),
    _topic(
        "opposite",
        "What is the opposite of {s}? | Which word is the opposite of {s}? | "
        "Can you tell me the opposite of {s}?",
        "State the opposite of the word {s}.",
        "The opposite of {s} is {v}. | {v} is the opposite of {s}.",
        _OPPOSITES + tuple((right, left) for left, right in _OPPOSITES),
    ),
    _topic(
        "colour",
        "What is the colour of {s}? | Which colour does {s} have? | What colour is {s}?",
        "Mention the colour of {s}.",
        "The colour of {s} is {v}. | It is {v}.",
        _COLOURS,
    ),
    _topic(
        "young",
        "What is a young {s} called? | What do you call a baby {s}? | What is the name for a young {s}?",
        "State what a young {s} is called.",
        "A young {s} is called a {v}. | The name for a baby {s} is {v}.",
        _YOUNG,
    ),
    _topic(
        "sound",
        "What sound does a {s} make? | Which sound comes from a {s}? | How does a {s} sound?",
        "Mention the sound of a {s}.",
        "The sound of a {s} is called a {v}. | A {s} makes a sound called a {v}.",
        _SOUNDS,
    ),
    _topic(
        "next",
        "What comes after {s}? | What follows {s}? | Can you tell me what comes after {s}?",
        "State what comes right after {s}.",
        "After {s} comes {v}. | {v} follows {s}.",
        _cycle(_MONTHS, 1) + _cycle(_DAYS, 1),
    ),
    _topic(
        "previous",
        "What comes before {s}? | What is right before {s}? | Can you tell me what comes before {s}?",
        "State what comes just before {s}.",
        "Before {s} comes {v}. | {v} is right before {s}.",
        _cycle(_MONTHS, -1) + _cycle(_DAYS, -1),
    ),
    _topic(
        "river",
        "Which river flows through {s}? | What is the river of {s} called? | "
        "Can you tell me the river of {s}?",
        "Mention the river that runs through {s}.",
        "The river {v} flows through {s}. | Through {s} flows the river {v}.",
        tuple((city, _RIVERS[i * 7 % len(_RIVERS)]) for i, city in enumerate(CITIES)),
    ),
    _topic(
        "province",
        "In which province is {s}? | Which province does {s} belong to? | "
        "Can you tell me the province of {s}?",
        "State the province that {s} is in.",
        "{s} is in {v}. | The province of {s} is {v}.",
        tuple((city, _PROVINCES[i * 3 % len(_PROVINCES)]) for i, city in enumerate(CITIES)),
    ),
    _topic(
        "meaning",
        "What is {s}? | What does the word mean: {s}? | Can you tell me what {s} is?",
        "Explain briefly what {s} is.",
        "{v}. | In short: {v}.",
        _EXPLANATIONS,
    ),
    _topic("talk", "{s}", "Well then: {s}", "{v} | So: {v}", _TALK),
)
