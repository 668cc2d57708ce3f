# Predictions of both streams and their fusion, and metrics with intervals.
EVALUATED = ["predictions.h5", "influence.npz", "per_class.csv", "clips.txt", "metrics.json"]


rule evaluate:
    input:
        packs_to_evaluate,
        checkpoint="runs/{dataset}/{run}/checkpoint.pt",
        only=[PARAMS.evaluation.only] if PARAMS.evaluation.only else [],
        config="runs/{dataset}/{run}/config.yaml",
    output:
        expand("runs/{{dataset}}/{{run}}/{file}", file=EVALUATED),
    log:
        "logs/{dataset}/evaluate/{run}.log",
    benchmark:
        "logs/{dataset}/evaluate/{run}.benchmark.tsv"
    params:
        code=code("glat.scoring.evaluation"),
        network=network_code,
        evaluation=PARAMS.evaluation.model_dump_json(),
    threads: 4
    resources:
        mem_mb=4000,
        gpu=one_gpu,
        runtime=time_limit(6 * 60),
        processors=usable_cores,
    conda:
        ENVIRONMENT
    shell:
        "glat evaluate {input.config:q} --threads {resources.processors} > {log:q} 2>&1"


# The same for the runs whose scores over time are kept.
use rule evaluate as evaluate_frames with:
    output:
        expand("runs/{{dataset}}/{{run}}/{file}", file=[*EVALUATED, "frames.h5"]),
    wildcard_constraints:
        run="|".join(map(re.escape, WITH_FRAMES)) or "(?!)",


# Scores a run's own training clips, for a run that learns from it (training.distillation, training.enhanced_labels).
rule teach:
    input:
        training_packs,
        checkpoint="runs/{dataset}/{run}/checkpoint.pt",
        config="runs/{dataset}/{run}/config.yaml",
    output:
        "runs/{dataset}/{run}/teacher.h5",
    log:
        "logs/{dataset}/teach/{run}.log",
    wildcard_constraints:
        run="|".join(map(re.escape, RUNS)),
    params:
        code=code("glat.scoring.teaching"),
        network=network_code,
        evaluation=PARAMS.evaluation.model_dump_json(include={"seed", "pool"}),
    threads: 4
    resources:
        mem_mb=4000,
        gpu=one_gpu,
        runtime=time_limit(24 * 60),
        processors=usable_cores,
    conda:
        ENVIRONMENT
    shell:
        "glat teach {input.config:q} --threads {resources.processors} > {log:q} 2>&1"


# Downloads PANNs' published weights, for `weights` and for `init`, and the class list of their outputs.
rule fetch_weights:
    output:
        "weights/{file}",
    log:
        "logs/weights/{file}.log",
    wildcard_constraints:
        file="|".join(map(re.escape, FETCHED)) or "(?!)",
    params:
        weights=lambda wildcards: published_weights(*FETCHED[wildcards.file]),
        backbone=lambda wildcards: FETCHED[wildcards.file][0],
        until=lambda wildcards: FETCHED[wildcards.file][1],
    resources:
        mem_mb=1000,
        runtime=time_limit(6 * 60),
    conda:
        ENVIRONMENT
    shell:
        "glat weights {params.backbone:q} --until {params.until:q} > {log:q} 2>&1"


# Makes an ordinary run of PANNs' weights, which `evaluate` scores like any other.
rule published_run:
    input:
        split_packs(PARAMS, PARAMS.dataset, PARAMS.corpus.evaluation_splits()),
        lambda wildcards: str(PARAMS.weights[wildcards.backbone].path),
    output:
        "runs/{dataset}/{backbone}-panns/config.yaml",
        "runs/{dataset}/{backbone}-panns/checkpoint.pt",
    log:
        "logs/{dataset}/weights/{backbone}.log",
    wildcard_constraints:
        backbone="|".join(PARAMS.weights) or "(?!)",
    params:
        code=code("glat.use.weights"),
        network=lambda wildcards: code(PARAMS.entry(wildcards.backbone).module),
        weights=lambda wildcards: published_weights(wildcards.backbone),
        run=lambda wildcards: weights.run_of(PARAMS, wildcards.backbone, Path("-")).model_dump_json(),
    resources:
        mem_mb=4000,
        runtime=time_limit(30),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} weights {wildcards.backbone:q} --until run > {log:q} 2>&1"


ruleorder: published_run > train_glat > train
ruleorder: published_run > configure
ruleorder: evaluate_frames > evaluate
