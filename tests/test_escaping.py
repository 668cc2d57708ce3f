"""Names that would be commands, paths, formulas, pictures or escapes of a terminal."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from markdown_it import MarkdownIt
from snakemake.utils import format as fill

from glat.config import experiments
from glat.config.params import load
from glat.config.runs import read_run, resolve, write_run
from glat.lib.errors import GlatError
from glat.lib.escaping import file_name, markdown, printable
from glat.results import report, text
from glat.results.localisation import draw_gains
from glat.results.measured import Measured
from glat.results.plots import figure

HOSTILE = (
    r"$\frac$", "![x](http://127.0.0.1:1/x.png)", "<img src=http://127.0.0.1:1/x>", "[a](javascript:alert(1))", "a|b",
    "<http://127.0.0.1:1>", "`rm`", "*a*_b_", "\x1b]0;owned\x07", "a\nb", r"\|", "[ref]: http://127.0.0.1:1",
)  # fmt: skip
NO_NAMES = (
    "x;touch pwn1;#", "../esc", "/etc", "a b", "$(id)", "`id`", ".hidden", "-rf", "a/b", "a\n", "{x}", "ä", "a" * 101,
    "",
)  # fmt: skip


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_refused_wherever_a_name_may_stand(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mini = yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"]["mini"]
    changed = (
        {"dataset": name}, {"datasets": {name: mini}}, {"datasets.mini.train": [name]}, {"datasets.mini.evaluate": [name]},
        {"datasets.mini.splits": {name: 3}},
    )  # fmt: skip
    for change in changed:
        with pytest.raises(GlatError, match=r"params\.yaml.*: datasets?.*cannot be a name: use up to 100 letters"):
            load(ROOT / "params.yaml", change)
    # A run's settings that somebody sent name the folder that it is written to.
    write_run(resolve(load(ROOT / "params.yaml"), "cnn10", 0), "config.yaml")
    settings = yaml.safe_load(Path("config.yaml").read_text())
    for key in ("dataset", "name", "backbone"):
        Path("sent.yaml").write_text(yaml.safe_dump(settings | {key: name}))
        with pytest.raises(GlatError, match=rf"sent\.yaml: {key}: .* cannot be a name"):
            read_run("sent.yaml")


def test_every_rule_quotes_what_it_passes_to_a_shell():
    """Snakemake's own format, with a hostile value for whatever a command takes but numbers."""
    taken = ("wildcards", "input", "output", "params", "log")
    for rules in (ROOT / "workflow/rules").glob("*.smk"):
        lines = rules.read_text().split("\n")
        for number, line in enumerate(lines):
            command = line.strip()
            if command.startswith(('"glat ', '"GLAT', '"(cp', '" --', "'glat")):
                for field in command.split("{")[1:]:
                    inside = field.partition("}")[0]
                    quoted = inside.endswith(":q") or inside.split(".")[0] not in taken
                    assert quoted, f"{rules.name}:{number + 1}: {inside}"
    files = ["a b", "x;touch pwn;#", "$(id)"]
    call = ["sh", "-c", fill("printf '%s\\n' {files:q}", files=files)]
    said = subprocess.run(call, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == files


def test_a_class_s_name_is_text_in_every_table_and_loads_nothing(tmp_path):
    rows = [[markdown(name), "1"] for name in HOSTILE]
    path = tmp_path / "table.md"
    path.write_text("# Title\n\n" + text.markdown(["Class", "n"], rows))
    assert len(path.read_text().splitlines()) == 4 + len(HOSTILE)
    for html in (
        str(report.table(path)),
        MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(path.read_text()),  # as other pages show it
    ):
        assert html.count("<tr>") == 1 + len(HOSTILE) and html.count("<td") == 2 * len(HOSTILE)
        assert not [tag for tag in ("<img", "<a ", "<code", "<em", "<strong", "\x1b") if tag in html]
        for name in ("$\\frac$", "![x](http://127.0.0.1:1/x.png)", "a|b", "*a*_b_"):
            assert f">{name}</td>" in html
    assert "Content-Security-Policy" in (ROOT / "glat/results/page.html.j2").read_text()
    path.write_text("![x](http://127.0.0.1:1/x.png) [a](http://127.0.0.1:1) <http://127.0.0.1:1>\n")
    assert "<img" not in report.table(path) and "href" not in report.table(path)


def test_a_class_s_name_is_text_in_every_figure_and_logarithmic_axes_have_plain_numbers(tmp_path):
    names = [name for name in HOSTILE if name.isprintable()]
    table = pd.DataFrame({"display_name": names, "median_duration": range(1, len(names) + 1)})
    table = table.assign(gain=0.0, gain_low=-0.1, gain_high=0.1)
    system = experiments.system(load(ROOT / "params.yaml"), "cnn10", {})
    half = Measured(system, {0: {"run": "cnn10-s0", "convergence": None}}, {}, {})
    draw_gains(table, 0.0, 1.0, half, half, tmp_path / "gains")
    with figure(tmp_path / "own") as (_, ax):
        ax.plot([1, 1000], [0.01, 10], label=r"$\frac$")
        ax.set_xscale("log")
        ax.set_title(r"$\undefined")
        ax.legend()
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert {"1", "10", "100", "1000"} <= set(labels) and not any("$" in label for label in labels)
    assert (tmp_path / "gains.svg").stat().st_size and (tmp_path / "own.png").stat().st_size


def test_nothing_that_steers_a_terminal_is_printed():
    for name in HOSTILE:
        assert "\x1b" not in printable(name) + str(GlatError(name)) and "\x07" not in printable(name)
    assert printable("ä\tb\u202e\x9b") == r"ä	b\u202e\x9b" and str(GlatError("\x1b[31m")) == r"\x1b[31m"


def test_an_id_of_somebody_s_list_becomes_one_name_of_a_file():
    for name in ("1_../../esc_0", "1_/etc/passwd", "1_a\0b", "1_-x_30000"):
        assert "/" not in file_name(name) and "\0" not in file_name(name) and not file_name(name).startswith((".", "-"))
    assert file_name("1_-x_30000") == "1_-x_30000"


def test_no_command_of_the_documents_opens_a_port_beyond_this_machine_or_changes_the_lock_file():
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for line in path.read_text().splitlines():
            assert "0.0.0.0" not in line, path
            if "uv run" in line or "uv sync" in line:
                assert "--locked" in line, f"{path}: {line}"
