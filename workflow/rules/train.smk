# A run is a folder that explains itself: runs/<dataset>/<run>/config.yaml, checkpoint.pt, train.csv.


rule configure:
    output:
        "runs/{dataset}/{run}/config.yaml",
    log:
        "logs/{dataset}/configure/{run}.log",
    params:
        run=run_settings,
    localrule: True
    resources:
        mem_mb=500,
        runtime=time_limit(5),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} configure {wildcards.run:q} > {log:q} 2>&1"


rule train:
    input:
        training_packs,
        initial_weights,
        config="runs/{dataset}/{run}/config.yaml",
    output:
        "runs/{dataset}/{run}/checkpoint.pt",
        "runs/{dataset}/{run}/train.csv",
    log:
        "logs/{dataset}/train/{run}.log",
    benchmark:
        "logs/{dataset}/train/{run}.benchmark.tsv"
    params:
        code=code("glat.training.stage", "glat.training.enhancement"),
        network=network_code,
        rule="train",
    threads: training_threads
    resources:
        mem_mb=training_memory,
        gpu=gpus,
        nodes=lambda wildcards: execution(wildcards).nodes,
        # Of a job on several nodes, for Slurm's plugin: "mpi" is its word for a command that starts its tasks itself.
        mpi=over_nodes(lambda how: "srun"),
        tasks_per_node=over_nodes(lambda how: how.devices if how.devices > 1 else None),
        tasks=over_nodes(lambda how: how.nodes if how.devices == 1 else None),
        tasks_per_gpu=over_nodes(lambda how: -1),
        slurm_extra=node_gpus,
        launcher=launcher,
        runtime=time_limit(14 * 24 * 60),
        processors=usable_cores,
    conda:
        ENVIRONMENT
    shell:
        "export GLAT_RULE={params.rule:q}; "
        "{resources.launcher}glat train {input.config:q} --threads {resources.processors} > {log:q} 2>&1"


# A GL-AT training takes two to three times as long, so these start first: none is left to run alone at the end.
use rule train as train_glat with:
    wildcard_constraints:
        run="|".join(re.escape(name) for name, run in RUNS.items() if run.glat) or "(?!)",
    params:
        code=code("glat.training.stage", "glat.training.enhancement"),
        network=network_code,
        rule="train_glat",
    priority: 1


ruleorder: train_glat > train
