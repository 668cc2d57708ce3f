"""The pictures in docs/mlflow/: what a person sees who compares the runs in MLflow's page.

Needs a project whose runs are in MLflow (`glat track sync`), Chromium, and Playwright, which the project does not install:

    uv run --locked --with playwright docs/mlflow_screenshots.py [folder of the project] [--chromium /usr/bin/chromium]

It starts `mlflow ui` on a free port of this machine, and stops it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

OUT = Path(__file__).with_name("mlflow")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
NO_ASSISTANT = """localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true")
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false")"""
PAIR = ("cnn10-s0", "cnn10-glat-s0")


def start(project: Path) -> tuple[subprocess.Popen, str]:
    """`mlflow ui` in a project, and its address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    call = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(call, cwd=project, env=os.environ | QUIET, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return server, address
        except OSError:
            time.sleep(0.5)
    server.kill()
    raise SystemExit(f"{address} does not answer")


def ids(address: str, experiment: str) -> tuple[str, dict[str, str]]:
    """The id of an experiment, and those of its runs by name."""
    ask = f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name={experiment}"
    with urllib.request.urlopen(ask) as answer:
        number = json.load(answer)["experiment"]["experiment_id"]
    body = json.dumps({"experiment_ids": [number], "max_results": 1000}).encode()
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/runs/search", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        runs = json.load(answer)["runs"]
    return number, {run["info"]["run_name"]: run["info"]["run_id"] for run in runs}


def shoot(page: Page, address: str, name: str, wait: str, before=None) -> None:
    """Open an address, wait for a text on the page, do `before`, and keep the picture as <name>.png."""
    page.goto("about:blank")
    page.goto(address)
    page.get_by_text(wait).first.wait_for(timeout=120_000)
    page.wait_for_timeout(6000)  # the charts draw themselves one by one
    if before:
        before(page)
        page.wait_for_timeout(4000)
    page.screenshot(path=OUT / f"{name}.png")
    print(OUT / f"{name}.png")


def only_differences(page: Page) -> None:
    """On the page that compares runs: the parameters, and of them only those that differ."""
    switch = page.get_by_text("Show diff only").first
    switch.click()
    page.wait_for_timeout(1000)
    switch.evaluate("element => element.scrollIntoView({block: 'start'})")


def the_pair(page: Page) -> None:
    """On a page of charts: CNN10 without and with GL-AT alone."""
    search = page.get_by_test_id("search-box")
    search.fill("tags.backbone = 'CNN10' AND tags.variant = '-' AND tags.seed = '0'")
    search.press("Enter")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, nargs="?", default=Path())
    parser.add_argument("--experiment", default="mini")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    given = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    server, address = start(given.project)
    try:
        number, runs = ids(address, given.experiment)
        of = f"{address}/#/experiments/{number}/runs"
        both = urllib.parse.quote(json.dumps([runs[name] for name in PAIR]))
        compare = f"{address}/#/compare-runs?runs={both}&experiments={urllib.parse.quote(json.dumps([number]))}"
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": 1600, "height": 1000})
            context.add_init_script(NO_ASSISTANT)
            page = context.new_page()
            shoot(page, f"{of}?viewStateShareKey=glat-all", "runs", "matching runs")
            shoot(page, f"{of}?viewStateShareKey=glat-fig2a&compareRunsMode=CHART", "fig2a", "matching runs")
            table1 = f"{of}?viewStateShareKey=glat-table1&compareRunsMode=CHART"
            shoot(page, table1, "table1", "matching runs")
            shoot(page, table1, "cnn10_curves", "matching runs", the_pair)
            shoot(page, compare, "cnn10_parameters", "Comparing 2 Runs", only_differences)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
