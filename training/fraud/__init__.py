"""The fraud model: how it is fitted, calibrated, judged and promoted."""
