"""Recordings in a folder, and one table of their labels (`lists.table`): a dataset of one's own. `glat dataset new` looks at
both and writes the settings."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field, model_validator

from ...config.types import InputPath, Natural, Settings, UniqueList
from ...lib.errors import GlatError, warn
from ..audio.formats import extension
from ..audio.length import Length, measure
from ..kinds import Kind
from ..lists import audioset
from ..lists.events import EventTable
from ..lists.folders import Folder, clip_id, composed, path_of
from ..lists.splits import draw, recordings
from ..lists.table import Columns, Table, class_ids, read_table
from ..lists.writing import write_classes, write_segments, write_strong
from ..shards import progress
from . import ListedSource, Shard

SHORTEST = 0.001  # seconds, of a segment whose file has no length


class Split(Settings):
    """Splits for a table that has none. evaluate, validation: shares of the clips that are evaluated on, and that the network
    is selected on; seed: that they are drawn with (`lists.splits.draw`)."""

    evaluate: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Natural = 0

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        if self.evaluate + self.validation >= 1:
            raise ValueError(
                f"evaluate + validation is {self.evaluate + self.validation:g}: leave some clips to train on"
            )
        return self


def _absent(text: str) -> str:
    if not text:
        raise ValueError("give the path of a folder")
    return text


class RecordingTable(ListedSource):
    """audio: the folder of recordings, in any layout. labels: the table. file, label, separator, split, group, start, end:
    its columns (`lists.table.Columns`), where they are not found by their usual names. splits: for a table without a column
    of splits. classes: a class list (columns mid, display_name) with ids of your own, such as AudioSet's, for names that the
    table has; null: the names are the ids. strong: a table of events (file, start, end, label), in seconds from the
    beginning of the file. allow_shared: whether two splits may have parts of one recording.
    """

    audio: Annotated[str, AfterValidator(_absent)]
    labels: InputPath
    file: str | None = None
    label: str | Annotated[UniqueList[str], Field(min_length=1)] | None = None
    separator: str | None = None
    split: str | None = None
    group: str | None = None
    start: str | None = None
    end: str | None = None
    splits: Split = Split()
    classes: InputPath | None = None
    strong: InputPath | None = None
    allow_shared: bool = False

    @property
    def recordings(self) -> bool:
        return True

    @property
    def inputs(self) -> list[str]:
        return [path for path in (self.labels, self.classes, self.strong) if path]

    def table(self) -> Table:
        """The table of labels."""
        return read_table(self.labels, Columns(**{key: getattr(self, key) for key in Columns._fields}))

    def clips(self, table: Table, folder: Folder) -> pd.DataFrame:
        """The rows of a table, with `path`, their file below `audio` ("" if it is not there), `id`, the clip's, and a split,
        which is drawn where the table has none.

        Raises GlatError for a file that may be several, one in two rows under two names, where no file is there, and where
        there is nothing to draw from.
        """
        rows, beside = table.rows, os.path.relpath(os.path.dirname(os.path.abspath(self.labels)), folder.root)
        paths: list[str] = []
        for row in rows.itertuples():
            place = f"{self.labels}: line {row.line}"
            found = self._find(folder, row.file, place) or self._find(
                folder, os.path.normpath(os.path.join(beside, row.file)), place
            )
            paths.append(found or "")
        if not any(paths):
            raise GlatError(
                f"{self.labels}: none of its {len(rows)} files is in {self.audio}, {rows['file'].iloc[0]!r} the first; a file "
                f"there is {folder.files[0]!r}; set datasets.*.source.audio or source.file"
            )
        ids = [
            folder.name(path) if path else clip_id(name.replace("\\", "/"), extension(name))
            for path, name in zip(paths, rows["file"], strict=True)
        ]
        clips = rows.assign(path=paths, id=ids)
        begins = (1000 * clips["start"].fillna(0.0)).round()  # a clip's name has milliseconds
        key = clips["id"] + "_" + begins.astype(int).astype(str)
        if len(twice := clips[key.duplicated(keep=False)]):
            first, second = twice[key[twice.index] == key[twice.index[0]]].iloc[:2].itertuples()
            raise GlatError(
                f"{self.labels}: lines {first.line} and {second.line}: {first.file!r} and {second.file!r} are the same file "
                f"({first.path or first.file}), from the same time on; remove one of the lines"
            )
        if table.columns.split is None:
            return clips.assign(split=self._draw(clips))
        self._check_shared(clips)
        return clips

    def _draw(self, clips: pd.DataFrame) -> list[str]:
        """A split for each clip of a table without."""
        of = recordings(clips["id"].tolist(), clips["group"].tolist())
        how = self.splits
        split = draw(clips["labels"], of, how.evaluate, how.validation, how.seed)
        if len(clips) > 1 and len(set(split)) < 2 + bool(how.validation):
            raise GlatError(
                f"{self.labels}: its {len(clips)} clips are of {max(of) + 1} recordings, {clips['file'].iloc[0]!r} the first: "
                "too few to draw splits, since a recording is in one split alone; add others, or a column of splits"
            )
        return split

    @staticmethod
    def _find(folder: Folder, text: str, place: str) -> str | None:
        """`Folder.find`, with the place of the text in its error."""
        try:
            return folder.find(text)
        except GlatError as error:
            raise GlatError(f"{place}: file {error}") from None

    def folder(self) -> Folder:
        """The folder of recordings. Raises GlatError if there is none."""
        try:
            return Folder(self.audio)
        except GlatError as error:
            raise GlatError(f"{error}; set datasets.*.source.audio") from None

    def class_list(self, table: Table) -> pd.DataFrame:
        """index, mid, display_name of the table's classes: those of `classes`, else the labels in alphabetical order."""
        names = sorted({label for labels in table.rows["labels"] for label in labels})
        if not names:
            raise GlatError(f"{self.labels}: no row has a label; name the column of the labels (source.label)")
        if self.classes is None:
            return pd.DataFrame({"index": range(len(names)), "mid": class_ids(names), "display_name": names})
        known = audioset.read_class_list(self.classes)
        both = self.names(known)
        for row in table.rows.itertuples():
            if unknown := [label for label in row.labels if label not in both]:
                raise GlatError(
                    f"{self.labels}: line {row.line}: label {unknown[0]!r} is not in {self.classes}; add it there"
                )
        return known

    def write_lists(self, folder: Path, splits: dict[str, int], store: Path = Path()) -> None:
        table = self.table()
        files = self.folder()
        classes, clips = self.class_list(table), self.clips(table, files)
        found = clips["split"].unique()
        if unused := [name for name in found if name not in splits]:
            of = clips[clips["split"] == unused[0]]
            warn(
                f"{self.labels}: split {unused[0]!r} of line {of['line'].iloc[0]} and others, {len(of)} clips in all, is not "
                f"asked for ({', '.join(splits)}) and left out"
            )
        if empty := [name for name in splits if name not in found]:
            raise GlatError(
                f"{self.labels}: no row is of split {empty[0]!r} (datasets.*.splits); it has {', '.join(found)}"
            )
        mid_of = self.names(classes)
        ends = self._ends(clips)
        write_classes(folder, classes[["mid", "display_name"]].itertuples(index=False, name=None))
        events = self.events(clips, files, mid_of)
        for split in splits:
            rows = (
                (
                    clip.id,
                    str(0.0 if math.isnan(clip.start) else clip.start),
                    str(end),
                    [mid_of[one] for one in clip.labels],
                )
                for clip, end in zip(clips.itertuples(), ends, strict=True)
                if clip.split == split
            )
            write_segments(folder, split, rows)
            if split in events:
                write_strong(folder, split, events[split])

    @staticmethod
    def names(classes: pd.DataFrame) -> dict[str, str]:
        """The id of each class by its name and by its id; what is both is meant as a name."""
        return {
            composed(name): mid
            for key in ("mid", "display_name")
            for name, mid in zip(classes[key], classes["mid"], strict=True)
        }

    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Find the file of each clip. Returns a table clip, file (absolute path), part (`<start>+<seconds>`, empty for all of
        the file), kind and reason ("no file")."""
        files = self.folder()
        clips, root = self.clips(self.table(), files).set_index("id"), files.root
        hint = f"; not looked into: {files.hidden[0]}" if files.hidden else ""
        rows: list[tuple[str, ...]] = []
        for segment in shard.segments.itertuples():
            of = clips.loc[[segment.youtube_id]] if segment.youtube_id in clips.index else clips[:0]
            of = of[np.isclose(of["start"].fillna(0.0), segment.start, rtol=0.0, atol=1e-3)]
            if of.empty:
                raise GlatError(
                    f"{self.labels}: has no file {path_of(segment.youtube_id)!r}, from {segment.start:g} s on, any more; run "
                    "`glat metadata`"
                )
            row = of.iloc[0]
            if not row.path:
                reason = f"{row.file} of line {row.line} of {self.labels} is not in {self.audio}{hint}"
                rows.append((segment.clip, "", "", Kind.NO_FILE, reason))
                continue
            part = "" if math.isnan(row.start) else f"{segment.start:.10g}+{segment.end - segment.start:.10g}"
            rows.append((segment.clip, os.path.join(root, row.path), part, "", ""))
        return pd.DataFrame(rows, columns=["clip", "file", "part", "kind", "reason"])

    def _ends(self, clips: pd.DataFrame) -> pd.Series:
        """Where each clip ends in its file, in seconds."""
        root, lengths = Path(self.audio), []
        for row in progress(list(clips.itertuples()), f"{self.audio}: lengths"):
            found: Any = measure(root / row.path) if row.path and math.isnan(row.end) else None
            lengths.append(max(found.seconds, SHORTEST) if isinstance(found, Length) else SHORTEST)
        return clips["end"].fillna(pd.Series(lengths, clips.index)).round(6)

    def _check_shared(self, clips: pd.DataFrame) -> None:
        """Refuse one recording in two splits, unless it is allowed."""
        key = pd.Series(recordings(clips["id"].tolist(), clips["group"].tolist()), clips.index)
        shared = clips.groupby(key)["split"].nunique()
        if not len(shared := shared[shared > 1]):
            return
        first, second = clips[key == shared.index[0]].drop_duplicates("split").iloc[:2].itertuples()
        name = first.group if first.group and first.group == second.group else first.file
        what = (
            f"{self.labels}: lines {first.line} and {second.line}: recording {name!r} is in both {first.split} and "
            f"{second.split}, {len(shared)} such in all"
        )
        if not self.allow_shared:
            raise GlatError(
                f"{what}: an evaluation would hear what was trained on; give each one split, or set source.allow_shared: true"
            )
        warn(what)

    @property
    def has_strong_labels(self) -> bool:
        return self.strong is not None

    def events(
        self, clips: pd.DataFrame, files: Folder, mid_of: dict[str, str]
    ) -> dict[str, list[tuple[str, str, str, str]]]:
        """The strong labels by split (`lists.writing.write_strong`), from the table of events; none without one.

        Raises GlatError, by line, for an event that is none, of another label, or of a file that is not in the table.
        """
        if self.strong is None:
            return {}
        table = EventTable(self.strong)
        of_path = {path: rows for path, rows in clips.groupby("path") if path}
        found: dict[str, list[tuple[str, str, str, str]]] = {}
        for event in table:
            if event.label not in mid_of:
                raise table.fault(event, "a label of the table of labels", event.label)
            path = self._find(files, event.file, f"{self.strong}: line {event.line}")
            if (rows := of_path.get(path or "")) is None:
                raise table.fault(event, f"a file of {self.labels}", event.file)
            for row in rows.itertuples():
                begin, stop = (0.0, math.inf) if math.isnan(row.start) else (row.start, row.end)
                on, off = max(event.start, begin) - begin, min(event.end, stop) - begin
                if on < off:
                    clip = f"{row.id}_{round(begin * 1000)}"
                    found.setdefault(row.split, []).append((clip, f"{on:.6g}", f"{off:.6g}", mid_of[event.label]))
        return found
