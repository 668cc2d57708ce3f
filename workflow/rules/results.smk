# The paper's tables, per dataset; results/<name> without a dataset is that of params.yaml's choice.


rule table1:
    input:
        metrics_of(table1_runs(PARAMS)),
        code=code("results/tables.py", "results/published.py", "registry.py"),
    output:
        csv="results/{dataset}/table1.csv",
        md="results/{dataset}/table1.md",
    log:
        "logs/{dataset}/table1.log",
    params:
        metrics=metrics_of(table1_runs(PARAMS)),
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    conda:
        ENVIRONMENT
    shell:
        "glat table1 {params.metrics} --csv {output.csv} > {log} 2>&1"


rule chosen:
    input:
        f"results/{PARAMS.dataset}/{{table}}",
    output:
        "results/{table}",
    log:
        "logs/chosen/{table}.log",
    wildcard_constraints:
        table=r"[^/]+\.(csv|md)",
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    conda:
        ENVIRONMENT
    shell:
        "cp {input} {output} > {log} 2>&1"
