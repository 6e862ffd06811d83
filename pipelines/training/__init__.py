"""The training loop (Ray Train), the engine (DeepSpeed) and training runs; both libraries are used here only."""
