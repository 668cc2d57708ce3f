"""What a trained run is good for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..config import settings
from ..lib import layout
from ..lib.errors import GlatError, tell
from ..lib.escaping import file_name
from .app import Threads, app, invocation, let_names_out, load_params


@app.command()
def explain(
    run: Annotated[
        Path, typer.Argument(help="A run's folder.", callback=lambda path: path.parent if path.is_file() else path)
    ],
    clip: Annotated[str, typer.Argument(help="An evaluation clip, as <id>_<start in ms>, or an audio file.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to draw, without a suffix; the default is explain/<clip> in the run.")
    ] = None,
) -> None:
    """Picture one clip, and write a page to listen with: log-mel, activations, windows, scores of both streams, true events."""
    from ..config.runs import missing_hint, read_run
    from ..data.audio.formats import extension
    from ..use import explain as explaining
    from ..use.tagging import evaluation_seed

    if not (run / "checkpoint.pt").exists():
        raise GlatError(f"{run / 'checkpoint.pt'}: no such checkpoint{missing_hint(run / 'checkpoint.pt')}")
    is_file = Path(clip).is_file()
    if not is_file and (Path(clip).name != clip or extension(clip) or not invocation["path"].exists()):
        raise GlatError(f"{clip}: {'a folder; name a file' if Path(clip).is_dir() else 'no such file'}")
    out = out or run / "explain" / (Path(clip).stem if is_file else file_name(clip))
    if is_file:  # a sound needs no project around the run
        explaining.explain(run / "checkpoint.pt", clip, out, seed=evaluation_seed(run))
    else:
        # The run's own dataset, whichever params.yaml chooses now.
        known = read_run(run / "config.yaml")
        params = load_params(known.dataset)
        packs, strong = explaining.corpus(params, known)
        how = {
            "seed": params.evaluation.seed,
            "precision": params.execution_of(known.dataset, known.backbone).precision,
        }
        explaining.explain(run / "checkpoint.pt", clip, out, packs=packs, strong=strong, **how)
    let_names_out()
    print(f"{out}.svg\n{out}.png\n{out}.html")


@app.command()
def demo(
    runs: Annotated[list[Path], typer.Argument(help="A run's folder, or two, to be shown side by side.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything but 127.0.0.1 lets others in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8642,
) -> None:
    """Open a page on which sounds are dropped or recorded, tagged, seen over time, and heard."""
    from ..data.audio.clips import Limits
    from ..use import access, demo as page, tagging
    from ..use.recording import Listener

    if len(runs) > 2:
        raise GlatError(f"{len(runs)} runs; give one, or two to see them side by side")
    listeners = [Listener(tagging.load(run), run.parent if run.is_file() else run) for run in runs]
    known = load_params() if invocation["path"].exists() or invocation["overrides"] else None
    limits = Limits(**(known.audio.limits if known else settings.Limits()).model_dump())
    if not access.is_local(host):
        limits = access.limits_of_others(known.tracking.served if known else settings.Served())
    page.serve(listeners, host, port, limits)


class Until(StrEnum):
    classes = "classes"
    file = "file"
    run = "run"
    scores = "scores"


@app.command()
def weights(
    backbone: Annotated[
        str, typer.Argument(help="cnn10 or resnet38; or a network of transformers, by its name under networks.")
    ],
    place: Annotated[
        str | None,
        typer.Argument(help="PANNs' checkpoint, as a path or an address; the default is weights.* of params.yaml."),
    ] = None,
    md5: Annotated[str | None, typer.Option(help="MD5 that the file must have.")] = None,
    sha256: Annotated[str | None, typer.Option(help="SHA-256 that the file must have.")] = None,
    until: Annotated[
        Until, typer.Option(help="How far to go: have its class list alone; have the file; make a run of it; score it.")
    ] = Until.scores,
    threads: Threads = 0,
) -> None:
    """Get published weights, make a run of them, and score it: PANNs' beside their published scores, or a library's."""
    from ..models.registry import PANNS
    from ..use import weights as published

    params = load_params()
    if params.network(backbone):
        if place or md5 or sha256 or until in (Until.classes, Until.file):
            raise GlatError(
                f"{backbone}: a library's weights come from where `model` says; give no file, and --until run"
            )
        from ..use import library_weights

        run = library_weights.convert(params, backbone)
        if until is Until.scores:
            published.evaluate(params, run, threads)
            print(library_weights.sentence(run))
        return
    if backbone not in PANNS:
        others = "and networks of transformers, by name or by an entry of networks"
        raise GlatError(f"PANNs published no weights of {backbone!r}; allowed are {', '.join(PANNS)}, {others}")
    if until in (Until.run, Until.scores):
        published.classes_of(params)  # before a long download
    requested = published.requested_weights(params, backbone, file=place, md5=md5, sha256=sha256)
    if until is Until.classes:
        tell(f"{published.obtain_class_list(requested, backbone, params.fetch.limits)}: the class list of {backbone}")
        return
    file = published.obtain(requested, params.fetch.limits)
    tell(f"{file}: {published.describe_file(file, params.weights.get(backbone))}")
    if until is Until.file:
        return
    run = published.convert(params, backbone, file)
    if until is Until.run:
        return
    published.evaluate(params, run, threads)
    from ..results import panns

    print(panns.sentence(panns.row_of(panns.read_scores(params, backbone, file))))


@app.command()
def panns() -> None:
    """Set what PANNs' weights scored here beside their published scores."""
    from ..results import panns as table

    params = load_params()
    folder = layout.results(params.dataset)
    table.write(params, folder)
    print((folder / "panns.md").read_text())
