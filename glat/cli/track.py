"""MLflow: what could not be sent while it was made, and how the runs are looked at."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from ..lib.errors import GlatError, tell
from .app import InOrder, app, load_params

track = typer.Typer(cls=InOrder, no_args_is_help=True, help="What MLflow knows of the runs.")
app.add_typer(track, name="track")


@track.callback()
def _() -> None:
    """What MLflow knows of the runs."""


@track.command()
def sync(
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders of runs; the default is all in runs/.")] = None,
) -> None:
    """Send to MLflow what it does not have yet: all of a run that was never tracked, the rest of one that was."""
    from ..tracking.send import Busy, Deleted, Sending, alone
    from ..tracking.store import NotSent, Store

    params = load_params()
    folders = folders or sorted(path.parent for path in Path("runs").glob("*/*/config.yaml"))
    if not folders:
        raise GlatError("runs/: no run there yet; `glat configure` and `glat train` make one")
    store, failed = Store(), []
    for folder in folders:
        if not (folder / "config.yaml").exists():
            raise GlatError(f"{folder}/config.yaml: no such file; name folders of runs, as in runs/mini/cnn10-s0")
        try:
            with alone(folder):
                attempt = Sending(folder, store, params).send()
        except (Busy, Deleted) as error:
            print(error)
            continue
        except GlatError as error:
            if isinstance(error, NotSent):
                store.ask()  # where the server is at fault, the others would meet the same
            tell(f"glat: {error}", logging.ERROR, error)
            failed.append(folder)
            continue
        print(f"{folder}: {attempt.status.lower() if attempt else 'not trained yet'}", flush=True)
    if failed:
        raise GlatError(f"{len(failed)} of {len(folders)} runs were not sent to {store.name}")
    print(f"sent to {store.name}" + ("; look at them with `mlflow ui`" if store.name.startswith("sqlite") else ""))
