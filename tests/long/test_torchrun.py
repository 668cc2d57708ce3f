"""torchrun over two nodes, both of which are this machine."""

import json
import os
import socket
import subprocess
import sys
import time

from conftest import ROOT, TINY
from trained_runs import apart

from glat.config.params import load
from glat.config.runs import resolve, write_run
from glat.lib.files import locked


def test_torchrun_trains_over_two_nodes_as_one_process_does(corpus, tmp_path):
    (tmp_path / "data").symlink_to(corpus / "data")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    run = resolve(load(ROOT / "params.yaml", TINY), "cnn10", 0)
    given = os.environ | {"GLAT_SETTINGS": json.dumps(TINY | {"tracking.enabled": False}), "PYTHONPATH": str(ROOT)}
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    for name in ("one", "two"):
        write_run(run, tmp_path / name / "config.yaml")
    how = ["--set", "execution.accelerator=cpu", "--set", "execution.precision=float32"]
    how += ["--set", "datasets.mini.execution.log_every=1"]
    glat = ["-m", "glat.cli", *how]
    over = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--master-port={port}"]
    calls = [
        [*over, f"--node-rank={rank}", *glat, "--set", "execution.nodes=2", "train", "two/config.yaml"]
        for rank in (0, 1)
    ]
    calls += [[*glat, "train", "one/config.yaml", "--threads", "1"]]
    logs = [tmp_path / f"{i}.log" for i in range(3)]
    with locked(tmp_path / "two/.lock", "the test holds it"):
        ends = []
        for call, log in zip(calls, logs, strict=True):
            with log.open("w") as told:
                ends.append(subprocess.Popen([sys.executable, *call], cwd=tmp_path, env=given, stderr=told))
        deadline = time.monotonic() + 300
        while "another process trains this run; waiting" not in logs[0].read_text():
            assert time.monotonic() < deadline and ends[0].poll() is None, logs[0].read_text()
            time.sleep(0.1)
        time.sleep(2)  # nor may the second process look at the run before the first one holds it
        assert [process.poll() for process in ends[:2]] == [None] * 2
    assert [process.wait(600) for process in ends] == [0, 0, 0], [log.read_text() for log in logs]
    told = [log.read_text() for log in logs]
    assert "6 steps, from the start" in told[0]
    assert "steps" not in told[1], "the first process alone speaks"
    assert apart(tmp_path / "one", tmp_path / "two") < 1e-3
