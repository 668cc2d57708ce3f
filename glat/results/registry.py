"""The paper's tables and figures, the controls and the report. They read the files of runs and never load a network.

`RESULTS` lists them in the order in which they are made. Each is a subcommand of `glat`, a rule of the workflow, and a
function that writes its files into `results/<dataset>/`.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import NamedTuple

from ..config.params import Params
from ..lib import layout

PARTIAL = "partial"  # folder of results that were made although runs are missing


class Result(NamedTuple):
    title: str
    location: str  # module:function of (params, folder), imported only when needed
    tolerant: bool = False  # whether it can be made with runs missing, which it then names (`partial=True`)

    def write(self, params: Params, with_missing: bool = False) -> None:
        """Write the files of this result into results/<dataset>/, or, `with_missing` runs, into its folder partial/,
        which the next complete report removes."""
        make = resolve_name(f"{__package__}.{self.location}")
        folder = layout.results(params.dataset)
        if with_missing:
            make(params, folder / PARTIAL, partial=True)
        else:
            make(params, folder)


RESULTS = {
    "metrics": Result("mAP, mAUC and d' of every run, as `dvc metrics` reads them", "summary:write"),
    "table1": Result("Table 1: every backbone without and with GL-AT", "tables:write_table1"),
    "table2": Result("Table 2: the two streams of GL-AT, one at a time", "tables:write_table2"),
    "fig2a": Result("Fig. 2(a): mAP and cost against the number of windows N", "fig2:write_a", True),
    "fig2b": Result("Fig. 2(b): mAP and cost against the length of a window", "fig2:write_b", True),
    "controls": Result(
        "Controls: two networks on the whole clip, equal compute, other windows, trainings and sharings",
        "controls:write",
        True,
    ),
    "ladder": Result("Recipes of training, one on top of the other, and GL-AT on top of all", "ladder:write", True),
    "localisation": Result("Whether the windows hold the sounds, and AP gain against duration", "localisation:write"),
    "training_curves": Result("Training loss of all runs over steps, by table", "curves:write_training", True),
    "pr_curves": Result("Precision against recall of Table 1's systems", "curves:write_pr"),
    "report": Result("One self-contained page with all results", "report:write", True),
}
