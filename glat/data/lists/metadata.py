"""A dataset's lists: the class list, the segment list of each split, and strong labels where they are given."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from ...lib.addresses import LIMITS, Limits, address_hash, is_address
from ...lib.errors import GlatError, tell
from ...lib.fetching import check_file, fetch_file
from ...lib.files import remove
from ...lib.layout import CLASS_LIST, framed_list, segment_list, strong_list
from . import audioset
from .framed import read_framed
from .ontology import ancestors

OPTIONAL = (strong_list(""), framed_list(""))  # what the names of lists end with that a dataset may lack


def refuse_sizes(lists: dict[str, str], folder: Path, dataset: str, classes: int, splits: dict[str, int]) -> None:
    """Compare the settings with the lists that are at hand, those of paths and those that were fetched before, and nothing
    but their sizes: in a moment, before `collect` is to renew `folder`.

    Raises:
        GlatError: a list of another size than the settings say; a line a list.
    """
    checks = Checks(dataset, classes, splits)
    files = {name: file for name, file in places(lists, folder).items() if name in checks.names and file.is_file()}
    for name, file in files.items():
        if name.endswith(OPTIONAL):
            continue
        try:
            if name == CLASS_LIST:
                key, asked, found = "classes", classes, len(audioset.read_class_list(file))
            else:
                split = name.removesuffix("_segments.csv")
                key, asked = f"splits.{split}", splits[split]
                if (found := audioset.count_lines(file)) != asked:
                    found = len(audioset.read_segments(file))  # a line may hold no row, or half of one
        except GlatError:
            continue  # no list: `collect` says why
        checks.size(key, asked, found, lists[name], file)
    checks.done()


def places(lists: dict[str, str], folder: Path) -> dict[str, Path]:
    """Where each list lies: its own path, or where it is fetched to, beside `folder`."""
    kept = folder.parent / ".lists"
    return {
        name: kept / address_hash(place) / name if is_address(place) else Path(place) for name, place in lists.items()
    }


def collect(
    lists: dict[str, str],
    folder: Path,
    dataset: str,
    classes: int,
    splits: dict[str, int],
    checksums: dict[str, str] | None = None,
    limits: Limits = LIMITS,
) -> None:
    """Bring every list, name and place (`config.dataset.Dataset.lists`), into `folder`, each checked as it comes: copied from a
    path, fetched from an address within `limits`. What was fetched stays in `.lists` beside the folder, and is not fetched
    again before its address changes, it turns out damaged, or it is removed there; once a list is wrong, no other is
    fetched. checksums: SHA-256 by name, where known (`config.dataset.Dataset.checksums`).

    Raises:
        GlatError: a file that is not there, an address that does not answer, another checksum, and what `check` refuses.
    """
    files, checks = places(lists, folder), Checks(dataset, classes, splits)
    for name in checks.names:
        if name not in lists:
            continue
        place, file, checksum = lists[name], files[name], (checksums or {}).get(name)
        if is_address(place) and not file.exists():
            checks.done()
            fetch_file(place, file, checksum, limits=limits, setting=f"datasets.{dataset}.metadata")
        try:
            shutil.copyfile(file, folder / name)
        except OSError as error:
            checks.faults.append(
                f"{place}: cannot be read ({error.strerror}); put AudioSet's lists there, or set datasets.*.metadata"
            )
            continue
        check_file(folder / name, checksum, name=place)
        if checks.read(name, folder / name, place, file) and is_address(place):
            file.unlink()
    checks.done()
    for old in set((folder.parent / ".lists").glob("*")) - {file.parent for file in files.values()}:
        remove(old)


def check(folder: Path, dataset: str, classes: int, splits: dict[str, int]) -> None:
    """Read every list whole, and tell what is worth knowing.

    Raises:
        GlatError: a list that is damaged, of another size than params.yaml says, or that shares clips with another, or
            strong labels of other clips or classes; a line a fault.
    """
    checks = Checks(dataset, classes, splits)
    for name in checks.names:
        if not name.endswith(OPTIONAL) or (folder / name).exists():
            checks.read(name, folder / name, name)
    checks.done()


class Checks:
    """The lists of one dataset, read one after the other in the order of `names`. `faults`: what is wrong with them."""

    def __init__(self, dataset: str, classes: int, splits: dict[str, int]):
        self.dataset, self.classes, self.splits = dataset, classes, splits
        self.names = [
            CLASS_LIST,
            *(name(split) for split in splits for name in (segment_list, strong_list, framed_list)),
        ]
        self.faults: list[str] = []
        self._known = pd.DataFrame()  # the classes
        self._split_of: dict[str, str] = {}
        self._clips: dict[str, pd.Series] = {}

    def read(self, name: str, path: Path, named: str, file: Path | None = None) -> bool:
        """Check a list; returns whether it can't be read as one. named: the place that the settings name; file: where it
        lies, if that is another one."""
        split = next(name.removesuffix(end) for end in ("_segments.csv", *OPTIONAL, "") if name.endswith(end))
        try:
            if name == CLASS_LIST:
                self._known = audioset.read_class_list(path, named)
                self.size("classes", self.classes, len(self._known), named, file)
            elif self._known.empty:
                return False  # without the classes there is no telling
            elif name.endswith("_strong.tsv"):
                self._strong(split, path, named)
            elif name.endswith(OPTIONAL):
                self._labels(split, read_framed(path, self._known, named), named)
            else:
                self._segments(split, path, named, file)
        except GlatError as error:
            self.faults.append(str(error))
            return True
        return False

    def done(self) -> None:
        """Raise GlatError if there are faults."""
        if self.faults:
            raise GlatError("\n".join(self.faults))

    def size(self, key: str, asked: int, found: int, named: str, file: Path | None) -> None:
        """Note it where the settings' number of classes or clips is another than the list's."""
        if asked != found:
            again = f" (fetched to {file}: remove it there to fetch it anew)" if is_address(named) else ""
            self.faults.append(f"datasets.{self.dataset}.{key}: {asked}, but the list {named} has {found}{again}")

    def _segments(self, split: str, path: Path, named: str, file: Path | None) -> None:
        segments = audioset.read_segments(path, self._known, named=named, tell=tell)
        clips = self._clips[split] = segments["clip"]
        self.size(f"splits.{split}", self.splits[split], len(clips), named, file)
        if twice := [clip for clip in clips if clip in self._split_of]:
            other = self._split_of[twice[0]]
            self.faults.append(f"{named}: clip {twice[0]} is in both {other} and {split}; a clip has one split")
        self._split_of |= dict.fromkeys(clips, split)
        if several := segments["written"][segments["written"].duplicated()].unique().tolist():
            tell(
                f"{split}: {len(several)} videos have several segments, {several[0]} the first; a file that has only the "
                "id for a name does not tell which of them it is"
            )
        if unlabelled := int((segments["labels"].str.len() == 0).sum()):
            tell(f"{split}: {unlabelled} of {len(clips)} clips have no label: negatives of every class")
        unheard = self._known["display_name"][~self._known["mid"].isin(set().union(*set(segments["labels"])))]
        if len(unheard):
            tell(f"{split}: {len(unheard)} of {len(self._known)} classes have no clip, {unheard.iloc[0]!r} the first")

    def _strong(self, split: str, path: Path, named: str) -> None:
        self._labels(split, audioset.read_strong(path, self._known, named, tell), named)

    def _labels(self, split: str, strong: pd.DataFrame, named: str) -> None:
        clips = self._clips.get(split)
        if clips is None:
            return
        known = set(self._known["mid"])
        of_clip, counts = (
            strong["clip"].isin(clips),
            {label for label in set(strong["label"]) if known & {label, *ancestors(label)}},
        )
        of_class = strong["label"].isin(counts)
        if not of_clip.any():
            raise GlatError(
                f"{named}: none of its clips is in the list of {split}: expected {clips.iloc[0]!r} or another one there, found "
                f"{strong['clip'].iloc[0]!r}; give the strong labels of this split"
            )
        if not of_class.any():
            raise GlatError(
                f"{named}: none of its labels is a class: expected mids or display names of the class list, found "
                f"{strong['label'].iloc[0]!r}"
            )
        tell(f"{split}: {int(clips.isin(strong['clip']).sum())} of {len(clips)} clips have strong labels")
        for column, fits, what in (("clip", of_clip, "the list's clips"), ("label", of_class, "the classes")):
            if len(lost := strong[column][~fits]):
                tell(
                    f"{split}: {len(lost)} of {len(strong)} strong labels are of none of {what} and are left out, "
                    f"{lost.iloc[0]!r} the first"
                )
