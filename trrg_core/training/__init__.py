"""What both training stages are made of: batches, sampling, tokenizers, prompts, losses."""
