"""Passwords, tokens and cookies: planted in settings and addresses, and looked for in whatever is written."""

import ast
import json
import pickle
import subprocess
import sys

import h5py
import pytest
import yaml
from conftest import ROOT
from http_fixtures import Handler, served
from tiny_project import copy_of_the_project, run

from glat.config.params import load, public
from glat.data.kinds import Kind
from glat.data.lists import metadata
from glat.data.sources.registry import identity
from glat.data.sources.youtube import YouTube
from glat.data.sources.youtube.errors import Failure, classify
from glat.lib.errors import GlatError, tell
from glat.lib.redaction import redact
from glat.results import report
from glat.tracking.store import name_of

PLANTED = "s3cr3t"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("http://me:s3cr3t@host:3128", "http://host:3128"),
        ("http://me:p@s3cr3t@host:3128/x@y", "http://host:3128/x@y"),
        ("at http://me:p/s3@s#cr?3t@host:1/, twice", "at http://host:1/, twice"),
        ("http://me:s3cr3t with a space@host:80 is refused", "http://host:80 is refused"),
        ("http://me:s3'cr3t@host/", "http://host/"),
        ("http://me:s3cr3t@[::1]:80/x and https://host/a@b", "http://[::1]:80/x and https://host/a@b"),
        ("http://[::1 me:s3cr3t@h", "http://h"),
        ("socks5h://s3cr3t@host", "socks5h://host"),
        ("//me:s3cr3t@host/x", "//host/x"),
        ("postgresql+psycopg://me:s3cr3t@db:5432/mlflow", "postgresql+psycopg://db:5432/mlflow"),
        ("Failed to parse: me:s3/cr3t@host:3128", "Failed to parse: host:3128"),
        ("https://h/x?download=1&token=s3cr3t&X-Amz-Signature=s3cr3t", "https://h/x?download=1&token=***&X-Amz-Signature=***"),
        ("with url: /x?access%5Ftoken=s3cr3t&v=1 (Caused by y)", "with url: /x?access%5Ftoken=***&v=1 (Caused by y)"),
        ("https://h/x#access_token=s3cr3t", "https://h/x#access_token=***"),
        (f"https://h/x?of={'s3cr3t' * 5}: HTTP 404", "https://h/x?of=***: HTTP 404"),
        ("Proxy-Authorization: Basic s3cr3t", "Proxy-Authorization: ***"),
        ("at me@corp.com:s3cr3t@proxy:80, no", "at proxy:80, no"),
        ("--password=s3cr3t, api_key = 's3 cr3t' and so on", "--password=***, api_key = *** and so on"),
        *((f"(https://h/?token=a{odd}s3cr3t), https://h/?a=1", "(https://h/?token=***), https://h/?a=1") for odd in ";')"),
        ("https://h/?a=1;token=s3cr3t;b=2 'https://h/?key=s3cr3t'", "https://h/?a=1;token=*** 'https://h/?key=***'"),
        *((same, same) for same in (
            "https://zenodo.org/record/3987831/files/Cnn10_mAP%3D0.380.pth?download=1", "/data/x:y@z/a=b.wav", "a: b",
            "https://www.youtube.com/watch?v={id}", "C:/x/y@z/a.wav: gone", r"D:\x\y@z", "git@github.com:a/b",
            "12:30 at 5@home", "http://host:x/y", "",
        )),
    ],
)  # fmt: skip
def test_an_address_in_a_text_is_written_without_what_only_its_owner_may_know(text, left):
    assert redact(text) == left and redact(left) == left
    assert str(GlatError(text)) == left
    assert str(pickle.loads(pickle.dumps(GlatError(text)))) == left  # as a worker process sends it


def test_settings_are_written_without_the_values_of_keys_that_are_secrets():
    given = {"source": {"proxy": "s3cr3t", "cookies": None, "list": [1, ("http://a:s3cr3t@b",)]}, "password": "s3cr3t"}
    assert redact(given) == {"source": {"proxy": "***", "cookies": None, "list": [1, ("http://b",)]}, "password": "***"}
    assert given["password"] == PLANTED
    for key in ("auth", "key", "access_key", "Authorization", "X-Auth", "pwd", "bearer", "passphrase", "session"):
        assert redact({"headers": {key: PLANTED}}) == {"headers": {key: "***"}}
    kept = {"keys": 1, "author": "a", "monkey": "b", "keep_every": 5, "class_labels_indices.csv": "c"}
    assert redact(kept) == kept


@pytest.mark.parametrize(
    "line",
    [
        "cookies: /home/s3cr3t: x/c.txt",
        f"proxy: http://{'a-long-name' * 4}:s3cr3t: s3cr3t@proxy.of.the.firm.example:3128",
        'proxy: "http://me:s3cr3t"x@host"',
        "proxy: {http://me:s3cr3t@host",
        "proxy: *s3cr3t",
        "proxy: !s3cr3t x",
        "proxy: !!int s3cr3t",
    ],
)
def test_what_is_no_yaml_is_told_by_its_place_alone(tmp_path, line):
    (tmp_path / "params.yaml").write_text(f"a: 1\nsource:\n  {line}\n")
    place = r"(line [34], column \d+|one of its values)"
    with pytest.raises(GlatError, match=rf"params\.yaml: not valid YAML: {place}") as told:
        load(tmp_path / "params.yaml")
    assert PLANTED not in str(told.value)
    with pytest.raises(GlatError) as told:
        load(ROOT / "params.yaml", {"datasets.mini.source": [{"proxy": PLANTED}]})
    assert PLANTED not in str(told.value)


def test_no_error_of_a_source_or_a_setting_holds_one():
    odd = ("me:s3cr3t@host:1", "http://me:s3cr3t@host:x", "http://me:s3/cr3t@host", "http://[::1 me:s3cr3t@h", 5)
    for proxy in odd:
        settings = {"datasets.audioset.source": {"kind": "youtube", "proxy": proxy}}
        params = load(ROOT / "params.yaml", {"dataset": "audioset"} | settings)
        from glat.data.sources.registry import open_source

        with pytest.raises(GlatError, match=r"datasets\.audioset\.source\.proxy: ") as told:
            open_source(params.corpus.source, "audioset")
        assert PLANTED not in str(told.value) and "cr3t" not in str(told.value)
    assert YouTube(proxy="http://me:p@s3cr3t@host:3128").proxy  # works, as a proxy of requests and of yt-dlp does
    for proxy in ("http://me:p@s3cr3t@host:1", "http://me:s3cr3t@[::1]:1"):
        assert PLANTED not in classify(f"Unable to connect: {proxy}/ said no").reason
        assert PLANTED not in str(Failure(Kind.GONE, f"at {proxy}"))
    assert name_of("http://me:p@s3cr3t@host:1/") == "http://host:1"


def test_what_is_told_of_a_list_holds_none(tmp_path, capsys):
    list_ = tmp_path / "train_segments.csv"
    list_.write_text("YTID,start_seconds,end_seconds,more,positive_labels\n-a,0,10,\x1b[31m,/m/0a\n")
    classes = tmp_path / "class_labels_indices.csv"
    classes.write_text("index,mid,display_name\n0,/m/0a,Dog\n")
    checks = metadata.Checks("mine", 1, {"train": 1})
    checks.read(classes.name, classes, classes.name)
    checks.read(list_.name, list_, f"http://me:{PLANTED}@host/train.csv?token={PLANTED}")
    checks.done()
    assert "http://host/train.csv?token=***: 'more' of its columns not read" in capsys.readouterr().err


def test_every_sentence_to_stderr_goes_through_the_same_door(capsys):
    tell(f"at http://me:{PLANTED}@host/\x1b[31m")
    assert capsys.readouterr().err == "at http://host/\\x1b[31m\n"
    bare = [
        f"{path}:{call.lineno}"
        for path in (ROOT / "glat").rglob("*.py")
        if path.name != "logs.py"
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "print" and "sys.stderr" in ast.unparse(call)
    ]
    assert not bare, "glat.lib.errors.tell logs what is told"


def test_a_traceback_holds_none():
    code = "import sys, glat.lib.redaction as r; sys.excepthook = r.hook; raise KeyError('http://me:p@s3cr3t@host/?key=s3cr3t')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "KeyError: 'http://host/?key=***'" in done.stderr


class Lists(Handler):
    """Has the class list, and refuses the rest."""

    def do_GET(self):
        body = b"index,mid,display_name\n" + b"".join(b"%d,/m/%d,Dog %d\n" % (i, i, i) for i in range(5))
        self.head(200 if "class" in self.path else 404, {"Content-Length": len(body)})
        self.wfile.write(body)


@pytest.fixture
def planted(tmp_path):
    """A project with secrets wherever one may stand, and the folder that it lies in."""
    with served(Lists) as server:
        host = server.address.replace("//", f"//me:p@{PLANTED}@")
        project = copy_of_the_project(tmp_path)
        settings = yaml.safe_load((project / "params.yaml").read_text())
        settings["datasets"]["mini"] |= {
            "source": {
                "kind": "youtube", "proxy": f"{host}/", "cookies": f"/home/{PLANTED}/c.txt",
                "address": f"{host}/{{id}}?token={PLANTED}",
            },
            "metadata": {
                name: f"{host}/{name}?X-Amz-Signature={PLANTED}"
                for name in ("class_labels_indices.csv", "train_segments.csv", "eval_segments.csv")
            },
            "classes": 5,
        }  # fmt: skip
        settings["weights"] = {"cnn10": {"file": f"{host}/Cnn10.pth?token={PLANTED}", "md5": "0" * 32}}
        (project / "params.yaml").write_text(yaml.safe_dump(settings))
        yield project


def holding(project):
    """Files with a secret, but for the settings themselves."""
    files = [path for path in project.rglob("*") if path.is_file() and path.name != "params.yaml"]
    return [path for path in files if PLANTED.encode() in path.read_bytes()]


def test_what_is_planted_in_the_settings_comes_out_nowhere(planted):
    """A failed job of Snakemake with its log and notes, and DVC's notes."""
    done = run(planted, "snakemake", "packs", "--cores", "2", "--config", "seeds=[1]", check=False)
    out = done.stdout + done.stderr
    assert "_segments.csv?X-Amz-Signature=***: HTTP 404" in (planted / "logs/mini/metadata.log").read_text()
    assert done.returncode != 0 and PLANTED not in out and not holding(planted)
    failed = run(planted, "snakemake", "weights/Cnn10.pth", "--cores", "2", check=False)
    assert failed.returncode != 0 and PLANTED not in failed.stdout + failed.stderr and not holding(planted)
    run(planted, "git", "init", "-q")
    done = run(planted, "dvc", "repro", "dataset")
    noted = json.loads((planted / "data/mini/dataset.json").read_text())
    assert noted["source"]["kind"] == "youtube" and "token=***" in noted["source"]["address"]
    assert "dataset" in yaml.safe_load((planted / "dvc.lock").read_text())["stages"]
    assert PLANTED not in done.stdout + done.stderr and not holding(planted)


def test_no_stage_of_dvc_names_settings_that_may_hold_a_secret():
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        assert "$" not in stage["cmd"], f"{name}: a shell would read what a setting holds"
        for key in stage.get("params", []):
            assert key.split(".")[0] not in ("weights", "tracking") and not key.endswith((".source", ".metadata")), name
            assert key not in ("datasets", "datasets.${dataset}"), name


def test_reports_packs_and_notes_of_a_source_hold_none(planted, tmp_path):
    params = load(planted / "params.yaml")
    for written in (public(params), report._effective_settings(params), identity(params.corpus.source)):
        assert PLANTED not in json.dumps(written) and "youtube" in json.dumps(written)
    with h5py.File(tmp_path / "pack.h5", "w") as pack:  # as glat.data.packs.write keeps it
        pack.attrs["provenance"] = json.dumps({"source": identity(params.corpus.source)})
    assert PLANTED.encode() not in (tmp_path / "pack.h5").read_bytes()
