"""The guard lets in who may ask, what fits, and what comes slowly enough; what it says gives nothing away."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ingest.errors import SettingsError
from serving.guard import NO_MODEL_SCORES, UNRELEASED, Buckets, Guard, Limits, limits_from_environment
from serving.openapi import Error, page

SHOP, OTHER_SHOP, CONTROL = "a-shops-key-23a5e6f0c1", "another-shops-key-9d41", "the-control-key-77b2d9e4"
KEYS = Limits(api_keys=(SHOP, OTHER_SHOP), control_keys=(CONTROL,))
PAGE = page({"/recommend": ("", {}), "/recommend_batch": ("", {}), "/explain": ("", {})}, security=[])
JSON_OBJECT = b'{"k": 1}'
Header = tuple[bytes, bytes]


@dataclass
class Backend:
    """What stands behind the guard: says what it is told to, and remembers what it was asked."""

    status: int = 200
    headers: tuple[Header, ...] = ((b"content-type", b"application/json"),)
    parts: tuple[bytes, ...] = (b"{}",)
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.bodies.append((await receive()).get("body", b""))
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        for n, part in enumerate(self.parts, start=1):
            await send({"type": "http.response.body", "body": part, "more_body": n < len(self.parts)})


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes

    @property
    def error(self) -> str:
        return Error.model_validate_json(self.body).error


def ask(
    guard: Any,
    path: str = "/recommend",
    method: str = "POST",
    *,
    headers: Sequence[Header] = (),
    chunks: Sequence[bytes] = (JSON_OBJECT,),
    client: str = "192.0.2.1",
) -> Said:
    """Ask once, as uvicorn would."""
    scope = {"type": "http", "path": path, "method": method, "headers": list(headers), "client": (client, 4711)}
    sent: list[MutableMapping[str, Any]] = []
    waiting = iter(
        [{"type": "http.request", "body": chunk, "more_body": n < len(chunks)} for n, chunk in enumerate(chunks, 1)]
    )

    async def receive() -> MutableMapping[str, Any]:
        return next(waiting, {"type": "http.disconnect"})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    start, *rest = sent
    return Said(start["status"], dict(start["headers"]), b"".join(part["body"] for part in rest))


def bearer(key: str) -> tuple[Header, ...]:
    return ((b"authorization", f"Bearer {key}".encode("latin-1")),)


def length(text: bytes) -> tuple[Header, ...]:
    return ((b"content-length", text),)


@pytest.mark.parametrize(
    ("limits", "path", "key", "status"),
    [
        (Limits(), "/recommend", None, 200),
        (Limits(), "/explain", None, 200),
        (Limits(), "/metrics", None, 200),
        (KEYS, "/recommend", None, 401),
        (KEYS, "/recommend", "", 401),
        (KEYS, "/recommend", "guessed-guessed-guessed", 401),
        (KEYS, "/recommend", SHOP[:-1], 401),
        (KEYS, "/recommend", SHOP + "x", 401),
        (KEYS, "/recommend", SHOP.upper(), 401),
        (KEYS, "/recommend", CONTROL, 401),
        (KEYS, "/recommend", SHOP, 200),
        (KEYS, "/recommend", OTHER_SHOP, 200),
        (KEYS, "/recommend_batch", None, 401),
        (KEYS, "/recommend_batch", SHOP, 200),
        (KEYS, "/docs.json", None, 401),
        (KEYS, "/docs.json", SHOP, 200),
        (KEYS, "/explain", None, 401),
        (KEYS, "/explain", SHOP, 401),
        (KEYS, "/explain", CONTROL, 200),
        (KEYS, "/metrics", None, 401),
        (KEYS, "/metrics", SHOP, 401),
        (KEYS, "/metrics", CONTROL, 200),
        (KEYS, "/livez", None, 200),
        (KEYS, "/readyz", None, 200),
        (KEYS, "/healthz", None, 200),
    ],
)
def test_who_may_ask_what(limits: Limits, path: str, key: str | None, status: int) -> None:
    """Without keys all is open; with them each door has its own, and only probes need none."""
    method = "GET" if path in ("/metrics", "/docs.json", "/livez", "/readyz", "/healthz") else "POST"
    said = ask(Guard(Backend(), limits, PAGE), path, method, headers=bearer(key) if key is not None else ())
    assert said.status == status
    if status == 401:
        assert said.headers[b"www-authenticate"] == b"Bearer"
        assert "Authorization: Bearer KEY" in said.error


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Bearer " + SHOP.encode(), 200),
        (b"bearer " + SHOP.encode(), 200),
        (b"BEARER    " + SHOP.encode() + b"  ", 200),
        (b"Basic " + SHOP.encode(), 401),
        (SHOP.encode(), 401),
        (b"Bearer" + SHOP.encode(), 401),
        (b"Bearer " + SHOP.encode() + b" " + SHOP.encode(), 401),
        (b"Bearer", 401),
        (b"Bearer ", 401),
        (b"", 401),
        (b"Bearer \xff\xfe\x00\x80", 401),
        ("Bearer ключ-ключ-ключ-ключ".encode(), 401),
        (b"Bearer " + b"x" * 1_000_000, 401),
        (b" " * 100_000, 401),
    ],
)
def test_odd_forms_of_authorization(header: bytes, status: int) -> None:
    """The scheme's case and spaces around the key do not matter; bytes that are no key are refused, and never an error."""
    assert ask(Guard(Backend(), KEYS, PAGE), headers=((b"authorization", header),)).status == status


def test_every_key_is_compared_with_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right or wrong, first key or last, long or short: as many comparisons, of as many bytes."""
    compared: list[list[int]] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared[-1] += [len(left), len(right)]
        return left == right

    monkeypatch.setattr(hmac, "compare_digest", compare)
    guard = Guard(Backend(), KEYS, PAGE)
    for key in (SHOP, OTHER_SHOP, "", "x", "x" * 10_000):
        compared.append([])
        ask(guard, headers=bearer(key))
    assert compared == [[32, 32, 32, 32]] * 5


@pytest.mark.parametrize(
    ("headers", "chunks", "status"),
    [
        (length(b"8"), [JSON_OBJECT], 200),
        ((), [JSON_OBJECT], 200),
        ((), [b"", b'{"k"', b"", b": 1}"], 200),
        (length(b"1024"), [JSON_OBJECT.ljust(1024)], 200),
        ((), [JSON_OBJECT.ljust(1024)], 200),
        (length(b"1025"), [JSON_OBJECT.ljust(1025)], 413),
        ((), [JSON_OBJECT.ljust(1025)], 413),
        ((), [JSON_OBJECT, *[b" " * 100] * 20], 413),
        (length(b"8"), [JSON_OBJECT.ljust(2048)], 413),  # a length that lies
        (length(b"9" * 20), [JSON_OBJECT], 413),
        (length(b"9" * 5_000), [JSON_OBJECT], 413),  # Python converts no more than 4,300 digits
        (length(b"-1"), [JSON_OBJECT], 400),
        (length(b"+8"), [JSON_OBJECT], 400),
        (length(b"8.0"), [JSON_OBJECT], 400),
        (length(b"eight"), [JSON_OBJECT], 400),
        (length(b"\xb2"), [JSON_OBJECT], 400),
        (length(b""), [JSON_OBJECT], 400),
    ],
)
def test_what_is_too_large(headers: Sequence[Header], chunks: Sequence[bytes], status: int) -> None:
    """A body is refused by the length that it announces, or by its bytes, whichever comes first."""
    backend = Backend()
    said = ask(Guard(backend, Limits(body_bytes=1024), PAGE), headers=headers, chunks=chunks)
    assert said.status == status
    assert backend.bodies == ([b"".join(chunks)] if status == 200 else [])
    if status != 200:
        assert {413: "1024 bytes", 400: "Content-Length"}[status] in said.error


def test_no_more_is_read_than_fits() -> None:
    """Who sends without end is refused as soon as it is too much."""
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * 100

    stream, sent = endless(), []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": next(stream), "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/recommend", "method": "POST", "headers": [], "client": None}
    asyncio.run(Guard(Backend(), Limits(body_bytes=1_000), PAGE)(scope, receive, send))
    assert (sent[0]["status"], read) == (413, 11)


@pytest.mark.parametrize("body", [b"", b"  ", b"[]", b"null", b"3", b'"text"', b"\xef\xbb\xbf{}", b"\x00{}"])
def test_a_body_is_an_object(body: bytes) -> None:
    """Where no object begins nothing is parsed; the answer shows one."""
    said = ask(Guard(Backend(), Limits(), PAGE), chunks=[body])
    assert said.status == 400
    assert '{"user_id": "13085", "k": 10}' in said.error


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (b"application/json", 200),
        (b"Application/JSON ; charset=utf-8", 200),
        (None, 200),
        (b"text/plain", 415),
        (b"application/x-www-form-urlencoded", 415),
        (b"multipart/form-data; boundary=x", 415),
        (b"application/vnd.bentoml+pickle", 415),
        (b"application/jsonp", 415),
        (b"", 415),
        (b"\xff", 415),
    ],
)
def test_only_json_is_read(kind: bytes | None, status: int) -> None:
    """BentoML would unpickle, and fetch what a form links to; here neither gets that far."""
    headers = () if kind is None else ((b"content-type", kind),)
    assert ask(Guard(Backend(), Limits(), PAGE), headers=headers).status == status


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_who_asks_too_often_waits_as_long_as_told() -> None:
    """After the burst comes 429; whoever waits for Retry-After is answered, and who comes sooner is not."""
    clock = Clock()
    guard = Guard(Backend(), Limits(per_second=0.1, burst=2.0), PAGE, clock)
    assert [ask(guard).status for _ in range(3)] == [200, 200, 429]
    clock.now += 0.4  # 9.6 s are left
    refused = ask(guard)
    assert (refused.status, refused.headers[b"retry-after"]) == (429, b"10")
    assert "ask again in 9.60 s" in refused.error
    clock.now += 9.0
    assert ask(guard).status == 429
    clock.now += 1.0
    assert [ask(guard).status for _ in range(2)] == [200, 429]


def test_retry_after_is_never_too_soon() -> None:
    """Seconds are rounded up: 10.4 are 11."""
    clock = Clock()
    guard = Guard(Backend(), Limits(per_second=1 / 10.4, burst=1.0), PAGE, clock)
    ask(guard)
    assert ask(guard).headers[b"retry-after"] == b"11"


def test_who_asks_too_often_waits_alone() -> None:
    """Each key has a bucket, whatever address it comes from."""
    guard = Guard(Backend(), Limits(KEYS.api_keys, KEYS.control_keys, per_second=1.0, burst=1.0), PAGE, Clock())
    statuses = [ask(guard, headers=bearer(key), client=at).status for key, at in ((SHOP, "::1"), (SHOP, "::2"))]
    assert statuses == [200, 429]
    assert ask(guard, headers=bearer(OTHER_SHOP)).status == 200
    assert ask(guard, "/explain", headers=bearer(CONTROL)).status == 200
    assert ask(guard, "/livez", "GET").status == 200


def test_made_up_keys_win_no_bucket() -> None:
    """Where there are no keys an address has one bucket, whatever it calls itself."""
    guard = Guard(Backend(), Limits(per_second=1.0, burst=1.0), PAGE, Clock())
    assert [ask(guard, headers=bearer(f"made-up-key-number-{n}")).status for n in range(3)] == [200, 429, 429]
    assert ask(guard, client="192.0.2.2").status == 200


def test_strangers_take_no_tokens() -> None:
    """Who has no key cannot use up the bucket of one who has."""
    guard = Guard(Backend(), Limits(KEYS.api_keys, KEYS.control_keys, per_second=1.0, burst=1.0), PAGE, Clock())
    assert [ask(guard).status for _ in range(5)] == [401] * 5
    assert ask(guard, headers=bearer(SHOP)).status == 200


def test_buckets_are_bounded() -> None:
    """Those not seen for longest are forgotten, those who ask are not."""
    buckets = Buckets(per_second=1.0, burst=1.0, remembered=100)
    for n in range(10_000):
        buckets.take(f"address {n}", 0.0)
        buckets.take("regular", 0.0)
    assert len(buckets._left) == 100
    assert [buckets.take(asker, 0.0) for asker in ("regular", "address 9999", "address 0")] == [1.0, 1.0, 0.0]


def test_a_clock_that_stands_still_fills_no_bucket() -> None:
    """Tokens come with time alone, and never more than the burst."""
    buckets = Buckets(per_second=10.0, burst=2.0)
    assert [buckets.take("asker", 5.0) > 0 for _ in range(3)] == [False, False, True]
    assert [buckets.take("asker", 1e9) > 0 for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("status", "body", "error", "detail"),
    [
        (404, b'[{"error": "Item \'x\' is unknown. Leave it out."}]', "Item 'x' is unknown. Leave it out.", []),
        (405, b"Method Not Allowed", "this path does not take that method; it takes POST", []),
        (503, b"Service Unavailable", "nothing is released yet; ask again when /readyz answers 200", []),
        (500, b"Internal Server Error", "something failed here, and not in the request", []),
        (500, b'{"error": "KeyError: /srv/app/model.py"}', "something failed here, and not in the request", []),
        (400, b'{"error": 3}', "something failed here, and not in the request", []),
        (
            400,
            json.dumps(
                {
                    "error": "3 validation errors for Input",
                    "detail": [
                        {"loc": ["user_ids", 2, "constrained-str"], "msg": "too long", "type": "x", "url": "https://…"},
                        {"loc": ["user_ids", 2, "function-before[_number(), constrained-int]"], "msg": "no number"},
                        {"loc": ["k"], "msg": "too many"},
                    ],
                }
            ).encode(),
            "user_ids.2: too long; or: no number. /docs.json has the schema",
            [
                {"field": "user_ids.2", "message": "too long; or: no number"},
                {"field": "k", "message": "too many"},
            ],
        ),
        (
            400,
            b'{"error": "1 validation error", "detail": [{"loc": [], "msg": "Invalid JSON: EOF"}]}',
            "body: Invalid JSON: EOF. /docs.json has the schema",
            [{"field": "body", "message": "Invalid JSON: EOF"}],
        ),
    ],
)
def test_errors_are_said_in_our_words(status: int, body: bytes, error: str, detail: list[dict[str, str]]) -> None:
    """Whatever BentoML and Starlette say, an error has one shape, says what to do, and keeps its headers."""
    headers = ((b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), (b"allow", b"POST"))
    backend = Backend(status, headers, (body[:7], body[7:]))
    said = ask(Guard(backend, Limits(), PAGE))
    assert (said.status, said.headers[b"allow"]) == (status, b"POST")
    assert said.headers[b"content-type"] == b"application/json"
    assert said.headers[b"content-length"] == b"%d" % len(said.body)
    assert said.error.startswith(error)
    assert json.loads(said.body).get("detail", []) == detail


def test_without_a_fraud_model_only_scoring_is_concerned() -> None:
    """Who asks for a score is told what is missing, and that the rest goes on."""
    said = ask(Guard(Backend(503, (), (b"[]",)), Limits(), PAGE), "/score")
    assert (said.status, said.error) == (503, UNRELEASED["/score"])


def test_a_released_model_that_fails_is_not_called_missing() -> None:
    """Who asks for a score then is told so, and how to go back."""
    body = json.dumps({"error": NO_MODEL_SCORES}).encode()
    said = ask(Guard(Backend(503, (), (body,)), Limits(), PAGE), "/score")
    assert (said.status, said.error) == (503, NO_MODEL_SCORES)


def test_good_answers_pass_untouched() -> None:
    """An answer in parts goes out in parts, byte for byte."""
    backend = Backend(200, ((b"content-type", b"text/plain"),), (b"one ", b"two ", b"three"))
    said = ask(Guard(backend, Limits(), PAGE), "/metrics", "GET")
    assert (said.body, said.headers) == (b"one two three", {b"content-type": b"text/plain"})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/recommend", 200),
        ("/livez", 200),
        ("/", 200),
        ("/static_content/swagger-ui.css", 200),
        ("/static_content/no-such", 404),
        ("/recommend/", 404),
    ],
)
def test_unknown_paths_never_reach_the_server(path: str, status: int) -> None:
    """From its start on the server sees only the paths of the page and BentoML's view of it: its own middleware keeps each that it sees."""
    seen: list[str] = []

    async def its_own_middleware(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope.get("path", scope["type"]))
        await guard(scope, receive, send)

    guard = Guard(Backend(), Limits(), PAGE)
    server = SimpleNamespace(middleware_stack=its_own_middleware)
    asyncio.run(its_own_middleware({"type": "lifespan", "app": server}, _nothing, _nowhere))
    assert ask(server.middleware_stack, path).status == status
    assert seen == (["lifespan", path] if status == 200 else ["lifespan"])


def test_websockets_are_closed() -> None:
    """There is nothing to talk about, and no key would be asked for."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    guard = Guard(Backend(), KEYS, PAGE)
    server = SimpleNamespace(middleware_stack=guard)
    asyncio.run(guard({"type": "lifespan", "app": server}, _nothing, _nowhere))
    asyncio.run(server.middleware_stack({"type": "websocket", "path": "/recommend"}, _nothing, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


async def _nothing() -> MutableMapping[str, Any]:
    return {"type": "lifespan.startup"}


async def _nowhere(message: MutableMapping[str, Any]) -> None:
    """Nobody listens."""


def test_keys_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """One a line or with commas, in a variable or in a file that it names."""
    (tmp_path / "control").write_text(f"{CONTROL}\n\n")
    limits = limits_from_environment(
        {
            "RECOMMENDER_API_KEYS": f"{SHOP},{OTHER_SHOP}",
            "RECOMMENDER_CONTROL_KEYS_FILE": str(tmp_path / "control"),
            "MLOPS_SERVING_RATE": "5.5",
        }
    )
    assert limits == Limits((SHOP, OTHER_SHOP), (CONTROL,), per_second=5.5, burst=5.5)


@pytest.mark.parametrize("environment", [{}, {"RECOMMENDER_API_KEYS": "", "RECOMMENDER_CONTROL_KEYS": ""}])
def test_without_keys_the_service_is_open(environment: dict[str, str]) -> None:
    """Unset and empty are the same, as in a compose file."""
    assert limits_from_environment(environment) == Limits()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RECOMMENDER_API_KEYS": SHOP}, r"RECOMMENDER_CONTROL_KEYS is not set while the other is; set both"),
        ({"RECOMMENDER_CONTROL_KEYS": CONTROL}, r"RECOMMENDER_API_KEYS is not set while the other is; set both"),
        ({"RECOMMENDER_API_KEYS": SHOP, "RECOMMENDER_CONTROL_KEYS": SHOP}, r"give each purpose its own"),
        (
            {"RECOMMENDER_API_KEYS": SHOP[:15], "RECOMMENDER_CONTROL_KEYS": CONTROL},
            r"A key of RECOMMENDER_API_KEYS has fewer than 16 characters; make one with `openssl rand -hex 24`",
        ),
        (
            {"RECOMMENDER_API_KEYS": "ключ" * 5, "RECOMMENDER_CONTROL_KEYS": CONTROL},
            r"characters that no header carries; make one",
        ),
        ({"RECOMMENDER_API_KEYS": " , ", "RECOMMENDER_CONTROL_KEYS": ","}, r"RECOMMENDER_API_KEYS is set and holds no"),
        ({"RECOMMENDER_API_KEYS_FILE": "missing"}, r"RECOMMENDER_API_KEYS_FILE cannot be read: No such file"),
        ({"RECOMMENDER_API_KEYS_FILE": "."}, r"RECOMMENDER_API_KEYS_FILE cannot be read: Is a directory"),
        ({"RECOMMENDER_API_KEYS_FILE": "empty"}, r"RECOMMENDER_API_KEYS is set and holds no key; put one in"),
        ({"RECOMMENDER_API_KEYS_FILE": "binary"}, r"RECOMMENDER_API_KEYS_FILE is no text of ASCII characters"),
        (
            {"RECOMMENDER_API_KEYS": SHOP, "RECOMMENDER_API_KEYS_FILE": "keys"},
            r"RECOMMENDER_API_KEYS and RECOMMENDER_API_KEYS_FILE are both set; unset one",
        ),
        ({"MLOPS_SERVING_RATE": "fast"}, r"MLOPS_SERVING_RATE is 'fast'; set a positive number"),
        ({"MLOPS_SERVING_RATE": "0"}, r"MLOPS_SERVING_RATE is '0'; set a positive number"),
        ({"MLOPS_SERVING_RATE": "nan"}, r"MLOPS_SERVING_RATE is 'nan'; set a positive number"),
        ({"MLOPS_SERVING_RATE": "inf"}, r"MLOPS_SERVING_RATE is 'inf'; set a positive number"),
    ],
)
def test_what_leaves_a_door_open_is_refused(
    environment: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that protect nothing stop the start, with what to do; the message holds no key."""
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    Path("keys").write_text(SHOP)
    Path("binary").write_bytes(b"\x89PNG" + SHOP.encode())
    with pytest.raises(SettingsError, match=message) as refused:
        limits_from_environment(environment)
    assert not any(key in str(refused.value) for key in (SHOP, SHOP[:15], CONTROL, "ключ"))
