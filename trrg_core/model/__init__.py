"""The TRRG model: encoders, contrastive stage, disease perception, clues, generator, checkpoints."""
