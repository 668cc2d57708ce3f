# What jobs take of a machine or a cluster: threads, GPUs, memory, time, and what starts a training on several nodes.


def on_cluster():
    """Whether jobs run on the nodes of a cluster, whose cores and GPUs are not this machine's."""
    return workflow.remote_exec or not workflow.local_exec or workflow.resource_settings.cores is None


def usable_cores(wildcards, threads):
    """The number of threads that a job computes with. If --cores exceeds the cores of this machine, concurrent jobs
    share the real ones in proportion to their `threads`; on a cluster a job uses all of its `threads`."""
    if on_cluster():
        return threads
    requested = workflow.cores
    return max(1, threads * min(cores(), requested) // requested)


def execution(wildcards):
    """How the training of a run, and its evaluation, are executed."""
    return PARAMS.execution_of(wildcards.dataset, backbone(wildcards))


def gpus(wildcards):
    """The number of GPUs of a training, on all its nodes; with `accelerator: auto`, 0 where there is no GPU."""
    how = execution(wildcards)
    available = partition().gpu if on_cluster() else gpu()
    return how.processes if how.accelerator == "gpu" or (how.accelerator == "auto" and available) else 0


def one_gpu(wildcards):
    """The number of GPUs of an evaluation: 1 if the training has any."""
    return min(1, gpus(wildcards))


def over_nodes(resource):
    """A resource of a training over several nodes, from its `execution`; unset for a training on one node, where
    Lightning starts the processes itself."""

    def value(wildcards):
        how = execution(wildcards)
        return resource(how) if how.nodes > 1 else None

    return value


def node_gpus(wildcards):
    """Slurm's option for as many GPUs on each of several nodes. The resource `gpu` is the number of all of them, which it may
    take from the nodes as it likes."""
    how = execution(wildcards)
    if how.nodes == 1 or not gpus(wildcards):
        return None
    training = "train_glat" if RUNS[wildcards.run].glat else "train"
    model = (workflow.resource_settings.overwrite_resources or {}).get(training, {}).get("gpu_model")
    kind = f"{getattr(model, 'value', model)}:" if model else ""
    return f"--gpus-per-node={kind}{how.devices}"


def launcher(wildcards, threads):
    """What starts the command of a training: on several nodes `srun`, as one task for each process."""
    how = execution(wildcards)
    shape = (
        f"--nodes={how.nodes} --ntasks-per-node={how.devices} --cpus-per-task={threads} {node_gpus(wildcards) or ''}"
    )
    return f"srun --kill-on-bad-exit=1 {shape} " if how.nodes > 1 else ""


def training_threads(wildcards):
    """Four for each process of a training on one node, and on a cluster more where its loader has more workers; on several
    nodes, those of one process, as Slurm counts them. A narrow network gains nothing by a second thread (docs/speed.md): of
    --cores, its training leaves half to another one."""
    how = execution(wildcards)
    each = max(4, 1 + how.workers) if on_cluster() else 4
    threads = each if how.nodes > 1 else each * how.devices
    if on_cluster() or RUNS[wildcards.run].width > 0.25:
        return threads
    return min(threads, max(1, (workflow.cores or 2) // 2))


def training_memory(wildcards):
    """MB on each node, for all its processes."""
    run, how = RUNS[wildcards.run], execution(wildcards)
    seconds = run.audio.clip_seconds + (run.glat.n * sum(run.glat.taus) if run.glat else 0)
    clips = run.training.batch_size // how.processes // run.training.accumulate
    return how.devices * cluster.training_memory(run.width, seconds, clips, gpus(wildcards) > 0)


def time_limit(minutes):
    """A job's time limit in minutes, on a cluster at most that of its partition: an interrupted job is resumed."""

    def runtime(wildcards):
        longest = partition().minutes if on_cluster() else None
        return min(minutes, longest or minutes)

    return runtime


def partition():
    """The partition of the cluster's jobs: that of the profile's default-resources, else the cluster's default."""
    setting = (workflow.resource_settings.default_resources or {}).get("slurm_partition")
    return cluster.partition(setting.value if setting else None)
