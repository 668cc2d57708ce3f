"""A dataset's lists: the class list, the segment list of each split, and strong labels where they are given."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd

from ..errors import GlatError
from ..fetching import LIMITS, address_hash, check_file, fetch_file, is_address
from ..files import remove
from ..settings import Fetch
from . import audioset


def collect(
    lists: dict[str, str], folder: Path, checksums: dict[str, str] | None = None, limits: Fetch = LIMITS
) -> None:
    """Bring every list, name and place (`settings.Dataset.lists`), into `folder`: copied from a path, fetched from an
    address within `limits`. checksums: SHA-256 by name, where known (`settings.Dataset.checksums`). A list that was fetched before another one failed is not fetched again.

    Raises:
        GlatError: a file that is not there, an address that does not answer, or another checksum.
    """
    # Beside the folder, which is not there before it is whole: what came is there for the next try.
    kept = folder.parent / ".lists"
    for name, place in lists.items():
        file = Path(place)
        if is_address(place):
            file = kept / address_hash(place) / name
            if not file.exists():
                fetch_file(place, file, (checksums or {}).get(name), limits=limits)
        try:
            shutil.copyfile(file, folder / name)
        except OSError as error:
            raise GlatError(
                f"{place}: cannot be read ({error.strerror}); put AudioSet's lists there, or set datasets.*.metadata"
            ) from None
        check_file(folder / name, (checksums or {}).get(name), name=place)
    remove(kept)


def check(folder: Path, dataset: str, classes: int, splits: dict[str, int]) -> None:
    """Read every list whole, and tell what is worth knowing.

    Raises:
        GlatError: a list that is damaged, of another size than params.yaml says, or that shares clips with another, or
            strong labels of other clips.
    """
    known = audioset.read_class_list(folder / "class_labels_indices.csv")
    if len(known) != classes:
        raise GlatError(f"datasets.{dataset}.classes: {classes}, but the source's class list has {len(known)}")
    seen: dict[str, str] = {}
    for split, count in splits.items():
        segments = audioset.read_segments(folder / f"{split}_segments.csv", known)
        if len(segments) != count:
            raise GlatError(
                f"datasets.{dataset}.splits.{split}: {count}, but the source's segment list has {len(segments)}"
            )
        if twice := [clip for clip in segments["clip"] if clip in seen]:
            raise GlatError(
                f"{folder.name}: clip {twice[0]} is in both {seen[twice[0]]} and {split}; a clip has one split"
            )
        seen |= dict.fromkeys(segments["clip"], split)
        if several := segments["youtube_id"][segments["youtube_id"].duplicated()].unique().tolist():
            print(
                f"{split}: {len(several)} videos have several segments, {several[0]} the first; a file that has only the "
                "id for a name does not tell which of them it is",
                file=sys.stderr,
            )
        if (folder / f"{split}_strong.tsv").exists():
            _check_strong(folder / f"{split}_strong.tsv", split, segments["clip"])


def _check_strong(path: Path, split: str, clips: pd.Series) -> None:
    strong = audioset.read_strong(path)
    known = int(clips.isin(strong["clip"]).sum())
    if not known:
        raise GlatError(
            f"{path}: none of its clips is in the list of {split}, {strong['clip'].iloc[0]!r} the first; give the strong "
            "labels of this split"
        )
    print(f"{split}: {known} of {len(clips)} clips have strong labels", file=sys.stderr)
