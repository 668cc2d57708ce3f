"""A run's network as an MLflow model: sounds in, tags out, the same as `glat tag` gives (`serving`).

`audio` is base64 over HTTP. The limits of a request (`settings.Served`) are kept with the model as its configuration,
which a server may be given another one of (SERVING_MODEL_CONFIG, as JSON).
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array, DataType

from ..config.runs import Run
from ..config.settings import Served
from ..lib import dependencies, layout
from ..lib.sources import source_file
from . import tagging, thresholds
from .options import Options
from .serving import COLUMNS, Refusal, answer

REQUIREMENTS = (
    "mlflow", "torch", "torchaudio", "numpy", "pandas", "scipy", "h5py", "soxr", "soundfile", "av", "pydantic", "pyyaml",
    "safetensors", "tqdm", "jinja2", "filelock",
)  # fmt: skip
INPUTS = [ColSpec(Array(DataType.double), "waveform", required=False), ColSpec("binary", "audio", required=False)]
OUTPUTS = [
    ColSpec(kind, name, required=name != "window")
    for name, kind in zip(COLUMNS, ("long", "double", "double", "string", "double", "double"), strict=True)
]
# As of `glat tag`; null is what is usual there.
PARAMS = {
    "top": DataType.integer, "hop": DataType.double, "events": DataType.boolean, "threshold": DataType.double,
    "calibrated": DataType.boolean, "median": DataType.double, "hysteresis": DataType.double,
}  # fmt: skip
SIGNATURE = ModelSignature(
    Schema([*INPUTS]),
    Schema([*OUTPUTS]),
    ParamSchema([ParamSpec(name, kind, getattr(Options(), name)) for name, kind in PARAMS.items()]),
)


class Tags(PythonModel):
    """`glat tag` as a pyfunc."""

    def load_context(self, context) -> None:
        self.tagger = tagging.load(context.artifacts["checkpoint"])
        self.limits = Served.model_validate(context.model_config or {})

    def predict(self, context, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        rows, options = model_input.to_dict("records"), Options(**(params or {}))
        try:
            table = pd.DataFrame(answer(self.tagger, self.limits, rows, options), columns=COLUMNS)
        except Refusal as error:
            raise MlflowException(str(error), error_code=BAD_REQUEST) from None
        window = table["window"].astype(object)
        return table.assign(window=window.where(window.notna(), None))  # NaN is not JSON


def log(checkpoint: Path, run_id: str, run: Run, limits: Served) -> str:
    """Log a checkpoint as the model of an MLflow run, with this package's code; returns the model's id."""
    client = MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    for one in models(client, experiment, run_id):
        if one.status != LoggedModelStatus.READY:  # of a sending that was broken off
            client.delete_logged_model(one.model_id)
    mlflow.set_experiment(experiment_id=experiment)  # where the model is filed
    requirements = []
    library = [run.network.library] if run.network and run.network.library else []
    for name in (*REQUIREMENTS, *library):
        with suppress(PackageNotFoundError):
            requirements.append(f"{name}=={version(name)}")
    beside = [
        checkpoint.with_name(name) for name in (thresholds.FILE, layout.METRICS)
    ]  # and `tagging.load` finds them there
    t = np.arange(run.audio.sample_rate // 20) / run.audio.sample_rate  # (samples,): a tone of 1 kHz, as an example
    info = Model.log(
        artifact_path=None,
        flavor=mlflow.pyfunc,
        name="model",
        run_id=run_id,
        step=run.training.steps,
        python_model=str(Path(__file__).with_name("served.py")),
        artifacts={path.stem: str(path.absolute()) for path in (checkpoint, *beside) if path.exists()},
        code_paths=[str(path) for path in code(run)],
        signature=SIGNATURE,
        model_config=limits.model_dump(),
        input_example=pd.DataFrame({"waveform": [np.round(0.1 * np.sin(2 * np.pi * 1000 * t), 4).tolist()]}),
        pip_requirements=requirements,
    )
    return info.model_id


def models(client: MlflowClient, experiment: str, run_id: str) -> list[LoggedModel]:
    """The models of an MLflow run, the newest first. A search by status would find none in a database, which stores it as a
    number."""
    newest: list[dict[str, Any]] = [{"field_name": "creation_timestamp", "ascending": False}]
    return list(client.search_logged_models([experiment], f"source_run_id = '{run_id}'", order_by=newest))


def code(run: Run) -> list[Path]:
    """The code that a network is loaded by: this package, and of a class of one's own its module with those beside it that it
    imports, or the package that it lies in."""
    found = [dependencies.PACKAGE]
    if run.network and not run.network.library:
        module = run.network.source.partition(":")[0]
        files = [path for path in dependencies.sources(module) if not path.is_relative_to(dependencies.PACKAGE)]
        head = source_file(module.partition(".")[0])
        found += [head.parent] if head and head.name == "__init__.py" else files
    return found


def register(client: MlflowClient, name: str, experiment: str) -> None:
    """Give the registered model `name` the network of an experiment's highest final/mAP as its version `best`."""
    query = "tags.replaced_by IS NULL AND attributes.status = 'FINISHED' AND metrics.`final/mAP` >= 0"
    run = client.search_runs([experiment], query, max_results=1, order_by=["metrics.`final/mAP` DESC"])[0]
    ready = [one for one in models(client, experiment, run.info.run_id) if one.status == LoggedModelStatus.READY]
    if not ready:
        return  # its network is not one of `tracking.models`
    source = f"models:/{ready[0].model_id}"
    with suppress(MlflowException):  # no version has the alias yet
        if client.get_model_version_by_alias(name, "best").source == source:
            return
    made = mlflow.register_model(source, name)
    client.set_registered_model_alias(name, "best", made.version)
