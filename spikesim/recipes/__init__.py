"""Recipes: YAML files of settings; :mod:`spikesim.train.recipes` finds them by name."""
