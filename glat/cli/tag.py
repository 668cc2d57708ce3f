"""Tagging recordings with a trained run."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from ..config import settings
from ..lib.errors import GlatError, tell, warn
from ..use.formats import Format
from .app import Threads, app, inside, invocation, let_names_out, load_params

if TYPE_CHECKING:
    from ..use.inputs import Input

CHECKPOINT = inside("checkpoint.pt")


@app.command()
def calibrate(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    split: Annotated[
        list[str] | None, typer.Option(help="A split to choose on, in the place of the dataset's `validate`.")
    ] = None,
    precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="Wanted of each class; the default is the best F1.")
    ] = None,
    median: Annotated[
        float, typer.Option(min=0, max=60, help="Of events: length of the filter over time, in s.")
    ] = 0.5,
    threads: Threads = 0,
) -> None:
    """Choose the thresholds of each class for `glat tag --calibrated`, on clips that the run was not trained on."""
    from ..config.runs import read_run
    from ..lib import hardware
    from ..use import calibrating

    folder = run.parent if run.is_file() else run
    params = load_params(read_run(folder / "config.yaml").dataset)
    hardware.use_threads(threads)
    print(calibrating.calibrate(folder, params, split or (), precision, median))


@app.command()
def tag(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder, or its checkpoint.pt.", callback=CHECKPOINT)],
    files: Annotated[
        list[Path], typer.Argument(help="Recordings of any format and length: files, folders, patterns; - is stdin.")
    ],
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Classes to print for each clip; the default is 5, or all over a threshold."),
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Seconds from clip to clip; less than a clip's length, and they overlap.")
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="Print events, from onset to offset, not clips.")] = False,
    threshold: Annotated[
        float | None, typer.Option(help="Lowest score; the default is 0.5 for events, none for clips.")
    ] = None,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Thresholds of each class, which `glat calibrate` made.")
    ] = False,
    median: Annotated[
        float | None, typer.Option(help="Of events: median filter over time, in s; the default is 0.5.")
    ] = None,
    hysteresis: Annotated[
        float | None, typer.Option(help="An event goes on at this share of its threshold; the default is 0.5.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.table,
    out: Annotated[
        Path | None, typer.Option(help="A file to write, whole or not at all; the default is stdout.")
    ] = None,
    threads: Threads = 0,
) -> None:
    """Tag recordings with a trained run: file, start and end in seconds, score, class. Exit status 1: not all were tagged."""
    from tqdm import tqdm

    from ..data.audio.clips import Limits
    from ..lib import hardware
    from ..use import formats, inputs, options, tagging, thresholds
    from ..use.hearing import SILENT

    asked = options.Options(top, hop, events, threshold, calibrated, median, hysteresis)
    let_names_out()
    given = load_params().audio.limits if invocation["path"].exists() or invocation["overrides"] else settings.Limits()
    limits = Limits(**given.model_dump())
    hardware.use_threads(threads)
    tagger = tagging.load(checkpoint)
    tagger.plan(asked)  # before anything is read
    recordings = inputs.expand(files, limits)
    formats.check_names(form, [one.name for one in recordings])
    if calibrated and (lacking := tagger.thresholds().lacking):
        what = f"{lacking} of {len(tagger.labels)} classes were on no clip that thresholds were chosen by"
        warn(f"{checkpoint}, {thresholds.FILE}: {what}; theirs is {thresholds.DEFAULT:g}")
    failed: list[tagging.Failure] = []

    def tags() -> Iterator[formats.Tag]:
        with _bar(recordings) as progress:
            for one in tagger.found(recordings, asked, limits, progress):
                if isinstance(one, formats.Tag):
                    yield one
                elif isinstance(one, tagging.Failure):
                    tell(f"glat: {formats.one_line(one.file)}: {one.reason}", logging.ERROR)
                    failed.append(one)
                elif one.silent:
                    warn(f"glat: {formats.one_line(one.file)}: {SILENT}")

    above = tqdm.external_write_mode if out is None and sys.stdout.isatty() else nullcontext
    with _output(out) as file:
        for line in formats.lines(form, tags()):
            with above():  # on one screen, lines are written above the bar
                file.write(line)
                file.flush()
    if failed:
        parts = sum(one.seconds > 0 for one in failed)
        told = [f"{many} of {len(recordings)} files were {what}"
                for many, what in ((len(failed) - parts, "not tagged"), (parts, "tagged in part")) if many]  # fmt: skip
        raise GlatError("; ".join(told))


@contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file, which is written whole."""
    from ..lib.files import whole

    if out is None:
        yield sys.stdout
        return
    if out.is_dir():
        raise GlatError(f"{out}: a folder; name a file to write")
    with whole(out) as part, part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield file


@contextmanager
def _bar(recordings: list[Input]):
    """What is told how far a tagging is: a bar of the files' bytes where stderr is a terminal."""
    from tqdm import tqdm

    from ..data.audio.length import estimate

    sizes = [
        one.source.stat().st_size if isinstance(one.source, Path) and one.source.is_file() else 0 for one in recordings
    ]
    with tqdm(total=sum(sizes), desc="tag", unit="B", unit_scale=True, disable=None) as bar:
        seconds: dict[int, float | None] = {}

        def progress(number: int, heard: float) -> None:
            source = recordings[number].source
            if number not in seconds:
                seconds[number] = estimate(source) if isinstance(source, Path) else None
            share = min(1.0, heard / (seconds[number] or math.inf))
            bar.n = sum(sizes[:number]) + int(share * sizes[number])
            bar.set_postfix_str(f"{number + 1} of {len(recordings)} files, {heard:.0f} s")

        yield (lambda *_: None) if bar.disable else progress
