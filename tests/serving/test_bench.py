"""The bench adds up what the service tells."""

from __future__ import annotations

from serving.bench import step_seconds


def test_a_step_is_the_sum_of_its_slots() -> None:
    """While a canary is under way two slots score; what is not a step is none."""
    text = """
recommender_step_seconds_sum{slot="any",step="features"} 1.5
recommender_step_seconds_sum{slot="champion",step="score"} 5.0
recommender_step_seconds_sum{slot="challenger",step="score"} 7.0
recommender_step_seconds_count{slot="champion",step="score"} 9.0
recommender_request_seconds_sum{slice="rest",slot="champion"} 9.0
"""
    assert step_seconds(text) == {"features": 1.5, "score": 12.0}
    assert step_seconds("") == {}
