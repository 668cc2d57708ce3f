"""A dataset's lists: the class list, the segment list of each split, and strong labels where they are given."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import GlatError
from ..fetching import address_hash, fetch_file, is_address
from ..files import remove
from . import audioset


def collect(lists: dict[str, str], folder: Path) -> None:
    """Bring every list, name and place (`settings.Dataset.lists`), into `folder`: copied from a path, fetched from an
    address. A list that was fetched before another one failed is not fetched again.

    Raises:
        GlatError: a file that is not there, or an address that does not answer.
    """
    # Beside the folder, which is not there before it is whole: what came is there for the next try.
    kept = folder.parent / ".lists"
    for name, place in lists.items():
        file = Path(place)
        if is_address(place):
            file = kept / address_hash(place) / name
            if not file.exists():
                fetch_file(place, file)
        try:
            shutil.copyfile(file, folder / name)
        except OSError as error:
            raise GlatError(
                f"{place}: cannot be read ({error.strerror}); put AudioSet's lists there, or set datasets.*.metadata"
            ) from None
    remove(kept)


def check(folder: Path, dataset: str, classes: int, splits: dict[str, int]) -> None:
    """Read every list whole.

    Raises:
        GlatError: a list that is damaged, of another size than params.yaml says, or that shares clips with another.
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
        if (folder / f"{split}_strong.tsv").exists():
            audioset.read_strong(folder / f"{split}_strong.tsv")
