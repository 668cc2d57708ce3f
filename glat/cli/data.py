"""Steps of the data: lists, audio, packs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..lib.errors import GlatError, tell
from .app import Shard, Split, Threads, Workers, app, load_params


def _lists(split: str, shard: int):
    """The settings, the class list, the path of the split's segment list, and the numbers of the shard's rows in it."""
    from ..data.lists import audioset

    params = load_params()
    entry, folder = params.chosen, Path("data") / params.dataset / "metadata"
    if split not in entry.splits:
        raise GlatError(f"{params.dataset} has no split {split!r}; it has {', '.join(entry.splits)}")
    if not (listed := folder / "class_labels_indices.csv").exists():
        raise GlatError(f"{listed}: no such file; run `glat metadata` first")
    rows = audioset.shard_range(entry.splits[split], shard, entry.shard_size)
    return params, audioset.read_class_list(listed), folder / f"{split}_segments.csv", rows


def _place(kind: str, dataset: str, split: str, shard: int) -> Path:
    return Path("data") / dataset / kind / split / f"{shard:03d}"


@app.command()
def dataset() -> None:
    """Note the chosen dataset's settings, without passwords and the ways by which its audio is got: for DVC."""
    import json

    from ..config.params import public
    from ..lib.files import whole

    params = load_params()
    entry = public(params)["datasets"][params.dataset]
    with whole(Path("data") / params.dataset / "dataset.json") as part:
        part.write_text(json.dumps(entry, indent=1, sort_keys=True) + "\n")


@app.command()
def metadata() -> None:
    """Get the class list and the segment lists, and check them."""
    from ..data.lists import metadata as lists
    from ..data.sources.registry import open_source
    from ..lib.files import locked, whole

    params = load_params()
    entry, place = params.chosen, Path("data") / params.dataset / "metadata"
    source, settings = open_source(entry.source, params.dataset)
    waiting = f"{place}: another process makes it; waiting for it to end"
    with locked(place.with_name(".metadata.lock"), waiting), whole(place) as folder:
        folder.mkdir()
        if hasattr(source, "write_metadata"):
            source.write_metadata(folder, dict(entry.splits), settings)
            lists.check(folder, params.dataset, entry.classes, dict(entry.splits))
        else:
            sizes = params.dataset, entry.classes, dict(entry.splits)
            lists.collect(entry.lists(), folder, *sizes, entry.checksums(), params.fetch)


@app.command()
def download(split: Split, shard: Shard, workers: Workers = 1) -> None:
    """Get (for `mini`: make) the audio of one shard."""
    from ..data.lists import audioset
    from ..data.sources import Shard
    from ..data.sources.registry import open_source
    from ..lib.files import whole

    params, classes, path, rows = _lists(split, shard)
    everything = audioset.read_segments(path, classes)
    segments = audioset.shard_rows(everything, shard, params.chosen.shard_size)
    source, settings = open_source(params.chosen.source, params.dataset)
    folder = _place("audio", params.dataset, split, shard)
    folder.mkdir(parents=True, exist_ok=True)
    listing = source.fetch(Shard(segments, folder, split, rows.start, workers, classes, everything), settings)
    with whole(folder.with_suffix(".csv")) as part:
        listing.to_csv(part, index=False)
    lost = int((listing["reason"] != "").sum())
    tell(f"{folder}: {len(listing) - lost} clips, {lost} lost")


@app.command()
def resample(split: Split, shard: Shard, workers: Workers = 1) -> None:
    """Decode one shard to mono at one rate and length."""
    from ..data.audio.clips import Limits
    from ..data.lists import audioset
    from ..data.resample import resample_shard
    from ..data.sources.registry import open_source

    params, classes, path, rows = _lists(split, shard)
    segments = audioset.read_segments(path, classes, rows)
    folder = _place("audio", params.dataset, split, shard)
    out, audio = _place("resampled", params.dataset, split, shard), params.audio
    source, settings = open_source(params.chosen.source, params.dataset)
    kept, lost = resample_shard(
        segments,
        folder.with_suffix(".csv"),
        folder,
        out,
        audio.sample_rate,
        audio.clip_seconds,
        workers,
        audio.min_seconds,
        audio.codec,
        getattr(source, "read", None),
        getattr(settings, "in_place", False),
        Limits(**audio.limits.model_dump()),
    )
    tell(f"{out}: {kept} clips, {lost} lost")


@app.command()
def pack(split: Split, shard: Shard) -> None:
    """Pack one shard into HDF5, and list the clips that were lost."""
    from ..data.lists import audioset
    from ..data.packs.write import pack_shard
    from ..data.sources.registry import identity

    params, classes, path, rows = _lists(split, shard)
    segments = audioset.read_segments(path, classes, rows)
    out = _place("packs", params.dataset, split, shard)
    origin = {"dataset": params.dataset, "split": split, "shard": shard}
    origin["source"] = identity(params.chosen.source)
    ledger, rate = out.with_suffix(".ledger.csv"), params.audio.sample_rate
    resampled = _place("resampled", params.dataset, split, shard)
    kept, lost = pack_shard(resampled, segments, classes, out.with_suffix(".h5"), ledger, rate, origin)
    tell(f"{out}.h5: {kept} clips, {lost} lost (see {ledger})")


@app.command()
def audit(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 if the corpus is not fit.")] = False,
    threads: Threads = 0,
) -> None:
    """Judge whether the packed corpus is fit for training, and write audit.csv and audit.html."""
    from ..audit import report
    from ..lib.hardware import use_threads

    use_threads(threads)
    params = load_params()
    folder = Path("results") / params.dataset
    found = report.write(params, folder)
    print(f"{params.dataset}: {report.summary(found)}\n  see {folder}/audit.html")
    if strict and not found.fit:
        raise GlatError(f"{params.dataset} is {found.verdict}")
