"""What MLflow knows of the runs. A run's folder is the truth: MLflow is sent what stands there, and nothing waits for it.

A training sends while it runs, from a thread of its own; an evaluation waits some seconds for what it sends. Whatever
could not be sent is still in the folder, and `mlflow.json` says how much of it each tracking server has: `glat track
sync`, which Snakemake calls at its end, sends the rest and settles runs whose process is gone. Only what sends imports
MLflow, which takes seconds.
"""
