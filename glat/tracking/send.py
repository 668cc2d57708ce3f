"""Sending a run's folder to MLflow, from where the last sending stopped: nothing twice, nothing left out.

`mlflow.json` in the folder says, for each tracking server, which MLflow run is this one and what it has already.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config.params import Params
from ..config.runs import Run, read_run
from ..lib.errors import GlatError
from ..lib.files import digest as content
from ..lib.files import lock, whole
from . import attempt as attempts
from . import facts, views
from .attempt import Attempt
from .store import Store, told

STATE = "mlflow.json"
MOST = 900  # metrics a call: MLflow takes 1000
KEPT = ("config.yaml", "train.csv", "validation.csv", "metrics.json", "per_class.csv")  # sent as they are; of the
# training the first three
CURVES = ("train", "validation", "system")


class Busy(GlatError):
    """Another process sends this run."""


def read_state(folder: Path) -> dict[str, Any]:
    """mlflow.json: what each server has, by its name; empty where the file is missing or damaged."""
    try:
        state = json.loads((folder / STATE).read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


@contextmanager
def alone(folder: Path, wait: bool = False) -> Iterator[None]:
    """Be the only process that sends this run. Raises Busy if another does, unless `wait`."""
    with (folder / ".mlflow.lock").open("w") as file:
        if not lock(file, wait):
            raise Busy(f"{folder}: another process sends it now")
        yield


class Deleted(GlatError):
    """Somebody deleted this run in MLflow, and so it stays."""


class Sending:
    """One run's folder and one server."""

    def __init__(self, folder: Path, store: Store, params: Params):
        self.folder, self.store, self.params, self.client = folder, store, params, store.client

    def send(self, live: bool = False) -> Attempt | None:
        """Send what is new; returns the attempt that was sent, or None if the run was never trained.

        `live`: the caller knows that the training is under way, whatever it looks like from outside.

        Raises:
            NotSent: the server did not take it; what it took is noted, and the next sending goes on from there.
            Deleted: somebody deleted the run in MLflow.
            GlatError: a file of the run is damaged.
        """
        attempt = attempts.read(self.folder) if live else attempts.settle(self.folder)
        if attempt is None:
            return None
        self.run: Run = attempt.run
        # Where params.yaml lacks it, which a --configfile had, all is sent but what its evaluation packs and tables tell.
        self.params = self.params.model_copy(update={"dataset": self.run.dataset})
        with told(self.store.address):
            self.state = read_state(self.folder)
            self.mine: dict[str, Any] = self.state.get(self.store.name) or {}
            self._open(attempt)
            self._describe(attempt)
            for kind in CURVES:
                self._curve(kind, attempt)
            self._status(attempt)
            self._replace_others(attempt)
            if attempt.status != "RUNNING":
                self._finished(attempt)
        return attempt

    def _note(self, **update: Any) -> None:
        self.mine |= update
        self.state[self.store.name] = self.mine
        with whole(self.folder / STATE) as part:
            part.write_text(json.dumps(self.state, indent=1) + "\n")

    def _new(self, name: str, value: Any) -> str | None:
        """A digest of `value` if the server does not have it under this name yet."""
        digest = hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()
        return None if self.mine.get("sent", {}).get(name) == digest else digest

    def _sent(self, name: str, digest: str) -> None:
        self._note(sent=self.mine.get("sent", {}) | {name: digest})

    def _open(self, attempt: Attempt) -> None:
        """The MLflow run of the attempt: that of mlflow.json, one that was made and not noted, or a new one."""
        if self.mine.get("attempt") == attempt.id and self._exists(self.mine["run_id"]):
            return
        experiment = self.store.experiment(self.run.dataset)
        views.ensure(self.client, experiment)
        tags = facts.tags(self.run, attempt, self.folder, self.params)
        found = self._search(experiment, f"tags.attempt = '{attempt.id}'")
        before = self.mine.get("run_id")
        imported = (
            attempt.id == attempt.weights
        )  # made from a checkpoint, whose training may have been followed elsewhere
        if not found and imported and (same := self._search(experiment, f"tags.checkpoint = '{attempt.id}'")):
            return self._adopt(attempt, experiment, same[0].info.run_id)
        if found:
            run_id = found[0].info.run_id
        else:
            started = round(attempt.started * 1000)
            run_id = self.client.create_run(experiment, started, tags, self.run.name).info.run_id
        self.mine = {}
        self._note(attempt=attempt.id, experiment_id=experiment, run_id=run_id, before=before)
        # A training that another one has taken over is over, be it told or not.
        if before and self._active(before) and self.client.get_run(before).info.status == "RUNNING":
            self.client.set_terminated(before, "KILLED")

    def _adopt(self, attempt: Attempt, experiment: str, run_id: str) -> None:
        """Add what an evaluation made here to the run that its training was sent as from another copy of the folder."""
        known = {
            "parameters": facts.parameters(self.run),
            "status": [attempt.status, attempt.ended],
            "replaces": attempt.id,
        }
        known["tags"] = facts.tags(self.run, attempt, self.folder, self.params)
        self.mine = {}
        sent = {name: self._new(name, value) for name, value in known.items()}
        curves = dict.fromkeys(CURVES, self.run.training.steps)
        self._note(attempt=attempt.id, experiment_id=experiment, run_id=run_id, sent=sent, **curves)

    def _exists(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            stage = self.client.get_run(run_id).info.lifecycle_stage
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        if stage != "active":
            raise Deleted(
                f"{self.folder}: was deleted in MLflow, and stays so; `mlflow runs restore --run-id {run_id}` brings it back"
            )
        return True

    def _active(self, run_id: str) -> bool:
        try:
            return self._exists(run_id)
        except Deleted:
            return False

    def _search(self, experiment: str, query: str) -> list[Any]:
        return list(self.client.search_runs([experiment], query, max_results=100))

    def _replace_others(self, attempt: Attempt) -> None:
        """Mark the runs that were in this folder before: once this one has left its weights there, and not sooner."""
        if attempt.status != "FINISHED" or not (digest := self._new("replaces", attempt.id)):
            return
        folder = facts.tags(self.run, attempt, self.folder, self.params)["folder"]
        query = f'tags.folder = "{folder}" AND tags.replaced_by IS NULL'
        others = {one.info.run_id for one in self._search(self.mine["experiment_id"], query)}
        before = self.mine.get("before")
        if before and self._active(before):
            others.add(before)
        others = sorted(others - {self.mine["run_id"]})
        for other in others:
            self._replace(other, self.mine["run_id"])
        if others:
            self.client.set_tag(self.mine["run_id"], "replaces", ", ".join(others))
        self._sent("replaces", digest)

    def _replace(self, old: str, new: str) -> None:
        """Mark a run whose folder a new attempt has taken: its tag names the new one, its name says so."""
        name = self.client.get_run(old).info.run_name
        self.client.set_tag(old, "replaced_by", new)
        if self.client.get_run(old).info.status == "RUNNING":
            self.client.set_terminated(old, "KILLED")
        self.client.update_run(old, name=f"{name.removesuffix(' (replaced)')} (replaced)")

    def _describe(self, attempt: Attempt) -> None:
        from mlflow.entities import Param, RunTag

        run_id = self.mine["run_id"]
        given, tags = facts.parameters(self.run), facts.tags(self.run, attempt, self.folder, self.params)
        if digest := self._new("parameters", given):
            parts = [Param(key, value) for key, value in given.items()]
            for first in range(0, len(parts), 100):
                self.client.log_batch(run_id, params=parts[first : first + 100])
            self._sent("parameters", digest)
        if digest := self._new("tags", tags):
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
            self._data(tags.get("data_hash"))
            self._sent("tags", digest)

    def _data(self, digest: str | None) -> None:
        """The packed data as the run's dataset."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        if digest and self._new("data", digest):
            source = json.dumps({"packs": [Path(pack).name for pack in self.run.packs]})
            packs = Dataset(
                self.run.dataset, digest[:8], "local", source, profile=json.dumps({"packs": len(self.run.packs)})
            )
            inputs = [DatasetInput(packs, [InputTag("mlflow.data.context", "training")])]
            self.client.log_inputs(self.mine["run_id"], inputs)
            self._sent("data", self._new("data", digest))

    def _curve(self, kind: str, attempt: Attempt) -> None:
        from mlflow.entities import Metric

        rows = [row for row in facts.curve(self.folder, kind, attempt) if row.step > self.mine.get(kind, -1)]
        batch: list[Metric] = []
        for number, row in enumerate(rows):
            batch += [Metric(key, value, row.at, row.step) for key, value in row.values.items()]
            if len(batch) > MOST - 50 or number == len(rows) - 1:
                self.client.log_batch(self.mine["run_id"], metrics=batch)
                self._note(**{kind: row.step})
                batch = []

    def _finished(self, attempt: Attempt) -> None:
        """What is there once a training ended: final metrics, files, pictures, the network."""
        final = facts.final(self.folder) if attempt.status == "FINISHED" else None
        if final is not None and (digest := self._new("final", final)):
            from mlflow.entities import Metric

            values = final | facts.localisation(self.run, self.folder, self.params)
            at = round(time.time() * 1000)  # a later evaluation is the one that counts, whatever its files' dates
            # No step: MLflow's page draws bars of these, and lines of what has steps.
            metrics = [Metric(key, value, at, 0) for key, value in values.items()]
            self.client.log_batch(self.mine["run_id"], metrics=metrics)
            self._sent("final", digest)
        self._files(KEPT if final is not None else KEPT[:3])
        if final is not None:
            self._pictures(final)
            self._network()

    def _files(self, kept: tuple[str, ...]) -> None:
        logs = [Path("logs") / self.run.dataset / step / f"{self.run.name}.log" for step in ("train", "evaluate")]
        places = {self.folder / name: None for name in kept} | {log: f"log/{log.parent.name}" for log in logs}
        for path, place in places.items():
            if path.name == "config.yaml" and read_run(path) != self.run:
                continue  # of the training that comes next
            if path.exists() and (digest := self._new(str(place or path.name), content(path))):
                self.client.log_artifact(self.mine["run_id"], str(path), place)
                self._sent(str(place or path.name), digest)

    def _pictures(self, final: Any) -> None:
        from . import pictures

        if digest := self._new("pictures", [final, content(self.folder / "train.csv")]):
            with tempfile.TemporaryDirectory() as folder:
                pictures.draw(self.run, self.folder, self.params, Path(folder))
                self.client.log_artifacts(self.mine["run_id"], folder, "pictures")
            self._sent("pictures", digest)

    def _network(self) -> None:
        wanted = self.params.tracking.models
        path = self.folder / "checkpoint.pt"
        if not path.exists() or (wanted is not None and not self._serves(wanted)):
            return
        if digest := self._new("model", content(path)):
            from . import model

            model_id = model.log(path, self.mine["run_id"], self.run.audio.sample_rate, self.params.tracking.served)
            self._note(model_id=model_id)
            self._sent("model", digest)

    def _serves(self, results: list[str]) -> bool:
        return any(self.run in facts.runs_of_result(self.params, name) for name in results)

    def _status(self, attempt: Attempt) -> None:
        """RUNNING, or how it ended, at the time when it did."""
        if not (digest := self._new("status", [attempt.status, attempt.ended])):
            return
        if attempt.status == "RUNNING":
            self.client.update_run(self.mine["run_id"], status="RUNNING")
        else:
            self.client.set_terminated(self.mine["run_id"], attempt.status, round(attempt.ended * 1000))
        self._sent("status", digest)
