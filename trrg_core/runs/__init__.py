"""Runs: the folder of one piece of work, its result, and verified checkpoints."""
