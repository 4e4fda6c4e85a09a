"""From trajectories to weights: credit, shared-prefix batches, losses, the trainer."""
