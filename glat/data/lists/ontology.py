"""AudioSet's ontology: which sound is a kind of which. `ontology.tsv` beside this module is made from
https://github.com/audioset/ontology (Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events",
ICASSP 2017), CC BY-SA 4.0.

A class may have several parents, in one of two senses: a police car's siren is a siren *and* an emergency vehicle's sound, but
a hiss is a cat's *or* a snake's, and the ontology does not say which sense it is.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path


@cache
def parents() -> dict[str, tuple[str, ...]]:
    """The parents of each class, by id; none for the seven at the top."""
    with open(Path(__file__).with_name("ontology.tsv"), encoding="utf-8", newline="") as file:
        rows = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        return {row["id"]: tuple(row["parents"].split()) for row in rows}


@cache
def ancestors(mid: str) -> frozenset[str]:
    """All classes above a class, by any way up; none for an id that is not in the ontology.

    >>> sorted(ancestors("/m/05zppz"))  # Male speech, man speaking: Human sounds, Human voice, Speech
    ['/m/09l8g', '/m/09x0r', '/m/0dgw9r']
    """
    found = set[str]()
    for parent in parents().get(mid, ()):
        found |= {parent} | ancestors(parent)
    return frozenset(found)


@cache
def certain_ancestors(mid: str) -> frozenset[str]:
    """The classes above a class on each way up, so that it is of them whatever its parents mean.

    >>> certain_ancestors("/m/07rjwbb")  # Hiss: of a cat, a snake, steam, or onomatopoeia
    frozenset()
    """
    ways = [frozenset([parent]) | certain_ancestors(parent) for parent in parents().get(mid, ())]
    return frozenset.intersection(*ways) if ways else frozenset()
