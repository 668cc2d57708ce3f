"""Sending a run's folder to MLflow, from where the last sending stopped: nothing twice, nothing left out.

`mlflow.json` in the folder says, for each tracking server, which MLflow run is this one and what it has already. A metric
that was taken and not noted is sent again with the same step and time, which MLflow keeps once.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..config.params import Params
from ..config.runs import evaluated, evaluation_packs, read_run
from ..lib import layout
from ..lib.errors import GlatError
from ..lib.files import digest as content, locked, whole
from ..training import attempt as attempts
from ..training.attempt import Attempt
from . import facts, views
from .store import Store, mlflow_errors, name_of, uri

STATE, LOCK = "mlflow.json", ".mlflow.lock"
TRAINED = ("config.yaml", "train.csv", "validation.csv")  # sent as they are
EVALUATED = ("metrics.json", "per_class.csv")


class Deleted(GlatError):
    """Somebody deleted this run in MLflow, and so it stays."""


def read_state(folder: Path) -> dict[str, Any]:
    """mlflow.json: what each server has, by its name; empty where the file is missing or damaged."""
    with suppress(OSError, ValueError):
        if isinstance(state := json.loads((folder / STATE).read_text()), dict):
            return state
    return {}


def changed(folder: Path, params: Params) -> bool:
    """Whether a run changed since all of it was sent to the chosen server; the folder tells, and no server is asked."""
    begun = (folder / "attempt.json").exists() or (folder / "train.csv").exists()
    return begun and (read_state(folder).get(name_of(uri())) or {}).get("all_of") != _stamp(folder, params)


def _stamp(folder: Path, params: Params) -> str:
    found = []
    for path in folder.iterdir():
        if path.name != STATE and not path.name.startswith("."):  # locks, and what is still being written
            with suppress(FileNotFoundError):  # removed meanwhile by a training that lives
                if path.is_file():
                    found.append((path.name, path.stat().st_mtime_ns))
    return _digest([params.model_dump_json(), sorted(found)])


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


class Sending:
    """One run's folder and one server."""

    def __init__(self, folder: Path, store: Store, params: Params):
        self.folder, self.store, self.params, self.client = folder, store, params, store.client

    def send(self, live: bool = False) -> Attempt | None:
        """Send what is new, while no other process does; returns the attempt, or None if the run was never trained.

        `live`: the caller trains the run, whatever that looks like from outside.

        Raises:
            NotSent: the server did not take it; what it took is noted, and the next sending goes on from there.
            Deleted: somebody deleted the run in MLflow.
            GlatError: a file of the run is damaged.
        """
        with locked(self.folder / LOCK):
            attempt = attempts.read(self.folder) if live else attempts.settle(self.folder)
            if attempt is not None:
                with mlflow_errors(self.store.name):
                    self._send(attempt)
        return attempt

    def _send(self, attempt: Attempt) -> None:
        stamp = _stamp(self.folder, self.params)
        self.attempt, self.run = attempt, attempt.run
        # Where params.yaml lacks it, which a --configfile had, all is sent but what its evaluation packs and tables tell.
        self.params = self.params.model_copy(update={"dataset": self.run.dataset})
        self.tags, self.given = facts.tags(self.run, attempt, self.folder, self.params), facts.parameters(self.run)
        self.state = read_state(self.folder)
        self.mine: dict[str, Any] = self.state.get(self.store.name) or {}
        self._open()
        self.id = self.mine["run_id"]
        self._describe()
        for kind in facts.CURVES:
            self._curve(kind)
        self._once("status", [attempt.status, attempt.ended], self._status)
        if attempt.status != "RUNNING":
            self._files(TRAINED)
            if attempt.status == "FINISHED":
                self._once("replaces", attempt.id, self._replace_others)
                self._evaluation()
            self._note(all_of=stamp)

    def _note(self, **update: Any) -> None:
        self.mine |= update
        self.state[self.store.name] = self.mine
        with whole(self.folder / STATE) as part:
            part.write_text(json.dumps(self.state, indent=1) + "\n")

    def _once(self, name: str, value: Any, send: Callable[[], Any]) -> None:
        """Call `send` unless the server has this `value` under this name."""
        if self.mine.get("sent", {}).get(name) != (digest := _digest(value)):
            send()
            self._note(sent=self.mine.get("sent", {}) | {name: digest})

    def _open(self) -> None:
        """The MLflow run of the attempt: that of mlflow.json, one that was made and not noted, or a new one."""
        attempt, before, known = self.attempt, self.mine.get("run_id", ""), dict[str, Any]()
        same, stage = self.mine.get("attempt") == attempt.id, self._stage(before)
        if same and stage == "deleted":
            back = f"`mlflow runs restore --run-id {before}` brings it back"
            raise Deleted(f"{self.folder}: was deleted in MLflow, and stays so; {back}")
        if same and stage:
            return
        experiment, started = self.store.experiment(self.run.dataset), round(attempt.started * 1000)
        views.ensure(self.client, experiment)
        found = self._search(experiment, f"tags.attempt = '{attempt.id}'")
        if not found and attempt.id == attempt.weights:  # made from a checkpoint, and perhaps followed in another copy
            found = self._search(experiment, f"tags.checkpoint = '{attempt.id}'")
            if found:  # what that copy sent stays, and an evaluation of this one is added
                sent = {"parameters": self.given, "status": [attempt.status, attempt.ended], "replaces": attempt.id}
                known = {"sent": {name: _digest(value) for name, value in (sent | {"tags": self.tags}).items()}}
                known |= dict.fromkeys(facts.CURVES, self.run.training.steps)
        run = found[0] if found else self.client.create_run(experiment, started, self.tags, self.run.name)
        self.mine, before = {}, before if stage == "active" else ""
        self._note(attempt=attempt.id, experiment_id=experiment, run_id=run.info.run_id, before=before, **known)
        if before:
            self._end_if_running(
                before
            )  # a training that another one has taken over is over, whether anybody said so or not

    def _stage(self, run_id: str) -> str:
        """Its stage of life, active or deleted; empty if there is no such run."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run_id).info.lifecycle_stage if run_id else ""
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return ""

    def _search(self, experiment: str, query: str) -> list[Any]:
        return list(self.client.search_runs([experiment], query, max_results=100))

    def _end_if_running(self, run_id: str) -> None:
        if self.client.get_run(run_id).info.status == "RUNNING":
            self.client.set_terminated(run_id, "KILLED")

    def _replace_others(self) -> None:
        """Mark the runs that were in this folder before, now that this one has left its weights there, and not sooner."""
        query = f'tags.folder = "{self.tags["folder"]}" AND tags.replaced_by IS NULL'
        found = {one.info.run_id for one in self._search(self.mine["experiment_id"], query)}
        others = sorted((found | {self.mine.get("before") or ""}) - {self.id, ""})
        for other in others:
            name = self.client.get_run(other).info.run_name.removesuffix(" (replaced)")
            self.client.set_tag(other, "replaced_by", self.id)
            self._end_if_running(other)
            self.client.update_run(other, name=f"{name} (replaced)")
        if others:
            self.client.set_tag(self.id, "replaces", ", ".join(others))

    def _describe(self) -> None:
        from mlflow.entities import Param, RunTag

        params = [Param(key, value) for key, value in self.given.items()]
        tags = [RunTag(key, value) for key, value in self.tags.items()]
        self._once("parameters", self.given, lambda: self.client.log_batch(self.id, params=params))
        self._once("tags", self.tags, lambda: self.client.log_batch(self.id, tags=tags))
        if self.attempt.data:
            self._dataset(self.run.dataset, self.attempt.data, "training", self.run.packs)

    def _dataset(self, name: str, digest: str, context: str, packs: list[str]) -> dict[str, str]:
        """Packs as a dataset of the run, for training or evaluation; returns what ties a metric to it."""
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = CodeDatasetSource({"packs": [Path(pack).name for pack in packs]})
        dataset = MetaDataset(source, name, digest[:8])  # type: ignore[abstract]  # MLflow's own, and meant so
        inputs = [DatasetInput(Dataset(**dataset.to_dict()), [InputTag("mlflow.data.context", context)])]
        self._once(f"{context} data", digest, lambda: self.client.log_inputs(self.id, inputs))
        return {"dataset_name": name, "dataset_digest": digest[:8]}

    def _curve(self, kind: str) -> None:
        from mlflow.entities import Metric

        rows = [row for row in facts.curve(self.folder, kind, self.attempt) if row.step > self.mine.get(kind, -1)]
        if rows:
            metrics = [Metric(key, value, row.at, row.step) for row in rows for key, value in row.values.items()]
            self.client.log_batch(self.id, metrics)
            self._note(**{kind: rows[-1].step})

    def _status(self) -> None:
        """RUNNING, or how it ended, at the time when it did."""
        if self.attempt.status == "RUNNING" or self.attempt.ended is None:
            self.client.update_run(self.id, status="RUNNING")
        else:
            self.client.set_terminated(self.id, self.attempt.status, round(self.attempt.ended * 1000))

    def _files(self, names: tuple[str, ...]) -> None:
        logs = [layout.log(self.run.dataset, step, self.run.name) for step in ("train", "evaluate")]
        for path in (*(self.folder / name for name in names), *logs):
            place = f"log/{path.parent.name}" if path in logs else None
            # A config.yaml may be of the training that comes next.
            if path.exists() and (path.name != "config.yaml" or read_run(path) == self.run):
                send = lambda path=path, place=place: self.client.log_artifact(self.id, str(path), place)
                self._once(place or path.name, content(path), send)

    def _evaluation(self) -> None:
        """What is there once a run was evaluated: final metrics tied to the clips they stand on, pictures, the network."""
        if not evaluated(self.folder):
            return
        from ..results.measured import read_metrics  # takes seconds to import

        metrics, dataset, settings = read_metrics(self.folder / "metrics.json"), self.run.dataset, self.params.tracking
        entry = self.params.datasets.get(dataset)
        packs = evaluation_packs(self.params, self.run) if entry else []
        of = self._dataset(f"{dataset}-evaluation", metrics["clips_hash"], "evaluation", packs)
        self._once("final", metrics, lambda: self._final(metrics, of))
        self._files(EVALUATED)
        self._once("pictures", [metrics, content(self.folder / "train.csv")], self._pictures)
        of_results = (facts.runs_of_result(self.params, name) for name in settings.models or ())
        if settings.models is None or any(self.run in runs for runs in of_results):
            from ..use import pyfunc, thresholds

            path, calibrated = self.folder / layout.CHECKPOINT, self.folder / thresholds.FILE
            log = lambda: self._note(model_id=pyfunc.log(path, self.id, self.run, settings.served))
            served = [content(path), content(calibrated)] if calibrated.exists() else content(path)
            self._once("model", served, log)
            of["model_id"] = self.mine["model_id"]
            self._once("final of the model", [metrics, of["model_id"]], lambda: self._final(metrics, of))
            if settings.registered_model:
                pyfunc.register(self.client, settings.registered_model, self.mine["experiment_id"])

    def _final(self, metrics: dict[str, Any], of: dict[str, str]) -> None:
        from mlflow.entities import Metric

        # A later evaluation is the one that counts, whatever its files' dates; sent again, the same one has the same time.
        digest, (known, at) = _digest(metrics), self.mine.get("final_at", ("", 0))
        at = at if known == digest else round(time.time() * 1000)
        self._note(final_at=[digest, at])
        values = facts.final(self.run, self.folder, self.params, metrics)
        self.client.log_batch(self.id, [Metric(key, value, at, 0, **of) for key, value in values.items()])

    def _pictures(self) -> None:
        from ..use import pictures

        with tempfile.TemporaryDirectory() as folder:
            pictures.draw(self.run, self.folder, self.params, Path(folder))
            self.client.log_artifacts(self.id, folder, "pictures")
