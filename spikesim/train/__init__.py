"""Training: settings, recipes, the loop, checkpoints, evaluation."""
