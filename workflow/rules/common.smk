import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27")

# Import this folder's glat rather than an installed one: DVC runs queued experiments in copies of the project.
sys.path.insert(0, str(Path.cwd()))

from glat.config import experiments
from glat.config.params import hand_down, load as load_params, named, plain, public
from glat.config.faults import faults_of
from glat.config.runs import evaluation_packs, split_packs
from glat.data.sources import registry as sources
from glat.lib import cluster, dependencies, layout, records
from glat.lib.addresses import is_address
from glat.lib.cores import cores, gpu
from glat.lib.documents import read_yaml
from glat.lib.errors import GlatError
from glat.lib.escaping import NAME
from glat.lib.logs import to_stderr
from glat.lib.redaction import redact
from glat.models import architecture
from glat.scoring import manifest
from glat.use import weights

# The environment of every rule. Snakemake itself is started inside it (see the README), so it creates none.
ENVIRONMENT = "../../environment.yml"
if workflow.deployment_settings.deployment_method:
    raise WorkflowError(
        "--software-deployment-method (--sdm): no environment is made for single rules; start snakemake inside the one "
        "of uv.lock or environment.yml (README.md), without this option"
    )

to_stderr()

try:
    CHANGES = plain(workflow.config_settings.overwrite_config)
    PARAMS = load_params("params.yaml", CHANGES)
    for path in map(Path, workflow.config_settings.configfiles or []):
        if path.suffix != ".json":
            read_yaml(path, "settings", "--configfile names it")
    RUNS = experiments.all_runs(PARAMS)
    WITH_FRAMES = experiments.runs_with_frames(PARAMS)
    PUBLISHED = {layout.published_run(backbone): backbone for backbone in PARAMS.weights}
    # What is fetched into weights/, by its name there: of which backbone, and how far `glat weights` goes for it.
    FETCHED = {one.path.name: (b, "file") for b, one in PARAMS.weights.items() if is_address(one.file)}
    FETCHED |= {
        one.class_list.name: (b, "classes") for b, one in PARAMS.weights.items() if is_address(one.classes or "")
    }
    if PARAMS.evaluation.only:
        # Once metrics exist, Snakemake treats a missing input as up to date, so a missing list is reported here.
        manifest.read_list(PARAMS.evaluation.only)
    SOURCE = sources.open_source(PARAMS.corpus.source, PARAMS.dataset)  # report a wrong key before any job starts
    SOURCE.check_clips(PARAMS.audio.clip_seconds)
    OWN_LISTS = [path for path in [*PARAMS.corpus.lists().values(), *SOURCE.inputs] if Path(path).is_file()]
    if workflow.is_main_process and PARAMS.corpus.lists():
        from glat.data.lists import metadata

        settings, folder = PARAMS.corpus, layout.Data(PARAMS.dataset).metadata
        metadata.refuse_sizes(settings.lists(), folder, PARAMS.dataset, settings.classes, settings.splits)
except GlatError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    dataset=re.escape(PARAMS.dataset),  # the settings are this dataset's, so no other's files can be made
    split=NAME.pattern,
    shard=r"\d\d\d+",
    run=NAME.pattern,


# Every step runs with this folder's glat and this interpreter's commands, whether or not its environment is activated, and
# with what --config and --configfile changed, which goes through the environment: Snakemake would print it with a failed
# command.
prefix = f'export PYTHONPATH={shlex.quote(str(Path.cwd()))}"${{PYTHONPATH:+:$PYTHONPATH}}"; '
prefix += f'export PATH={shlex.quote(str(Path(sys.executable).parent))}"${{PATH:+:$PATH}}"; '
hand_down(CHANGES)
# Some containers set this variable. Each job would then spend ten seconds on compiling what it imports, so compiled modules
# are kept in Snakemake's own folder.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path.cwd() / ".snakemake/pycache"))
shell.prefix(prefix.replace("{", "{{").replace("}", "}}"))


def code(*modules):
    """The code that a step runs, as a parameter: a digest of these modules and of all that they import
    (glat/lib/dependencies.py). An edit of that code reruns the step; an edit of a comment does not."""
    return f"{', '.join(modules)}: {dependencies.digest(*modules)}"


def network_code(wildcards):
    """`code` of a run's backbone."""
    return code(PARAMS.entry(backbone(wildcards)).module)


def backbone(wildcards):
    """The backbone of a run, of one that is trained here or of published weights."""
    if wildcards.run in PUBLISHED:
        return PUBLISHED[wildcards.run]
    return known_run(wildcards).backbone


def dataset_settings(wildcards):
    return PARAMS.datasets[wildcards.dataset]


def list_paths(wildcards):
    """The user's own lists, where they are files: a list that changes is copied again."""
    return OWN_LISTS


def makes_lists(wildcards):
    """Whether the source of the audio also writes the lists, which then depend on its settings and code."""
    return sources.makes_lists(dataset_settings(wildcards).source["kind"])


def fetched(wildcards):
    """The record of what a source fetches for all shards, if it fetches anything."""
    return [layout.Data(wildcards.dataset).fetched] if SOURCE.fetches else []


def list_origins(wildcards):
    """The settings that say where the lists come from, without secrets."""
    dataset = dataset_settings(wildcards)
    metadata = dataset.model_dump(mode="json")["metadata"]  # as JSON, since an entry may be {file: ..., sha256: ...}
    return json.dumps(sources.identity(dataset.source) if makes_lists(wildcards) else redact(metadata))


def source_code(wildcards):
    """`code` of a dataset's source of audio, and of a source inside it."""
    return code(*sources.modules(dataset_settings(wildcards).source))


def ledger_paths():
    """For each shard of the dataset, the listing of its audio and the ledger of its lost clips."""
    data, settings = layout.Data(PARAMS.dataset), PARAMS.corpus
    shards = [(split, shard) for split in settings.splits for shard in range(settings.shards(split))]
    return [data.listing(*one) for one in shards] + [data.ledger(*one) for one in shards]


def refuse(faults):
    """Exit before any job with the list of faults alone: Snakemake would add the line of the rule to an exception."""
    if faults:
        place = named("params.yaml", bool(CHANGES))
        sys.exit(str(GlatError("\n".join(f"{place}: {fault}" for fault in dict.fromkeys(faults)))))  # redacted


def known_run(wildcards):
    """A run that some result needs. Exits where the settings name no such run. For published weights a KeyError tells
    Snakemake that it is another rule that makes them."""
    if wildcards.run not in RUNS and wildcards.run not in PUBLISHED:
        names = f"runs have names such as {next(iter(RUNS))}"
        refuse([f"no result of these settings needs a run {wildcards.run}; {names}"])
    return RUNS[wildcards.run]


def checked_run(wildcards):
    """A run, after a check that its settings fit together. If they don't, all faults of the requested targets are
    reported at once; runs that nobody requested are not checked."""
    run = known_run(wildcards)
    faults = faults_of(PARAMS, run)
    if (nodes := execution(wildcards).nodes) > 1 and not on_cluster():
        where = "use a cluster, see docs/cluster.md, or set execution.nodes: 1"
        faults += [f"execution.nodes: {nodes}, but all jobs run on this machine; {where}"]
    if faults:
        targets = [Path(target) for target in workflow.dag_settings.targets]
        names = [target.name.partition(".")[0] for target in targets if target.parts[0] != "runs"]
        results = [
            experiments.RESULT_OF[name] for name in (names if targets else ["all"]) if name in experiments.RESULT_OF
        ]
        refuse(faults + [fault for result in results for fault in experiments.faults(PARAMS, *result)])
    return run


def training_packs(wildcards):
    """The packs that a run trains on, and those that it is selected by."""
    run = checked_run(wildcards)
    return run.packs + run.validation_packs


def packs_to_evaluate(wildcards):
    """The packs that a run is evaluated on: of published weights, those of all evaluation splits."""
    if wildcards.run in PUBLISHED:
        return evaluation_packs(PARAMS, weights.run_of(PARAMS, PUBLISHED[wildcards.run], Path("-")))
    return evaluation_packs(PARAMS, known_run(wildcards))


def run_settings(wildcards):
    """The settings of a run as JSON, from which its config.yaml is made."""
    return checked_run(wildcards).model_dump_json(by_alias=True)


def initial_weights(wildcards):
    """The files of weights that a run starts from, if any, and their class lists; and of teachers' predictions."""
    run = RUNS[wildcards.run]
    paths = [*run.init.values(), *run.init_classes.values(), *(str(t.file) for t in run.training.teachers.values())]
    paths += architecture.weights(run.network)
    return sorted({path for path in paths if path})


def published_weights(backbone, what="file"):
    """The settings of the file of published weights, or of its class list, without secrets, as a parameter."""
    settings = {"classes"} if what == "classes" else {"file", "md5", "sha256"}
    return json.dumps(redact(PARAMS.weights[backbone].model_dump(include=settings)))


def systems(result):
    """The systems that a result shows."""
    return experiments.systems_of(PARAMS, result)


def system_labels(result):
    """The systems that a result shows, as a parameter: labels, streams and runs."""
    return [f"{one.label}, {one.stream}: {', '.join(run.name for run in one.runs)}" for one in systems(result)]


def run_paths(systems, *names):
    """The files of these names in the folder of each run of the systems."""
    return [str(run.folder / name) for run in experiments.runs_of(systems) for name in names]


def teachers(systems):
    """The predictions of runs of this dataset that other runs of the systems learn from."""
    found = {str(t.file) for run in experiments.runs_of(systems) for t in run.training.teachers.values()}
    return sorted(path for path in found if Path(path).is_relative_to(layout.RUNS / PARAMS.dataset))


def metrics_paths(systems):
    """The files of the systems' runs that a table or figure reads."""
    return run_paths(systems, "metrics.json", "influence.npz")


def frames_paths(systems):
    """The scores over time of the systems' runs, where they are kept."""
    return [path for path in run_paths(systems, "frames.h5") if Path(path).parent.name in WITH_FRAMES]


def reported(name, *kinds, category, caption=None):
    """Files of a result by kind, of which `snakemake --report` shows tables, pictures and pages."""
    files = [f"results/{{dataset}}/{name}.{kind}" for kind in kinds]
    about = {"category": category, "subcategory": name, "caption": f"../report/{caption or name}.rst"}
    shown = ("csv", "svg", "html")
    return [report(f, labels={"file": Path(f).name}, **about) if f.endswith(shown) else f for f in files]


def result_paths(names, *kinds):
    """Files in results/<dataset>/, and their copies in results/."""
    folders = [layout.results(PARAMS.dataset), "results"]
    return [f"{folder}/{name}.{kind}" for name in names for kind in kinds for folder in folders]
