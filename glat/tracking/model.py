"""A run's network as an MLflow model: sounds in, tags out, the same as `glat tag` gives.

One row of the input is one sound, in one of two columns: `waveform` (samples in [-1, 1], mono, at the network's rate) or
`audio` (the bytes of an audio file of any format; base64 over HTTP). There is no column for a path: whoever asks may not
be who may read the server's files. What a request may cost is limited (`settings.Served`, kept with the model as its
configuration): bytes are decoded clip by clip, as they are tagged, and what goes beyond a limit is refused in a sentence.

The answer has one row a tag: `input` (row of the input, from 0), `start` and `end` of the clip in seconds, `label`,
`score`, and `window`: where GL-AT's local stream heard this class, in seconds from the start of the clip; null where no
window was chosen for it.
"""

from __future__ import annotations

import math
import reprlib
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
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

from ..config.settings import Served
from ..data.audio.clips import AudioError, Limits
from ..models.twostream import Streams
from ..training import checkpoints
from ..use.tagging import LOUDEST, clips, stream

INPUTS = ("waveform", "audio")
TOO_LONG = "longer than the {:g} s of sound that one request may have; send it in parts"
LIMITS = (
    "tracking.served.max_bytes", "twice tracking.served.max_seconds", "what a request has left of tracking.served.timeout",
)  # fmt: skip
REQUIREMENTS = (
    "mlflow", "torch", "torchaudio", "numpy", "pandas", "scipy", "h5py", "soxr", "soundfile", "av", "pydantic", "pyyaml",
)  # fmt: skip
SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(Array(DataType.double), "waveform", required=False),
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
        self.limits = Served.model_validate(context.model_config or {})

    def predict(self, context, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        top = 5 if (asked := (params or {}).get("top")) is None else asked
        if not isinstance(top, Integral):
            raise MlflowException(f"params.top: expected a whole number, found {reprlib.repr(top)}", BAD_REQUEST)
        top = max(0, min(top, len(self.classes)))
        if len(model_input) > self.limits.max_sounds:
            raise MlflowException(f"{len(model_input)} sounds; at most {self.limits.max_sounds} a request", BAD_REQUEST)
        if not len(model_input):  # MLflow drops columns that the model does not know, and rows that then hold nothing
            raise _refused(0, f"give one of {', '.join(INPUTS)}, not none")
        rows, left, end = [], self.limits.max_seconds, time.monotonic() + self.limits.timeout
        for number, row in enumerate(model_input.to_dict("records")):
            until = 0.0
            try:
                for start, until, streams in clips(
                    self.tagger, self._pieces(row, number, left, end), self.run.audio.clip_seconds
                ):
                    rows += self._tags(number, start, until, streams, top)
                    if time.monotonic() > end:
                        raise _refused(
                            number, f"not done within {self.limits.timeout:g} s; send fewer or shorter sounds"
                        )
            except AudioError as error:
                raise _refused(number, f"audio: {error}") from None
            left -= until
        table = pd.DataFrame(rows, columns=["input", "start", "end", "label", "score", "window"])
        return table.assign(
            window=table["window"].astype(object).where(table["window"].notna(), None)
        )  # NaN is not JSON

    def _tags(self, number: int, start: float, end: float, streams: Streams, top: int) -> list[tuple]:
        """The rows of one clip."""
        scores = streams.fused[0]  # (L,)
        windows = {}
        if streams.windows is not None:
            windows = dict(zip(streams.classes[0].tolist(), streams.windows[0].tolist(), strict=True))
        best = scores.argsort(descending=True)[:top].tolist()
        names = [self.classes[index]["display_name"] for index in best]
        return [
            (number, start, end, name, scores[index].item(), windows.get(index))
            for index, name in zip(best, names, strict=True)
        ]

    def _pieces(self, row: dict[str, Any], number: int, left: float, end: float) -> Iterator[np.ndarray]:
        """The sound of one row in pieces of (samples,) float32 at the network's rate; of `left` seconds at most, until
        `end`."""
        given = [name for name in INPUTS if name in row and not _empty(row[name])]
        if len(given) != 1:
            raise _refused(number, f"give one of {', '.join(INPUTS)}, not {' and '.join(given) or 'none'}")
        value, rate = row[given[0]], self.run.audio.sample_rate
        if given == ["waveform"]:
            try:
                with np.errstate(over="ignore"):  # to infinity, which is refused
                    mono = np.asarray(value, np.float32)
            except (TypeError, ValueError):
                mono = np.empty(0)
            if mono.ndim != 1 or not mono.size or not (np.abs(mono) <= LOUDEST).all():
                raise _refused(number, "waveform: expected a list of finite samples in [-1, 1]")
            if mono.size > left * rate:
                raise _refused(number, f"waveform: {TOO_LONG.format(self.limits.max_seconds)}")
            yield mono
            return
        if not isinstance(value, bytes | bytearray):
            raise _refused(number, "audio: expected the bytes of an audio file (over HTTP: base64)")
        if len(value) > self.limits.max_bytes:
            raise _refused(number, f"audio: {len(value)} bytes, over the limit of {self.limits.max_bytes}")
        samples = 0
        limits = Limits(math.inf, 2 * self.limits.max_seconds, max(end - time.monotonic(), 0.0), LIMITS)
        for piece in stream(bytes(value), rate, limits=limits):
            samples += len(piece)
            if samples > left * rate:
                raise _refused(number, f"audio: {TOO_LONG.format(self.limits.max_seconds)}")
            yield piece


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _refused(number: int, why: str) -> MlflowException:
    return MlflowException(f"input {number}: {why}", error_code=BAD_REQUEST)


def example(rate: int, seconds: float = 0.05) -> pd.DataFrame:
    """An input that works: a tone of 1 kHz."""
    t = np.arange(round(rate * seconds)) / rate
    return pd.DataFrame({"waveform": [np.round(0.1 * np.sin(2 * np.pi * 1000 * t), 4).tolist()]})


def log(checkpoint: Path, run_id: str, rate: int, limits: Served) -> str:
    """Log a checkpoint as the model of an MLflow run, with this package's code; returns the model's id.

    The run's final metrics become the model's. limits: its configuration, which a server may be given another one of
    (SERVING_MODEL_CONFIG, as JSON).
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
        model_config=limits.model_dump(),
        input_example=example(rate),
        pip_requirements=requirements,
    )
    return info.model_id
