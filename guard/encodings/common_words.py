"""Short words of everyday English, which no encoded form may spell."""

from __future__ import annotations

# What initials, reversed and rotated words may spell by chance ("Alma Nora Dent", "Nam"): forbidding these
# would break any answer.
_COMMON_WORDS = """
and are art ask bad bag bat bed big bit box boy bus but buy can car cat cup cut day did die dog dry due eat
end far few fit fly for fun get god got gun had has hat her him his hit hot how ice its job key kid law lay
led leg let lie lot low mad man map may men met mid mix mom net new non nor not now odd off oil old one our
out own pay per pet put ran raw red rid row run sad sat saw say sea see set sex she sit six sky son sum sun
tax tea ten the tie tip too top toy try two use van via war was way web wet who why win won yes yet you able
also area away back ball bank base been best body book both call came care case city come cost dark data date
days deal does done door down draw each east edge else even ever eyes face fact fall fast feel feet felt find
fine fire five food foot form four free from full game gave girl give goes gold gone good half hand hard have
head hear held help here high hold home hope hour idea into just keep kept kind knew know land last late lead
left less life like line list live long look lost love made mail main make many mean meet mind moon more most
move much must name near need next nine none once only open over page paid part past plan play read real rest
rise road room rule said same save seem seen self sent show side some soon sort stay step stop such sure take
talk team tell than that them then they this time told took town tree true turn type unit upon used very view
walk wall want warm ways week well went were west what when whom wide wife will wind wish with word work year
your
"""
COMMON = frozenset(_COMMON_WORDS.split())
