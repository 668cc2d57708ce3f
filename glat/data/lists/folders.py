"""The audio files of a folder, found by what somebody's table writes of them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from urllib.parse import quote, unquote

from ...lib.errors import GlatError
from ...lib.escaping import is_text
from ..audio.formats import extension
from .matching import walk

# Kept in a clip's name as they are; a comma, a quote, a slash, `#`, a backslash and characters that steer a terminal are not.
_SAFE = " !$&'()*+-.:;<=>?@[]^_`{|}~"


def composed(text: str) -> str:
    """A text as it is compared: what Unicode can write as one character or as two, as one (NFC).

    >>> composed("cafe\u0301") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", text)


class Folder:
    """The audio files below `root`: `files`, their paths from there, sorted; `hidden`: what can't be looked into, folders
    without the right to and files whose names are not UTF-8.

    Raises GlatError if there is no such folder, or no audio in it.
    """

    def __init__(self, root: str):
        self.root = os.path.abspath(root)
        if not os.path.isdir(self.root):
            raise GlatError(f"{root}: no such folder of audio files")
        self.hidden: list[str] = []
        found = [f"{below}{name}" for below, name in walk(self.root, self.hidden) if extension(name)]
        self.files = sorted(path for path in found if is_text(path))
        self.hidden = [ascii(path)[1:-1] for path in self.hidden]
        self.hidden += [f"{path!a} (its name is not UTF-8)" for path in found if not is_text(path)]
        if not self.files:
            raise GlatError(f"{root}: holds no audio file")
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        for path in self.files:
            name = composed(path.rpartition("/")[2])
            self._by_name[name].append(path)
            self._by_name[name.removesuffix(extension(name))].append(path)
        self._paths: defaultdict[str, int] = defaultdict(int)  # how many files have this path but for the suffix
        for path in self.files:
            self._paths[path.removesuffix(extension(path))] += 1

    def find(self, text: str) -> str | None:
        """The file that a text means: its path, or the end or the beginning-less rest of it, with its suffix, another one or
        none. None if there is no such file.

        Names are compared composed: macOS writes them otherwise than most tables do.

        Raises GlatError, as the end of a sentence, if it may be several.
        """
        *folder, name = [part for part in re.split(r"[/\\]", composed(text)) if part not in ("", ".")] or [""]
        if ".." in folder:
            return None
        exact, stem = self._by_name.get(name, []), self._by_name.get(name.removesuffix(extension(name)), [])
        best: list[str] = []
        most = (-1, -1)
        for path in dict.fromkeys([*exact, *stem]):
            *there, found = composed(path).split("/")
            common = 0
            for mine, theirs in zip(reversed(folder), reversed(there), strict=False):
                if mine != theirs:
                    break
                common += 1  # noqa: SIM113 - it counts what is equal
            else:
                fit = (common, int(found == name))
                best, most = ([path], fit) if fit > most else ([*best, path] if fit == most else best, most)
        if len(best) > 1:
            raise GlatError(f"{text!r} may be {best[0]} or {best[1]}; write the path from the folder of audio on")
        return best[0] if best else None

    def name(self, path: str) -> str:
        """A clip's id for a file: its name without suffix where no other file has it, else its path, with the suffix if that
        alone tells it from another. What lists and paths can't hold is written as in an address, as `/` by `%2F`."""
        suffix = extension(path)
        stem = path.removesuffix(suffix)
        name = stem.rpartition("/")[2]
        if len(set(self._by_name[composed(name)])) == 1:
            return clip_id(name)
        return clip_id(stem) if self._paths[stem] == 1 else clip_id(path, suffix)


def clip_id(path: str, suffix: str = "") -> str:
    """A path as a clip's id. suffix: to be kept, so that no list takes it for a suffix.

    >>> clip_id("yard/rec 1, two"), clip_id("a.wav", ".wav")
    ('yard%2Frec 1%2C two', 'a%2Ewav')
    """
    stem = path.removesuffix(suffix) if suffix else path
    ends = suffix.replace(".", "%2E", 1)
    coded = "".join(c if c.isalnum() or c in _SAFE else quote(c, safe="") for c in stem) + ends
    coded = re.sub(r"^ | $", "%20", coded)
    head, dot, tail = coded.rpartition(".")
    return f"{head}%2E{tail}" if dot and extension(coded) else coded  # no list may take the end for a suffix


def path_of(clip: str) -> str:
    """The path that `clip_id` made a clip's id of."""
    return unquote(clip)
