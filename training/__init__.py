"""The shared vocabulary and settings, the models' recipes, metrics, gates and the registry."""
