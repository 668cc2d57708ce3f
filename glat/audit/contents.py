"""What is there and what is not: losses, classes, duplicates, and clips that training and evaluation share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from ..data.kinds import Fate, Kind
from ..results.published import PANNS_CLIPS
from .gather import Split
from .rows import Row, Verdict, few, judge, percent
from .signs import LEAST

# What a kind of loss may come from beside the clips themselves: the share of the clips asked for above which it is
# reported, and the likely cause.
CAUSES = {
    Kind.SILENT: (0.05, "float samples were written as integers without scaling, or files that were missing as zeros"),
    Kind.CONSTANT: (0.02, "samples were overwritten or never written"),
    Kind.NOT_FINITE: (0.01, "a division by a level of zero when clips were normalised"),
    Kind.TOO_LONG: (0.05, "uncut videos, or audio read at a lower sample rate than it has"),
    Kind.TOO_SHORT: (0.05, "downloads that broke off, or audio read at a higher sample rate than it has"),
    Kind.TRUNCATED: (0.02, "downloads or copies that broke off: get these files again"),
    Kind.UNDECODABLE: (0.02, "files that are no audio, such as a web page that says sorry"),
    Kind.NOT_LISTED: (0.0, "the download step's listing is of another list: run it again"),
}
SHOWN = 100  # duplicates and shared clips that are named


def losses(split: Split) -> Iterator[Row]:
    """Asked for, got and lost by kind of reason, beside what the authors of PANNs got."""
    yield Row(split.name, "clips", "asked for", split.asked)
    yield Row(split.name, "clips", "got", split.got)
    lost = 1 - split.got / split.asked
    why = f"{percent(lost)} of the clips that the list asks for are lost"
    # The authors of PANNs lost 6 to 7 %, and more videos have gone since. Beyond half, few classes and none of
    # the rare ones keep their numbers: a score on what is left says little about AudioSet.
    yield Row(split.name, "clips", "share lost", lost, "at most 30%", judge(lost, 0.3, 0.5, why))
    asked, got = PANNS_CLIPS.get(split.name, (0, 0))
    if asked == split.asked:
        yield Row(split.name, "clips", "got by PANNs", got)
        yield Row(split.name, "clips", "share lost by PANNs", 1 - got / asked)
    if passing := sum(count for kind, count in split.kinds.items() if kind.fate == Fate.PASSING):
        shards = " ".join(split.again) if len(split.again) <= 8 else "download"
        why = (
            f"{passing} clips failed for a reason that may pass; `snakemake packs --cores all --config "
            f"dataset={split.dataset} -R {shards}` asks for them again"
        )
        finding = judge(passing / split.asked, 0.005, None, why)
        yield Row(split.name, "clips", "may be got by another download", passing, "at most 0.5%", finding)
    for kind, count in split.kinds.most_common():
        limit, cause = CAUSES.get(kind, (1.0, ""))
        finding, expected = Verdict(), ""
        if cause:
            share = count / split.asked
            why = f"{percent(share)} of the clips asked for are lost as '{kind}'. Likely cause: {cause}"
            finding, expected = judge(share if count >= LEAST else 0, limit, None, why), f"at most {percent(limit)}"
        yield Row(split.name, "lost", kind.value, count, expected, finding)
    for note, count in sorted(split.notes.items()):
        # A source that has labels of its own compares them: many differences mean that names or lists do not fit.
        why = f"{percent(count / split.asked)} of the clips are noted '{note}'. Likely cause: audio and list do not fit"
        finding = judge(count / split.asked if count >= LEAST else 0, 0.01, 0.2, why)
        yield Row(split.name, "noted", note, count, "at most 1%", finding)


def classes(splits: list[Split], train: list[str], evaluate: list[str]) -> Iterator[Row]:
    """Clips of each class, got and asked for, and the classes that cannot be learned or scored."""
    for split in splits:
        names = split.classes["display_name"]
        for name, got, asked in zip(names, split.labels_got, split.labels_asked, strict=True):
            yield Row(split.name, "clips of a class", name, int(got), str(asked))
        yield Row(split.name, "clips without a class", "asked for, negatives of all", split.unlabelled)
    names = splits[0].classes["display_name"].to_numpy()
    for role, parts, without in (("training", train, "cannot be learned"), ("evaluation", evaluate, "is not scored")):
        got, asked = (
            np.sum([getattr(split, key) for split in splits if split.name in parts], axis=0)
            for key in ("labels_got", "labels_asked")
        )
        empty = (got == 0) & (asked > 0)
        share = float(empty.mean())
        why = f"{int(empty.sum())} classes lost all their {role} clips, and such a class {without}: {few(names[empty])}"
        finding = judge(share, 0.0, 0.5, why)
        yield Row("all", f"classes without {role} clips", "lost all", int(empty.sum()), "0", finding)
        yield Row("all", f"classes without {role} clips", "none in the list", int((asked == 0).sum()))


def duplicates(splits: list[Split]) -> Iterator[Row]:
    """Clips that hold, sample for sample, the audio of another id in the same split."""
    for split in splits:
        groups = _groups(split.audio)
        count = int(np.count_nonzero(groups >= 0))
        share = count / split.got
        # Videos are uploaded twice, but coded anew: equal samples are rare. A twentieth is one file under many names.
        why = (
            f"{percent(share)} of clips have the same audio as another id. Likely cause: one file was stored under "
            "several names, or the source has copies"
        )
        finding = judge(share if count >= LEAST else 0, 0.005, 0.05, why)
        yield Row(split.name, "duplicates", "share of clips", share, "at most 0.5%", finding)
        found = np.flatnonzero(groups >= 0)
        found = found[np.argsort(groups[found], kind="stable")]
        for group in np.unique(groups[found])[:SHOWN]:
            names = [split.clips[clip].decode() for clip in found[groups[found] == group]]
            yield Row(split.name, "same audio", names[0], few(names[1:]))


def overlap(splits: list[Split], train: list[str], evaluate: list[str], validate: list[str]) -> Iterator[Row]:
    """What training, validation and evaluation share, by YouTube id and by audio, and what other pairs of splits do.

    A clip that was trained on is no test, nor is one that the network was selected by. One in a hundred moves a score by about
    as much as the differences that are to be measured; fewer do not, and are named.
    """
    for a, b in combinations(splits, 2):
        tests = a.name in evaluate or (a.name in validate and b.name not in evaluate)
        first, second = (b, a) if tests else (a, b)
        apart = any(
            (first.name in one and second.name in other) or (second.name in one and first.name in other)
            for one, other in combinations((train, validate, evaluate), 2)
        )
        for key, of, what in (("video", "videos", "come from a video that"), ("audio", "audio", "have audio that")):
            shared = _shared_indices(getattr(first, of), getattr(second, of))
            share = len(shared) / second.got
            finding, expected = Verdict(), ""
            if apart:
                names = few(second.clips[i].decode() for i in shared)
                why = f"{len(shared)} clips ({percent(share)}) of {second.name} {what} {first.name} has too: {names}"
                why += ". Likely cause: lists of different releases, or uploads of one recording"
                finding, expected = judge(share, 0, 0.01, why), "0"
            yield Row("all", f"shared by {key}", f"{first.name}, {second.name}", len(shared), expected, finding)
            for i in shared[:SHOWN]:
                yield Row(second.name, f"shared by {key} with {first.name}", second.clips[i].decode(), 1)


def _pairs(audio: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"high": audio[:, 0], "low": audio[:, 1]})


def _groups(audio: np.ndarray) -> np.ndarray:
    """(clips,) the number of the group of equal hashes, -1 for a clip whose hash is its own."""
    table = _pairs(audio)
    groups = table.groupby(["high", "low"], sort=False).ngroup().to_numpy()
    return np.where(table.duplicated(keep=False).to_numpy(), groups, -1)


def _shared_indices(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Indices into `second` of the entries that are in `first` too: hashes (clips,) or (clips, 2)."""
    if first.ndim == 1:
        return np.flatnonzero(np.isin(second, first))
    both = _pairs(second).merge(_pairs(first).drop_duplicates(), how="left", indicator=True)["_merge"] == "both"
    return np.flatnonzero(both)
