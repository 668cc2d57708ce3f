"""FSD50K (Fonseca et al., "FSD50K: An Open Dataset of Human-Labeled Sound Events", TASLP 2022; Zenodo record 4060432): 51 197
recordings of 0.3 to 30 s from Freesound, 200 classes of AudioSet's ontology. A recording has its labels and all that stand
above them in the ontology. CC BY, and each recording has a licence of its own (FSD50K.metadata.zip, not fetched here)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import Field

from ...lib.errors import GlatError
from ..archives import Archive, Part, Parts, group
from ..lists.rows import Column, Rows
from ..lists.writing import write_classes, write_segments
from .archived import Corpus, check_splits

RECORD = "https://zenodo.org/record/4060432/files/{}?download=1"
MD5 = {
    "FSD50K.ground_truth.zip": "ca27382c195e37d2269c4c866dd73485",
    "FSD50K.eval_audio.z01": "3090670eaeecc013ca1ff84fe4442aeb",
    "FSD50K.eval_audio.zip": "6fa47636c3a3ad5c7dfeba99f2637982",
    "FSD50K.dev_audio.z01": "faa7cf4cc076fc34a44a479a5ed862a3",
    "FSD50K.dev_audio.z02": "8f9b66153e68571164fb1315d00bc7bc",
    "FSD50K.dev_audio.z03": "1196ef47d267a993d30fa98af54b7159",
    "FSD50K.dev_audio.z04": "d088ac4e11ba53daf9f7574c11cccac9",
    "FSD50K.dev_audio.z05": "81356521aa159accd3c35de22da28c7f",
    "FSD50K.dev_audio.zip": "c480d119b8f7a7e32fdb58f3ea4d6c5a",
}
VOCABULARY = "FSD50K.ground_truth/vocabulary.csv"
SPLITS = {"train": "dev", "val": "dev", "eval": "eval"}  # the set that a split is of
SECONDS = 30.0  # of the longest recording
CLASS_COLUMNS = [Column("index", number=True), Column("label"), Column("mid")]
COLUMNS = [Column("fname"), Column("labels"), Column("mids"), Column("split", optional=True)]
ODD_NAMES = {"Dishes_and_pots_and_pans": "Dishes, pots, and pans"}


class Row(NamedTuple):
    """A row of a list; name: of the recording, without a suffix."""

    line: int
    name: str
    mids: list[str]
    split: str


class FSD50K(Corpus):
    """parts: the archives, in place of Zenodo's."""

    lists: ClassVar[tuple[str, ...]] = (VOCABULARY, *(f"FSD50K.ground_truth/{which}.csv" for which in ("dev", "eval")))
    parts: Parts = Field(default_factory=lambda: [Part(file=RECORD.format(name), md5=md5) for name, md5 in MD5.items()])

    def archives(self) -> list[Archive]:
        return [] if self.folder is not None else group(self.parts)

    def audio(self, store: Path, split: str) -> Path:
        return self.find(store, f"FSD50K.{SPLITS[split]}_audio")

    def write_lists(self, folder: Path, splits: dict[str, int], store: Path = Path()) -> None:
        """Write the class list, in the vocabulary's order, and the lists of train, val and eval, as `splits` names them.

        Raises:
            GlatError: another split, one without a row, a list that is not there, or a row of it that is none, by its line.
        """
        check_splits("fsd50k", splits, SPLITS)
        classes = read_vocabulary(self.find(store, VOCABULARY))
        write_classes(folder, [(mid, display_name(label)) for label, mid in classes.items()])
        lists = {which: self.find(store, f"FSD50K.ground_truth/{which}.csv") for which in ("dev", "eval")}
        needed = {SPLITS[split] for split in splits}
        rows = {which: read(path, classes, which) for which, path in lists.items() if which in needed}
        _refuse_both(rows, lists)
        for split in splits:
            which = SPLITS[split]
            chosen = [row for row in rows[which] if row.split == split]
            if not chosen:
                raise GlatError(f"{lists[which]}: no row of {split}; {self.advice()}")
            write_segments(folder, split, ((row.name, "0", f"{SECONDS:g}", row.mids) for row in chosen))
            told = [(str(lists[which]), row.line, row.name) for row in chosen]
            self.tell_absent(told, self.audio(store, split))


def display_name(label: str) -> str:
    """AudioSet's name of a class, which FSD50K writes without spaces and commas."""
    return ODD_NAMES.get(label, label.replace("_and_", ", ").replace("_", " "))


def read_vocabulary(path: Path) -> dict[str, str]:
    """The mid of each label, in the order of vocabulary.csv (index,label,mid, no header).

    Raises:
        GlatError: by line, an index out of order, or a label or mid that is empty or occurs twice.
    """
    table = Rows(path, CLASS_COLUMNS, "FSD50K's vocabulary")
    classes: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line, fields in table:
        index, label, mid = (fields[place].strip() for place in table.place)
        if index != str(len(classes)):
            raise table.fault(line, f"index {len(classes)}", index)
        if not (label and mid):
            raise table.fault(line, "a label and a mid", ",".join(fields))
        for text in (label, mid):
            if (before := lines.setdefault(text, line)) != line:
                raise GlatError(f"{path}: line {line}: {text} occurs twice, first in line {before}")
        classes[label] = mid
    return classes


def read(path: Path, classes: dict[str, str], which: str) -> list[Row]:
    """The rows of dev.csv or eval.csv (which: dev or eval). classes: the vocabulary.

    Raises:
        GlatError: by line, a name or a split that is none, labels that are not in the vocabulary or not those of the mids,
            or a recording that is in the list twice.
    """
    columns = COLUMNS if which == "eval" else [*COLUMNS[:-1], COLUMNS[-1]._replace(optional=False)]
    table = Rows(path, columns, "FSD50K's ground truth")
    found: list[Row] = []
    lines: dict[str, int] = {}
    for line, fields in table:
        name, labels, mids = (fields[place].strip() for place in table.place[:3])
        split = fields[table.place[3]].strip() if which == "dev" else "eval"
        if not name or "/" in name or "\\" in name:
            raise table.fault(line, "fname, the name of a recording", name)
        if SPLITS.get(split) != which:
            raise table.fault(line, "split, train or val", split)
        own, ids = _split(labels), _split(mids)
        if unknown := [label for label in own if label not in classes]:
            raise table.fault(line, "labels of vocabulary.csv", unknown[0])
        if sorted(ids) != sorted(classes[label] for label in own):
            expected = ",".join(classes[label] for label in own)
            raise table.fault(line, f"the mids of its labels, {expected}", mids)
        if (before := lines.setdefault(name, line)) != line:
            raise GlatError(f"{path}: line {line}: {name} is in the list twice, first in line {before}")
        found.append(Row(line, name, ids, split))
    return found


def _refuse_both(rows: dict[str, list[Row]], lists: dict[str, Path]) -> None:
    """Raise GlatError for a recording of the evaluation that is in the development set, too."""
    lines = {row.name: row.line for row in rows.get("dev", [])}
    for row in rows.get("eval", []):
        if row.name in lines:
            also = f"{row.name} is in {lists['dev']} too, line {lines[row.name]}"
            raise GlatError(f"{lists['eval']}: line {row.line}: {also}")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
