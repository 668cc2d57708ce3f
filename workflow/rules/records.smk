# What DVC versions, by stage of dvc.yaml, and a record of each: records/<dataset>/<stage>.json says what the stage's
# files were made from, so that Snakemake knows it wherever DVC brings them (glat/records.py).


def made(*names):
    """Files of the chosen dataset's results, and their copies in results/."""
    return [f"{folder}/{name}" for name in names for folder in (f"results/{PARAMS.dataset}", "results")]


def files(stems, *kinds):
    return made(*(f"{stem}.{kind}" for stem in stems for kind in kinds))


STAGES = {
    "packs": [
        f"data/{PARAMS.dataset}/metadata",
        *split_packs(PARAMS, PARAMS.dataset, list(PARAMS.chosen.splits)),
        *split_packs(PARAMS, PARAMS.dataset, list(PARAMS.chosen.splits), "ledger.csv"),
    ],
    "train": kept(systems("report"), "config.yaml", "checkpoint.pt", "train.csv"),
    "evaluate": [
        *kept(systems("report"), "predictions.h5", "resamples.npz", "per_class.csv", "metrics.json"),
        *made("metrics.json"),
    ],
    "table1": files(["table1"], "csv", "md"),
    "table2": files(["table2"], "csv", "md"),
    "fig2": files(["fig2a", "fig2b"], "csv", "svg", "png"),
    "controls": files(["controls"], "csv", "md", "svg", "png"),
    "localisation": [*files(["localisation"], "csv", "md", "svg", "png"), *files(["durations"], "csv", "svg", "png")],
    "curves": [
        *files(["pr_curves"], "csv", "svg", "png"),
        *files(["training_table1", "training_fig2", "training_controls"], "svg", "png"),
        *made("training.csv"),
    ],
    "report": [*made("report.html"), f"results/{PARAMS.dataset}/clips"],
}
# What packs were made through and DVC does not carry: the lists of what was got, and what is removed when it is packed.
THROUGH = {
    "packs": [
        path.replace("/packs/", f"/{folder}/").replace(".h5", end)
        for path in split_packs(PARAMS, PARAMS.dataset, list(PARAMS.chosen.splits))
        for folder, end in (("audio", ".csv"), ("resampled", ""))
    ]
}
RECORDS = [f"records/{PARAMS.dataset}/{stage}.json" for stage in STAGES]

if workflow.is_main_process:
    try:
        records.adopt(Path("records") / PARAMS.dataset)
    except GlatError as error:
        raise WorkflowError(str(error)) from None


rule record:
    input:
        lambda wildcards: STAGES[wildcards.stage],
        code=code("records.py"),
    output:
        "records/{dataset}/{stage}.json",
    log:
        "logs/{dataset}/records/{stage}.log",
    params:
        files=lambda wildcards: STAGES[wildcards.stage] + THROUGH.get(wildcards.stage, []),
    wildcard_constraints:
        stage="|".join(STAGES),
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    conda:
        ENVIRONMENT
    shell:
        "glat record {output} {params.files} > {log} 2>&1"
