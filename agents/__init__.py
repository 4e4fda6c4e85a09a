"""The token world: rollouts, algorithms and training on top of `hrvision_env`."""
