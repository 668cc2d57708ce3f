# The files that each stage of dvc.yaml versions. records/<dataset>/<stage>.json says what they were made from, so that
# Snakemake knows it wherever DVC brings them (glat/lib/records.py).
STAGES = {
    "packs": [
        f"data/{PARAMS.dataset}/metadata",
        *split_packs(PARAMS, PARAMS.dataset, list(PARAMS.corpus.splits)),
        *split_packs(PARAMS, PARAMS.dataset, list(PARAMS.corpus.splits), "ledger.csv"),
    ],
    "audit": result_paths(["audit"], "csv", "html"),
    "train": run_paths(systems("report"), "config.yaml", "checkpoint.pt", "train.csv") + teachers(systems("report")),
    "evaluate": [
        *run_paths(systems("report"), *EVALUATED),
        *frames_paths(systems("report")),
        *result_paths(["metrics"], "json"),
    ],
    "table1": result_paths(["table1"], "csv", "md"),
    "table2": result_paths(["table2"], "csv", "md"),
    "fig2": result_paths(["fig2a", "fig2b"], "csv", "svg", "png"),
    "controls": result_paths(["controls"], "csv", "md", "svg", "png"),
    "localisation": [
        *result_paths(["localisation"], "csv", "md", "svg", "png"),
        *result_paths(["detection", "durations"], "csv", "svg", "png"),
    ],
    "curves": [
        *result_paths(["pr_curves"], "csv", "svg", "png"),
        *result_paths(["training_table1", "training_fig2", "training_controls"], "svg", "png"),
        *result_paths(["training"], "csv"),
    ],
    "report": [*result_paths(["report"], "html"), f"results/{PARAMS.dataset}/clips"],
}
# Intermediate files of the packs are recorded too: DVC does not carry them, but the packs were made from them.
ALSO_RECORDED = {
    "packs": [
        f"data/{PARAMS.dataset}/{shard}"
        for pack in map(Path, split_packs(PARAMS, PARAMS.dataset, list(PARAMS.corpus.splits)))
        for shard in (f"audio/{pack.parent.name}/{pack.stem}.csv", f"resampled/{pack.parent.name}/{pack.stem}")
    ]
}
# Runs that no result needs any more are recorded too, since DVC carries them and they may be needed again. `glat
# record` looks for them itself, so that they alone never make a record outdated.
for stage in ("train", "evaluate"):
    names = {Path(path).name for path in STAGES[stage] if path.startswith("runs/")}
    ALSO_RECORDED[stage] = [f"runs/{PARAMS.dataset}/*/{name}" for name in sorted(names)]
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
        files=lambda wildcards: STAGES[wildcards.stage] + ALSO_RECORDED.get(wildcards.stage, []),
    wildcard_constraints:
        stage="|".join(STAGES),
    resources:
        mem_mb=1000,
        runtime=time_limit(60),
    conda:
        ENVIRONMENT
    shell:
        "glat record {output:q} {params.files:q} > {log:q} 2>&1"


# A target for the record of each stage whose name holds no setting: `snakemake train_record`.
for stage in STAGES:

    rule:
        name:
            f"{stage}_record"
        input:
            f"records/{PARAMS.dataset}/{stage}.json",
