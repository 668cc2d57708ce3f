# The paper's tables and figures, the controls and the report, in results/<dataset>/. results/<name> is a copy for the
# dataset that params.yaml selects. Only `examples` loads a model.
FILES = [
    *(f"{table}.{kind}" for table in ("table1", "table2", "localisation", "controls") for kind in ("csv", "md")),
    *(f"{figure}.csv" for figure in ("fig2a", "fig2b", "detection", "durations", "pr_curves")),
    *(
        f"{figure}.{kind}"
        for figure in ("fig2a", "fig2b", "controls", "localisation", "detection", "durations", "pr_curves")
        for kind in ("svg", "png")
    ),
    *(f"training_{table}.{kind}" for table in ("table1", "fig2", "controls") for kind in ("svg", "png")),
]
REPORT_PARTS = [*FILES, "clips"]


rule table1:
    input:
        metrics_paths(systems("table1")),
    output:
        reported("table1", "csv", "md", category="Paper"),
    log:
        "logs/{dataset}/table1.log",
    params:
        code=code("glat.results.tables"),
        result="table1",
        systems=system_labels("table1"),
    resources:
        mem_mb=1000,
        runtime=time_limit(10),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} {params.result:q} > {log:q} 2>&1"


use rule table1 as metrics with:
    input:
        metrics_paths(systems("report")),
    output:
        "results/{dataset}/metrics.json",
    log:
        "logs/{dataset}/metrics.log",
    params:
        code=code("glat.results.summary"),
        result="metrics",
        systems=system_labels("report"),


use rule table1 as table2 with:
    input:
        metrics_paths(systems("table2")),
    output:
        reported("table2", "csv", "md", category="Paper"),
    log:
        "logs/{dataset}/table2.log",
    params:
        code=code("glat.results.tables"),
        result="table2",
        systems=system_labels("table2"),


# PANNs' published weights, scored on the packs to prove that the data are right; not part of `all`.
use rule table1 as panns with:
    input:
        expand(
            "runs/{{dataset}}/{backbone}-panns/{file}",
            backbone=PARAMS.weights,
            file=["metrics.json", "influence.npz"],
        ),
    output:
        reported("panns", "csv", "md", category="Data"),
    log:
        "logs/{dataset}/panns.log",
    params:
        code=code("glat.results.panns"),
        result="panns",
        runs=list(PARAMS.weights),


use rule table1 as fig2a with:
    input:
        metrics_paths(systems("fig2a")),
    output:
        reported("fig2a", "csv", "svg", "png", category="Paper"),
    log:
        "logs/{dataset}/fig2a.log",
    params:
        code=code("glat.results.fig2"),
        result="fig2a",
        systems=system_labels("fig2a"),


use rule table1 as fig2b with:
    input:
        metrics_paths(systems("fig2b")),
    output:
        reported("fig2b", "csv", "svg", "png", category="Paper"),
    log:
        "logs/{dataset}/fig2b.log",
    params:
        code=code("glat.results.fig2"),
        result="fig2b",
        systems=system_labels("fig2b"),


use rule table1 as controls with:
    input:
        metrics_paths(systems("controls")),
    output:
        reported("controls", "csv", "md", "svg", "png", category="Controls"),
    log:
        "logs/{dataset}/controls.log",
    params:
        code=code("glat.results.controls"),
        result="controls",
        systems=system_labels("controls"),


# Recipes of training, if `ladder` of params.yaml has any; not part of `all`.
use rule table1 as ladder with:
    input:
        metrics_paths(systems("ladder")),
    output:
        reported("ladder", "csv", "md", "svg", "png", category="Controls"),
    log:
        "logs/{dataset}/ladder.log",
    params:
        code=code("glat.results.ladder"),
        result="ladder",
        systems=system_labels("ladder"),


use rule table1 as localisation with:
    input:
        metrics_paths(systems("localisation")),
        run_paths(systems("localisation"), "per_class.csv", "predictions.h5"),
        frames_paths(systems("localisation")),
        "data/{dataset}/metadata",
    output:
        reported("localisation", "csv", "md", "svg", "png", category="Controls"),
        reported("detection", "csv", "svg", "png", category="Controls"),
        reported("durations", "csv", "svg", "png", category="Controls"),
    log:
        "logs/{dataset}/localisation.log",
    params:
        code=code("glat.results.localisation"),
        result="localisation",
        systems=system_labels("localisation"),
        localisation=PARAMS.localisation.model_dump_json(exclude={"frames"}),
    resources:
        # Scores over time of every clip and class, of up to five columns.
        mem_mb=2000 if PARAMS.corpus.classes < 100 else 32000,
        runtime=time_limit(60 if PARAMS.corpus.classes < 100 else 12 * 60),


use rule table1 as pr_curves with:
    input:
        metrics_paths(systems("table1")),
        run_paths(systems("table1"), "predictions.h5"),
    output:
        reported("pr_curves", "csv", "svg", "png", category="Curves"),
    log:
        "logs/{dataset}/pr_curves.log",
    params:
        code=code("glat.results.curves"),
        result="pr_curves",
        systems=system_labels("table1"),
    resources:
        mem_mb=2000 if PARAMS.corpus.classes < 100 else 8000,
        runtime=time_limit(60),


use rule table1 as training_curves with:
    input:
        run_paths(systems("report"), "train.csv"),
    output:
        "results/{dataset}/training.csv",
        *(
            reported(f"training_{of}", "svg", "png", category="Curves", caption="training")
            for of in ("table1", "fig2", "controls")
        ),
    log:
        "logs/{dataset}/training_curves.log",
    params:
        code=code("glat.results.curves"),
        result="training_curves",
        runs=run_paths(systems("report"), "train.csv"),


use rule table1 as examples with:
    input:
        run_paths(systems("table2")[-1:], "checkpoint.pt")[:1],
        run_paths(systems("table2")[-1:], "train.csv")[:1],
        evaluation_packs(PARAMS, systems("table2")[-1].runs[0]),
        "data/{dataset}/metadata",
    output:
        directory("results/{dataset}/clips"),
    log:
        "logs/{dataset}/examples.log",
    params:
        code=code("glat.use.explain"),
        network=code(PARAMS.entry(PARAMS.table2.backbone).module),
        result="examples",
        runs=[PARAMS.report.clips, PARAMS.evaluation.seed],
    resources:
        mem_mb=4000,
        runtime=time_limit(60),


use rule table1 as report with:
    input:
        metrics_paths(systems("report")),
        run_paths(systems("report"), "train.csv"),
        [f"results/{{dataset}}/{name}" for name in REPORT_PARTS],
    output:
        reported("report", "html", category="Paper"),
    log:
        "logs/{dataset}/report.log",
    params:
        code=code("glat.results.report"),
        result="report",
        runs=json.dumps(
            {key: value for key, value in public(PARAMS).items() if key not in ("tracking", "fetch", "execution")}
        ),


# Copies a result of the selected dataset to results/.
rule copy_result:
    input:
        f"results/{PARAMS.dataset}/{{file}}",
    output:
        "results/{file}",
    log:
        "logs/copy_result/{file}.log",
    wildcard_constraints:
        file=r"[^/]+\.(csv|json|md|svg|png|html)",
    localrule: True
    resources:
        mem_mb=100,
        runtime=time_limit(5),
    conda:
        ENVIRONMENT
    shell:
        "(cp {input:q} {output:q}.part && mv {output:q}.part {output:q}) > {log:q} 2>&1"
