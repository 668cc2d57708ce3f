"""Steps of a run: its settings, training, evaluation."""

from __future__ import annotations

from typing import Annotated

import typer

from ..lib import layout
from ..lib.errors import GlatError, tell, warn
from .app import RunFile, Threads, app, invocation, load_params


@app.command()
def configure(name: Annotated[str, typer.Argument(help="A run, as in cnn10-glat-s0.")]) -> None:
    """Write the config.yaml of a run: all that its training depends on."""
    from ..config.experiments import all_runs
    from ..config.faults import faults_of
    from ..config.params import named
    from ..config.runs import completed, write_run

    params = load_params()
    runs = all_runs(params)
    if name not in runs:
        raise GlatError(f"there is no run {name}; params.yaml asks for {', '.join(runs)}")
    if faults := faults_of(params, runs[name]):
        place = named(invocation["path"], bool(invocation["overrides"]))
        raise GlatError("\n".join(f"{place}: {fault}" for fault in faults))
    write_run(completed(runs[name]), runs[name].folder / "config.yaml")


@app.command()
def train(config: RunFile, threads: Threads = 0) -> None:
    """Train a run; a training that was interrupted is resumed."""
    from ..config.runs import read_run
    from ..config.training import Execution
    from ..lib.hardware import first_process

    run, params = read_run(config), _settings_if_any()
    execution = params.execution_of(run.dataset, run.backbone) if params else Execution()
    from ..tracking.following import follow
    from ..training import convergence, fit  # take seconds to import

    with follow(run, config.parent, params) as callbacks:
        fit.train(run, config.parent, execution=execution, threads=threads, callbacks=callbacks)
    if first_process():
        tell(convergence.sentence(run, convergence.judge(run, config.parent)))


def _settings_if_any():
    """The project's settings for how to train and for those who look on: what is trained stands in config.yaml alone."""
    try:
        return load_params()
    except GlatError as error:
        warn(f"no usable params.yaml, so this run uses the default `execution` and is not sent to MLflow: {error}")
        return None


@app.command()
def teach(
    config: RunFile,
    split: Annotated[
        list[str] | None, typer.Option(help="A split to score, in the place of those that it was trained on.")
    ] = None,
    threads: Threads = 0,
) -> None:
    """Score a trained run's training clips, for another network to learn from (training.distillation, enhanced_labels)."""
    from ..config.runs import read_run, split_packs

    run = read_run(config)
    params = load_params(run.dataset)
    packs = split_packs(params, run.dataset, split) if split else run.packs
    from ..scoring.teaching import teach

    how = {"execution": params.execution_of(run.dataset, run.backbone), "threads": threads}
    teach(config.parent / "checkpoint.pt", config.parent / layout.TEACHER, packs, params.evaluation, **how)


@app.command()
def evaluate(config: RunFile, threads: Threads = 0) -> None:
    """Score a trained run on the evaluation clips, with intervals."""
    from ..config.experiments import runs_with_frames
    from ..config.runs import evaluation_packs, read_run

    run = read_run(config)
    params = load_params(run.dataset)
    if run.dataset not in params.datasets:
        raise GlatError(
            f"{config}: dataset {run.dataset!r} is not an entry of datasets in {invocation['path']}; add it there, or have "
            "snakemake evaluate it with the --configfile that has it"
        )
    packs, frames = evaluation_packs(params, run), run.name in runs_with_frames(params)
    from ..scoring import evaluation
    from ..tracking.sender import send_now

    how = {"execution": params.execution_of(run.dataset, run.backbone), "threads": threads}
    evaluation.evaluate(config.parent / "checkpoint.pt", packs, params.evaluation, config.parent, frames=frames, **how)
    if params.tracking.enabled:
        send_now(config.parent, params)


@app.command()
def backbones(
    names: Annotated[list[str] | None, typer.Argument(help="More networks, as in timm:efficientnet_b2.")] = None,
) -> None:
    """List the backbones with what each costs: parameters, and multiply-adds for a clip without and with GL-AT."""
    params = load_params()
    from ..use.backbones import listing

    try:
        table, faults = listing(params, names or [])
    except ValueError as error:
        raise GlatError(str(error)) from None
    table["parameters"] = table["parameters"].map("{:,}".format)
    print(table.to_string(index=False, float_format="{:.2f}".format))
    seconds = params.audio.clip_seconds
    tell(
        f"at the published width, whatever `width` is; parameters for {params.corpus.classes} classes; alone, GL-AT: 10^9 "
        f"multiply-adds for {seconds:g} s"
    )
    for fault in faults:
        warn(f"{invocation['path']}: {fault}")
