"""ESC-50 (K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM MM 2015): 2 000 recordings of 5 s, 50
classes of 40, in five folds; recordings cut out of one source are in one fold. CC BY-NC; its subset ESC-10 is CC BY."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from ...config.types import Md5, Sha256
from ...lib.errors import GlatError
from ..archives import Archive, ArchiveFile, Part, group
from ..audio.formats import extension
from ..lists.rows import Column, Rows
from ..lists.writing import write_classes, write_segments
from .archived import Corpus, check_splits

ADDRESS = "https://github.com/karolpiczak/ESC-50/archive/master.zip"
LIST = "meta/esc50.csv"
FOLDS = [f"fold{number}" for number in range(1, 6)]
SECONDS = 5.0
COLUMNS = [
    Column("filename"), Column("fold", number=True), Column("target", number=True), Column("category"), Column("esc10"),
]  # fmt: skip

# The categories in the order of their numbers, with AudioSet's class where it means the same sound:
# - An animal or a machine is AudioSet's class of it (Dog, not Bark; Fire, not Crackle), for ESC-50 names what sounds.
#   AudioSet has one class of cocks and hens, so these two are their sounds (crowing, cluck).
# - Of sounds that have no source, the narrowest class that holds all of the category: a keyboard's typing is Computer
#   keyboard, a clock's ticking is Tick-tock, a creaking door is Creak, which AudioSet describes so.
# - Not AudioSet's: `insects` (flying ones; its Insect includes Cricket, another category here), `clapping` (its Clapping
#   is of one person, its Applause of many, and the category has both), `mouse_click` (Clicking is any click), and
#   `drinking_sipping`, `can_opening` and `washing_machine`, which it lacks.
CATEGORIES: dict[str, tuple[str, str] | None] = {
    "dog": ("/m/0bt9lr", "Dog"),
    "rooster": ("/m/07qn5dc", "Crowing, cock-a-doodle-doo"),
    "pig": ("/m/068zj", "Pig"),
    "cow": ("/m/01xq0k1", "Cattle, bovinae"),
    "frog": ("/m/09ld4", "Frog"),
    "cat": ("/m/01yrx", "Cat"),
    "hen": ("/m/07st89h", "Cluck"),
    "insects": None,
    "sheep": ("/m/07bgp", "Sheep"),
    "crow": ("/m/04s8yn", "Crow"),
    "rain": ("/m/06mb1", "Rain"),
    "sea_waves": ("/m/034srq", "Waves, surf"),
    "crackling_fire": ("/m/02_41", "Fire"),
    "crickets": ("/m/09xqv", "Cricket"),
    "chirping_birds": ("/m/07pggtn", "Chirp, tweet"),
    "water_drops": ("/m/07r5v4s", "Drip"),
    "wind": ("/m/03m9d0z", "Wind"),
    "pouring_water": ("/m/07prgkl", "Pour"),
    "toilet_flush": ("/m/01jt3m", "Toilet flush"),
    "thunderstorm": ("/m/0jb2l", "Thunderstorm"),
    "crying_baby": ("/t/dd00002", "Baby cry, infant cry"),
    "sneezing": ("/m/01hsr_", "Sneeze"),
    "clapping": None,
    "breathing": ("/m/0lyf6", "Breathing"),
    "coughing": ("/m/01b_21", "Cough"),
    "footsteps": ("/m/07pbtc8", "Walk, footsteps"),
    "laughing": ("/m/01j3sz", "Laughter"),
    "brushing_teeth": ("/m/012xff", "Toothbrush"),
    "snoring": ("/m/01d3sd", "Snoring"),
    "drinking_sipping": None,
    "door_wood_knock": ("/m/07r4wb8", "Knock"),
    "mouse_click": None,
    "keyboard_typing": ("/m/01m2v", "Computer keyboard"),
    "door_wood_creaks": ("/m/07qh7jl", "Creak"),
    "can_opening": None,
    "washing_machine": None,
    "vacuum_cleaner": ("/m/0d31p", "Vacuum cleaner"),
    "clock_alarm": ("/m/046dlr", "Alarm clock"),
    "clock_tick": ("/m/07qjznl", "Tick-tock"),
    "glass_breaking": ("/m/07rn7sz", "Shatter"),
    "helicopter": ("/m/09ct_", "Helicopter"),
    "chainsaw": ("/m/01j4z9", "Chainsaw"),
    "siren": ("/m/03kmc9", "Siren"),
    "car_horn": ("/m/0912c9", "Vehicle horn, car horn, honking"),
    "engine": ("/m/02mk9", "Engine"),
    "train": ("/m/07jdr", "Train"),
    "church_bells": ("/m/03w41f", "Church bell"),
    "airplane": ("/m/0cmf2", "Fixed-wing aircraft, airplane"),
    "fireworks": ("/m/0g6b5", "Fireworks"),
    "hand_saw": ("/m/01b82r", "Sawing"),
}
NAMES = list(CATEGORIES)


class Row(NamedTuple):
    """A row of ESC-50's list; name: of the recording, without a suffix."""

    line: int
    name: str
    fold: str
    category: str
    esc10: bool


class ESC50(Corpus):
    """file: the archive, an address or a path; GitHub makes it when it is asked for, so that no checksum of it is published,
    and the one that is right today (md5, sha256) may not be so tomorrow. subset: esc10 takes the ten classes of ESC-10."""

    file: ArchiveFile = ADDRESS
    md5: Md5 | None = None
    sha256: Sha256 | None = None
    subset: Literal["esc10"] | None = None
    setting: ClassVar[str] = "datasets.*.source.file"
    lists: ClassVar[tuple[str, ...]] = (LIST,)

    def archives(self) -> list[Archive]:
        return [] if self.folder is not None else group([Part(file=self.file, md5=self.md5, sha256=self.sha256)])

    def audio(self, store: Path, split: str) -> Path:
        return self.find(store, LIST).parents[1] / "audio"

    def write_lists(self, folder: Path, splits: dict[str, int], store: Path = Path()) -> None:
        """Write the class list, in the order of ESC-50's numbers, and the lists of the folds that `splits` names.

        Raises:
            GlatError: a split that is no fold, a fold without a row, no list, or a row of it that is none, by its line.
        """
        check_splits("esc50", splits, FOLDS)
        path = self.find(store, LIST)
        rows = [row for row in read(path) if row.esc10 or self.subset is None]
        counts = Counter(row.fold for row in rows)
        if empty := [fold for fold in splits if not counts[fold]]:
            raise GlatError(f"{path}: no row of {empty[0]}{' of ESC-10' if self.subset else ''}; {self.advice()}")
        heard = {row.category for row in rows}
        write_classes(folder, [label(category) for category in NAMES if category in heard])
        for split in splits:
            chosen = [row for row in rows if row.fold == split]
            write_segments(folder, split, ((row.name, "0", f"{SECONDS:g}", [label(row.category)[0]]) for row in chosen))
        audio = self.audio(store, FOLDS[0])
        self.tell_absent([(str(path), row.line, row.name) for row in rows if row.fold in splits], audio)


def label(category: str) -> tuple[str, str]:
    """The id and the display name of a category: AudioSet's, or ESC-50's own."""
    return CATEGORIES[category] or (f"esc50/{category}", category.replace("_", " ").capitalize())


def read(path: Path) -> list[Row]:
    """The rows of meta/esc50.csv.

    Raises:
        GlatError: by line, a file name or a fold that is none, a target that is not the category's, or a file that is in
            the list twice.
    """
    table = Rows(path, COLUMNS, "ESC-50's list")
    found: list[Row] = []
    lines: dict[str, int] = {}
    for line, fields in table:
        filename, fold, target, category, esc10 = (fields[place].strip() for place in table.place)
        name = filename.removesuffix(extension(filename))
        if not name or "/" in name or "\\" in name or name == filename:
            raise table.fault(line, "filename, the name of an audio file", filename)
        if f"fold{fold}" not in FOLDS:
            raise table.fault(line, "fold, a number from 1 to 5", fold)
        if category not in CATEGORIES:
            raise table.fault(line, "category, one of ESC-50's 50", category)
        if target != str(NAMES.index(category)):
            raise table.fault(line, f"target {NAMES.index(category)}, which {category} has", target)
        if esc10 not in ("True", "False"):
            raise table.fault(line, "esc10, True or False", esc10)
        if (before := lines.setdefault(name, line)) != line:
            raise GlatError(f"{path}: line {line}: {filename} is in the list twice, first in line {before}")
        found.append(Row(line, name, f"fold{fold}", category, esc10 == "True"))
    return found
