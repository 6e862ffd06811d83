"""The model registry: all calls of MLflow are in this package."""
