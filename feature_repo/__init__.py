"""Feast definitions and the feature transformations: one definition of each feature."""
