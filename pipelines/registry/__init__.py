"""The MLflow model registry, and nowhere else."""
