"""A trained run for elsewhere."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..lib.errors import GlatError
from .app import Threads, app, inside, invocation, load_params

LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,39}")  # as the hub names them: cc-by-4.0


class Precision(StrEnum):
    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


@app.command()
def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run's folder, or its checkpoint.pt.", callback=inside("checkpoint.pt")),
    ],
    onnx: Annotated[
        Path | None,
        typer.Option(help="Write an ONNX file here; without --onnx and --hub: export/<run>.onnx in the run."),
    ] = None,
    hub: Annotated[
        Path | None, typer.Option(help="Write a folder in the form of the Hugging Face Hub here: weights, model card.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Of the ONNX file's weights; mAP may move by 0.005.")
    ] = Precision.float32,
    opset: Annotated[int, typer.Option(help="Of the ONNX file, 18 to 23.")] = 18,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="The ONNX file takes clips of any length.")] = False,
    sound: Annotated[
        list[Path] | None, typer.Option(help="A recording to check the ONNX file on; may be repeated.")
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="Of the weights, as the hub names it: cc-by-4.0, mit.")
    ] = "unknown",
    threads: Threads = 0,
) -> None:
    """Write a trained run as an ONNX file, checked against PyTorch, or as a folder for the Hugging Face Hub."""
    from ..training import checkpoints
    from ..use import hub_folder, onnx_export, onnx_file

    if not LICENCE.fullmatch(license_):
        raise GlatError(f"--license {license_!r}: expected a name as the hub has it, as in cc-by-4.0, mit or unknown")
    if hub:
        hub_folder.check_place(hub)
    of_onnx = {
        "--precision": precision != Precision.float32,
        "--opset": opset != 18,
        "--dynamic": dynamic,
        "--sound": sound,
    }
    if hub and not onnx and (given := [name for name, one in of_onnx.items() if one]):
        raise GlatError(
            f"{given[0]}: of the ONNX file alone, and only --hub was asked for; add --onnx FILE, or leave it out"
        )
    if onnx or not hub:
        onnx_file.check_installed()
        onnx_file.check_opset(opset)
    found, folder = checkpoints.restore(checkpoint), checkpoint.parent
    if hub:
        hub_folder.write(found, folder, hub, license_)
        print(hub)
    if onnx or not hub:
        out = onnx or folder / "export" / f"{found.run.name}.onnx"
        if out.is_dir():
            raise GlatError(f"--onnx {out}: a folder; give the name of a file in it, as in {out / found.run.name}.onnx")
        how: dict[str, Any] = {
            "precision": precision.value,
            "opset": opset,
            "dynamic": dynamic,
            "licence": license_,
            "threads": threads,
        }
        onnx_export.write(found, folder, out, packs=_packs(found.run), sounds=sound or [], **how)
        print(out)


def _packs(run) -> list[str] | None:
    """Those that a run is evaluated on; None outside of its project."""
    from ..config.runs import evaluation_packs

    if not (invocation["path"].exists() or invocation["overrides"]):
        return None
    params = load_params(run.dataset)
    return evaluation_packs(params, run) if run.dataset in params.datasets else None
