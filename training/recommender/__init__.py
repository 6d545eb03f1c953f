"""The weekly recommender: item index, candidates, pair features, ranker, baselines."""
