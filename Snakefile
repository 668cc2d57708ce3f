# Table of contents: AudioSet clips flow left to right through files, one rule a step (workflow/rules), every choice in
# params.yaml. `snakemake --cores 8 results/table1.csv` makes Table 1 of the paper; without a target, everything.


configfile: "params.yaml"


include: "workflow/rules/common.smk"
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
        split_packs(PARAMS, PARAMS.dataset, list(PARAMS.chosen.splits)),


# What MLflow lacks of the runs goes there at the end; that asks no server where no run changed, and fails no workflow.
SYNC = """
mkdir -p logs
glat track sync --changed > logs/track.log 2>&1 || echo "MLflow lacks something: see logs/track.log, or run \`glat track sync\`" >&2
"""


onsuccess:
    if PARAMS.tracking.enabled:
        shell(SYNC)


# What a failed run leaves: figures and report from the others, with what is missing named.
onerror:
    if PARAMS.tracking.enabled:
        shell(SYNC)
    shell("glat partial")
