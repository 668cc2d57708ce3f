"""A shard's rows of the segment list, which the download writes into its listing for the steps behind it.

A list may have millions of rows: so it is parsed once a shard and not once a step.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from ...lib.errors import GlatError, refusal
from ...lib.files import digest
from ..kinds import Kind
from ..shards import STRINGS

SEGMENT_COLUMNS = ["start", "end", "labels", "row", "list"]


def add_segments(listing: pd.DataFrame, segments: pd.DataFrame, first: int, path: Path) -> pd.DataFrame:
    """A listing with `SEGMENT_COLUMNS` behind its own.

    They are start and end in seconds, the labels as JSON, the number of the row in the list (`first` and on), and the hash
    of the list at `path`. A segment that the listing lacks gets a row.
    """
    rows = segments[["clip", "start", "end"]].assign(
        labels=[json.dumps(mids) for mids in segments["labels"]],
        row=range(first, first + len(segments)),
        list=digest(path),
    )
    lacking = segments.loc[~segments["clip"].isin(listing["clip"]), ["clip"]]
    return pd.concat([listing, lacking]).fillna("").merge(rows, on="clip", how="left")


def read(path: Path, rows: range, whole: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The listing at `path`, and its segments in the list's order: columns clip, start, end (seconds), labels (tuple of
    mids).

    rows: those of the shard; whole: the segment list, which must still be the one that the listing was made from.

    Raises:
        GlatError: no listing, a damaged one, or one of another list or another size of shards.
    """
    try:
        listing = check(pd.read_csv(path, **STRINGS), str(path))
        table = (
            listing[["clip", *SEGMENT_COLUMNS]].astype({"row": int, "start": float, "end": float}).sort_values("row")
        )
        labels = [tuple(json.loads(text)) for text in table["labels"]]
    except FileNotFoundError:
        raise GlatError(f"{path}: no such file; run `glat download`") from None
    except (OSError, LookupError, TypeError, ValueError) as error:
        why = refusal(error) or f"cannot be read as a listing of audio files ({error}); run `glat download`"
        raise GlatError(f"{path}: {why}") from None
    if list(table["row"]) != list(rows) or set(table["list"]) != {digest(whole)}:
        raise GlatError(
            f"{path}: made from another list or shard size; run `glat download` again, which keeps the audio"
        )
    segments = table[["clip", "start", "end"]].assign(labels=pd.Series(labels, table.index, dtype=object))
    return listing, segments.reset_index(drop=True)


def check(listing: pd.DataFrame, name: str) -> pd.DataFrame:
    """A listing with all its columns, `part` and `kind` perhaps empty; `name` is for the error: GlatError."""
    if not {"clip", "file", "reason"} <= set(listing.columns):
        columns = ", ".join(listing.columns)
        raise GlatError(f"{name}: columns are {columns}; a listing has clip, file, reason, and may have part and kind")
    listing = listing.assign(**{column: listing.get(column, "") for column in ("part", "kind")}).fillna("")
    odd = listing[~listing["kind"].isin(["", *Kind]) | ((listing["reason"] != "") & (listing["kind"] == ""))]
    if len(odd):
        clip, kind = odd.iloc[0][["clip", "kind"]]
        raise GlatError(f"{name}: clip {clip} is lost as {kind!r}, not a kind of loss; run `glat download`")
    return listing
