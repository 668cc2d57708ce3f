"""Steps of the data: lists, audio, packs."""

from __future__ import annotations

from typing import Annotated

import typer

from ..lib.errors import GlatError, tell
from ..lib.layout import Data, results
from .app import Application, InOrder, Shard, Split, Threads, Workers, app, invocation, load_params


def _open_shard(split: str, shard: int):
    """The settings, the dataset's folder, the class list, and the numbers of the shard's rows in the split's list."""
    from ..config.runs import check_splits
    from ..data.lists import audioset

    params = load_params()
    entry, data = params.corpus, Data(params.dataset)
    check_splits(params, params.dataset, [split])
    if not data.class_list.exists():
        raise GlatError(f"{data.class_list}: no such file; run `glat metadata` first")
    rows = audioset.shard_range(entry.splits[split], shard, entry.shard_size)
    return params, data, audioset.read_class_list(data.class_list), rows


datasets = Application(cls=InOrder)
app.add_typer(
    datasets, name="dataset", help="A new dataset of your own; alone, it writes the settings that DVC tracks."
)


@datasets.callback(invoke_without_command=True)
def dataset(context: typer.Context) -> None:
    """Write the chosen dataset's settings, without secrets, to a file that DVC tracks."""
    if context.invoked_subcommand:
        return
    import json

    from ..config.params import public
    from ..lib.files import whole

    params = load_params()
    entry = public(params)["datasets"][params.dataset]
    with whole(Data(params.dataset).settings) as part:
        part.write_text(json.dumps(entry, indent=1, sort_keys=True) + "\n")


@datasets.command()
def new(
    name: Annotated[str, typer.Argument(help="What the dataset is called in params.yaml.")],
    audio: Annotated[str, typer.Option(help="The folder of recordings.")],
    labels: Annotated[str, typer.Option(help="The table of labels: CSV or TSV.")],
    file: Annotated[str | None, typer.Option(help="Its column of files.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Its column of labels; given several times: a column for each class.")
    ] = None,
    separator: Annotated[str | None, typer.Option(help="What stands between several labels.")] = None,
    split: Annotated[str | None, typer.Option(help="Its column of splits.")] = None,
    group: Annotated[str | None, typer.Option(help="Its column of recordings that clips are of.")] = None,
    start: Annotated[str | None, typer.Option(help="Its column of times at which clips begin, in seconds.")] = None,
    end: Annotated[str | None, typer.Option(help="Its column of times at which clips end.")] = None,
    train: Annotated[list[str] | None, typer.Option(help="A split to train on.")] = None,
    evaluate: Annotated[list[str] | None, typer.Option(help="A split to evaluate on.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="A class list with ids of your own, such as AudioSet's: mid, display_name.")
    ] = None,
    strong: Annotated[str | None, typer.Option(help="A table of events: file, start, end, label.")] = None,
    allow_shared: Annotated[
        bool, typer.Option("--allow-shared", help="Parts of one recording may be trained and evaluated on.")
    ] = False,
    validation: Annotated[
        float, typer.Option(help="Share of the clips to select the network on, where the table has no splits.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="With which splits are drawn, where the table has none.")] = 0,
) -> None:
    """Look at a folder of recordings and its labels, and write an entry for it into params.yaml."""
    from ..config import proposal
    from ..data import survey
    from ..data.sources.registry import open_source
    from ..data.sources.table import RecordingTable

    path = invocation["path"]
    proposal.check_name(path, name)
    labels_in = label[0] if label and len(label) == 1 else label
    columns: dict[str, object] = {
        "file": file,
        "label": labels_in,
        "separator": separator,
        "split": split,
        "group": group,
        "start": start,
        "end": end,
        "classes": proposal.own_path(classes) if classes else None,
        "strong": proposal.own_path(strong) if strong else None,
        "allow_shared": allow_shared or None,
    }
    given: dict[str, object] = {"kind": "table", "audio": proposal.own_path(audio), "labels": proposal.own_path(labels)}
    given |= {key: value for key, value in columns.items() if value is not None}
    draw = {key: value for key, value in (("validation", validation), ("seed", seed)) if value}
    given |= {"splits": draw} if draw else {}
    source = open_source(given, name)
    assert isinstance(source, RecordingTable)
    found = survey.survey(source)
    if validation and (column := found.table.columns.split):
        raise GlatError(
            f"--validation: {labels} has splits of its own, in column {column!r}; call some of them val there, or pass "
            '--split ""'
        )
    print("\n".join(survey.describe(found)))
    entry = proposal.entry(given, found, train, evaluate)
    proposal.insert(path, name, proposal.as_yaml(name, entry, found))
    print(f"\nIts packs take {proposal.packs(path, name, found)}.")
    print(f"New entry in {path}: datasets.{name}. Look at it, then train on it and explain what was learnt:\n")
    print(f"  snakemake results/table1.csv --cores 8 --config dataset={name}")
    print(f"  glat explain {proposal.example_run(path, name)} {proposal.example(given, found)}")


@app.command()
def fetch() -> None:
    """Get what a dataset has as whole files, such as archives, for all of its shards."""
    import json

    from ..data.sources.registry import open_source
    from ..lib.files import locked, whole

    params = load_params()
    source, data = open_source(params.corpus.source, params.dataset), Data(params.dataset)
    if not source.fetches:
        tell(f"{params.dataset}: its source has nothing to fetch")
        return
    data.source.mkdir(parents=True, exist_ok=True)
    with locked(data.source / ".lock", f"{data.source}: another process fetches it; waiting for it to end"):
        found = source.fetch_all(data.source, params.fetch.limits, list(params.corpus.splits))
    with whole(data.fetched) as part:
        part.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


@app.command()
def metadata() -> None:
    """Get the class list and the segment lists, and check them."""
    from ..data.lists import metadata as lists
    from ..data.sources import ListedSource
    from ..data.sources.registry import open_source
    from ..lib.files import locked, whole

    params = load_params()
    entry, place = params.corpus, Data(params.dataset).metadata
    source = open_source(entry.source, params.dataset)
    waiting = f"{place}: another process makes it; waiting for it to end"
    with locked(place.with_name(".metadata.lock"), waiting), whole(place) as folder:
        folder.mkdir()
        if isinstance(source, ListedSource):
            source.check_clips(params.audio.clip_seconds)
            source.write_lists(folder, dict(entry.splits), Data(params.dataset).source)
            lists.check(folder, params.dataset, entry.classes, dict(entry.splits))
        else:
            sizes = params.dataset, entry.classes, dict(entry.splits)
            lists.collect(entry.lists(), folder, *sizes, entry.checksums(), params.fetch.limits)


@app.command()
def download(split: Split, shard: Shard, workers: Workers = 1) -> None:
    """Get (for `mini`: make) the audio of one shard."""
    from ..data.lists import audioset, listings
    from ..data.sources import Shard
    from ..data.sources.registry import open_source
    from ..lib.files import whole

    params, data, classes, rows = _open_shard(split, shard)
    everything = audioset.read_segments(data.segments(split), classes)
    segments = audioset.shard_rows(everything, shard, params.corpus.shard_size)
    source = open_source(params.corpus.source, params.dataset)
    folder = data.audio(split, shard)
    folder.mkdir(parents=True, exist_ok=True)
    listing = source.fetch(Shard(segments, folder, split, rows.start, workers, classes, everything, data.source))
    with whole(data.listing(split, shard)) as part:
        listings.add_segments(listing, segments, rows.start, data.segments(split)).to_csv(part, index=False)
    lost = int((listing["file"] == "").sum())
    tell(f"{folder}: {len(listing) - lost} clips, {lost} lost")


@app.command()
def resample(split: Split, shard: Shard, workers: Workers = 1) -> None:
    """Decode one shard to mono at one rate and length."""
    from ..data import room
    from ..data.audio.clips import Limits
    from ..data.lists import listings
    from ..data.resample import resample_shard
    from ..data.sources.registry import open_source

    params, data, _, rows = _open_shard(split, shard)
    listing, segments = listings.read(data.listing(split, shard), rows, data.segments(split))
    out, audio = data.resampled(split, shard), params.audio
    source, limits = open_source(params.corpus.source, params.dataset), Limits(**audio.limits.model_dump())
    if source.recordings:
        how = audio.sample_rate, audio.clip_seconds, audio.codec, limits
        room.need(room.of_listing(listing, segments, data.audio(split, shard), *how), out)
    kept, lost = resample_shard(
        segments,
        listing,
        data.audio(split, shard),
        out,
        rate=audio.sample_rate,
        seconds=audio.clip_seconds,
        workers=workers,
        min_seconds=audio.min_seconds,
        codec=audio.codec,
        read=source.read,
        in_place=source.used_in_place,
        limits=limits,
        recordings=source.recordings,
    )
    tell(f"{out}: {kept} clips, {lost} lost")


@app.command()
def pack(split: Split, shard: Shard) -> None:
    """Pack one shard into HDF5, and list the clips that were lost."""
    from ..data.lists import listings
    from ..data.packs.write import pack_shard
    from ..data.sources.registry import identity

    params, data, classes, rows = _open_shard(split, shard)
    _, segments = listings.read(data.listing(split, shard), rows, data.segments(split))
    out, ledger = data.pack(split, shard), data.ledger(split, shard)
    origin = {"dataset": params.dataset, "split": split, "shard": shard}
    origin["source"] = identity(params.corpus.source)
    kept, lost = pack_shard(
        data.resampled(split, shard),
        segments,
        classes,
        out_h5=out,
        out_ledger=ledger,
        rate=params.audio.sample_rate,
        provenance=origin,
    )
    tell(f"{out}: {kept} clips, {lost} lost (see {ledger})")


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
    folder = results(params.dataset)
    found = report.write(params, folder)
    print(f"{params.dataset}: {report.summary(found)}\n  see {folder}/audit.html")
    if strict and not found.fit:
        raise GlatError(f"{params.dataset} is {found.verdict}")
