"""A network as an ONNX file, with its log-mel and its selection of windows inside; and such a file as onnxruntime runs it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..lib.errors import GlatError, brief
from ..models.portable import Portable
from ..models.selection import Draws
from ..models.tagger import Tagger
from ..models.twostream import Streams, TwoStream

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OPSETS = (18, 23)  # the least that torch's exporter writes, and the most
LONGEST = 600.0  # seconds that a file of any length takes: beyond it the windows' share of a clip is nothing
LARGEST_BATCH = 4096
QUANTISED = ("Conv", "Gemm", "MatMul")
HALF_RANGE = 65504.0  # the largest number of float16


def check_installed() -> None:
    """Raise GlatError where what an export needs is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise GlatError(
            f"an ONNX file needs {error.name}, which is not installed; run pip install 'glat[onnx]'"
        ) from None


def check_opset(opset: int) -> None:
    """Raise GlatError for an opset that the network can't be written in."""
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise GlatError(f"--opset {opset}: allowed are {OPSETS[0]} to {OPSETS[1]}, which the network can be written in")


def translate(tagger: Tagger, samples: int, opset: int, *, dynamic: bool = False) -> ModelProto:
    """A network as an ONNX model of float32: `waveform` (B, samples) in; out what `Portable` gives, by the names `OUTPUTS`.

    B is free; so is the number of samples where it is `dynamic`, up to `LONGEST` and down to a window and a tenth of a
    second.

    Raises:
        GlatError: random windows, or a network that torch's exporter can't write so.
    """
    import onnx

    try:
        portable = Portable(tagger).eval()
    except ValueError as error:
        raise GlatError(f"--onnx: {error}") from None
    shapes: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)}
    if dynamic:
        rate = tagger.front_end.sample_rate
        least = round(rate * (_longest_window(tagger) + 0.1))
        shapes[1] = torch.export.Dim("samples", min=least, max=round(LONGEST * rate))
    for part in portable.modules():
        choose: Any = getattr(part, "set_attn_implementation", None)
        if choose:  # torch's exporter can't follow the shapes of transformers' other attentions
            choose("eager")
    example = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    with _quiet():
        try:
            program = torch.onnx.export(
                portable,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=["waveform"],
                output_names=list(portable.outputs),
                dynamic_shapes={"waveform": shapes},
                custom_translation_table={torch.ops.aten.sort.stable: _sort()},
            )
            assert program is not None
            model = program.model_proto
            onnx.checker.check_model(model, full_check=True)
        except Exception as error:  # the exporter's own, torch's, and whatever else a network meets on the way
            hint = "a fixed length may do: leave out --dynamic" if dynamic else "its layers are not among ONNX's"
            raise GlatError(f"--onnx: torch can't write this network so; {hint} ({brief(error, 160)})") from None
    found = {one.version for one in model.opset_import if one.domain in ("", "ai.onnx")}
    if found != {opset}:
        raise GlatError(f"--opset {opset}: this network needs opset {max(found)}")
    return model


def _longest_window(tagger: Tagger) -> float:
    """In seconds; without GL-AT what leaves a frame after all pooling."""
    if isinstance(tagger.network, TwoStream):
        return max(tagger.network.taus)
    return tagger.network.min_frames / tagger.front_end.frames_per_second


def _sort() -> Callable[..., Any]:
    """A stable sort as ONNX's TopK of all, which puts the lower index first among equals. Torch's exporter has none."""
    from onnxscript import opset18 as op

    def sort(self: Any, *, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:  # noqa: ARG001
        count: Any = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]))  # type: ignore[type-var]
        return op.TopK(self, count, axis=dim, largest=int(descending), sorted=1)

    return sort


@contextmanager
def _quiet() -> Iterator[None]:
    """What these libraries print, log and warn of is for those who write them; nor do they get to set up the log."""
    disabled, handlers = logging.root.manager.disable, logging.root.handlers[:]
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)
            logging.root.handlers[:] = handlers


def _layers(model: ModelProto, kinds: tuple[str, ...]) -> dict[str, list[str]]:
    """Of the network's layers of these kinds, by name, the weights that they have. Those of the front end are none: a sum of
    squares and its logarithm fit nothing smaller than float32."""
    weights = {one.name for one in model.graph.initializer if not one.name.startswith("front_end.")}
    own = [node for node in model.graph.node if node.op_type in kinds and not _in_front_end(node)]
    layers = {node.name: [name for name in node.input if name in weights] for node in own}
    return {name: found for name, found in layers.items() if found}


def _in_front_end(node: NodeProto) -> bool:
    return any(one.key == "pkg.torch.onnx.name_scopes" and "'front_end'" in one.value for one in node.metadata_props)


def reduce(model: ModelProto, precision: str, folder: Path) -> ModelProto:
    """The model with weights of "float16", which are computed with in float32, or with layers of "int8" (onnxruntime's dynamic
    quantisation, by the range that each layer's input has). folder: for what onnxruntime writes on the way."""
    import onnx

    if precision == "float16":
        return _halve(model)
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before, after = folder / "float32.onnx", folder / "int8.onnx"
    onnx.save(model, before)
    with _quiet():  # it asks for a step that torch's exporter has done; signed weights would take twice the time
        quantize_dynamic(before, after, nodes_to_quantize=[*_layers(model, QUANTISED)], weight_type=QuantType.QUInt8)
    return onnx.load(after)


def _halve(model: ModelProto) -> ModelProto:
    """The weights of layers as float16, each with a Cast back, which a runtime does once, when it loads the file."""
    from onnx import TensorProto, helper, numpy_helper

    halves = {name for names in _layers(model, (*QUANTISED, "GRU")).values() for name in names}
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.name not in halves or values.dtype != np.float32 or np.abs(values).max(initial=0) > HALF_RANGE:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
        model.graph.node.insert(
            0, helper.make_node("Cast", [weight.name], [name], f"{name}_cast", to=TensorProto.FLOAT)
        )
    return model


def describe(model: ModelProto, facts: dict[str, Any]) -> None:
    """Note facts in the model: texts as they are, all else as JSON."""
    import onnx

    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    onnx.helper.set_model_props(model, texts)


class OnnxTagger(nn.Module):
    """An ONNX file, run by onnxruntime on the CPU, for those who score a `Tagger`.

    Raises:
        GlatError: onnxruntime can't run it.
    """

    def __init__(self, path: Path, threads: int = 0):
        import onnxruntime

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own have no class in common
            raise GlatError(f"onnxruntime can't run the exported network ({brief(error, 160)})") from None

    def outputs(self, waveform: Tensor) -> dict[str, np.ndarray]:
        """(B, samples) -> arrays by name: see `Portable`."""
        scale = np.float32(2**-15 if waveform.dtype == torch.int16 else 1)
        names = [one.name for one in self.session.get_outputs()]
        found = self.session.run(names, {"waveform": waveform.numpy().astype(np.float32) * scale})
        return dict(zip(names, found, strict=True))

    def streams(self, waveform: Tensor, generator: Draws = None) -> Streams:
        scores = torch.from_numpy(self.outputs(waveform)["scores"])
        return Streams(scores, scores)


class Agreement(NamedTuple):
    """How far an ONNX file is from its network."""

    scores: float  # the largest difference of a score, of a clip or a frame, where both chose the same windows
    same: int  # clips whose windows are the same
    clips: int


def compare(tagger: Tagger, other: OnnxTagger, waveform: Tensor) -> Agreement:
    """waveform: (B, samples) float32. Two frames or two classes may have scores that are equal but for rounding, so that
    windows differ; then the scores of other windows do, too, and are not compared."""
    with torch.inference_mode():
        streams, over_time = tagger.timeline(waveform)
    found = other.outputs(waveform)
    same = np.ones(len(waveform), bool)
    if streams.windows is not None and streams.classes is not None:
        near = np.abs(found["windows"] - streams.windows.numpy()) < 1e-3
        same = (near & (found["window_classes"] == streams.classes.numpy())).all(1)
    pairs = ((found["scores"], streams.fused), (found["frame_scores"], over_time.fused))
    differences = [np.abs(ours - theirs.numpy())[same].max(initial=0) for ours, theirs in pairs]
    return Agreement(float(np.max(differences)), int(same.sum()), len(waveform))
