"""The parts of both training stages: batches, sampling, tokenizers, prompts, losses, the schedule."""
