"""AudioSet's open copies on the Hugging Face Hub: the files of the dataset's splits, fetched at one commit for all shards
(`glat.lib.hub`), and read as sources `parquet` and `webdataset` read such files.

A commit names the same files for ever, a branch does not. For the copies that the project knows, it is part of the code;
for others it must be given. A token is no setting, since params.yaml is committed: it is taken from HF_TOKEN, or from the
login of `hf auth login`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple

import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from ...lib.addresses import LIMITS, Limits
from ...lib.documents import read_json
from ...lib.errors import GlatError, warn
from ...lib.files import whole
from ...lib.hub import COMMIT, Repository
from ...lib.hub_files import HubFile
from . import Shard, Source
from .containers import Container
from .parquet import Parquet
from .webdataset import WebDataset

RECORD = "fetched.json"  # in the store: what was asked for, and the files of each split
READERS: dict[str, type[Container]] = {".parquet": Parquet, ".tar": WebDataset}


class Copy(NamedTuple):
    """A copy of AudioSet: a commit of its repository, and patterns of the files of AudioSet's splits."""

    revision: str
    splits: dict[str, list[str]]


COPIES = {
    "agkphysics/AudioSet": Copy(
        "0c609e8302cf139307f639c57652032af0a88041",
        {
            "balanced_train": ["data/bal_train/*.parquet"],
            "unbalanced_train": ["data/unbal_train/*.parquet"],
            "eval": ["data/eval/*.parquet"],
        },
    ),
    "confit/audioset-16khz-wds": Copy(
        "4a40121a0063dd58d5d15f40f03c496eb3013906",
        {"balanced_train": ["20k/train/*.tar"], "unbalanced_train": ["2m/train/*.tar"], "eval": ["20k/test/*.tar"]},
    ),
}


def _check_repository(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", name, re.ASCII) or ".." in name:
        raise ValueError(f"{name!r} is not <owner>/<name> of a dataset on the Hub")
    return name


def _list_patterns(given: object) -> object:
    if not isinstance(given, dict):
        return given
    return {split: [patterns] if isinstance(patterns, str) else patterns for split, patterns in given.items()}


class HuggingFace(Source):
    """repository: of the dataset on the Hub. revision: a commit, of 40 digits; for a known copy (`COPIES`) it may be left
    out. The name of a branch or tag is taken too, and is then what it is on the day of fetching. splits: patterns of the
    repository's files of each split (`*` for any characters); for a known copy only what is to be different.
    """

    repository: Annotated[str, AfterValidator(_check_repository)] = "agkphysics/AudioSet"
    revision: str | None = Field(default=None, validate_default=True)
    splits: Annotated[dict[str, list[str]], BeforeValidator(_list_patterns)] = Field(
        default_factory=dict, validate_default=True
    )

    @field_validator("revision")
    @classmethod
    def _check_revision(cls, name: str | None, info: ValidationInfo) -> str | None:
        repository = info.data.get("repository", "")
        if name is None:
            if repository and repository not in COPIES:
                raise ValueError(
                    f"missing; {repository} is not one of {', '.join(COPIES)}, of which a commit is known: write the commit, "
                    "40 digits (or a branch, which may change)"
                )
        elif re.fullmatch("[0-9A-Fa-f]{6,}", name) and not COMMIT.fullmatch(name):
            raise ValueError(f"{name!r} is not a whole commit; write all of its 40 digits, 0 to 9 and a to f")
        elif not re.fullmatch(r"[A-Za-z0-9][\w./-]{0,200}", name, re.ASCII) or ".." in name:
            raise ValueError(f"{name!r} is neither a commit of 40 digits nor a name that a branch could have")
        return name

    @field_validator("splits")
    @classmethod
    def _check_splits(cls, given: dict[str, list[str]], info: ValidationInfo) -> dict[str, list[str]]:
        patterns = _patterns(info.data.get("repository", ""), given)
        endings = {PurePosixPath(pattern).suffix for of_split in patterns.values() for pattern in of_split}
        if len(endings) != 1 or not endings <= READERS.keys() or not all(patterns.values()):
            found = ", ".join(sorted(endings)) or "no pattern"
            raise ValueError(
                f"each needs a pattern, and all must end alike, in one of {', '.join(READERS)}; found {found}"
            )
        return given

    @property
    def fetches(self) -> bool:
        return True

    def fetch_all(self, store: Path, limits: Limits = LIMITS, splits: Sequence[str] = ()) -> dict[str, Any]:
        """Fetch the files of the dataset's splits, at one commit.

        Raises:
            GlatError: a split of which no files are known or there, or what `Repository` raises.
        """
        commit, listed = Repository(self.repository, self._asked_revision).list_files()
        files = {split: self._of_split(split, listed) for split in splits}
        if commit != self._asked_revision:
            warn(
                f"{self.repository}: {self._asked_revision!r} may change, and is now commit {commit}; to keep to it, write "
                f"`revision: {commit}`"
            )
        needed = {file.path: file for of_split in files.values() for file in of_split}
        Repository(self.repository, commit).fetch(list(needed.values()), store, limits)
        record = {**self._origin(), "commit": commit}
        record["files"] = {split: {file.path: file.checksum for file in of_split} for split, of_split in files.items()}
        with whole(store / RECORD) as part:
            part.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        return record

    def fetch(self, shard: Shard) -> pd.DataFrame:
        """Find the row of each segment in the files of its split. Returns the table of `Container.fetch`.

        Raises:
            GlatError: files that were not fetched, or for other settings, or are gone, or what `Container.fetch` raises.
        """
        path = shard.store / RECORD
        again = "run `glat fetch`"
        record = read_json(path, again, again)
        fetched = record.get("files", {})
        if {key: record.get(key) for key in self._origin()} != self._origin() or shard.split not in fetched:
            raise GlatError(f"{path}: of another repository or revision, or without split {shard.split!r}; {again}")
        files = [shard.store / name for name in fetched[shard.split]]
        if lost := [file for file in files if not file.is_file()]:
            raise GlatError(f"{lost[0]}: not there any more; {again}")
        try:
            return self._reader([str(file) for file in files]).fetch(shard)
        except GlatError as error:  # which of the files were fetched, `splits` says
            raise GlatError(str(error).replace("datasets.*.source.audio", "datasets.*.source.splits")) from None

    def read(self, listing: pd.DataFrame, folder: Path, seconds: float = math.inf) -> Iterator[Any]:
        return self._reader(["-"]).read(listing, folder, seconds)

    @property
    def _asked_revision(self) -> str:
        return self.revision or COPIES[self.repository].revision

    def _of_split(self, split: str, listed: list[HubFile]) -> list[HubFile]:
        """The files of a split."""
        known = _patterns(self.repository, self.splits)
        if split not in known:
            raise GlatError(
                f"datasets.*.source.splits.{split}: missing; write which files of {self.repository} belong to this split "
                f"(known are those of {', '.join(known)})"
            )
        found = [file for file in listed if any(fnmatchcase(file.path, pattern) for pattern in known[split])]
        if not found:
            there = f"none of its {len(listed)} files (one is {listed[0].path})" if listed else "no file there"
            raise GlatError(
                f"{self.repository} at {self._asked_revision}: {there} fits {', '.join(known[split])}; set "
                f"datasets.*.source.splits.{split}"
            )
        return found

    def _origin(self) -> dict[str, Any]:
        return {"repository": self.repository, "revision": self._asked_revision}

    def _reader(self, files: list[str]) -> Container:
        patterns = next(iter(_patterns(self.repository, self.splits).values()))
        return READERS[PurePosixPath(patterns[0]).suffix](audio=files)


def _patterns(repository: str, splits: dict[str, list[str]]) -> dict[str, list[str]]:
    """Patterns of the files of each split: the known ones, and in their place those that are given."""
    return {**(COPIES[repository].splits if repository in COPIES else {}), **splits}
