"""results/report.html: every table, figure and picture on one page that needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markupsafe import Markup

from ..config import experiments
from ..config.params import Params, public
from ..config.runs import Run
from ..lib.files import remove, whole
from ..lib.provenance import commit
from ..models.registry import BACKBONES
from ..scoring.manifest import DIGITS
from ..training import convergence
from . import text
from .fig2 import caption
from .measured import read_curve, read_metrics, why_missing
from .page import image, render
from .registry import PARTIAL


def table(path: Path) -> Markup:
    """A Markdown file as HTML, without its title, its tables free to scroll sideways on a narrow screen."""
    title, _, rest = path.read_text().partition("\n")
    # No table has a link or a picture of its own: what looks like one was somebody's text.
    parser = (
        MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink", "reference"])
    )
    html = parser.render(rest if title.startswith("# ") else title)
    html = html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return Markup(html)


def sections(params: Params, folder: Path, missing: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Title, content and pictures of each part, read from `folder`.

    A part whose runs are missing is read from `folder`/partial, where `glat partial` has just made it without them;
    what can't be made without them says so.
    """

    def part(title: str, results: list[str], names: list[tuple[str, str]], text: str = ""):
        systems = [one for result in results for one in experiments.systems_of(params, result)]
        lost = [run.name for run in experiments.runs_of(systems) if run.name in missing]
        place = folder / PARTIAL if lost else folder
        absent = [name for name, _ in names if not (place / name).exists()]
        if absent:
            why = f"runs are missing: {', '.join(lost)}" if lost else f"{', '.join(absent)} is not there"
            return {"title": title, "text": f"Not made: {why}.", "content": []}
        content = [table(place / name) if name.endswith(".md") else image(place / name, alt) for name, alt in names]
        return {"title": title, "text": text, "content": content}

    yield part("Table 1", ["table1"], [("table1.md", "")])
    yield part(
        "Precision and recall", ["pr_curves"], [("pr_curves.svg", "Precision against recall, mean over classes")]
    )
    yield part("Table 2", ["table2"], [("table2.md", "")])
    for panel, setting in experiments.FIG2.items():
        names = [(f"fig2{panel}.svg", f"mAP and cost against {setting}")]
        yield part(f"Fig. 2({panel})", [f"fig2{panel}"], names, caption(setting))
    yield part("Controls", ["controls"], [("controls.svg", "mAP of every control"), ("controls.md", "")])
    names = [("localisation.md", ""), ("localisation.svg", "Share of windows that hit"), ("durations.svg", "AP gain")]
    yield part("Where it listens", ["localisation"], names)
    clips = [(f"clips/{path.name}", path.stem) for path in sorted((folder / "clips").glob("*.png"))]
    heard, marks = _hears(experiments.table2(params)[-1].runs[0], missing)
    told = "Evaluation clips drawn by lot (evaluation.seed), whatever a network makes of them."
    yield part(f"Clips: {heard}", ["table2"], clips, " ".join([told, *marks]))
    names = [(f"training_{of}.svg", f"Loss of the runs of {of}") for of in ("table1", "fig2", "controls")]
    yield part(
        "Training", ["training_curves"], names, "The loss of every run of Table 1, of Fig. 2 and of the controls."
    )


def _hears(run: Run, missing: dict[str, str]) -> tuple[str, list[str]]:
    """The network that clips are pictured with, with its marks, and what these mean."""
    title = experiments.title(run)
    if run.name in missing:
        return title, []
    finding = read_metrics(run.folder / "metrics.json").get("convergence")
    named = {"method": title, "not_converged": convergence.marked(finding)}
    return convergence.name(title, finding), text.marks([named])


def run_rows(runs: list[Run]) -> list[dict[str, Any]]:
    """One row a run: what was trained, how long it took, and what it cost."""
    rows = []
    for run in runs:
        metrics = read_metrics(run.folder / "metrics.json")
        seconds = read_curve(run.folder / "train.csv")["seconds"].iloc[-1]
        rows.append(
            {
                "run": run.name,
                "network": BACKBONES[run.backbone].title,
                "steps": run.training.steps,
                "batch": run.training.batch_size,
                "parameters": f"{metrics['parameters']:,}",
                "clips": f"{metrics['clips']} ({metrics['manifest']['sha256'][:DIGITS]})",
                "mAP": f"{metrics['streams']['fused']['mAP']['value']:.3f}",
                "converged": _converged(metrics),
                "training (min)": f"{seconds / 60:.1f}",
                "million multiply-adds a clip": f"{metrics['cost']['multiply_adds_per_clip'] / 1e6:,.0f}",
                "ms a clip": f"{1000 * metrics['cost']['seconds_per_clip']:.1f}",
                "precision": metrics["precision"],
            }
        )
    return rows


def _converged(metrics: dict[str, Any]) -> str:
    """Whether a run's training had converged, with its mark and the numbers behind it."""
    found = metrics.get("convergence") or {"state": convergence.UNKNOWN, "told": "evaluate the run again"}
    mark = f" {convergence.MARK}" if convergence.marked(found) else ""
    return f"{found['state']}{mark}" + (f": {found['told']}" if found["told"] else "")


def environments(runs: list[Run]) -> list[dict[str, Any]]:
    """The distinct commits, versions and hardware that the runs were trained and evaluated with."""
    found: list[dict[str, Any]] = []
    for run in runs:
        metrics = read_metrics(run.folder / "metrics.json")
        for step, maker in (("trained", metrics.get("trained")), ("evaluated", metrics)):
            if maker and (environment := maker["environment"] | {f"{step} at commit": maker["commit"]}) not in found:
                found.append(environment)
    return found


def write(params: Params, folder: Path, partial: bool = False) -> None:
    """Write report.html into `folder` from the results beside it.

    With `partial`, `folder` is the one of partial results, the others stand above it, and the page says what is
    missing. A whole report removes the partial results.
    """
    whole_results = folder.parent if partial else folder
    runs = list(experiments.all_runs(params).values())
    missing = {run.name: why for run in runs if (why := why_missing(run))} if partial else {}
    there = [run for run in runs if run.name not in missing]
    rows = run_rows(there)
    page = render(
        "results/report.html.j2",
        dataset=params.dataset,
        seeds=params.seeds,
        missing=missing,
        sections=list(sections(params, whole_results, missing)),
        runs=rows,
        minutes=sum(float(row["training (min)"]) for row in rows),
        environments=environments(there),
        commit=commit(),
        settings=yaml.safe_dump(_resolved(params), sort_keys=False),
    )
    with whole(folder / "report.html") as part:
        part.write_text(page)
    if not partial:
        remove(folder / PARTIAL)


def _resolved(params: Params) -> dict[str, Any]:
    """The settings as used: those that may be written down, with the dataset's overrides of `training` applied."""
    special = {name: params.training_of(params.dataset, name).model_dump() for name in params.special(params.dataset)}
    return public(params) | {"training": params.training_of(params.dataset).model_dump() | {"by_backbone": special}}
