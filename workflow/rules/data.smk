# From segment lists to packs, by shard of datasets.*.shard_size segments. These go before any training: the first ones
# are followed by what they score on evaluation clips (glat/tracking/watch.py).

if workflow.is_main_process:
    # Snakemake's copy of lists that were being renewed when it was killed: the lists are whole, and it would be in the way.
    shutil.rmtree(Path(".snakemake/backups/data") / PARAMS.dataset / "metadata", ignore_errors=True)


rule metadata:
    input:
        lists,
    output:
        # The lists that are there stay until the new ones are whole and fit the settings.
        update(directory("data/{dataset}/metadata")),
    log:
        "logs/{dataset}/metadata.log",
    params:
        code=code("glat.data.lists.metadata"),
        source=lambda wildcards: source_code(wildcards) if makes_lists(wildcards) else [],
        lists=lists_from,
        classes=lambda wildcards: entry(wildcards).classes,
        splits=lambda wildcards: json.dumps(entry(wildcards).splits),
    threads: 1
    priority: 2
    resources:
        mem_mb=4000,
        runtime=within(60),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} metadata > {log:q} 2>&1"


# Lists what was got and what was not; the audio itself lies beside it in data/<dataset>/audio/<split>/<shard>/, where
# an interrupted or repeated download finds what it has.
rule download:
    input:
        "data/{dataset}/metadata",
    output:
        "data/{dataset}/audio/{split}/{shard}.csv",
    log:
        "logs/{dataset}/download/{split}/{shard}.log",
    params:
        code=code("glat.data.lists.audioset"),
        audio=source_code,
        source=lambda wildcards: json.dumps(sources.identity(entry(wildcards).source)),
        shard_size=lambda wildcards: entry(wildcards).shard_size,
    threads: 4
    priority: 2
    resources:
        mem_mb=3000,
        runtime=within(7 * 24 * 60),
        processors=granted,
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} download {wildcards.split:q} {wildcards.shard:q}"
        " --workers {resources.processors} > {log:q} 2>&1"


rule resample:
    input:
        "data/{dataset}/metadata",
        "data/{dataset}/audio/{split}/{shard}.csv",
    output:
        temp(directory("data/{dataset}/resampled/{split}/{shard}")),
    log:
        "logs/{dataset}/resample/{split}/{shard}.log",
    params:
        code=code("glat.data.resample", "glat.data.lists.audioset"),
        reader=source_code,
        audio=PARAMS.audio.model_dump_json(exclude={"limits"}),
        in_place=lambda wildcards: bool(entry(wildcards).source.get("in_place")),
    threads: 4
    priority: 2
    resources:
        mem_mb=3000,
        runtime=within(6 * 60),
        processors=granted,
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} resample {wildcards.split:q} {wildcards.shard:q}"
        " --workers {resources.processors} > {log:q} 2>&1"


rule pack:
    input:
        "data/{dataset}/metadata",
        "data/{dataset}/resampled/{split}/{shard}",
    output:
        "data/{dataset}/packs/{split}/{shard}.h5",
        "data/{dataset}/packs/{split}/{shard}.ledger.csv",
    log:
        "logs/{dataset}/pack/{split}/{shard}.log",
    params:
        code=code("glat.data.packs.write"),
    threads: 1
    priority: 2
    resources:
        mem_mb=2000,
        runtime=within(2 * 60),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} pack {wildcards.split:q} {wildcards.shard:q} > {log:q} 2>&1"


# A judgement on all of it, for whoever prepared it: no training waits for it.
rule audit:
    input:
        "data/{dataset}/metadata",
        split_packs(PARAMS, PARAMS.dataset, list(PARAMS.chosen.splits)),
        told(),
    output:
        reported("audit", "csv", "html", category="Data"),
    log:
        "logs/{dataset}/audit.log",
    params:
        code=code("glat.audit.report"),
        audit=PARAMS.audit.model_dump_json(),
        roles=[PARAMS.chosen.train, PARAMS.chosen.evaluate],
    threads: 1
    resources:
        mem_mb=8000,
        runtime=within(60),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} audit --threads {threads} > {log:q} 2>&1"
