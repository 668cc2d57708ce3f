"""Tables, figures and the report."""

from __future__ import annotations

from glob import glob
from pathlib import Path
from typing import Annotated

import typer

from ..lib.errors import tell
from ..results.registry import PARTIAL, RESULTS, Result
from .app import app, load_params


def _result(name: str, result: Result):
    def write() -> None:
        params = load_params()
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
    from ..use import explain as explaining

    params = load_params()
    explaining.examples(params, Path("results") / params.dataset / "clips")


_result("report", RESULTS["report"])


@app.command("common-clips")
def common_clips(
    lists: Annotated[
        list[Path], typer.Argument(help="Folders of runs, manifests (clips.txt) or other lists of clips.")
    ],
) -> None:
    """Print the clips that all of several evaluations have: a list for evaluation.only."""
    from ..scoring import manifest

    shared = manifest.common(lists)
    print(manifest.manifest(shared), end="")
    tell(f"{len(shared)} clips in common of {' and '.join(map(str, manifest.counts(lists)))}")


@app.command()
def record(
    record: Annotated[Path, typer.Argument(help="The record, as in records/mini/table1.json.")],
    outputs: Annotated[list[str], typer.Argument(help="What it is of: paths, or patterns of paths.")],
) -> None:
    """Keep what files were made from, so that DVC carries it with them and Snakemake knows it elsewhere."""
    from ..lib import records

    records.write(record, (path for one in outputs for path in (glob(one) if "*" in one else [one])))


@app.command()
def partial() -> None:
    """After failed runs: write the figures that lack nothing else, and the report, into partial/, naming what is
    missing."""
    from ..config import experiments
    from ..lib.files import remove
    from ..results.measured import only_failures

    params = load_params()
    written: list[str] = []
    remove(Path("results") / params.dataset / PARTIAL)
    for name, result in RESULTS.items():
        runs = experiments.runs_of(experiments.systems_of(params, name))
        if result.tolerant and (only_failures(runs) if name != "report" else written):
            result.write(params, with_missing=True)
            written.append(name)
    if written:
        place = f"results/{params.dataset}/{PARTIAL}"
        tell(f"written without the failed runs, in {place}: {', '.join(written)}")
