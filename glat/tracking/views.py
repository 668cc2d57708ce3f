"""How MLflow's page shows an experiment: saved views, in its menu "Views", with the columns and charts of each result.

MLflow keeps a saved view as a tag of the experiment; what stands in it is the state of the page. A view that is there is
left as it is, so that one that somebody changed stays changed.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..lib.errors import warn

PREFIX = "mlflow.sharedViewState."
COLUMNS = [
    "metrics.`final/mAP`", "metrics.`final/mAUC`", "metrics.`final/d_prime`", "metrics.`final_global/mAP`",
    "metrics.`final_local/mAP`", "tags.`backbone`", "tags.`method`", "tags.`N`", "tags.`tau`", "tags.`variant`",
    "tags.`seed`", "tags.`convergence`", "tags.`git_dirty`",
]  # fmt: skip
LOSSES = ["train/loss_global", "train/loss_local", "validation/mAP_fused"]


class View(NamedTuple):
    """A name, which runs, and which charts; a chart is the metric along y and what is along x (None: steps or bars)."""

    name: str
    runs: str  # a filter of MLflow's
    charts: Sequence[tuple[str, str | None]]


CURRENT = "tags.replaced_by IS NULL"
MAP = ("final/mAP", None)
VIEWS = {
    "glat-all": View("All runs", CURRENT, [MAP, *((key, "step") for key in LOSSES)]),
    **{
        f"glat-{result}": View(title, f"{CURRENT} AND tags.serves LIKE '%{result}%'", charts)
        for result, title, charts in (
            ("table1", "Table 1: with and without GL-AT", [MAP, *((key, "step") for key in LOSSES)]),
            ("fig2a", "Fig. 2(a): mAP against N", [("final/mAP", "glat.n")]),
            ("fig2b", "Fig. 2(b): mAP against tau", [("final/mAP", "glat.tau")]),
            ("controls", "Controls", [MAP, ("train/loss_local", "step")]),
        )
    },
}


def tags() -> dict[str, str]:
    """The tags of an experiment: its views, its kind (MLflow shows pages for language models otherwise), and a note."""
    note = "Trainings of glat. The menu *Views* has the runs of each table and figure."
    found = {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": note}
    for key, view in VIEWS.items():
        text = json.dumps(state(key, view), separators=(",", ":"))
        packed = "deflate;" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
        found[PREFIX + key] = json.dumps({"name": view.name, "createdAt": 0, "updatedAt": 0, "state": packed})
    return found


def state(key: str, view: View) -> dict[str, Any]:
    """The state of MLflow's page for a view."""
    section = f"{key}-charts"
    own = {"uuid": section, "name": view.name, "display": True, "isReordered": True}
    return {
        "searchFilter": view.runs, "orderByKey": "metrics.`final/mAP`", "orderByAsc": False, "startTime": "ALL",
        "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs", "selectedColumns": COLUMNS,
        "columnOrder": [], "columnWidths": {}, "runsHiddenMode": "SHOWALL", "viewMaximized": False, "runListHidden": False,
        "isAccordionReordered": True,  # ours first, above the charts that MLflow makes
        "useGroupedValuesInCharts": True, "hideEmptyCharts": True, "groupBy": None, "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "compareRunSections": [own | {"deleted": False, "isGenerated": False}],
        "compareRunCharts": [chart(f"{key}-{n}", section, y, x) for n, (y, x) in enumerate(view.charts)],
    }  # fmt: skip


def chart(uuid: str, section: str, y: str, x: str | None) -> dict[str, Any]:
    """One chart: bars for x None, lines over "step", else points over a parameter."""
    found = {"uuid": uuid, "metricSectionId": section, "deleted": False, "isGenerated": False, "metricKey": y}
    found |= {"runsCountToCompare": 100, "displayName": y}
    if x is None:
        return found | {"type": "BAR"}
    if x == "step":
        lines = {"selectedMetricKeys": [y], "xAxisKey": "step", "scaleType": "linear", "xAxisScaleType": "linear"}
        lines |= {"lineSmoothness": 0, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}
        lines |= {"selectedXAxisMetricKey": "", "yAxisKey": "metric", "yAxisExpressions": [], "ignoreOutliers": False}
        return found | lines | {"type": "LINE", "range": {}}
    axes = {"xaxis": {"key": x, "type": "PARAM"}, "yaxis": {"key": y, "type": "METRIC"}}
    return found | axes | {"type": "SCATTER", "displayName": f"{y} against {x}"}


def ensure(client: Any, experiment_id: str) -> None:
    """Give an experiment the tags that it lacks. Whatever goes wrong there costs the views alone."""
    try:
        there = client.get_experiment(experiment_id).tags
        for key, value in tags().items():
            if key not in there:
                client.set_experiment_tag(experiment_id, key, value)
    except Exception as error:
        warn(f"MLflow's page may lack saved views: {error}")
