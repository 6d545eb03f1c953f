"""Whatever is sent, the answer is one that /docs.json names, and it tells nothing about the machine."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import requests
from hypothesis import HealthCheck, given, settings

from ingest.card_world import CardSettings
from serving.drills import copied
from serving.harm import locked
from serving.openapi import ANSWERS, Error, Explanation, Recommendation, Recommendations, Score
from serving.simulated_issuer import TODAY, SimulatedIssuer, bodies
from tests.loop.conftest import MLOPS
from tests.loop.test_serving import last_lists
from training.fraud.card_days import CardDays
from training.fraud.model import FraudParams

if TYPE_CHECKING:
    from schemathesis import Case

pytestmark = pytest.mark.slow

SHOP, CONTROL = "a-shops-key-23a5e6f0c1", "the-control-key-77b2d9e4"
ISSUER = SimulatedIssuer(CardSettings(seed=3, per_day=500, fraud_share=0.05), FraudParams(trees=20))
REPOSITORY = Path(__file__).parents[2]
PROBES = ("/livez", "/readyz", "/healthz")
READ = (*PROBES, "/metrics", "/docs.json")
EVERY_METHOD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")


@dataclass
class Service:
    """A running service with keys, what its log says, and what it answered."""

    host: str
    log: Path
    cards: Path
    """The online store of the cards' windows."""

    page: dict[str, Any] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    session: requests.Session = field(default_factory=requests.Session)

    def key(self, path: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {CONTROL if path in ('/metrics', '/explain') else SHOP}"}

    def ask(self, path: str, body: bytes | Iterator[bytes], method: str = "POST", **headers: str) -> requests.Response:
        said = {"Content-Type": "application/json", **self.key(path), **headers}
        answer = self.session.request(method, f"http://{self.host}{path}", data=body, headers=said, timeout=10)
        return self.remembered(answer)

    def remembered(self, answer: requests.Response) -> requests.Response:
        if not answer.url.endswith(("/metrics", "/docs.json")):
            self.heard.append(f"{answer.headers}{answer.text}")
        return answer


@pytest.fixture(scope="module")
def service(demo: Path) -> Iterator[Service]:
    """`mlops serve` as it is run where others can reach it: with keys."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with copied(demo) as ws:
        ISSUER.release(ws)
        process = subprocess.Popen(
            [MLOPS, "serve", "--dir", ws.home, "--port", str(port)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "RECOMMENDER_API_KEYS": SHOP, "RECOMMENDER_CONTROL_KEYS": CONTROL},
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready: http://127.0.0.1"), line
            running = Service(f"127.0.0.1:{port}", ws.home / "serving.log", CardDays(ws).features / "online.db")
            running.page = running.ask("/docs.json", b"", "GET").json()
            yield running
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def try_all(service: Service, path: str, mode: Literal["positive", "negative"], examples: int) -> set[int]:
    """Send what schemathesis makes of the page, have it check each answer, and return the statuses."""
    import schemathesis  # a second, which those who collect this file and run another need not wait

    # Keys have tests of their own; else every fourth request would be one with a wrong key.
    page = schemathesis.openapi.from_dict({**service.page, "security": []})
    [operation] = [found.ok() for found in page.get_all_operations() if found.ok().path == path]
    statuses = set()

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(schemathesis.GenerationMode(mode)))
    def send(case: Case) -> None:
        if mode == "positive" and path == "/score":
            # No schema can say that a payment was made by now.
            case.body["timestamp"] = ISSUER.midnight(TODAY).isoformat()
        answer = case.call(f"http://{service.host}", session=service.session, headers=service.key(path), timeout=10)
        case.validate_response(answer)
        statuses.add(answer.status_code)
        service.heard.append(f"{answer.headers}{answer.text}")

    send()
    return statuses


def test_the_page_has_every_path(service: Service) -> None:
    """What is asked for below is all that there is."""
    assert set(service.page["paths"]) == {*READ, *ANSWERS}


@pytest.mark.parametrize("path", ANSWERS)
def test_a_valid_request_is_answered(service: Service, path: str) -> None:
    """Each request that fits the schema gets an answer with just the documented fields; only an item may be unknown."""
    statuses = try_all(service, path, "positive", 100)
    assert statuses == ({200, 404} if path == "/explain" else {200})


@pytest.mark.parametrize("path", ANSWERS)
def test_an_invalid_request_is_refused(service: Service, path: str) -> None:
    """Each request that does not fit the schema is the asker's fault, and is told so as documented."""
    assert try_all(service, path, "negative", 100) <= {400, 413, 415}


@pytest.mark.parametrize("path", READ)
def test_what_is_read_is_as_documented(service: Service, path: str) -> None:
    """Probes, figures and the page itself answer with the documented type."""
    assert try_all(service, path, "positive", 5) == {200}


def test_answers_about_known_customers_fit_the_models(service: Service, demo: Path) -> None:
    """Who bought before gets all that the models describe, and the models describe all that they get."""
    known = last_lists(demo)["user_id"].dropna().unique()[:20].tolist()
    for user_id in known:
        answer = service.ask("/recommend", json.dumps({"user_id": user_id, "k": 100, "list": "new"}).encode())
        assert Recommendation.model_validate_json(answer.content).known
        explained = service.ask("/explain", json.dumps({"user_id": user_id}).encode())
        assert Explanation.model_validate_json(explained.content).features.values
        [worst] = Recommendation.model_validate_json(answer.content).items[-1:]
        about = service.ask("/explain", json.dumps({"user_id": user_id, "item_id": worst.item_id}).encode())
        asked_about = Explanation.model_validate_json(about.content).asked_about
        assert asked_about is not None
        assert asked_about.item_id == worst.item_id
    batch = service.ask("/recommend_batch", json.dumps({"user_ids": known}).encode())
    assert [one.user_id for one in Recommendations.model_validate_json(batch.content).answers] == known


def score(service: Service, body: dict[str, Any]) -> Score:
    return Score.model_validate_json(service.ask("/score", json.dumps(body).encode()).content)


def test_payments_are_scored_by_what_is_known(service: Service) -> None:
    """The scores are those of the model that was fitted, on the features of the batch; the log's row is the answer's."""
    payments = bodies(ISSUER.payments.slice(0, 50))
    answers = [score(service, body) for body in payments]
    assert [one.transaction_id for one in answers] == [body["transaction_id"] for body in payments]
    assert [one.score for one in answers] == pytest.approx(ISSUER.model.score(ISSUER.features[:50]).tolist(), abs=1e-6)
    assert {one.features for one in answers} <= {"fresh", "some_features"}


def test_with_the_store_hanging_payments_are_scored(service: Service) -> None:
    """Without features, which the answer says; once the store is back, with them."""
    [body] = bodies(ISSUER.payments.slice(60, 1))
    with locked(service.cards):
        blind = score(service, body)
        assert (blind.features, blind.features_as_of) == ("no_features", None)
        assert "the feature store does not answer" in (blind.degraded or "")
    assert until_fresh(service, body).model_version == blind.model_version


def until_fresh(service: Service, body: dict[str, Any]) -> Score:
    """The first answer with features; each worker tries its store again once a second."""
    deadline = time.monotonic() + 10
    while (found := score(service, body)).features != "fresh":
        assert time.monotonic() < deadline
    return found


ODD_PAYMENTS: dict[str, tuple[dict[str, Any], int]] = {
    "as text": ({"amount": "40"}, 400),
    "negative": ({"amount": -1}, 400),
    "NaN": ({"amount": float("nan")}, 400),
    "nobody's": ({"customer_id": None}, 400),
    "a field more": ({"currency": "EUR"}, 400),
    "to come": ({"timestamp": "2999-01-01T00:00:00"}, 400),
    "with its zone": ({"timestamp": "2025-03-17T12:30:00+02:00"}, 200),
    "of an unknown category": ({"category": "spaceships"}, 200),
    "by an unknown channel": ({"channel": "pigeon"}, 200),
}


@pytest.mark.parametrize("odd", ODD_PAYMENTS)
def test_odd_payments(service: Service, odd: str) -> None:
    """Each is scored, or refused with the field that is wrong."""
    changed, status = ODD_PAYMENTS[odd]
    [body] = bodies(ISSUER.payments.slice(0, 1))
    answer = service.ask("/score", json.dumps(body | changed).encode())
    assert answer.status_code == status, answer.text
    if status == 400:
        assert [wrong.field for wrong in Error.model_validate_json(answer.content).detail] == list(changed)


BODIES = {
    "nothing": (b"", 400),
    "spaces": (b" \n", 400),
    "an array": (b"[]", 400),
    "null": (b"null", 400),
    "cut off": (b'{"k":', 400),
    "two objects": (b"{} {}", 400),
    "a byte order mark": (b'\xef\xbb\xbf{"k":1}', 400),
    "no UTF-8": (b'{"user_id":"\xff\xfe"}', 400),
    "half a surrogate pair": (b'{"user_id":"\\ud800"}', 400),
    "NaN": (b'{"k":NaN}', 400),
    "Infinity": (b'{"user_id":Infinity}', 400),
    "more than a float holds": (b'{"k":1e999}', 400),
    "an integer of 5,000 digits": (b'{"user_id":' + b"9" * 5000 + b"}", 400),
    "2 to the 63rd": (b'{"user_id":9223372036854775808}', 400),
    "true for 1": (b'{"k":true}', 400),
    "a number in quotes": (b'{"k":"3"}', 400),
    "150 digits in quotes": (b'{"user_id":"' + b"0" * 149 + b'1"}', 400),
    "a field misspelt": (b'{"userid":"13085"}', 400),
    "30,000 arrays deep": (b'{"user_id":' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400),
    "too large": (b'{"k":1' + b" " * 65_536 + b"}", 413),
    "a key twice, and the last counts": (b'{"k":200,"k":1}', 200),
    "an integer with a point": (b'{"k":3.0}', 200),
    "a zero byte in an id": (b'{"user_id":"\\u0000"}', 200),
    "128 characters of four bytes": ('{"user_id":"SSS"}'.replace("SSS", "\N{SNAKE}" * 128).encode(), 200),
}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("sent", ["whole", "in chunks"])
def test_odd_bodies(service: Service, body: str, sent: str) -> None:
    """Bodies that no schema describes are answered, or refused with what is wrong."""
    written, status = BODIES[body]
    answer = service.ask("/recommend", written if sent == "whole" else iter([written[:1], written[1:] or b" "]))
    assert answer.status_code == status, answer.text
    model = Recommendation if status == 200 else Error
    model.model_validate_json(answer.content)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/vnd.bentoml+pickle"])
def test_only_json_is_read(service: Service, kind: str) -> None:
    """BentoML would read forms, and fetch what they link to; here nothing but JSON passes."""
    answer = service.ask("/recommend", b"{}", **{"Content-Type": kind})
    assert answer.status_code == 415
    assert "Content-Type: application/json" in Error.model_validate_json(answer.content).error


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_other_methods_are_refused(service: Service, method: str) -> None:
    """A method that a path does not take gets 405 with those it takes, in the header and in words."""
    for path in service.page["paths"]:
        takes = {"POST"} if path in ANSWERS else {"GET", "HEAD"}
        if method in takes:
            continue
        answer = service.ask(path, b"{}", method)
        assert (answer.status_code, set(answer.headers["Allow"].split(", "))) == (405, takes)
        if method != "HEAD":
            assert "it takes" in Error.model_validate_json(answer.content).error


def test_unknown_paths_leave_no_trace(service: Service) -> None:
    """A path that is not there gets 404 and no time series, whoever asks: their number and length have no limit."""
    before = len(service.ask("/metrics", b"", "GET").content)
    for path in ("/secret-path", "/recommend/", "//metrics", "/schema.json", "/static_content/x" + "x" * 10_000):
        connection = http.client.HTTPConnection(service.host, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (404, "application/json")
        Error.model_validate_json(answer.read())
    after = service.ask("/metrics", b"", "GET").text
    assert "secret-path" not in after
    assert "static_content" not in after
    assert len(after) < before + 5_000


@pytest.mark.parametrize("path", ["/recommend", "/recommend_batch", "/explain", "/metrics", "/docs.json"])
def test_each_door_has_its_key(service: Service, path: str) -> None:
    """Without a key, and with that of the other door, nobody gets in; probes need none."""
    method = "POST" if path in ANSWERS else "GET"
    other = SHOP if path in ("/metrics", "/explain") else CONTROL
    for said in ("", "Bearer", "Bearer guessed-guessed-guessed", f"Bearer {other}", f"Basic {SHOP}"):
        answer = service.ask(path, b"{}", method, Authorization=said)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        Error.model_validate_json(answer.content)
    for probe in PROBES:
        assert service.ask(probe, b"", "GET", Authorization="").status_code == 200


@pytest.mark.parametrize("length", ["-5", "abc", "9" * 5000])
def test_a_length_that_is_none_is_refused(service: Service, length: str) -> None:
    """The HTTP server itself turns them away, before anything of ours reads a byte."""
    connection = http.client.HTTPConnection(service.host, timeout=10)
    connection.request("POST", "/recommend", b"{}", {"Content-Length": length, **service.key("/recommend")})
    assert connection.getresponse().status == 400


def test_nothing_is_given_away(service: Service) -> None:
    """No answer and no line of the log holds a key, a stack trace or a path of this machine."""
    for body, _ in BODIES.values():
        service.ask("/explain", body)
        service.ask("/recommend", body, Authorization=f"Bearer {SHOP}x")
    said = [*service.heard, service.log.read_text()]
    secrets = (SHOP, CONTROL, "Traceback", 'File "', str(REPOSITORY), "site-packages")
    assert [secret for secret in secrets if any(secret in one for one in said)] == []
