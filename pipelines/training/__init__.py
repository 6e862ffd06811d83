"""Ray Train and DeepSpeed, and nowhere else: the training loop, the engine, finished runs."""
