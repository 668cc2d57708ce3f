"""Rows of a list that somebody wrote, by the names of their columns, each with its line.

Read is what has one meaning: commas, tabs or semicolons between the fields, any quoting of CSV, spaces around fields, any
line ends, a byte order mark, columns in any order under a header that names them, and columns beside them, as the index
that pandas writes. Lines that begin with `#` are comments above the header or the first row, and nowhere else.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ...lib.errors import GlatError

ENCODING = "utf-8-sig"  # spreadsheets put a byte order mark in front
DELIMITERS = ",\t;"
_END = "\0end\n"  # after the last line: where it comes inside a field, that field's quote was never closed
_TAB = re.compile(r"(^|[,;])[ \t]+(?=\")")
_ENDED = [_END.rstrip("\n")]


class Column(NamedTuple):
    """A column that is asked for: its name, what else it may be called, whether it holds numbers, whether it may be left
    out, what to do where it lacks, and whether of several names in a header the first here is taken, and no row is thought to
    be without a header."""

    name: str
    others: tuple[str, ...] = ()
    number: bool = False
    optional: bool = False
    lacking: str = ""
    first: bool = False


class Rows:
    """An iterator over (line, fields) of a list, line from 1.

    columns: what is asked for, in the order that they have where there is no header; what: what the list is, for errors;
    named: what errors call the file, if not by its path.

    `place[i]`: where `columns[i]` stands in `fields`, -1 if it isn't there. `header`: the names of all columns. `bare`: how
    many fields the first row has where there is no header, else 0. `above`: how many lines there are above the rows.
    `comments`: those of them that begin with #. `unread`: names of columns that weren't asked for. Where the last column is
    the last of `columns`, fields beyond the header's are joined to it by commas.

    Raises GlatError, by name and line, at once or while it is read: a file that is no text in UTF-8, a header that lacks a
    column or has two for one, a row of another length, a quote that isn't closed.
    """

    def __init__(self, path: str | Path, columns: list[Column], what: str, named: str | Path | None = None):
        self.named, self.columns, self.what = str(named or path), columns, what
        self.comments: list[str] = []
        self.unread: list[str] = []
        self.above = self._line = 0
        self._tail = ""
        lines = self._lines(Path(path))
        with self._as_sentences():
            first = self._first(lines)
            names = ",".join(column.name for column in columns)
            if first is None:
                raise GlatError(f"{self.named}: holds no row; expected {what}: {names}")
            self.place, self._delimiter, header = self._header(first)
        self.header = header or [column.name for column in columns]
        self.bare = 0 if header else len(_split(first, self._delimiter))
        self.above += header is not None
        rest = lines if header else chain([first], lines)
        rest = (_strip_tabs(line, self._delimiter) for line in rest)
        self._reader = csv.reader(rest, delimiter=self._delimiter, skipinitialspace=True)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        reader, above, width = self._reader, self.above, len(self.header)
        self._line = above  # that the last row ended in
        with self._as_sentences():
            for fields in reader:
                line, self._line = self._line + 1, above + reader.line_num
                if fields == _ENDED:
                    break
                if not fields or (not fields[0] and not any(map(str.strip, fields))):
                    continue  # an empty line
                if len(fields) != width:
                    fields = self._fit(line, fields)
                if self._line > line:
                    self._one_line(line, fields)
                yield line, fields
        if self._tail.rstrip(" ").endswith(self._delimiter):
            raise GlatError(
                f"{self.named}: line {self._line - 1}, the last, ends after {self._delimiter!r} without a line end: the file "
                "is cut, or else end the line"
            )

    def fault(self, line: int, expected: str, found: str) -> GlatError:
        """The error that `line` holds something else than is expected there."""
        message = f"{self.named}: line {line}: expected {expected}, found {found[:80]!r}"
        if found.lstrip().startswith("#"):
            message += "; only lines above the first row may be comments"
        if found.lstrip()[:5].lower() in ("<html", "<!doc"):
            message += ": a web page and not the list"
        return GlatError(message)

    def _lines(self, path: Path) -> Iterator[str]:
        line = ""
        with open(path, encoding=ENCODING, newline="") as file:
            for line in file:
                yield line
        self._tail = line
        yield _END

    @contextmanager
    def _as_sentences(self) -> Iterator[None]:
        """What goes wrong with the file itself, as a sentence."""
        try:
            yield
        except OSError as error:
            raise GlatError(f"{self.named}: cannot be read as {self.what} ({error.strerror})") from None
        except UnicodeDecodeError:
            raise GlatError(f"{self.named}: cannot be read as {self.what}; save it as text in UTF-8") from None
        except csv.Error as error:
            line = max(self._line, self.above) + 1
            if "field limit" in str(error):
                raise GlatError(
                    f"{self.named}: line {line}: a field has more than {csv.field_size_limit()} characters: this is not "
                    f"{self.what}, or a quote in that line is not closed"
                ) from None
            raise GlatError(f"{self.named}: line {line}: cannot be read as CSV ({error})") from None

    def _first(self, lines: Iterator[str]) -> str | None:
        """The first line that is neither empty nor a comment."""
        for line in lines:
            if line == _END:
                return None
            if line.startswith("#") and not self._is_row(line):
                self.comments.append(line)
            elif line.strip():
                return line
            self.above += 1
        return None

    def _is_row(self, line: str) -> bool:
        """Whether a line that begins with # is a row all the same, by its numbers."""
        numbers = [i for i, column in enumerate(self.columns) if column.number]
        for fields in (_split(line, delimiter) for delimiter in DELIMITERS):
            if len(fields) >= len(self.columns) and all(is_number(fields[i]) for i in numbers):
                return True
        return False

    def _header(self, first: str) -> tuple[list[int], str, list[str] | None]:
        """Where the columns are, what separates them, and the header: None if the first line is a row."""
        split = {delimiter: _split(first, delimiter) for delimiter in DELIMITERS}
        known = {
            delimiter: [self._candidates(column, fields) for column in self.columns]
            for delimiter, fields in split.items()
        }
        best = max(DELIMITERS, key=lambda delimiter: sum(map(bool, known[delimiter])))
        named = any(places for column, places in zip(self.columns, known[best], strict=True) if column.first)
        if named or (any(known[best]) and not any(map(is_number, split[best]))):
            return self._places(known[best], split[best]), best, split[best]
        enough = [delimiter for delimiter in DELIMITERS if len(split[delimiter]) >= len(self.columns)]
        return list(range(len(self.columns))), (enough or DELIMITERS)[0], None

    def _candidates(self, column: Column, fields: list[str]) -> list[int]:
        """The places in a header that a column may have: that of its own name, else those of other names."""
        names = list(map(plain, fields))
        own = [i for i, name in enumerate(names) if name == plain(column.name)]
        return own or [i for i, name in enumerate(names) if name in column.others]

    def _places(self, known: list[list[int]], fields: list[str]) -> list[int]:
        place, wanted = [], ",".join(column.name for column in self.columns)
        message = f"{self.named}: line {self.above + 1}: the header {','.join(fields).strip()[:80]!r}"
        if lost := [c for c, places in zip(self.columns, known, strict=True) if not places and not c.optional]:
            names, advice = " and ".join(column.name for column in lost), lost[0].lacking
            raise GlatError(f"{message} lacks {names}; expected {wanted}{advice and f': {advice}'}")
        for column, places in zip(self.columns, known, strict=True):
            if len(places) > 1 and column.first:
                order = (column.name, *column.others)
                places = [min(places, key=lambda i: order.index(plain(fields[i])))]
            if len(places) > 1:
                both = " and ".join(repr(fields[i].strip()) for i in places[:2])
                raise GlatError(
                    f"{message} has {both} for {column.name}; expected {wanted}: rename or remove one of them"
                )
            place.append(places[0] if places else -1)
        others = [name.strip() for i, name in enumerate(fields) if i not in place]
        self.unread = [name for name in others if not re.fullmatch(r"(unnamed: \d+|index)?", name.lower())]
        return place

    def _fit(self, line: int, fields: list[str]) -> list[str]:
        """A row of another length as one of the header's, where it has one meaning."""
        width, last = len(self.header), self.place[-1]
        while len(fields) > width and not fields[-1].strip():
            fields = fields[:-1]
        if len(fields) > width and last == width - 1:
            fields = [*fields[:last], ", ".join(fields[last:])]
        if fields[-1].endswith(_END) or len(fields) != width:
            self._one_line(line, fields)
            names = ",".join(name.strip() for name in self.header)
            fault = self.fault(line, f"{width} fields, {names}", self._delimiter.join(fields))
            ended = next(self._reader, None) == _ENDED
            raise GlatError(f"{fault}; as it is the last line, the file may be cut") if ended else fault
        return fields

    def _one_line(self, line: int, fields: list[str]) -> None:
        """Refuse a row that goes on beyond its line in a column that is read: a quote there was not closed."""
        read = [fields[i] for i in self.place if 0 <= i < len(fields)]
        if fields[-1].endswith(_END) or any("\n" in field or "\r" in field for field in read):
            raise GlatError(f"{self.named}: line {line}: a quote is not closed: the file is cut, or close it")


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([_strip_tabs(line, delimiter)], delimiter=delimiter, skipinitialspace=True), [])


def _strip_tabs(line: str, delimiter: str) -> str:
    """A line without tabs between a delimiter and a quote, where the csv module would take the quote for text."""
    return _TAB.sub(r"\1", line) if "\t" in line and delimiter != "\t" else line


def plain(name: str) -> str:
    """A column's name as it is compared: `Start Seconds`, `start-seconds` and `# start_seconds` are one."""
    return re.sub(r"[\s-]+", "_", name.strip(" \t\r\n#").lower())


def is_number(text: str) -> bool:
    """Whether a text is a number, NaN aside."""
    try:
        return float(text) == float(text)
    except ValueError:
        return False
