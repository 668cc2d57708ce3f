import json
import re
import shlex
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27")

# The glat of this folder, whose files the rules depend on, before an installed one: DVC runs queued experiments in
# copies of the project.
sys.path.insert(0, str(Path.cwd()))

from glat.config import checks, experiments
from glat.config.params import hand_down, load as load_params, named, plain, public
from glat.config.runs import split_packs
from glat.data.sources import registry as sources
from glat.lib import cluster, dependencies, records
from glat.lib.cores import cores, gpu
from glat.lib.errors import GlatError
from glat.lib.escaping import NAME
from glat.lib.logs import to_stderr
from glat.lib.redaction import redact
from glat.models import registry
from glat.scoring import manifest
from glat.use import weights

# What every rule runs in. Snakemake imports glat too, so it is started inside it (README) and makes none of its own.
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
    RUNS = experiments.all_runs(PARAMS)
    FETCHED = {weights.place(one).name: b for b, one in PARAMS.weights.items() if weights.is_address(one.file)}
    if PARAMS.evaluation.only:
        # Where metrics are there, Snakemake takes an input that is not for nothing to do.
        manifest.read_list(PARAMS.evaluation.only)
    sources.open_source(PARAMS.chosen.source, PARAMS.dataset)  # refuses a wrong key of the source before any job
    if workflow.is_main_process and PARAMS.chosen.lists():
        from glat.data.lists import metadata

        chosen, place = PARAMS.chosen, Path("data") / PARAMS.dataset / "metadata"
        metadata.refuse_sizes(chosen.lists(), place, PARAMS.dataset, chosen.classes, chosen.splits)
except GlatError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    dataset=re.escape(PARAMS.dataset),  # settings are those of the chosen dataset, so no other one's files are made
    split=NAME.pattern,
    shard=r"\d\d\d+",
    run=NAME.pattern,


# What every step is given: this folder's glat, and what the command line changes (--config, --configfile), which
# Snakemake would print with a command that fails.
prefix = f'export PYTHONPATH={shlex.quote(str(Path.cwd()))}"${{PYTHONPATH:+:$PYTHONPATH}}"; '
hand_down(CHANGES)
shell.prefix(prefix.replace("{", "{{").replace("}", "}}"))


def code(*modules):
    """What a step computes with, as a parameter: a digest of the code of these modules and of all that they depend on
    (glat/lib/dependencies.py). An edit of that code reruns the step; one of a comment reruns nothing."""
    return f"{', '.join(modules)}: {dependencies.digest(*modules)}"


def network(wildcards):
    """`code` of a run's backbone; a run's name begins with its backbone's, as that of cnn10-panns does."""
    return code(registry.module(registry.of_run(wildcards.run)))


def on_a_cluster():
    """Whether jobs run on a cluster's nodes, whose cores and GPUs are not this machine's."""
    return workflow.remote_exec or not workflow.local_exec or workflow.resource_settings.cores is None


def granted(wildcards, threads):
    """Threads to compute on, of those that Snakemake grants: where --cores asks for more cores than the machine has,
    jobs side by side get their share of the real ones and do not fight. A cluster's jobs have all of theirs."""
    if on_a_cluster():
        return threads
    asked = workflow.cores
    return max(1, threads * min(cores(), asked) // asked)


def gpus(wildcards):
    """GPUs that a training uses: `training.devices`, with `accelerator: auto` where there are any."""
    published = wildcards.run not in RUNS  # weights of PANNs, which are scored alone
    training = PARAMS.training if published else RUNS[wildcards.run].training
    if on_a_cluster() and training.nodes > 1:
        raise WorkflowError(
            f"training.nodes: {training.nodes}, but a job of this workflow has one node (docs/cluster.md)"
        )
    there = partition().gpu if on_a_cluster() else gpu()
    return training.devices if training.accelerator == "gpu" or (training.accelerator == "auto" and there) else 0


def one_gpu(wildcards):
    """The GPU of an evaluation, where the training has any."""
    return min(1, gpus(wildcards))


def within(minutes):
    """A job's time limit in minutes; on a cluster no longer than its partition allows: what is cut short goes on later."""

    def runtime(wildcards):
        longest = partition().minutes if on_a_cluster() else None
        return min(minutes, longest or minutes)

    return runtime


def partition():
    """The partition of the cluster's jobs: of the profile's default-resources, else the cluster's own default."""
    named = (workflow.resource_settings.default_resources or {}).get("slurm_partition")
    return cluster.partition(named.value if named else None)


def entry(wildcards):
    return PARAMS.datasets[wildcards.dataset]


def lists(wildcards):
    """The lists that a dataset's metadata is copied from, where they are there: a replaced list is copied again."""
    return [path for path in entry(wildcards).lists().values() if Path(path).is_file()]


def makes_lists(wildcards):
    """Whether the source of audio makes the lists too, which then depend on its settings and its code."""
    return hasattr(sources.open_source(entry(wildcards).source, wildcards.dataset)[0], "write_metadata")


def lists_from(wildcards):
    """The settings that say where the lists come from, as they may be noted."""
    of = entry(wildcards)
    given = of.model_dump(mode="json")  # of which a list with its checksum is settings, too
    return json.dumps(sources.identity(of.source) if makes_lists(wildcards) else redact(given["metadata"]))


def source_code(wildcards):
    """`code` of a dataset's source of audio."""
    return code(sources.SOURCES[entry(wildcards).source["kind"]])


def told():
    """What the steps before the packs tell of the chosen dataset's clips: listings of the audio, ledgers of the lost."""
    shards = [Path(pack) for pack in split_packs(PARAMS, PARAMS.dataset, list(PARAMS.chosen.splits))]
    listings = [f"data/{PARAMS.dataset}/audio/{pack.parent.name}/{pack.stem}.csv" for pack in shards]
    return listings + [str(pack.with_suffix(".ledger.csv")) for pack in shards]


def refuse(faults):
    """End before any job, with all that is wrong and nothing else: an error of a rule would tell its own place too."""
    if faults:
        place = named("params.yaml", bool(CHANGES))
        sys.exit(str(GlatError("\n".join(f"{place}: {fault}" for fault in dict.fromkeys(faults)))))  # redacted


def fit(wildcards):
    """A run, whose settings fit together: which those of a run that is not asked for need not. Where they don't, all
    that is wrong for the targets is told at once."""
    run = RUNS[wildcards.run]
    if faults := checks.of_run(PARAMS, run):
        named = [Path(target).name.partition(".")[0] for target in workflow.dag_settings.targets]
        results = [experiments.RESULT_OF[name] for name in named or ["all"] if name in experiments.RESULT_OF]
        refuse(faults + [fault for result in results for fault in experiments.faults(PARAMS, *result)])
    return run


def packs_of(wildcards):
    """The packs that a run trains on."""
    return fit(wildcards).packs


def run_of(wildcards):
    """The settings of a run as JSON: what its config.yaml is made from."""
    return fit(wildcards).model_dump_json(by_alias=True)


def start_weights(wildcards):
    """Weights that a run starts from, where it does."""
    return sorted({path for path in RUNS[wildcards.run].init.values() if path})


def systems(result):
    """The systems that a result shows."""
    return experiments.systems_of(PARAMS, result)


def shown(result):
    """The systems that a result shows, as a parameter: labels, streams and runs."""
    return [f"{one.label}, {one.stream}: {', '.join(run.name for run in one.runs)}" for one in systems(result)]


def kept(of, *names):
    """Files that the runs of these systems keep, by name."""
    return [str(run.folder / name) for run in experiments.runs_of(of) for name in names]


def measured(of):
    """What a table or figure reads of the runs of these systems."""
    return kept(of, "metrics.json", "influence.npz")


def reported(name, *kinds, category, caption=None):
    """Files of a result by kind, of which `snakemake --report` shows tables, pictures and pages."""
    files = [f"results/{{dataset}}/{name}.{kind}" for kind in kinds]
    about = {"category": category, "subcategory": name, "caption": f"../report/{caption or name}.rst"}
    shown = ("csv", "svg", "html")
    return [report(f, labels={"file": Path(f).name}, **about) if f.endswith(shown) else f for f in files]


def made(names, *kinds):
    """Files of the chosen dataset's results, and their copies in results/."""
    folders = [f"results/{PARAMS.dataset}", "results"]
    return [f"{folder}/{name}.{kind}" for name in names for kind in kinds for folder in folders]
