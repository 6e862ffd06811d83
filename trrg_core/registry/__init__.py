"""Model promotion as rules: the gate and the model card. MLflow is in `pipelines.registry`."""
