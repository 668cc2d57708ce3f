# Predictions of both streams and their fusion, and metrics with intervals.


rule evaluate:
    input:
        split_packs(PARAMS, PARAMS.dataset, PARAMS.chosen.evaluate),
        checkpoint="runs/{dataset}/{run}/checkpoint.pt",
        only=[PARAMS.evaluation.only] if PARAMS.evaluation.only else [],
        config="runs/{dataset}/{run}/config.yaml",
        code=code("models/*.py", "evaluation.py", "manifest.py", "predictions.py", "cost.py", "metrics.py", "bootstrap.py", "checkpoints.py", "hardware.py", "data/packed.py", "data/labels.py"),
    output:
        "runs/{dataset}/{run}/predictions.h5",
        "runs/{dataset}/{run}/resamples.npz",
        "runs/{dataset}/{run}/per_class.csv",
        "runs/{dataset}/{run}/clips.txt",
        "runs/{dataset}/{run}/metrics.json",
    log:
        "logs/{dataset}/evaluate/{run}.log",
    params:
        evaluation=PARAMS.evaluation.model_dump_json(),
    threads: 4
    resources:
        mem_mb=4000,
        runtime=6 * 60,
        processors=granted,
    conda:
        ENVIRONMENT
    shell:
        "glat evaluate {input.config} --threads {resources.processors} > {log} 2>&1"
