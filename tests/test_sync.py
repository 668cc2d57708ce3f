"""What evaluations send, what `glat track sync` sends later, and that nothing waits for either for long."""

import json
import multiprocessing
import subprocess

import psutil
import pytest
from conftest import ROOT, TINY
from made_runs import Corpus, make_run, make_whole_run, value
from typer.testing import CliRunner

from glat.cli import app
from glat.config.params import load
from glat.config.runs import resolve, write_run
from glat.tracking import send, views
from glat.tracking.send import Sending, changed, read_state
from glat.tracking.sender import send_now
from glat.tracking.store import Store
from glat.training import attempt as attempts, fit
from glat.use import pyfunc

SETTINGS = TINY | {"tracking.models": []}  # made runs have no real checkpoint


@pytest.fixture
def params(database):
    return load(ROOT / "params.yaml", SETTINGS)


def made(params, seed, glat=None):
    return make_whole_run(resolve(params, "cnn10", seed, glat))


def sent(run):
    store = Store()
    return store.client.get_run(read_state(run.folder)[store.name]["run_id"])


def glat(monkeypatch, *arguments):
    monkeypatch.setenv("GLAT_SETTINGS", json.dumps(SETTINGS))
    return CliRunner().invoke(app, ["--params", str(ROOT / "params.yaml"), *map(str, arguments)])


def test_ten_evaluations_that_send_at_once_lose_nothing(project, params):
    runs = [made(params, seed) for seed in range(3)]
    fork = multiprocessing.get_context("fork")
    calls = [fork.Process(target=send_now, args=(runs[k % 3].folder, params)) for k in range(10)]
    for call in calls:
        call.start()
    for call in calls:
        call.join(240)
    assert [call.exitcode for call in calls] == [0] * 10
    for run in runs:  # what a process had no time for, the next sync sends
        Sending(run.folder, Store(), params).send()
    store = Store()
    (experiment,) = [e for e in store.client.search_experiments() if e.name == "mini"]
    assert len(store.client.search_runs([experiment.experiment_id])) == 3
    for run in runs:
        assert sent(run).data.metrics["final/mAP"] == value(run)
        assert len(store.client.get_metric_history(sent(run).info.run_id, "final/mAP")) == 1


def test_an_evaluation_sends_its_scores_itself_and_leaves_no_process(corpus, project, params, monkeypatch):
    (project / "data").symlink_to(corpus / "data")
    run = resolve(params, "cnn10", 0)
    run = run.model_copy(update={"training": run.training.model_copy(update={"steps": 1, "warmup": 0})})
    write_run(run, run.folder / "config.yaml")
    fit.train(run, run.folder, threads=1)
    before = set(psutil.Process().children())
    done = glat(monkeypatch, "evaluate", run.folder)
    assert done.exit_code == 0, done.output
    assert not set(psutil.Process().children()) - before
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert sent(run).data.metrics["final/mAP"] == metrics["streams"]["fused"]["mAP"]["value"]
    (data,) = sent(run).inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("mini-evaluation", metrics["clips_hash"][:8])
    assert [(tag.key, tag.value) for tag in data.tags] == [("mlflow.data.context", "evaluation")]


def test_what_a_server_that_is_down_missed_goes_with_the_next_sync(params, database, monkeypatch, capsys):
    runs = [made(params, seed) for seed in range(2)]
    database.unlink()
    database.mkdir()  # no database can be made there
    for run in runs:
        send_now(run.folder, params)
    assert capsys.readouterr().err.count("MLflow lacks something of it; `glat track sync` sends it") == 2
    assert glat(monkeypatch, "track", "sync").exit_code != 0
    database.rmdir()
    assert glat(monkeypatch, "track", "sync").exit_code == 0
    assert [sent(run).data.metrics["final/mAP"] for run in runs] == [value(run) for run in runs]


def test_a_workflow_that_changed_no_run_asks_no_server(project, params, monkeypatch):
    untrained = resolve(params, "cnn10", 1)
    write_run(untrained, untrained.folder / "config.yaml")
    assert not changed(untrained.folder, params)
    run = made(params, 0)
    assert changed(run.folder, params)
    Sending(run.folder, Store(), params).send()
    (run.folder / ".train.part-here-1.csv").write_text("what another process has not finished")
    assert not changed(run.folder, params)
    monkeypatch.setattr(send, "Store", None)  # whoever opens one fails
    assert glat(monkeypatch, "track", "sync", "--changed").exit_code == 0
    make_run(run, Corpus(), skill=2.0)
    assert changed(run.folder, params)
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert "finished" in glat(monkeypatch, "track", "sync", "--changed").output
    assert sent(run).data.metrics["final/mAP"] == value(run) and not changed(run.folder, params)


def test_a_run_whose_files_cannot_be_written_keeps_back_no_other(project, params, monkeypatch):
    runs = [made(params, seed) for seed in range(2)]
    (runs[0].folder / ".mlflow.lock").mkdir()  # so that it cannot be opened, by root either
    done = glat(monkeypatch, "track", "sync")
    assert done.exit_code != 0 and f"{runs[1].folder}: finished" in done.output
    assert sent(runs[1]).data.metrics["final/mAP"] == value(runs[1])
    (runs[0].folder / ".mlflow.lock").rmdir()
    assert glat(monkeypatch, "track", "sync").exit_code == 0 and sent(runs[0]).info.status == "FINISHED"


def test_a_run_of_a_process_that_is_gone_ends_as_killed(project, params, monkeypatch):
    run = made(params, 0)
    attempts.begin(run.folder, 0)
    Sending(run.folder, Store(), params).send(live=True)
    assert sent(run).info.status == "RUNNING"
    assert glat(monkeypatch, "track", "sync", "--changed").exit_code == 0
    assert sent(run).info.status == "KILLED"
    assert "final/mAP" not in sent(run).data.metrics, "scores that a predecessor left"


def test_views_that_cannot_be_saved_cost_the_views_alone(project, params, monkeypatch, capsys):
    run = made(params, 0)
    monkeypatch.setattr(views, "state", None)
    Sending(run.folder, Store(), params).send()
    assert "may lack saved views" in capsys.readouterr().err and sent(run).data.metrics["final/mAP"] == value(run)


def with_models(params, monkeypatch):
    """The settings with all networks and a registered model, and a store. What is logged is a model that is none, as of made
    runs; a real one is served in test_tracking_live."""
    more = {"models": None, "registered_model": "tagger"}
    store = Store()

    def log(run_id, **_):
        from mlflow.entities import LoggedModelOutput

        model = store.client.create_logged_model(store.client.get_run(run_id).info.experiment_id, "m", run_id)
        store.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 1)])
        return store.client.finalize_logged_model(model.model_id, "READY")

    monkeypatch.setattr(pyfunc.Model, "log", log)
    return params.model_copy(update={"tracking": params.tracking.model_copy(update=more)}), store


def test_the_best_network_is_a_registered_model_where_that_is_asked_for(project, params, monkeypatch):
    params, store = with_models(params, monkeypatch)
    best = {}
    for seed, skill in enumerate((1.0, 2.0, 0.5)):
        run = made(params, seed)
        make_run(run, Corpus(), skill)
        Sending(run.folder, store, params).send()
        best[value(run)] = read_state(run.folder)[store.name]["model_id"]
    version = store.client.get_model_version_by_alias("tagger", "best")
    assert version.source == f"models:/{best[max(best)]}" and int(version.version) == 2 and version.run_id
    (metric,) = [m for m in store.client.get_logged_model(best[max(best)]).metrics if m.key == "final/mAP"]
    assert (metric.value, metric.dataset_name) == (max(best), "mini-evaluation")


def test_a_network_is_logged_again_with_the_thresholds_that_it_got_later(project, params, monkeypatch):
    params, store = with_models(params, monkeypatch)
    run, models = made(params, 0), []
    Sending(
        run.folder, store, params.model_copy(update={"tracking": load(ROOT / "params.yaml", SETTINGS).tracking})
    ).send()
    sent = store.client.get_run(read_state(run.folder)[store.name]["run_id"]).info
    broken_off = store.client.create_logged_model(sent.experiment_id, "m", sent.run_id).model_id
    for thresholds in (None, None, "0.5", "0.4", "0.4"):
        if thresholds:
            (run.folder / "thresholds.json").write_text(thresholds)
        Sending(run.folder, store, params).send()
        models.append(read_state(run.folder)[store.name]["model_id"])
    first, again, calibrated, anew, last = models
    assert first == again and anew == last and len({first, calibrated, anew}) == 3
    # Those that are whole stay: somebody may serve them.
    assert [one.model_id for one in pyfunc.models(store.client, sent.experiment_id, sent.run_id)] == [
        anew,
        calibrated,
        first,
    ]
    assert broken_off not in (first, calibrated, anew)
    (metric,) = [m for m in store.client.get_logged_model(last).metrics if m.key == "final/mAP"]
    assert metric.value == value(run)
    assert store.client.get_model_version_by_alias("tagger", "best").source == f"models:/{last}"


def test_a_workflow_sends_at_its_end_and_cannot_fail_of_it(project):
    """The command of the Snakefile's hooks, where everything is wrong with it."""
    hook = (ROOT / "Snakefile").read_text().partition('SYNC = """')[2].partition('"""')[0].replace("\\`", "`")
    assert "glat track sync --changed" in hook
    failing = "glat() { echo broken >&2; return 1; }; export -f glat; "
    done = subprocess.run(["bash", "-euc", failing + hook], check=False, capture_output=True, text=True)
    assert done.returncode == 0 and "logs/track.log" in done.stderr
    assert (project / "logs/track.log").read_text() == "broken\n"


def test_a_database_is_there_whole_or_not_at_all(project, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.search_experiments", killed)
        with pytest.raises(KeyboardInterrupt):
            Store()
    assert not list(project.glob("*.db"))
    Store().ask()
    assert (project / "mlflow.db").is_file()
