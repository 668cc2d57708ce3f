# From segment lists to packs, by shard of datasets.*.shard_size segments. These go before any training: the first ones
# are followed by what they score on evaluation clips (glat/tracking/watch.py).


rule metadata:
    input:
        lists,
        code=code("data/audioset.py", "data/metadata.py"),
        source=lambda wildcards: source_code(wildcards) if makes_lists(wildcards) else [],
    output:
        directory("data/{dataset}/metadata"),
    log:
        "logs/{dataset}/metadata.log",
    params:
        lists=lists_from,
        splits=lambda wildcards: json.dumps(entry(wildcards).splits),
    threads: 1
    priority: 2
    resources:
        mem_mb=4000,
        runtime=60,
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset} metadata > {log} 2>&1"


# Lists what was got and what was not; the audio itself lies beside it in data/<dataset>/audio/<split>/<shard>/, where
# an interrupted or repeated download finds what it has.
rule download:
    input:
        "data/{dataset}/metadata",
        code=code("data/audioset.py"),
        source=source_code,
    output:
        "data/{dataset}/audio/{split}/{shard}.csv",
    log:
        "logs/{dataset}/download/{split}/{shard}.log",
    params:
        source=lambda wildcards: json.dumps(sources.identity(entry(wildcards).source)),
        shard_size=lambda wildcards: entry(wildcards).shard_size,
    threads: 4
    priority: 2
    resources:
        mem_mb=3000,
        runtime=7 * 24 * 60,
        processors=granted,
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset} download {wildcards.split} {wildcards.shard}"
        " --workers {resources.processors} > {log} 2>&1"


rule resample:
    input:
        "data/{dataset}/metadata",
        "data/{dataset}/audio/{split}/{shard}.csv",
        code=code("data/audio.py", "data/decoding.py", "data/formats.py", "data/headers.py", "data/resample.py"),
        source=source_code,
    output:
        temp(directory("data/{dataset}/resampled/{split}/{shard}")),
    log:
        "logs/{dataset}/resample/{split}/{shard}.log",
    params:
        audio=PARAMS.audio.model_dump_json(exclude={"limits"}),
        in_place=lambda wildcards: bool(entry(wildcards).source.get("in_place")),
    threads: 4
    priority: 2
    resources:
        mem_mb=3000,
        runtime=6 * 60,
        processors=granted,
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset} resample {wildcards.split} {wildcards.shard}"
        " --workers {resources.processors} > {log} 2>&1"


rule pack:
    input:
        "data/{dataset}/metadata",
        "data/{dataset}/resampled/{split}/{shard}",
        code=code("data/pack.py", "data/audioset.py", "data/codecs.py", "data/labels.py"),
    output:
        "data/{dataset}/packs/{split}/{shard}.h5",
        "data/{dataset}/packs/{split}/{shard}.ledger.csv",
    log:
        "logs/{dataset}/pack/{split}/{shard}.log",
    threads: 1
    priority: 2
    resources:
        mem_mb=2000,
        runtime=2 * 60,
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset} pack {wildcards.split} {wildcards.shard} > {log} 2>&1"


# A judgement on all of it, for whoever prepared it: no training waits for it.
rule audit:
    input:
        "data/{dataset}/metadata",
        split_packs(PARAMS, PARAMS.dataset, list(PARAMS.chosen.splits)),
        told(),
        code=code("audit/*.py", "audit/*.j2", "page.*", "models/frontend.py", "data/packed.py", "data/codecs.py", "data/labels.py", "data/audioset.py", "results/plots.py", "results/published.py"),
    output:
        multiext("results/{dataset}/audit", ".csv", ".html"),
    log:
        "logs/{dataset}/audit.log",
    params:
        audit=PARAMS.audit.model_dump_json(),
        roles=[PARAMS.chosen.train, PARAMS.chosen.evaluate],
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset} audit --threads {threads} > {log} 2>&1"
