"""Feast definitions, and the feature transformations they name."""
