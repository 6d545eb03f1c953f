"""The fraud model: what it learns from, and how it is fitted and calibrated."""
