# What DVC versions, by stage of dvc.yaml, and a record of each: records/<dataset>/<stage>.json says what the stage's
# files were made from, so that Snakemake knows it wherever DVC brings them (glat/lib/records.py).
STAGES = {
    "packs": [
        f"data/{PARAMS.dataset}/metadata",
        *split_packs(PARAMS, PARAMS.dataset, list(PARAMS.chosen.splits)),
        *split_packs(PARAMS, PARAMS.dataset, list(PARAMS.chosen.splits), "ledger.csv"),
    ],
    "audit": made(["audit"], "csv", "html"),
    "train": kept(systems("report"), "config.yaml", "checkpoint.pt", "train.csv"),
    "evaluate": [
        *kept(systems("report"), "predictions.h5", "influence.npz", "per_class.csv", "clips.txt", "metrics.json"),
        *made(["metrics"], "json"),
    ],
    "table1": made(["table1"], "csv", "md"),
    "table2": made(["table2"], "csv", "md"),
    "fig2": made(["fig2a", "fig2b"], "csv", "svg", "png"),
    "controls": made(["controls"], "csv", "md", "svg", "png"),
    "localisation": [*made(["localisation"], "csv", "md", "svg", "png"), *made(["durations"], "csv", "svg", "png")],
    "curves": [
        *made(["pr_curves"], "csv", "svg", "png"),
        *made(["training_table1", "training_fig2", "training_controls"], "svg", "png"),
        *made(["training"], "csv"),
    ],
    "report": [*made(["report"], "html"), f"results/{PARAMS.dataset}/clips"],
}
# What else is recorded. Packs were made through lists of what was got, which DVC does not carry, and what is removed
# when it is packed.
BESIDES = {
    "packs": [
        f"data/{PARAMS.dataset}/{shard}"
        for pack in map(Path, split_packs(PARAMS, PARAMS.dataset, list(PARAMS.chosen.splits)))
        for shard in (f"audio/{pack.parent.name}/{pack.stem}.csv", f"resampled/{pack.parent.name}/{pack.stem}")
    ]
}
# Runs that no result asks for any more: DVC carries them too, and they may be asked for again. `glat record`
# finds them, so that they alone don't ask for a new record.
for stage in ("train", "evaluate"):
    names = {Path(path).name for path in STAGES[stage] if path.startswith("runs/")}
    BESIDES[stage] = [f"runs/{PARAMS.dataset}/*/{name}" for name in sorted(names)]
RECORDS = [f"records/{PARAMS.dataset}/{stage}.json" for stage in STAGES]

if workflow.is_main_process:
    try:
        records.adopt(Path("records") / PARAMS.dataset)
    except GlatError as error:
        raise WorkflowError(str(error)) from None


rule record:
    input:
        lambda wildcards: STAGES[wildcards.stage],
    output:
        "records/{dataset}/{stage}.json",
    log:
        "logs/{dataset}/records/{stage}.log",
    params:
        files=lambda wildcards: STAGES[wildcards.stage] + BESIDES.get(wildcards.stage, []),
    wildcard_constraints:
        stage="|".join(STAGES),
    threads: 1
    resources:
        mem_mb=1000,
        runtime=within(60),
    conda:
        ENVIRONMENT
    shell:
        "glat record {output:q} {params.files:q} > {log:q} 2>&1"


# The record of each stage by a name that holds no setting: `snakemake train_record`.
for stage in STAGES:

    rule:
        name:
            f"{stage}_record"
        input:
            f"records/{PARAMS.dataset}/{stage}.json",
