"""MLflow: what could not be sent while it was made, and how the runs are looked at."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from ..lib import layout
from ..lib.errors import GlatError, tell
from .app import InOrder, app, load_params

track = typer.Typer(cls=InOrder, no_args_is_help=True, help="Send runs to MLflow.")
app.add_typer(track, name="track")


@track.callback()
def _() -> None:
    """Send runs to MLflow."""


@track.command()
def sync(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders of runs; the default is all in runs/.")] = None,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="Send only runs that have changed; if none has, do not contact the server."),
    ] = False,
) -> None:
    """Send to MLflow what it does not have yet: all of a run that was never tracked, the rest of one that was."""
    from ..tracking import send
    from ..tracking.store import NotSent

    params = load_params()
    folders = folders or sorted(path.parent for path in layout.RUNS.glob(f"*/*/{layout.CONFIG}"))
    if not folders and not changed:
        raise GlatError("runs/: no run there yet; `glat configure` and `glat train` make one")
    for folder in folders:
        if not (folder / "config.yaml").exists():
            raise GlatError(f"{folder}/config.yaml: no such file; name folders of runs, as in runs/mini/cnn10-s0")
    if changed and not (folders := [folder for folder in folders if send.changed(folder, params)]):
        return
    store, failed = send.Store(), []
    for folder in folders:
        try:
            attempt = send.Sending(folder, store, params).send()
        except send.Deleted as error:
            print(error)
            continue
        except (GlatError, OSError) as error:  # of its folder's files, too
            if isinstance(error, NotSent):
                store.ask()  # where the server is at fault, the others would meet the same
            tell(f"glat: {error}", logging.ERROR, error)
            failed.append(folder)
            continue
        print(f"{folder}: {attempt.status.lower() if attempt else 'not trained yet'}", flush=True)
    if failed:
        raise GlatError(f"{len(failed)} of {len(folders)} runs were not sent to {store.name}")
    print(f"sent to {store.name}" + ("; look at them with `mlflow ui`" if store.file else ""))
