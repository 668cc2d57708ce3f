"""What a trained run is good for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import GlatError
from .app import app, chosen, load_params


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    clip: Annotated[str, typer.Argument(help="An evaluation clip, as <id>_<start in ms>, or an audio file.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to draw, without a suffix; the default is explain/<clip> in the run.")
    ] = None,
) -> None:
    """Picture one clip: log-mel, activations, windows, scores of both streams, and the true events where known."""
    from .. import explain as explaining
    from ..runs import read_run

    # The run's own dataset, whichever params.yaml chooses now.
    chosen["overrides"]["dataset"] = read_run(run / "config.yaml").dataset
    out = out or run / "explain" / Path(clip).stem
    explaining.explain(run / "checkpoint.pt", clip, *explaining.corpus(load_params()), out)
    print(f"{out}.svg\n{out}.png")


@app.command()
def tag(
    checkpoint: Annotated[Path, typer.Argument(help="A run's checkpoint.pt.")],
    files: Annotated[list[Path], typer.Argument(help="Audio files of any format and length.")],
    top: Annotated[int, typer.Option(help="Classes to print for each clip.")] = 5,
) -> None:
    """Tag sounds with a trained run: file, start and end in seconds, score, class."""
    from .. import tagging

    lost = 0
    for found in tagging.tag(checkpoint, files, top):
        if isinstance(found, tagging.Failure):
            print(f"glat: {found.file}: {found.reason}", file=sys.stderr)
            lost += 1
            continue
        print(f"{found.file}\t{found.start:.1f}\t{found.end:.1f}\t{found.score:.3f}\t{found.label}", flush=True)
    if lost:
        raise GlatError(f"{lost} of {len(files)} files were not tagged")
