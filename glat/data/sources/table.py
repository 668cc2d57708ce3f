"""Recordings in a folder, and one table of their labels (`lists.table`): a dataset of one's own. `glat dataset new` looks at
both and writes the settings."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field

from ...config.types import InputPath, Natural, Settings, UniqueList
from ...lib.errors import GlatError, warn
from ...lib.files import whole
from ...lib.layout import CLASS_LIST, segment_list, strong_list
from ..audio.formats import extension
from ..audio.length import Length, measure
from ..kinds import Kind
from ..lists import audioset
from ..lists.folders import Folder, clip_id, path_of
from ..lists.rows import Column, Rows
from ..lists.splits import propose, recordings
from ..lists.table import Columns, Table, read_table
from ..shards import progress
from . import ListedSource, Shard

SHORTEST = 0.001  # seconds, of a segment whose file has no length
STRONG = [Column("file", ("filename", "file_name", "segment_id", "clip", "path")), *audioset.STRONG_COLUMNS[1:]]


class Split(Settings):
    """Splits for a table that has none. evaluate: share of the recordings that are evaluated on; seed: that they are drawn
    with (`lists.splits.propose`)."""

    evaluate: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: Natural = 0


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
        """The table of labels, with a split in each row."""
        columns = Columns(**{key: getattr(self, key) for key in Columns._fields})
        table = read_table(self.labels, columns)
        if table.columns.split is None:
            of = recordings(table.rows["file"].tolist(), table.rows["group"].tolist())
            table.rows["split"] = propose(table.rows["labels"], of, self.splits.evaluate, self.splits.seed)
        return table

    def clips(self, table: Table) -> pd.DataFrame:
        """The rows of a table, with `path`, their file below `audio` ("" if it is not there), and `id`, the clip's.

        Raises GlatError for a file that may be several, one in two rows under two names, and where no file is there.
        """
        folder = self.folder()
        rows, beside = table.rows, os.path.relpath(os.path.dirname(os.path.abspath(self.labels)), folder.root)
        paths: list[str] = []
        for row in rows.itertuples():
            try:
                found = folder.find(row.file) or folder.find(os.path.normpath(os.path.join(beside, row.file)))
            except GlatError as error:
                raise GlatError(f"{self.labels}: line {row.line}: file {error}") from None
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
        self._check_shared(clips)
        return clips

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
        both = {*known["mid"], *known["display_name"]}
        for row in table.rows.itertuples():
            if unknown := [label for label in row.labels if label not in both]:
                raise GlatError(
                    f"{self.labels}: line {row.line}: label {unknown[0]!r} is not in {self.classes}; add it there"
                )
        return known

    def write_lists(self, folder: Path, splits: dict[str, int], store: Path = Path()) -> None:
        table = self.table()
        classes, clips = self.class_list(table), self.clips(table)
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
        with whole(folder / CLASS_LIST) as part:
            classes.to_csv(part, index=False)
        for split in splits:
            of = clips[clips["split"] == split]
            rows = pd.DataFrame({
                "YTID": of["id"], "start_seconds": of["start"].fillna(0.0), "end_seconds": ends[of.index],
                "positive_labels": [",".join(mid_of[label] for label in labels) for labels in of["labels"]],
            })  # fmt: skip
            with whole(folder / segment_list(split)) as part:
                rows.to_csv(part, index=False)
        for split, lines in self.events(clips, mid_of).items():
            header = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel"
            with whole(folder / strong_list(split)) as part:
                part.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")

    @staticmethod
    def names(classes: pd.DataFrame) -> dict[str, str]:
        """The id of each class by its name and by its id."""
        return {
            name: mid for key in ("display_name", "mid") for name, mid in zip(classes[key], classes["mid"], strict=True)
        }

    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Find the file of each clip. Returns a table clip, file (absolute path), part (`<start>+<seconds>`, empty for all of
        the file), kind and reason ("no file")."""
        clips, hidden = self.clips(self.table()).set_index("id"), self.folder().hidden
        root, hint = os.path.abspath(self.audio), f"; not looked into: {hidden[0]}" if hidden else ""
        rows: list[tuple[str, ...]] = []
        for segment in shard.segments.itertuples():
            if segment.youtube_id not in clips.index:
                raise GlatError(
                    f"{self.labels}: has no file {path_of(segment.youtube_id)!r} any more; run `glat metadata`"
                )
            of = clips.loc[[segment.youtube_id]]
            row = of[np.isclose(of["start"].fillna(0.0), segment.start, atol=1e-3)].iloc[0]
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

    def events(self, clips: pd.DataFrame, mid_of: dict[str, str]) -> dict[str, list[str]]:
        """The lines of strong labels by split, from the table of events; none without one.

        Raises GlatError, by line, for an event that is none, of another label, or of a file that is not in the table.
        """
        if self.strong is None:
            return {}
        files, table = self.folder(), Rows(self.strong, STRONG, "a table of events")
        at = table.place
        of_path = {path: rows for path, rows in clips.groupby("path") if path}
        lines: dict[str, list[str]] = {}
        for line, fields in table:
            name, label = fields[at[0]].strip(), fields[at[3]].strip()
            try:
                start, end = float(fields[at[1]]), float(fields[at[2]])
            except ValueError:
                start = end = math.nan
            if not 0 <= start < end < math.inf:
                raise table.fault(line, "0 <= start < end in seconds", ",".join(fields))
            if label not in mid_of:
                raise table.fault(line, "a label of the table of labels", label)
            if (rows := of_path.get(files.find(name) or "")) is None:
                raise table.fault(line, f"a file of {self.labels}", name)
            for row in rows.itertuples():
                begin, stop = (0.0, math.inf) if math.isnan(row.start) else (row.start, row.end)
                on, off = max(start, begin) - begin, min(end, stop) - begin
                if on < off:
                    clip = f"{row.id}_{round(begin * 1000)}"
                    lines.setdefault(row.split, []).append(f"{clip}\t{on:.6g}\t{off:.6g}\t{mid_of[label]}")
        return lines


def class_ids(names: list[str]) -> list[str]:
    """Ids for names, all different: letters and digits of any alphabet, `_` for whatever else.

    >>> class_ids(["dog bark", "dog-bark", "glass, breaking"])
    ['dog_bark', 'dog_bark_2', 'glass_breaking']
    """
    found: list[str] = []
    for name in names:
        base = re.sub(r"\W+", "_", name).strip("_") or "class"
        number, one = 1, base
        while one in found:
            number += 1
            one = f"{base}_{number}"
        found.append(one)
    return found
