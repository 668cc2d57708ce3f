"""The `pattern` of the source `files`: how a user writes down where the clips lie in the tree."""

from __future__ import annotations

import re

from ..audio.formats import SUFFIXES
from ..lists.matching import MILLISECONDS, SECONDS, Named

TOKENS = ("id", "start", "start_ms", "end", "end_ms", "split")
_PARTS = re.compile(r"\{([^{}]*)\}|(\*\*/|\*\*|\*|\?)|([{}])|([^{}*?]+)")
_GLOBS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_NUMBER = r"\d+(?:\.\d+)?"
_YOUTUBE, _ANY = "[A-Za-z0-9_-]{11}", "[^/]+?"  # where `{id}*` leaves it open what is the id, an id of YouTube is


class Pattern:
    """A template of paths below the folder of audio, as `{split}/{id}_{start_ms}_{end_ms}`.

    Tokens: {id}; {start}, {end} in seconds; {start_ms}, {end_ms} in milliseconds; {split}, the split's name or its
    folder. `*` and `?` stand for what they do in a shell, `**/` for any folders. Without a `/` the name alone counts,
    in whatever folder. An extension may be given; without one it is any of the usual ones.

    Raises:
        ValueError: a token that there is not, an end without its start, or no {id}.
    """

    def __init__(self, text: str, split: str):
        self.extension = next((e for e in SUFFIXES if text.lower().endswith(e)), "")
        body, seen = text[: len(text) - len(self.extension)], []
        regex = "" if "/" in body else "(?:.*/)?"
        for token, glob, brace, plain in _PARTS.findall(body):
            if brace or (not plain and not glob and token not in TOKENS):
                wrong = brace or f"{{{token}}}"
                raise ValueError(f"{wrong} in {text!r} is no token; there are {', '.join(f'{{{t}}}' for t in TOKENS)}")
            if plain or glob:
                regex += re.escape(plain) if plain else _GLOBS[glob]
            elif token == "split":
                regex += re.escape(split)
            elif token in seen:
                regex += f"(?P={token})"
            else:
                regex += f"(?P<{token}>{_ANY if token == 'id' else _NUMBER})"
                seen.append(token)
        if "id" not in seen:
            raise ValueError(f"{text!r} has no {{id}}: a clip is found by its YouTube id")
        if text.startswith("/"):
            raise ValueError(f"{text!r} begins with /: it is of paths below the folder `audio`")
        pairs = [name for name in (("start", "end"), ("start_ms", "end_ms")) if name[0] in seen]
        if len(pairs) > 1 or any(
            end in seen and start not in seen for start, end in (("start", "end"), ("start_ms", "end_ms"))
        ):
            raise ValueError(f"{text!r}: give the times in one unit, and {{end}} only with {{start}}")
        self._times = [name for name in (pairs[0] if pairs else ()) if name in seen]
        self._units = (MILLISECONDS,) if pairs and pairs[0][0] == "start_ms" else (SECONDS,)
        strict = regex.replace(f"(?P<id>{_ANY})", f"(?P<id>{_YOUTUBE})")
        self._matches = [re.compile(one, re.DOTALL).fullmatch for one in (strict, regex)]

    def read(self, path: str, extension: str) -> list[Named]:
        """What `path`, below the folder of audio and without its extension, says; empty if it does not fit."""
        if self.extension and extension.lower() != self.extension:
            return []
        for matches in self._matches:
            if match := matches(path):
                return [Named(match["id"], tuple(float(match[name]) for name in self._times), self._units)]
        return []
