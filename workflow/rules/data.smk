# From segment lists to packs, one shard of datasets.*.shard_size segments at a time. All packs are made before any
# training starts, since a training may be watched on evaluation clips (glat/training/watch.py).

if workflow.is_main_process:
    # If Snakemake was killed while lists were replaced, its backup of them is left behind and would get in the way. The
    # lists themselves are always whole.
    shutil.rmtree(Path(".snakemake/backups") / layout.Data(PARAMS.dataset).metadata, ignore_errors=True)


# What a source has as whole files, such as archives, for all shards: into data/<dataset>/source/.
rule fetch:
    input:
        SOURCE.own_files,
    output:
        "data/{dataset}/source.json",
    log:
        "logs/{dataset}/fetch.log",
    params:
        source=lambda wildcards: json.dumps(sources.identity(dataset_settings(wildcards).source)),
        splits=lambda wildcards: list(dataset_settings(wildcards).splits),
    priority: 2
    resources:
        mem_mb=2000,
        runtime=time_limit(2 * 24 * 60),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} fetch > {log:q} 2>&1"


rule metadata:
    input:
        list_paths,
        lambda wildcards: fetched(wildcards) if makes_lists(wildcards) else [],
    output:
        # Existing lists stay until the new ones are complete and fit the settings.
        update(directory("data/{dataset}/metadata")),
    log:
        "logs/{dataset}/metadata.log",
    params:
        code=code("glat.data.lists.metadata"),
        source=lambda wildcards: source_code(wildcards) if makes_lists(wildcards) else [],
        lists=list_origins,
        classes=lambda wildcards: dataset_settings(wildcards).classes,
        splits=lambda wildcards: json.dumps(dataset_settings(wildcards).splits),
    priority: 2
    resources:
        mem_mb=4000,
        runtime=time_limit(60),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} metadata > {log:q} 2>&1"


# Lists which clips were downloaded and which were lost. The audio itself is beside the list, in
# data/<dataset>/audio/<split>/<shard>/, so that an interrupted or repeated download resumes from there.
rule download:
    input:
        "data/{dataset}/metadata",
        fetched,
    output:
        "data/{dataset}/audio/{split}/{shard}.csv",
    log:
        "logs/{dataset}/download/{split}/{shard}.log",
    benchmark:
        "logs/{dataset}/download/{split}/{shard}.benchmark.tsv"
    params:
        code=code("glat.data.lists.audioset", "glat.data.lists.listings"),
        audio=source_code,
        source=lambda wildcards: json.dumps(sources.identity(dataset_settings(wildcards).source)),
        shard_size=lambda wildcards: dataset_settings(wildcards).shard_size,
    threads: 4
    priority: 2
    resources:
        mem_mb=3000,
        runtime=time_limit(7 * 24 * 60),
        processors=usable_cores,
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
    benchmark:
        "logs/{dataset}/resample/{split}/{shard}.benchmark.tsv"
    params:
        code=code("glat.data.resample", "glat.data.lists.listings"),
        reader=source_code,
        audio=PARAMS.audio.model_dump_json(exclude={"limits"}),
        in_place=lambda wildcards: bool(dataset_settings(wildcards).source.get("in_place")),
    threads: 4
    priority: 2
    resources:
        mem_mb=8000 if SOURCE.recordings else 3000,  # recordings may last hours
        runtime=time_limit(6 * 60),
        processors=usable_cores,
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} resample {wildcards.split:q} {wildcards.shard:q}"
        " --workers {resources.processors} > {log:q} 2>&1"


rule pack:
    input:
        "data/{dataset}/metadata",
        "data/{dataset}/audio/{split}/{shard}.csv",
        "data/{dataset}/resampled/{split}/{shard}",
    output:
        "data/{dataset}/packs/{split}/{shard}.h5",
        "data/{dataset}/packs/{split}/{shard}.ledger.csv",
    log:
        "logs/{dataset}/pack/{split}/{shard}.log",
    benchmark:
        "logs/{dataset}/pack/{split}/{shard}.benchmark.tsv"
    params:
        code=code("glat.data.packs.write", "glat.data.lists.listings"),
    priority: 2
    resources:
        mem_mb=2000,
        runtime=time_limit(2 * 60),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} pack {wildcards.split:q} {wildcards.shard:q} > {log:q} 2>&1"


# Whether the corpus is fit for training. No training waits for the answer.
rule audit:
    input:
        "data/{dataset}/metadata",
        split_packs(PARAMS, PARAMS.dataset, list(PARAMS.corpus.splits)),
        ledger_paths(),
    output:
        reported("audit", "csv", "html", category="Data"),
    log:
        "logs/{dataset}/audit.log",
    params:
        code=code("glat.audit.report"),
        audit=PARAMS.audit.model_dump_json(),
        roles=[PARAMS.corpus.training_splits(), PARAMS.corpus.evaluation_splits(), PARAMS.corpus.validation],
    resources:
        mem_mb=8000,
        runtime=time_limit(60),
    conda:
        ENVIRONMENT
    shell:
        "glat --set dataset={wildcards.dataset:q} audit --threads {threads} > {log:q} 2>&1"
