"""The tracking server or database, and what goes wrong with it, in one sentence."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..lib.errors import GlatError
from ..lib.files import lock
from ..lib.redaction import redact

DEFAULT = "sqlite:///mlflow.db"
# A server that does not answer is given up soon, and tried again later. What a person sets himself stays.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class NotSent(GlatError):
    """The tracking server or its storage did not take it; the run's folder has it still."""


def uri() -> str:
    """MLFLOW_TRACKING_URI, or the database beside the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT


def name_of(address: str) -> str:
    """A server or database as it is named in files and messages: a database's file by its whole path, no password."""
    if address.startswith("sqlite:///"):
        return f"sqlite:///{Path(address.removeprefix('sqlite:///')).absolute()}"
    return redact(address).rstrip("/")


@contextmanager
def told(address: str) -> Iterator[None]:
    """Whatever MLflow raises inside the block becomes a `NotSent` with one sentence."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise NotSent(sentence(error, name_of(address))) from error


def sentence(error: Exception, name: str) -> str:
    """What a failure means and what to do."""
    text = " ".join(str(error).split())
    low = text.lower()
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in low:
        return f"{name}: no space left for what MLflow keeps (mlflow.db, mlruns/); make room"
    if "no space left" in low:
        return f"{name}: no space left on the tracking server's disk; make room there"
    if "error code 401" in low or "unauthorized" in low or "not authenticated" in low:
        return f"{name}: asks for a login; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if "error code 403" in low or "permission denied" in low and "http" in name:
        return f"{name}: this login may not write there; ask who runs the server"
    if "out-of-date database schema" in low or "can't locate revision" in low:
        return (
            f"{name}: made by another version of MLflow; keep a copy and run `mlflow db upgrade {name}`, or name another "
            "database in MLFLOW_TRACKING_URI"
        )
    if "database is locked" in low:
        return f"{name}: another process keeps the database locked; end it"
    if "certificate verify failed" in low or "wrong version number" in low:
        return f"{name}: no secure connection ({text[-120:]}); check https and http, or REQUESTS_CA_BUNDLE"
    if name.startswith("sqlite") and ("file is not a database" in low or "malformed" in low):
        return f"{name}: damaged or not a database; move it away, and `glat track sync` makes it anew"
    if isinstance(error, PermissionError) or "readonly database" in low or "unable to open database" in low:
        return f"{name}: the database cannot be written; check the folder's permissions"
    if any(
        sign in low
        for sign in ("connection refused", "timed out", "max retries", "name or service", "connection aborted")
    ):
        return f"{name}: the tracking server does not answer; start it, or see MLFLOW_TRACKING_URI"
    return f"{name}: MLflow did not take it: {text[:300]}"


class Store:
    """A tracking server or database, opened; a database that is not there is made, by one process at a time.

    Raises:
        NotSent: it does not answer, asks for a login, is locked, or was made by another version of MLflow.
    """

    def __init__(self, address: str | None = None):
        for key, value in PATIENCE.items():
            os.environ.setdefault(key, value)
        self.address = address or uri()
        self.name = name_of(self.address)
        if self.address.startswith("sqlite:///"):
            self.address = (
                self.name
            )  # MLflow keeps a database open by its name: one that holds wherever it is asked from
        import logging

        import mlflow

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        with told(self.address), self._alone():
            mlflow.set_tracking_uri(self.address)
            self.client = mlflow.MlflowClient(self.address)
            self.ask()  # opens the database, and makes its tables

    def ask(self) -> None:
        """Raise NotSent unless the server answers."""
        with told(self.address):
            self.client.search_experiments(max_results=1)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # Two processes that make the tables at once collide.
        if not self.address.startswith("sqlite:///"):
            yield
            return
        path = Path(self.name.removeprefix("sqlite:///"))
        with path.with_name(f".{path.name}.lock").open("w") as file:
            lock(file)
            yield

    def experiment(self, dataset: str) -> str:
        """The id of the experiment of a dataset, made if it is not there.

        Raises:
            NotSent: it was deleted in MLflow.
        """
        from mlflow.exceptions import MlflowException

        with told(self.address), self._alone():
            found = self.client.get_experiment_by_name(dataset)
            if found is None:
                try:
                    return self.client.create_experiment(dataset)
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    found = self.client.get_experiment_by_name(dataset)
        if found.lifecycle_stage != "active":
            raise NotSent(
                f"{self.name}: the experiment {dataset} was deleted there; bring it back with "
                f"`mlflow experiments restore -x {found.experiment_id}`"
            )
        self._own(found.artifact_location)
        return found.experiment_id

    def _own(self, location: str) -> None:
        """Raise NotSent where a database that was copied from another project would fill that one's folder."""
        folder = Path(self.name.removeprefix("sqlite:///")).parent
        place = Path(location.removeprefix("file://"))
        if self.address.startswith("sqlite:///") and place.parent.name == "mlruns" and folder not in place.parents:
            raise NotSent(
                f"{self.name}: was copied from another project, and keeps its files there ({place}); remove this copy, "
                "and `glat track sync` makes it anew"
            )
