"""The `glat` command: one thin subcommand per step, in the order in which they run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from typer.core import TyperGroup

from .errors import GlatError
from .results import PARTIAL, RESULTS, Result


class InOrder(TyperGroup):
    """Lists subcommands as they are defined: in the order of the pipeline."""

    def list_commands(self, ctx) -> list[str]:
        return list(self.commands)


app = typer.Typer(
    cls=InOrder,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Weakly labelled audio tagging with GL-AT, step by step. Each step is also a Snakemake rule: "
    "`snakemake --cores 8 results/table1.csv` runs them all.",
)

Split = Annotated[str, typer.Argument(help="A split of the dataset, as datasets.*.splits of params.yaml names it.")]
Shard = Annotated[int, typer.Argument(help="Number of the shard, from 0.")]
Workers = Annotated[int, typer.Option(help="Processes to work with.")]
Threads = Annotated[int, typer.Option(help="Threads to compute on; 0: all cores.")]
RunFile = Annotated[Path, typer.Argument(help="A run's config.yaml.")]

_options: dict[str, Any] = {}


@app.callback()
def options(
    params: Annotated[Path, typer.Option(help="The settings.")] = Path("params.yaml"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting, as in glat.tau=2.")
    ] = None,
) -> None:
    # What Snakemake's command line changed comes as JSON in the environment.
    _options["path"], _options["overrides"] = params, json.loads(os.environ.get("GLAT_SETTINGS", "{}"))
    for item in set_ or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise GlatError(f"--set {item}: expected KEY=VALUE, as in --set glat.tau=2")
        try:
            _options["overrides"][key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise GlatError(f"--set {item}: {value!r} is not a value in YAML") from None


def _params():
    from .config import load

    return load(_options["path"], _options["overrides"])


def _segments(split: str, shard: int):
    """The dataset's entry, its class list, a shard's segments and the number of the first of them."""
    from .data import audioset

    params = _params()
    entry, folder = params.chosen, Path("data") / params.dataset / "metadata"
    if split not in entry.splits:
        raise GlatError(f"{params.dataset} has no split {split!r}; it has {', '.join(entry.splits)}")
    classes = audioset.read_class_list(folder / "class_labels_indices.csv")
    segments = audioset.read_segments(folder / f"{split}_segments.csv", classes)
    return params, classes, audioset.shard_rows(segments, shard, entry.shard_size), shard * entry.shard_size


def _place(kind: str, dataset: str, split: str, shard: int) -> Path:
    return Path("data") / dataset / kind / split / f"{shard:03d}"


@app.command()
def metadata() -> None:
    """Get the class list and the segment lists, and check them."""
    from .data import metadata as lists
    from .data.sources import open_source
    from .files import whole

    params = _params()
    entry = params.chosen
    source, settings = open_source(entry.source, params.dataset)
    with whole(Path("data") / params.dataset / "metadata") as folder:
        folder.mkdir()
        if hasattr(source, "write_metadata"):
            source.write_metadata(folder, dict(entry.splits), **settings)
        else:
            lists.collect(entry.lists(), folder)
        lists.check(folder, params.dataset, entry.classes, dict(entry.splits))


@app.command()
def download(split: Split, shard: Shard, workers: Workers = 1) -> None:
    """Get (for `mini`: make) the audio of one shard."""
    from .data.sources import open_source
    from .files import whole

    params, _, segments, first = _segments(split, shard)
    source, settings = open_source(params.chosen.source, params.dataset)
    folder = _place("audio", params.dataset, split, shard)
    folder.mkdir(parents=True, exist_ok=True)
    listing = source.fetch(segments, folder, split, first, workers=workers, **settings)
    with whole(folder.with_suffix(".csv")) as part:
        listing.to_csv(part, index=False)
    lost = int((listing["reason"] != "").sum())
    print(f"{folder}: {len(listing) - lost} clips, {lost} lost", file=sys.stderr)


@app.command()
def resample(split: Split, shard: Shard, workers: Workers = 1) -> None:
    """Decode one shard to mono at one rate and length."""
    from .data.resample import resample_shard
    from .data.sources import open_source

    params, _, segments, _ = _segments(split, shard)
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
        bool(settings.get("in_place")),
    )
    print(f"{out}: {kept} clips, {lost} lost", file=sys.stderr)


@app.command()
def pack(split: Split, shard: Shard) -> None:
    """Pack one shard into HDF5, and list the clips that were lost."""
    from .data.pack import pack_shard

    params, classes, segments, _ = _segments(split, shard)
    out = _place("packs", params.dataset, split, shard)
    origin = {"dataset": params.dataset, "split": split, "shard": shard, "source": params.chosen.source}
    ledger, rate = out.with_suffix(".ledger.csv"), params.audio.sample_rate
    resampled = _place("resampled", params.dataset, split, shard)
    kept, lost = pack_shard(resampled, segments, classes, out.with_suffix(".h5"), ledger, rate, origin)
    print(f"{out}.h5: {kept} clips, {lost} lost (see {ledger})", file=sys.stderr)


@app.command()
def configure(name: Annotated[str, typer.Argument(help="A run, as in cnn10-glat-s0.")]) -> None:
    """Write the config.yaml of a run: all that its training depends on."""
    from .experiments import all_runs
    from .runs import write_run

    runs = all_runs(_params())
    if name not in runs:
        raise GlatError(f"there is no run {name}; params.yaml asks for {', '.join(runs)}")
    write_run(runs[name], runs[name].folder / "config.yaml")


@app.command()
def train(config: RunFile, threads: Threads = 0) -> None:
    """Train a run; a training that was interrupted goes on where it was."""
    from .runs import read_run

    run = read_run(config)
    from . import training  # takes seconds to import

    training.train(run, config.parent, threads)


@app.command()
def evaluate(config: RunFile, threads: Threads = 0) -> None:
    """Score a trained run on the evaluation clips, with intervals."""
    from .runs import read_run, split_packs

    run, params = read_run(config), _params()
    if run.dataset not in params.datasets:
        raise GlatError(f"{config}: dataset {run.dataset!r} is not an entry of datasets in {_options['path']}")
    packs = split_packs(params, run.dataset, params.datasets[run.dataset].evaluate)
    from . import evaluation

    evaluation.evaluate(config.parent / "checkpoint.pt", packs, params.evaluation, config.parent, threads)


def _result(name: str, result: Result):
    def write() -> None:
        params = _params()
        result.write(params)
        page = Path("results") / params.dataset / f"{name}.md"
        if page.exists():
            print(page.read_text())

    app.command(name, help=result.title + ".")(write)


for _name, _entry in RESULTS.items():
    if _name == "report":
        continue  # below, after `examples`, which it shows
    _result(_name, _entry)


@app.command()
def examples() -> None:
    """Draw a few evaluation clips, taken by lot, for the report."""
    from . import explain as explaining

    params = _params()
    explaining.examples(params, Path("results") / params.dataset / "clips")


_result("report", RESULTS["report"])


@app.command()
def partial() -> None:
    """After failed runs: write the figures that lack nothing else, and the report, into partial/, naming what is missing."""
    from . import experiments
    from .files import remove
    from .results.measured import only_failures

    params, written = _params(), []
    remove(Path("results") / params.dataset / PARTIAL)
    for name, result in RESULTS.items():
        runs = experiments.runs_of(experiments.systems_of(params, name))
        if result.tolerant and (only_failures(runs) if name != "report" else written):
            result.write(params, with_missing=True)
            written.append(name)
    if written:
        place = f"results/{params.dataset}/{PARTIAL}"
        print(f"written without the failed runs, in {place}: {', '.join(written)}", file=sys.stderr)


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    clip: Annotated[str, typer.Argument(help="An evaluation clip, as <id>_<start in ms>, or an audio file.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to draw, without a suffix; the default is explain/<clip> in the run.")
    ] = None,
) -> None:
    """Picture one clip: log-mel, activations, windows, scores of both streams, and the true events where known."""
    from . import explain as explaining
    from .runs import read_run

    # The run's own dataset, whichever params.yaml chooses now.
    _options["overrides"]["dataset"] = read_run(run / "config.yaml").dataset
    out = out or run / "explain" / Path(clip).stem
    explaining.explain(run / "checkpoint.pt", clip, *explaining.corpus(_params()), out)
    print(f"{out}.svg\n{out}.png")


@app.command()
def tag(
    checkpoint: Annotated[Path, typer.Argument(help="A run's checkpoint.pt.")],
    files: Annotated[list[Path], typer.Argument(help="Audio files of any format and length.")],
    top: Annotated[int, typer.Option(help="Classes to print for each clip.")] = 5,
) -> None:
    """Tag sounds with a trained run: file, start and end in seconds, score, class."""
    from . import tagging

    lost = 0
    for found in tagging.tag(checkpoint, files, top):
        if isinstance(found, tagging.Failure):
            print(f"glat: {found.file}: {found.reason}", file=sys.stderr)
            lost += 1
            continue
        print(f"{found.file}\t{found.start:.1f}\t{found.end:.1f}\t{found.score:.3f}\t{found.label}", flush=True)
    if lost:
        raise GlatError(f"{lost} of {len(files)} files were not tagged")


def main() -> None:
    """Run the command; a `GlatError` becomes one line on stderr and exit status 1."""
    try:
        app()
    except GlatError as error:
        print(f"glat: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
