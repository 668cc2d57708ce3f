"""What is known of a split without decoding anything: its list, listings, ledgers and the statistics in its packs.

It is read shard by shard and kept as a few numbers a clip, so two million clips take some hundred megabytes.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from ..config.dataset import Dataset
from ..data.kinds import Fate, Kind
from ..data.lists import audioset
from ..data.packs.read import open_pack
from ..data.shards import STRINGS
from ..lib.errors import GlatError, refusal
from ..lib.layout import Data

STATISTICS = ("source_rate", "source_seconds", "peak", "mean", "rms", "clipped", "jumps")


@dataclass
class Split:
    """One split, as asked for and as got. C is the number of classes; arrays over clips are in the packs' order.

    kinds, reasons: lost clips by the ledger's columns; notes: clips by the listing's note; again: listings of shards
    with failures that a further download may mend; clips: names as bytes; videos: a 64-bit hash of the YouTube id;
    audio: (clips, 2) uint64, the hash of the samples; seconds: (clips,) that each should have: those of its segment, at
    most a clip's, or, where recordings are kept whole, at most what there is; statistics: (clips,) arrays by the packs' names,
    rate in Hz, seconds, and levels relative to full scale; labels_asked, labels_got: (C,) clips of each class in the list
    and in the packs; first: index of the first clip of each shard, and the number of clips at the end.
    """

    dataset: str
    name: str
    asked: int
    classes: pd.DataFrame
    sample_rate: int
    clip_seconds: float
    paths: list[Path]
    kinds: Counter[Kind]
    reasons: Counter[str]
    notes: Counter[str]
    again: list[str]
    clips: np.ndarray
    videos: np.ndarray
    audio: np.ndarray
    seconds: np.ndarray
    statistics: dict[str, np.ndarray]
    labels_asked: np.ndarray
    labels_got: np.ndarray
    first: np.ndarray
    unlabelled: int = 0  # clips of the list without a label

    @property
    def got(self) -> int:
        return len(self.clips)


def read_split(dataset: str, name: str, entry: Dataset, root: Path = Path()) -> Split:
    """Read a split of data/<dataset> below `root`.

    Raises GlatError, naming the file, if a list, a listing, a ledger or a pack is missing or damaged, if a pack was
    made from another list than is there now, or if shards differ in rate or length.
    """
    data = Data(dataset, root)
    classes = audioset.read_class_list(data.class_list)
    segments = audioset.read_segments(data.segments(name), classes)
    kinds, reasons, notes, again, shards = Counter(), Counter(), Counter(), [], []
    paths = [data.pack(name, shard) for shard in range(entry.shards(name))]
    for shard, path in enumerate(paths):
        rows = audioset.shard_rows(segments, shard, entry.shard_size)
        found = _read_pack(path, rows, classes)
        ledger = _table(data.ledger(name, shard), ("clip", "kind", "reason"), "pack")
        if len(found["clip"]) + len(ledger) != len(rows):
            raise GlatError(f"{path}: its clips and its ledger's are not the {len(rows)} of the list; pack again")
        shard_kinds = Counter(map(Kind, ledger["kind"]))
        kinds.update(shard_kinds)
        reasons.update(ledger["reason"])
        listing = data.listing(name, shard)
        listed = _table(listing, ("clip", "reason"), "download")
        notes.update(note for note in listed.get("note", ()) if note)
        if any(kind.fate == Fate.PASSING for kind in shard_kinds):
            again.append(str(listing.relative_to(root)))
        found["video"] = pd.util.hash_array(rows["youtube_id"].to_numpy(object)[found.pop("row")])
        shards.append(found)
        for key in ("sample_rate", "clip_seconds"):
            if found[key] != shards[0][key]:
                raise GlatError(f"{path}: {key} is {found[key]}, but {paths[0]} has {shards[0][key]}; pack again")

    def concatenate(key: str) -> np.ndarray:
        return np.concatenate([shard.pop(key) for shard in shards])

    counts = [len(shard["clip"]) for shard in shards]
    return Split(
        dataset=dataset,
        name=name,
        asked=len(segments),
        classes=classes,
        sample_rate=shards[0]["sample_rate"],
        clip_seconds=shards[0]["clip_seconds"],
        paths=paths,
        kinds=kinds,
        reasons=reasons,
        notes=notes,
        again=again,
        clips=concatenate("clip"),
        videos=concatenate("video"),
        audio=concatenate("audio"),
        seconds=concatenate("seconds"),
        statistics={key: concatenate(key) for key in STATISTICS},
        labels_asked=np.bincount(audioset.labels(segments, classes).indices, minlength=len(classes)),
        labels_got=np.sum([shard["labels"] for shard in shards], axis=0),
        first=np.cumsum([0, *counts]),
        unlabelled=int((segments["labels"].str.len() == 0).sum()),
    )


def _read_pack(path: Path, rows: pd.DataFrame, classes: pd.DataFrame) -> dict:
    """A pack's rows as arrays; `row` is the place of each in the list."""
    with open_pack(path) as pack:
        try:
            made_from = json.loads(pack.attrs["provenance"])["segments_sha256"]
            if made_from != audioset.segments_hash(rows) or list(pack["class_mid"].asstr()[:]) != list(classes["mid"]):
                raise GlatError(f"{path}: made from another list of clips or classes than is there now; pack again")
            names = _bytes(pack["clip"])
            place = pd.Index(rows["clip"]).get_indexer(names.astype(str).astype(object))
            digest = bytes.fromhex(_bytes(pack["blake2b"]).tobytes().decode())
            found = {key: pack[key][:] for key in STATISTICS}
            seconds = pack["end"][:] - pack["start"][:]
            # A list may say of recordings that are kept whole how long they are at most, and no more.
            most = found["source_seconds"] if "length" in pack else pack.attrs["clip_seconds"]
            return found | {
                "seconds": np.minimum(seconds, most),
                "clip": names,
                "row": place,
                "audio": np.frombuffer(digest, np.uint64).reshape(len(names), 2),
                "labels": pack["target"][:].sum(axis=0, dtype=np.int64),
                "sample_rate": int(pack.attrs["sample_rate"]),
                "clip_seconds": float(pack.attrs["clip_seconds"]),
            }
        except (KeyError, OSError, ValueError) as error:
            why = refusal(error) or f"damaged pack ({error}); delete it and run `snakemake packs` again"
            raise GlatError(f"{path}: {why}") from None


def _bytes(texts: h5py.Dataset) -> np.ndarray:
    """Texts of fixed width as numpy bytes: no Python object a clip."""
    return np.asarray(texts[:], f"S{texts.dtype.itemsize}")


def _table(path: Path, columns: tuple[str, ...], step: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, **STRINGS)
    except FileNotFoundError:
        raise GlatError(f"{path}: no such file; run the {step} step") from None
    except (OSError, ValueError) as error:
        why = refusal(error) or f"cannot be read ({error}); run the {step} step again"
        raise GlatError(f"{path}: {why}") from None
    if lost := [name for name in columns if name not in table]:
        raise GlatError(f"{path}: has no column {lost[0]}; run the {step} step again")
    if "kind" in columns and len(odd := set(table["kind"]) - set(Kind)):
        raise GlatError(f"{path}: {min(odd)!r} is not a known kind of loss; run the {step} step again")
    return table
