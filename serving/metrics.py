"""What the service tells Prometheus. One place for the names: alert rules and dashboard are checked against it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FAST = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
FASTER = (0.0001, 0.00025, 0.0005, *FAST)

# BentoML collects the figures of all its workers: PROMETHEUS_MULTIPROC_DIR is set before they import anything.
REQUESTS = Counter(
    "recommender_requests",
    "Answers; outcome error: the slot failed, and another one answered in its place.",
    ["endpoint", "slot", "slice", "outcome"],
)
SECONDS = Histogram("recommender_request_seconds", "Time to an answer.", ["slot", "slice"], buckets=FAST)
STEP_SECONDS = Histogram(
    "recommender_step_seconds",
    "Time in a step for all who were answered together; slot any: the step is the same for every model.",
    ["step", "slot"],
    buckets=FASTER,
)
DEGRADED = Counter("recommender_degraded", "Answers with less than fresh features, by rung.", ["rung"])
REFUSED = Counter("recommender_refused_requests", "Requests that were turned away, and why.", ["reason"])
# Of both logs, `predictions` and `payments`: one that is written must not hide that the other is not.
WRITTEN = Counter("recommender_predictions_written", "Rows of a prediction log on the disk.", ["log"])
DROPPED = Counter("recommender_predictions_dropped", "Rows lost because the queue was full.", ["log"])
WRITE_FAILURES = Counter("recommender_prediction_write_failures", "Writes that the disk refused; tried again.", ["log"])

# Of payments: families of their own, because shares of the recommender's answers are counted over all of its own.
SCORES = Counter("fraud_scores", "Scored payments, by what became of them.", ["decision"])
SCORE_SECONDS = Histogram("fraud_score_seconds", "Time to a score.", buckets=FAST)
SCORE_STEP_SECONDS = Histogram("fraud_step_seconds", "Time in a step of scoring.", ["step"], buckets=FASTER)
SCORES_DEGRADED = Counter("fraud_degraded", "Payments scored with less than usual, by what was lacking.", ["why"])
FRAUD_VERSION = Gauge(  # by worker, so that one that has none shows
    "fraud_version_info", "1 for the version in a slot.", ["slot", "version"], multiprocess_mode="liveall"
)

FEATURE_AGE = Gauge(
    "recommender_feature_age_seconds", "Age of the features of the latest answer.", multiprocess_mode="livemax"
)
INDEX_AGE = Gauge("recommender_index_age_seconds", "Age of the item index.", multiprocess_mode="livemax")
VERSION = Gauge(
    "recommender_version_info", "1 for the version in a slot.", ["slot", "version"], multiprocess_mode="livemax"
)
GENERATION = Gauge("recommender_release_generation", "The release a worker answers with.", multiprocess_mode="liveall")
SHARE = Gauge("recommender_canary_share", "The canary's share of customers.", multiprocess_mode="livemax")
REGISTRY_UP = Gauge(
    "recommender_registry_up", "0 while the decision log stands in for it.", multiprocess_mode="livemin"
)
REFUSED_ARTEFACTS = Gauge(
    "recommender_refused_artefacts", "Versions that were refused when loaded.", multiprocess_mode="livemax"
)
CONTROLLER_AGE = Gauge(
    "recommender_controller_seconds_since_seen",
    "Since the release controller's last sign of life.",
    multiprocess_mode="livemax",
)
QUEUED = Gauge("recommender_predictions_queued", "Rows waiting to be written.", ["log"], multiprocess_mode="livesum")
