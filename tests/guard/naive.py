"""The plain way to say whether a text holds a phrase: fold it character by character, then search."""

from guard.automaton import Rule
from guard.normalize import Fold, fold_char, joins
from guard.types import Boundary


def fold(text: str, rule: Rule) -> str:
    """The folded text, runs of separators as one space."""
    folded = "".join(fold_char(char, rule.folding) for char in text)
    if Fold.SEPARATORS in rule.folding and Fold.SPACING not in rule.folding:
        while "  " in folded:
            folded = folded.replace("  ", " ")
    return folded


def occurs(text: str, phrase: str, rule: Rule, *, ended: bool = True) -> bool:
    """True if the folded phrase stands in the folded text, at the boundaries the rule asks for.

    ``ended`` says that nothing follows the text, so that its end closes a word.
    """
    text, phrase = fold(text, rule), fold(phrase, rule)
    if Fold.SEPARATORS in rule.folding:
        phrase = phrase.strip(" ")
    start = text.find(phrase) if phrase else -1
    while start >= 0:
        end = start + len(phrase)
        inside = start > 0 and joins(text[start - 1]) and joins(text[start])
        if end < len(text):
            goes_on = joins(text[end - 1]) and joins(text[end])
        else:
            goes_on = joins(text[end - 1]) and not ended
        if not (rule.boundary is not Boundary.NONE and inside) and not (
            rule.boundary is Boundary.BOTH and goes_on
        ):
            return True
        start = text.find(phrase, start + 1)
    return False
