"""What MLflow knows of the runs. A run's folder is the truth: MLflow is told what stands there, and nothing waits for it.

A training starts a process of its own (`sender`) that reads the folder and sends what is new, live. It outlives a
training that is killed, and says so to MLflow. An evaluation leaves its run in the `outbox`, which one process at a time
sends. What could not be sent is sent later, by the run's evaluation or by `glat track sync`: each tracking server's place
in the folder is kept in `mlflow.json`.

MLflow takes seconds to import, so only the sender does.
"""
