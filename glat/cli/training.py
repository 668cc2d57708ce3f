"""Steps of a run: its settings, training, evaluation."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from ..lib.errors import GlatError, tell
from .app import RunFile, Threads, app, chosen, load_params


@app.command()
def configure(name: Annotated[str, typer.Argument(help="A run, as in cnn10-glat-s0.")]) -> None:
    """Write the config.yaml of a run: all that its training depends on."""
    from ..config.checks import of_run
    from ..config.experiments import all_runs
    from ..config.params import named
    from ..config.runs import write_run

    params = load_params()
    runs = all_runs(params)
    if name not in runs:
        raise GlatError(f"there is no run {name}; params.yaml asks for {', '.join(runs)}")
    if faults := of_run(params, runs[name]):
        place = named(chosen["path"], bool(chosen["overrides"]))
        raise GlatError("\n".join(f"{place}: {fault}" for fault in faults))
    write_run(runs[name], runs[name].folder / "config.yaml")


@app.command()
def train(config: RunFile, threads: Threads = 0) -> None:
    """Train a run; a training that was interrupted goes on where it was."""
    from ..config.runs import read_run

    run = read_run(config)
    from ..tracking.following import follow
    from ..training import (
        convergence,  # takes seconds to import
        fit,
    )
    from ..training.progress import first_process

    with follow(run, config.parent, _settings_if_any()) as callbacks:
        fit.train(run, config.parent, threads, callbacks)
    if first_process():
        tell(convergence.sentence(run, convergence.judge(run, config.parent)))


def _settings_if_any():
    """The project's settings for those who look on: a training needs its config.yaml alone, and goes on without
    them."""
    try:
        return load_params()
    except GlatError as error:
        tell(f"not told to MLflow: {error}", logging.WARNING)
        return None


@app.command()
def evaluate(config: RunFile, threads: Threads = 0) -> None:
    """Score a trained run on the evaluation clips, with intervals."""
    from ..config.runs import read_run, split_packs

    run, params = read_run(config), load_params()
    if run.dataset not in params.datasets:
        raise GlatError(
            f"{config}: dataset {run.dataset!r} is not an entry of datasets in {chosen['path']}; add it there, or have "
            "snakemake evaluate it with the --configfile that has it"
        )
    packs = split_packs(params, run.dataset, params.datasets[run.dataset].evaluate)
    from ..scoring import evaluation
    from ..tracking.outbox import hand_over

    evaluation.evaluate(config.parent / "checkpoint.pt", packs, params.evaluation, config.parent, threads)
    if params.tracking.enabled:
        hand_over(config.parent, params)
