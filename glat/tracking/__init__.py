"""What MLflow knows of the runs. A run's folder is the truth: MLflow is sent what stands there, and nothing waits for it
long. What could not be sent is still in the folder; `glat track sync` sends it, and settles runs whose process is gone.
"""
