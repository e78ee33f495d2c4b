"""Training: the loop, optimisers, checkpoints, where metrics go."""
