# AudioSet clips pass from file to file, one rule per step (workflow/rules); every choice is in params.yaml.
# `snakemake --cores 8 results/table1.csv` makes Table 1 of the paper; without a target, Snakemake makes everything.


configfile: "params.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/records.smk"


rule all:
    default_target: True
    input:
        [f"results/{name}" for name in [*FILES, "report.html", "audit.csv", "audit.html"]],
        RECORDS,


rule packs:
    input:
        split_packs(PARAMS, PARAMS.dataset, list(PARAMS.corpus.splits)),


# Sends to MLflow whatever it does not have yet. If no run has changed, no server is contacted; a failure here does not
# make the workflow fail.
SYNC = """
mkdir -p logs
glat track sync --changed > logs/track.log 2>&1 || echo "MLflow lacks something: see logs/track.log, or run \`glat track sync\`" >&2
"""


# By default Snakemake starts at most 100 jobs a second. With that limit, each job that ends adds a check, repeated every second
# from then on, whether another job can start: after a hundred jobs, half a core. `--cores` and `--jobs` are limits enough.
onstart:
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


onsuccess:
    if PARAMS.tracking.enabled:
        shell(SYNC)


# After a failed run: figures and the report from the others, which say what is missing.
onerror:
    if PARAMS.tracking.enabled:
        shell(SYNC)
    shell("glat partial")
