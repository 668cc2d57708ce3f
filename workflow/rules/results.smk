# The paper's tables and figures, the controls and the report, per dataset; results/<name> without a dataset is that of
# params.yaml's choice. None of these loads a model but `examples`.
MEASURES = ["bootstrap.py", "predictions.py", "experiments.py", "registry.py", "results/measured.py"]
TABLES = [*MEASURES, "results/tables.py", "results/text.py", "results/published.py"]
FIGURES = ["results/plots.py"]
CONTROLS = [control.system for control in experiments.controls(PARAMS)]
LOCALISED = [experiments.system(PARAMS, PARAMS.controls.backbones[0], glat) for glat in (None, {})]
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


def sweep(setting):
    """The systems of one panel of Fig. 2."""
    plain, points = experiments.fig2(PARAMS, setting)
    return [plain, *(point.system for point in points)]


rule table1:
    input:
        measured(experiments.table1(PARAMS)),
        code=code(*TABLES),
    output:
        csv="results/{dataset}/table1.csv",
        md="results/{dataset}/table1.md",
    log:
        "logs/{dataset}/table1.log",
    params:
        runs=measured(experiments.table1(PARAMS)),
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset} {rule} > {log} 2>&1"


use rule table1 as table2 with:
    input:
        measured(experiments.table2(PARAMS)),
        code=code(*TABLES),
    output:
        csv="results/{dataset}/table2.csv",
        md="results/{dataset}/table2.md",
    log:
        "logs/{dataset}/table2.log",
    params:
        runs=measured(experiments.table2(PARAMS)),


use rule table1 as fig2a with:
    input:
        measured(sweep("n")),
        code=code(*TABLES, *FIGURES, "results/fig2.py"),
    output:
        multiext("results/{dataset}/fig2a", ".csv", ".svg", ".png"),
    log:
        "logs/{dataset}/fig2a.log",
    params:
        runs=measured(sweep("n")),


use rule table1 as fig2b with:
    input:
        measured(sweep("tau")),
        code=code(*TABLES, *FIGURES, "results/fig2.py"),
    output:
        multiext("results/{dataset}/fig2b", ".csv", ".svg", ".png"),
    log:
        "logs/{dataset}/fig2b.log",
    params:
        runs=measured(sweep("tau")),


use rule table1 as controls with:
    input:
        measured(CONTROLS),
        code=code(*TABLES, *FIGURES, "results/controls.py"),
    output:
        multiext("results/{dataset}/controls", ".csv", ".md", ".svg", ".png"),
    log:
        "logs/{dataset}/controls.log",
    params:
        runs=measured(CONTROLS),


use rule table1 as localisation with:
    input:
        measured(LOCALISED),
        kept(LOCALISED, "per_class.csv", "predictions.h5"),
        "data/{dataset}/metadata",
        code=code(*TABLES, *FIGURES, "results/localisation.py", "data/audioset.py"),
    output:
        multiext("results/{dataset}/localisation", ".csv", ".md", ".svg", ".png"),
        multiext("results/{dataset}/durations", ".csv", ".svg", ".png"),
    log:
        "logs/{dataset}/localisation.log",
    params:
        runs=measured(LOCALISED),


use rule table1 as pr_curves with:
    input:
        measured(experiments.table1(PARAMS)),
        kept(experiments.table1(PARAMS), "predictions.h5"),
        code=code(*TABLES, *FIGURES, "results/curves.py"),
    output:
        multiext("results/{dataset}/pr_curves", ".csv", ".svg", ".png"),
    log:
        "logs/{dataset}/pr_curves.log",
    params:
        runs=measured(experiments.table1(PARAMS)),


use rule table1 as training_curves with:
    input:
        kept(experiments.all_systems(PARAMS), "train.csv"),
        code=code(*FIGURES, "experiments.py", "results/curves.py"),
    output:
        expand("results/{{dataset}}/training_{of}.{kind}", of=["table1", "fig2", "controls"], kind=["svg", "png"]),
    log:
        "logs/{dataset}/training_curves.log",
    params:
        runs=kept(experiments.all_systems(PARAMS), "train.csv"),


use rule table1 as examples with:
    input:
        kept([experiments.table2(PARAMS)[-1]], "checkpoint.pt")[:1],
        split_packs(PARAMS, PARAMS.dataset, PARAMS.chosen.evaluate),
        "data/{dataset}/metadata",
        code=code(*FIGURES, "experiments.py", "explain.py", "checkpoints.py", "models/*.py", "data/packed.py"),
    output:
        directory("results/{dataset}/clips"),
    log:
        "logs/{dataset}/examples.log",
    params:
        runs=[PARAMS.report.clips, PARAMS.evaluation.seed],


use rule table1 as report with:
    input:
        measured(experiments.all_systems(PARAMS)),
        kept(experiments.all_systems(PARAMS), "train.csv"),
        [f"results/{{dataset}}/{name}" for name in SHOWN],
        code=code("experiments.py", "provenance.py", "results/report.*", "results/fig2.py", "results/published.py"),
    output:
        "results/{dataset}/report.html",
    log:
        "logs/{dataset}/report.log",
    params:
        runs=PARAMS.model_dump_json(),


rule chosen:
    input:
        f"results/{PARAMS.dataset}/{{file}}",
    output:
        "results/{file}",
    log:
        "logs/chosen/{file}.log",
    wildcard_constraints:
        file=r"[^/]+\.(csv|md|svg|png|html)",
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    conda:
        ENVIRONMENT
    shell:
        "cp {input} {output} > {log} 2>&1"
