"""What all subcommands share: the application, the settings, and the types of their arguments."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..lib.documents import parse_yaml
from ..lib.errors import GlatError
from ..lib.escaping import NAME
from ..lib.logs import to_stderr


class InOrder(TyperGroup):
    """Lists subcommands as they are defined: in the order of the pipeline."""

    def list_commands(self, ctx) -> list[str]:
        return list(self.commands)


class WithFiles(TyperCommand):
    """A subcommand that takes what begins with a dash for an argument where it can be no option: AudioSet's ids do.

    That is a file that is there, a name of an audio file, or a clip as `<id>_<start in ms>`. Anything else that looks
    like an option and is none stays an error.
    """

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        options = {name for parameter in self.get_params(ctx) for name in (*parameter.opts, *parameter.secondary_opts)}
        before = args[: args.index("--")] if "--" in args else args
        odd = [a for a in before if a.startswith("-") and a != "-" and a.partition("=")[0] not in options]
        files = [a for a in odd if _is_no_option(a)]
        if len(files) < len(odd):  # without the files, the one that is wrong is named
            self.make_parser(ctx).parse_args([a for a in args if a not in files])
        ctx.ignore_unknown_options = bool(files)
        return super().parse_args(ctx, args)


def _is_no_option(argument: str) -> bool:
    from ..data.audio.formats import extension

    return os.path.lexists(argument) or bool(extension(argument)) or re.search(r"_\d+$", argument) is not None


class Application(typer.Typer):
    def command(self, *arguments, **options):
        return super().command(*arguments, cls=WithFiles, **options)


app = Application(
    cls=InOrder,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Weakly labelled audio tagging with GL-AT, step by step. Each step is also a Snakemake rule: "
    "`snakemake --cores 8 results/table1.csv` runs them all.",
)

Split = Annotated[str, typer.Argument(help="A split of the dataset, as datasets.*.splits of params.yaml names it.")]
Shard = Annotated[int, typer.Argument(help="Number of the shard, from 0.")]
Workers = Annotated[int, typer.Option(help="Processes to work with.")]
Threads = Annotated[int, typer.Option(help="Threads to compute on; 0: all cores.")]


def inside(name: str):
    """A run may be named by its folder, or by the file `name` in it."""
    return lambda path: path / name if path.is_dir() else path


RunFile = Annotated[Path, typer.Argument(help="A run's config.yaml, or its folder.", callback=inside("config.yaml"))]

invocation: dict[str, Any] = {}


@app.callback()
def options(
    params_: Annotated[Path, typer.Option("--params", help="File with the settings.")] = Path("params.yaml"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting, as in glat.tau=2.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Write warnings and errors alone to stderr.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also write times, what libraries log, and tracebacks of errors.")
    ] = False,
) -> None:
    if quiet and verbose:
        raise GlatError("--quiet and --verbose: give one of them")
    to_stderr(quiet, verbose)
    # What Snakemake's command line changed comes as JSON in the environment.
    invocation["path"], invocation["overrides"] = params_, json.loads(os.environ.get("GLAT_SETTINGS", "{}"))
    for item in set_ or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise GlatError(f"--set {item}: expected KEY=VALUE, as in --set glat.tau=2")
        if key == "dataset" and NAME.fullmatch(value):
            invocation["overrides"][key] = value  # one may be called 2024 or on: a text, whatever YAML makes of it
            continue
        try:
            invocation["overrides"][key] = parse_yaml(value)
        except ValueError as error:
            raise GlatError(f"--set {key}: {error}; put the value in quotes") from None


def load_params(dataset: str | None = None):
    """The settings; with `dataset`, as they are where it is the chosen one, if there is such a dataset."""
    from ..config.params import load

    params = load(invocation["path"], invocation["overrides"])
    if dataset in (None, params.dataset) or dataset not in params.datasets:
        return params
    return load(invocation["path"], invocation["overrides"] | {"dataset": dataset})


def let_names_out() -> None:
    """Have names of any bytes printed as they are."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
