# The paper's tables and figures, the controls and the report, per dataset; results/<name> without a dataset is that of
# params.yaml's choice. None of these loads a model but `examples`.
FILES = [
    *(f"{table}.{kind}" for table in ("table1", "table2", "localisation", "controls") for kind in ("csv", "md")),
    *(f"{figure}.csv" for figure in ("fig2a", "fig2b", "durations", "pr_curves")),
    *(
        f"{figure}.{kind}"
        for figure in ("fig2a", "fig2b", "controls", "localisation", "durations", "pr_curves")
        for kind in ("svg", "png")
    ),
    *(f"training_{table}.{kind}" for table in ("table1", "fig2", "controls") for kind in ("svg", "png")),
]
SHOWN = [*FILES, "clips"]


rule table1:
    input:
        measured(systems("table1")),
    output:
        reported("table1", "csv", "md", category="Paper"),
    log:
        "logs/{dataset}/table1.log",
    params:
        code=code("glat.results.tables"),
        result="table1",
        systems=shown("table1"),
    threads: 1
    resources:
        mem_mb=1000,
        runtime=within(10),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} {params.result:q} > {log:q} 2>&1"


use rule table1 as metrics with:
    input:
        measured(systems("report")),
    output:
        "results/{dataset}/metrics.json",
    log:
        "logs/{dataset}/metrics.log",
    params:
        code=code("glat.results.summary"),
        result="metrics",
        systems=shown("report"),


use rule table1 as table2 with:
    input:
        measured(systems("table2")),
    output:
        reported("table2", "csv", "md", category="Paper"),
    log:
        "logs/{dataset}/table2.log",
    params:
        code=code("glat.results.tables"),
        result="table2",
        systems=shown("table2"),


# What PANNs' published weights score on the packs, as the proof that the data are right; not part of `all`.
use rule table1 as panns with:
    input:
        expand(
            "runs/{{dataset}}/{backbone}-panns/{file}", backbone=PARAMS.weights, file=["metrics.json", "influence.npz"]
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
        measured(systems("fig2a")),
    output:
        reported("fig2a", "csv", "svg", "png", category="Paper"),
    log:
        "logs/{dataset}/fig2a.log",
    params:
        code=code("glat.results.fig2"),
        result="fig2a",
        systems=shown("fig2a"),


use rule table1 as fig2b with:
    input:
        measured(systems("fig2b")),
    output:
        reported("fig2b", "csv", "svg", "png", category="Paper"),
    log:
        "logs/{dataset}/fig2b.log",
    params:
        code=code("glat.results.fig2"),
        result="fig2b",
        systems=shown("fig2b"),


use rule table1 as controls with:
    input:
        measured(systems("controls")),
    output:
        reported("controls", "csv", "md", "svg", "png", category="Controls"),
    log:
        "logs/{dataset}/controls.log",
    params:
        code=code("glat.results.controls"),
        result="controls",
        systems=shown("controls"),


use rule table1 as localisation with:
    input:
        measured(systems("localisation")),
        kept(systems("localisation"), "per_class.csv", "predictions.h5"),
        "data/{dataset}/metadata",
    output:
        reported("localisation", "csv", "md", "svg", "png", category="Controls"),
        reported("durations", "csv", "svg", "png", category="Controls"),
    log:
        "logs/{dataset}/localisation.log",
    params:
        code=code("glat.results.localisation"),
        result="localisation",
        systems=shown("localisation"),


use rule table1 as pr_curves with:
    input:
        measured(systems("table1")),
        kept(systems("table1"), "predictions.h5"),
    output:
        reported("pr_curves", "csv", "svg", "png", category="Curves"),
    log:
        "logs/{dataset}/pr_curves.log",
    params:
        code=code("glat.results.curves"),
        result="pr_curves",
        systems=shown("table1"),


use rule table1 as training_curves with:
    input:
        kept(systems("report"), "train.csv"),
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
        runs=kept(systems("report"), "train.csv"),


use rule table1 as examples with:
    input:
        kept(systems("table2")[-1:], "checkpoint.pt")[:1],
        kept(systems("table2")[-1:], "train.csv")[:1],
        split_packs(PARAMS, PARAMS.dataset, PARAMS.chosen.evaluate),
        "data/{dataset}/metadata",
    output:
        directory("results/{dataset}/clips"),
    log:
        "logs/{dataset}/examples.log",
    params:
        code=code("glat.use.explain"),
        network=code(registry.module(PARAMS.table2.backbone)),
        result="examples",
        runs=[PARAMS.report.clips, PARAMS.evaluation.seed],


use rule table1 as report with:
    input:
        measured(systems("report")),
        kept(systems("report"), "train.csv"),
        [f"results/{{dataset}}/{name}" for name in SHOWN],
    output:
        reported("report", "html", category="Paper"),
    log:
        "logs/{dataset}/report.log",
    params:
        code=code("glat.results.report"),
        result="report",
        runs=json.dumps({key: value for key, value in public(PARAMS).items() if key not in ("tracking", "fetch")}),


rule chosen:
    input:
        f"results/{PARAMS.dataset}/{{file}}",
    output:
        "results/{file}",
    log:
        "logs/chosen/{file}.log",
    wildcard_constraints:
        file=r"[^/]+\.(csv|json|md|svg|png|html)",
    localrule: True
    threads: 1
    resources:
        mem_mb=100,
        runtime=within(5),
    conda:
        ENVIRONMENT
    shell:
        "(cp {input:q} {output:q}.part && mv {output:q}.part {output:q}) > {log:q} 2>&1"
