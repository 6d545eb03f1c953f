"""Turn away what should not reach the models: strangers, what is too large, what comes too fast, and what is no JSON."""

from __future__ import annotations

import hmac
import json
import math
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from ingest.errors import SettingsError
from serving import metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

#: For whoever keeps the service alive: probes carry no key.
OPEN = frozenset({"/livez", "/readyz", "/healthz"})
#: For those who run the service.
CONTROL = frozenset({"/metrics", "/explain"})
PAGE = "/docs.json"
#: Swagger UI for PAGE, with the files that BentoML brings; its own page would also load a tracker from Google.
FRONT = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>recommender</title>
<link rel="stylesheet" href="./static_content/swagger-ui.css"></head><body><div id="swagger-ui"></div>
<script src="./static_content/swagger-ui-bundle.js"></script>
<script src="./static_content/swagger-ui-standalone-preset.js"></script>
<script src="./static_content/swagger-initializer.js"></script></body></html>"""
FOR_PEOPLE = frozenset({"/", *("/" + name.decode() for name in re.findall(rb"static_content/[^\"]+", FRONT))})
#: What 503 means on a path that has a model of its own.
UNRELEASED = {
    "/score": "no fraud model is released, so that payments cannot be scored; the other paths are not concerned"
}
#: Also 503, and not for want of a release.
NO_MODEL_SCORES = (
    "no released fraud model can score this payment; ask again, or go back with `mlops rollback --model fraud`"
)
#: What the branches of a union are called in the place of an error, where no asker knows them.
BRANCH = re.compile(r"(constrained-)?(str|int)|function-.*")


@dataclass(frozen=True, slots=True)
class Limits:
    """Who may ask, how much, and how often; without keys anybody may, which is for loopback only."""

    api_keys: tuple[str, ...] = ()
    control_keys: tuple[str, ...] = ()
    """Separate, so that a shop's key neither reads what is measured nor how an answer came about."""

    body_bytes: int = 64 * 1024
    """A hundred customers with ids of 128 characters take 13 kB."""

    per_second: float = 2_000.0
    """Of each key in each worker; without keys, of each address."""

    burst: float = 2_000.0


def limits_from_environment(environment: Mapping[str, str]) -> Limits:
    """Keys from `RECOMMENDER_API_KEYS` and `RECOMMENDER_CONTROL_KEYS`, or the files that `…_KEYS_FILE` name, one a line or comma-separated.

    Raises SettingsError, which never shows a key, for a file that cannot be read or holds none, for a key that is easily
    guessed or opens both doors, and for a rate that is no positive number.
    """
    api, control = (_keys(environment, name) for name in ("RECOMMENDER_API_KEYS", "RECOMMENDER_CONTROL_KEYS"))
    if set(api) & set(control):
        raise SettingsError(
            "A key of RECOMMENDER_API_KEYS is among RECOMMENDER_CONTROL_KEYS, too; give each purpose its own."
        )
    if bool(api) != bool(control):
        missing = "RECOMMENDER_CONTROL_KEYS" if api else "RECOMMENDER_API_KEYS"
        raise SettingsError(f"{missing} is not set while the other is; set both, or neither to leave the service open.")
    per_second = _rate(environment.get("MLOPS_SERVING_RATE", str(Limits().per_second)))
    return Limits(api, control, per_second=per_second, burst=max(1.0, per_second))


def _keys(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    text, path = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if text and path:
        raise SettingsError(f"{name} and {name}_FILE are both set; unset one of them.")
    if path:
        try:
            text = Path(path).read_text(encoding="ascii")
        except OSError as error:
            raise SettingsError(f"{name}_FILE cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError:  # its text shows what the file holds
            raise SettingsError(f"{name}_FILE is no text of ASCII characters; write one key a line.") from None
    keys = tuple(text.replace(",", " ").split())
    if not keys and (text or path):  # left open by a file that somebody emptied
        raise SettingsError(f"{name} is set and holds no key; put one in, or unset it to leave the service open.")
    if any(len(key) < 16 for key in keys):
        raise SettingsError(f"A key of {name} has fewer than 16 characters; make one with `openssl rand -hex 24`.")
    if not all(key.isascii() and key.isprintable() for key in keys):
        raise SettingsError(
            f"A key of {name} has characters that no header carries; make one with `openssl rand -hex 24`."
        )
    return keys


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise SettingsError(f"MLOPS_SERVING_RATE is {text!r}; set a positive number of requests a second.")
    return rate


@dataclass
class Buckets:
    """Token buckets, one for each asker; those not seen for longest are forgotten."""

    per_second: float
    burst: float
    remembered: int = 10_000
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, asker: str, now: float) -> float:
        """Take a token; returns 0, or the seconds until there is one again."""
        left, at = self._left.pop(asker, (self.burst, now))
        left = min(self.burst, left + (now - at) * self.per_second)
        self._left[asker] = (left - 1, now) if left >= 1 else (left, now)
        if len(self._left) > self.remembered:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.per_second


class Guard:
    """ASGI middleware in front of everything; `page` is the OpenAPI page: its paths and the front page's are all that there is."""

    def __init__(
        self, app: App, limits: Limits, page: Mapping[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._limits, self._clock = app, limits, clock
        self._page, self._paths = json.dumps(page).encode(), FOR_PEOPLE | set(page["paths"])
        self._api, self._control = _digests(limits.api_keys), _digests(limits.control_keys)
        self._buckets = Buckets(limits.per_second, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                self._close_the_door(scope["app"])
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if path in OPEN:
            await self._app(scope, receive, _in_our_words(send, path))
            return
        headers = dict(scope["headers"])
        if refusal := self._refusal(scope, headers):
            metrics.REFUSED.labels(refusal.reason).inc()
            await _refuse(send, refusal)
        elif path == PAGE and method in ("GET", "HEAD"):
            await _reply(send, 200, self._page)
        elif path == "/" and method in ("GET", "HEAD"):
            await _reply(send, 200, FRONT, kind=b"text/html; charset=utf-8")
        elif method == "POST" and path != PAGE:
            await self._pass_bounded(scope, receive, _in_our_words(send, path))
        else:
            await self._app(scope, receive, _in_our_words(send, path))

    def _close_the_door(self, server: Any) -> None:
        """Turn unknown paths away in front of BentoML's own middleware.

        That one stands before a service's, and makes twenty time series of every path that is asked for, each with the path
        in it, on disk and in memory until the worker ends: with paths of 20 kB, two hundred requests took 80 MB.
        """
        inside = server.middleware_stack

        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in self._paths):
                await inside(scope, receive, send)
            elif scope["type"] == "http":
                await _reply(send, 404, _error(f"there is no such path; {PAGE} lists those there are"))
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": "ask by HTTP"})

        server.middleware_stack = door

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Refusal | None:
        wanted = self._control if scope["path"] in CONTROL else self._api
        key = _bearer(headers) if wanted else b""
        if wanted and not _is_one_of(key, wanted):
            return Refusal(401, "unauthorized", "send `Authorization: Bearer KEY` with a key for this path")
        # Only a key that opens has a bucket of its own: who makes one up for each request would never be too fast.
        asker = key.decode("ascii") or (scope.get("client") or ("unknown",))[0]
        if wait_s := self._buckets.take(asker, self._clock()):
            return Refusal(429, "too_many", f"too many requests; ask again in {wait_s:.2f} s", retry_after_s=wait_s)
        return self._unfit(headers) if scope["method"] == "POST" else None

    def _unfit(self, headers: Mapping[bytes, bytes]) -> Refusal | None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return Refusal(
                400, "bad_length", "send the body's bytes as Content-Length, or the body in chunks without it"
            )
        # Python converts no number of thousands of digits; twenty are too many already.
        if len(length) > 20 or int(length) > self._limits.body_bytes:
            return self._too_large()
        kind = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            return Refusal(415, "no_json", "send a JSON object with `Content-Type: application/json`")
        return None

    def _too_large(self) -> Refusal:
        return Refusal(413, "too_large", f"the body may have {self._limits.body_bytes} bytes; ask in several requests")

    async def _pass_bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body here, because a body without a length is known to be too large only then; it must be an object."""
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > self._limits.body_bytes:
                metrics.REFUSED.labels("too_large").inc()
                await _refuse(send, self._too_large())
                return
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if not body.lstrip(b" \t\r\n").startswith(b"{"):
            metrics.REFUSED.labels("no_json").inc()
            await _refuse(
                send, Refusal(400, "no_json", 'send a JSON object, for example {"user_id": "13085", "k": 10}')
            )
            return
        given = False

        async def again() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is turned away."""

    status: int
    reason: str
    error: str
    retry_after_s: float | None = None


def _digests(keys: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(sha256(key.encode("ascii")).digest() for key in keys)


def _bearer(headers: Mapping[bytes, bytes]) -> bytes:
    kind, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip() if kind.lower() == b"bearer" else b""


def _is_one_of(key: bytes, wanted: tuple[bytes, ...]) -> bool:
    """Compare with every key, each in constant time, and digests, which are all as long: how long it takes tells nothing."""
    digest = sha256(key).digest()
    matches = [hmac.compare_digest(digest, known) for known in wanted]
    return any(matches)


async def _refuse(send: Send, refusal: Refusal) -> None:
    headers = []
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(refusal.retry_after_s)))
    await _reply(send, refusal.status, _error(refusal.error), headers)


def _error(text: str, **more: Any) -> bytes:
    return json.dumps({"error": text, **more}).encode()


async def _reply(
    send: Send, status: int, body: bytes, headers: Sequence[Header] = (), *, kind: bytes = b"application/json"
) -> None:
    said = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": said})
    await send({"type": "http.response.body", "body": body})


def _in_our_words(send: Send, path: str) -> Send:
    """Pass good answers on untouched, and say errors of BentoML and Starlette the way `serving.openapi` describes."""
    start: MutableMapping[str, Any] = {}
    parts: list[bytes] = []

    async def say(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            start.update(message)
        elif not start:
            await send(message)
        else:
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                kept = [(name, value) for name, value in start["headers"] if not name.startswith(b"content-")]
                await _reply(send, start["status"], _in_words(path, start["status"], kept, b"".join(parts)), kept)

    return say


def _in_words(path: str, status: int, headers: Sequence[Header], body: bytes) -> bytes:
    if status == 405:
        allowed = dict(headers).get(b"allow", b"another").decode("latin-1")
        return _error(f"this path does not take that method; it takes {allowed}")
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if isinstance(said, list) and len(said) == 1:  # BentoML puts what a service raises into a list
        [said] = said
    if status == 503:
        if isinstance(said, dict) and said.get("error") == NO_MODEL_SCORES:
            return _error(NO_MODEL_SCORES)
        return _error(UNRELEASED.get(path, "nothing is released yet; ask again when /readyz answers 200"))
    if status >= 500 or not isinstance(said, dict) or not isinstance(said.get("error"), str):
        return _error("something failed here, and not in the request; ask again, or tell those who run the service")
    return _validation(said["detail"]) if "detail" in said else _error(said["error"])


def _validation(found: list[dict[str, Any]]) -> bytes:
    """What does not fit, each field once; a customer's id has two forms, and what is wrong is said of both."""
    wrong: dict[str, list[str]] = {}
    for one in found:
        place = ".".join(str(part) for part in one["loc"] if not BRANCH.fullmatch(str(part))) or "body"
        wrong.setdefault(place, []).append(one["msg"])
    detail = [{"field": place, "message": "; or: ".join(messages)} for place, messages in wrong.items()]
    first = detail[0]
    return _error(f"{first['field']}: {first['message']}. {PAGE} has the schema", detail=detail)
