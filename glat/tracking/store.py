"""The tracking server or database, and what goes wrong with it, in one sentence."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ..lib.errors import GlatError
from ..lib.files import locked
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
SENTENCES = [  # signs in the text of an error, and what it means and what to do; the first that fits
    (("no space left",), "no space left on the tracking server's disk; make room there"),
    (("error code 401", "unauthorized", "not authenticated"),
     "asks for a login; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    (("error code 403",), "this login may not write there; ask who runs the server"),
    (("out-of-date database schema", "can't locate revision"),
     ("made by another version of MLflow; keep a copy and run `mlflow db upgrade {name}`, or name another database in "
      "MLFLOW_TRACKING_URI")),
    (("database is locked",), "another process keeps the database locked; end it"),
    (("certificate verify failed", "wrong version number"),
     "no secure connection ({text}); check https and http, or REQUESTS_CA_BUNDLE"),
    (("file is not a database", "malformed", "_alembic_tmp"),
     "damaged or not a database; move it away, and `glat track sync` makes it anew"),
    (("permission denied", "readonly database", "unable to open database"),
     "the database cannot be written; check the folder's permissions"),
    (("connection refused", "timed out", "max retries", "name or service", "connection aborted"),
     "the tracking server does not answer; start it, or see MLFLOW_TRACKING_URI"),
]  # fmt: skip


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
def mlflow_errors(name: str) -> Iterator[None]:
    """Whatever MLflow raises inside the block becomes a `NotSent` with one sentence."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise NotSent(sentence(error, name)) from error


def sentence(error: Exception, name: str) -> str:
    """What a failure means and what to do."""
    text = " ".join(str(error).split())
    low = text.lower()
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or "disk is full" in low:
        return f"{name}: no space left for what MLflow keeps (mlflow.db, mlruns/); make room"
    for signs, meaning in SENTENCES:
        if any(sign in low for sign in signs) and (name.startswith("sqlite") or "malformed" not in signs):
            return f"{name}: {meaning.format(name=name, text=text[-120:])}"
    return f"{name}: MLflow did not take it: {text[:300]}"


class Store:
    """A tracking server or database, opened; a database that is not there is made, by one process at a time.

    Raises:
        NotSent: it does not answer, asks for a login, is locked, or was made by another version of MLflow.
    """

    def __init__(self, address: str | None = None):
        for key, value in PATIENCE.items():
            os.environ.setdefault(key, value)
        address = address or uri()
        self.name = name_of(address)
        self.file = Path(self.name.removeprefix("sqlite:///")) if self.name.startswith("sqlite:///") else None
        # MLflow keeps a database open by its name: one that holds wherever it is asked from.
        self.address = self.name if self.file else address
        import mlflow

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        with mlflow_errors(self.name), self._alone():
            # Making the tables takes seconds: a process that is killed meanwhile leaves none.
            if self.file and not self.file.exists():
                with tempfile.TemporaryDirectory(prefix=".mlflow.", dir=self.file.parent) as folder:
                    mlflow.MlflowClient(f"sqlite:///{folder}/new.db").search_experiments(max_results=1)
                    Path(folder, "new.db").rename(self.file)
            if self.file:  # MLflow would try for minutes to open one that cannot be opened
                with closing(sqlite3.connect(self.file, timeout=20)) as database:
                    database.execute("PRAGMA schema_version")
            mlflow.set_tracking_uri(self.address)
            self.client = mlflow.MlflowClient(self.address)
            self.ask()  # opens the database, and makes its tables

    def ask(self) -> None:
        """Raise NotSent unless the server answers."""
        with mlflow_errors(self.name):
            self.client.search_experiments(max_results=1)

    def _alone(self) -> AbstractContextManager[Any]:
        """Two processes that make the tables at once collide."""
        return locked(self.file.with_name(f".{self.file.name}.lock")) if self.file else nullcontext()

    def experiment(self, dataset: str) -> str:
        """The id of the experiment of a dataset, made if it is not there.

        Raises:
            NotSent: it was deleted in MLflow, or its files would go into another project's folder.
        """
        from mlflow.exceptions import MlflowException

        with mlflow_errors(self.name), self._alone():
            try:
                found = self.client.get_experiment_by_name(dataset)
                return self.client.create_experiment(dataset) if found is None else self._own(found)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                return self._own(self.client.get_experiment_by_name(dataset))

    def _own(self, found: Any) -> str:
        """The id of an experiment that runs may go to."""
        if found.lifecycle_stage != "active":
            back = f"bring it back with `mlflow experiments restore -x {found.experiment_id}`"
            raise NotSent(f"{self.name}: the experiment {found.name} was deleted there; {back}")
        place = Path(found.artifact_location.removeprefix("file://"))
        if self.file and place.parent.name == "mlruns" and self.file.parent not in place.parents:
            raise NotSent(
                f"{self.name}: was copied from another project, and keeps its files there ({place}); remove this copy, "
                "and `glat track sync` makes it anew"
            )
        return found.experiment_id
