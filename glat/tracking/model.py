"""A run's network as an MLflow model: sounds in, tags out, the same as `glat tag` gives.

One row of the input is one sound, in one of three columns: `waveform` (samples in [-1, 1], mono, at the network's rate),
`file` (a path that the model can read) or `audio` (the bytes of an audio file of any format; base64 over HTTP, where
the server sees no file of the client). The answer has one row a tag: `input` (row of the input, from 0), `start` and
`end` of the clip in seconds, `label`, `score`, and `window`: where GL-AT's local stream heard this class, in seconds from
the start of the clip; null where no window was chosen for it.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from .. import checkpoints
from ..data.audio import AudioError
from ..tagging import clips, listen

INPUTS = ("waveform", "file", "audio")
REQUIREMENTS = (
    "mlflow", "torch", "torchaudio", "numpy", "pandas", "scipy", "h5py", "soxr", "soundfile", "av", "pydantic", "pyyaml",
)  # fmt: skip
SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(Array(DataType.double), "waveform", required=False),
            ColSpec(DataType.string, "file", required=False),
            ColSpec(DataType.binary, "audio", required=False),
        ]
    ),
    outputs=Schema(
        [
            ColSpec(DataType.long, "input"),
            ColSpec(DataType.double, "start"),
            ColSpec(DataType.double, "end"),
            ColSpec(DataType.string, "label"),
            ColSpec(DataType.double, "score"),
            ColSpec(DataType.double, "window", required=False),
        ]
    ),
    params=ParamSchema([ParamSpec("top", DataType.integer, 5)]),
)


class Tags(PythonModel):
    """`glat tag` as a pyfunc."""

    def load_context(self, context) -> None:
        self.tagger, self.run, self.classes = checkpoints.load(context.artifacts["checkpoint"])

    def predict(self, context, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        top = (params or {}).get("top", 5)
        rows = []
        for number, row in enumerate(model_input.to_dict("records")):
            for start, end, streams in clips(self.tagger, self._mono(row, number), self.run.audio.clip_seconds):
                scores = streams.fused[0]  # (L,)
                windows = {}
                if streams.windows is not None:
                    windows = dict(zip(streams.classes[0].tolist(), streams.windows[0].tolist(), strict=True))
                for index in scores.argsort(descending=True)[:top].tolist():
                    name = self.classes[index]["display_name"]
                    rows.append((number, start, end, name, scores[index].item(), windows.get(index)))
        table = pd.DataFrame(rows, columns=["input", "start", "end", "label", "score", "window"])
        return table.assign(
            window=table["window"].astype(object).where(table["window"].notna(), None)
        )  # NaN is not JSON

    def _mono(self, row: dict[str, Any], number: int) -> np.ndarray:
        """The sound of one row: (samples,) float32 at the network's rate."""
        given = [name for name in INPUTS if name in row and not _empty(row[name])]
        if len(given) != 1:
            raise _refused(number, f"give one of {', '.join(INPUTS)}, not {' and '.join(given) or 'none'}")
        value = row[given[0]]
        if given == ["waveform"]:
            mono = np.asarray(value, np.float32)
            if mono.ndim != 1 or not mono.size or not np.isfinite(mono).all():
                raise _refused(number, "waveform: expected a list of finite samples")
            return mono
        try:
            if given == ["file"]:
                return listen(value, self.run.audio.sample_rate)
            with tempfile.NamedTemporaryFile() as file:
                file.write(value)
                file.flush()
                return listen(file.name, self.run.audio.sample_rate)
        except AudioError as error:
            raise _refused(number, f"{given[0]}: {error}") from None


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _refused(number: int, why: str) -> MlflowException:
    return MlflowException(f"input {number}: {why}", error_code=BAD_REQUEST)


def example(rate: int, seconds: float = 0.05) -> pd.DataFrame:
    """An input that works: a tone of 1 kHz."""
    t = np.arange(round(rate * seconds)) / rate
    return pd.DataFrame({"waveform": [np.round(0.1 * np.sin(2 * np.pi * 1000 * t), 4).tolist()]})


def log(checkpoint: Path, run_id: str, rate: int) -> str:
    """Log a checkpoint as the model of an MLflow run, with this package's code; returns the model's id.

    The run's final metrics become the model's.
    """
    mlflow.set_experiment(experiment_id=mlflow.get_run(run_id).info.experiment_id)  # where the model is filed
    requirements = []
    for name in REQUIREMENTS:
        try:
            requirements.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            pass
    info = Model.log(
        artifact_path=None,
        flavor=mlflow.pyfunc,
        name="model",
        run_id=run_id,
        step=0,  # where the final metrics are
        python_model=str(Path(__file__).with_name("served.py")),
        artifacts={"checkpoint": str(checkpoint.absolute())},
        code_paths=[str(Path(__file__).parents[1])],
        signature=SIGNATURE,
        input_example=example(rate),
        pip_requirements=requirements,
    )
    return info.model_id
