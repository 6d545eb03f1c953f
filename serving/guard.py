"""Turn away what should not reach the models: strangers, what is too large, what comes too fast, and what is no JSON."""

from __future__ import annotations

import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.errors import SettingsError
from serving import metrics
from serving.openapi import as_it_is

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: For whoever keeps the service alive: probes carry no key.
OPEN = frozenset({"/livez", "/readyz", "/healthz"})
#: For those who run the service.
CONTROL = frozenset({"/metrics", "/explain"})


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

    Raises SettingsError for a file that cannot be read, a key that is easily guessed, or one that opens both doors.
    """
    api, control = (_keys(environment, name) for name in ("RECOMMENDER_API_KEYS", "RECOMMENDER_CONTROL_KEYS"))
    if set(api) & set(control):
        raise SettingsError(
            "A key of RECOMMENDER_API_KEYS is among RECOMMENDER_CONTROL_KEYS, too; give each purpose its own."
        )
    if bool(api) != bool(control):
        missing = "RECOMMENDER_CONTROL_KEYS" if api else "RECOMMENDER_API_KEYS"
        raise SettingsError(f"{missing} is not set while the other is; set both, or neither to leave the service open.")
    per_second = float(environment.get("MLOPS_SERVING_RATE", Limits().per_second))
    return Limits(api, control, per_second=per_second, burst=per_second)


def _keys(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = environment.get(name, "")
    if path := environment.get(f"{name}_FILE"):
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"{name}_FILE cannot be read: {error.strerror}.") from error
    keys = tuple(key for line in text.splitlines() for key in line.replace(",", " ").split())
    if any(len(key) < 16 for key in keys):
        raise SettingsError(f"A key of {name} has fewer than 16 characters; make one with `openssl rand -hex 24`.")
    return keys


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
    """ASGI middleware in front of everything."""

    def __init__(self, app: App, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._limits, self._clock = app, limits, clock
        self._buckets = Buckets(limits.per_second, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if refusal := self._refusal(scope, headers):
            metrics.REFUSED.labels(refusal.reason).inc()
            await _reply(send, refusal)
        elif scope["path"] == "/docs.json":
            await self._app(scope, receive, _rewritten(send))
        elif scope["method"] == "POST":
            await self._pass_bounded(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Refusal | None:
        key = _bearer(headers)
        wanted = self._limits.control_keys if scope["path"] in CONTROL else self._limits.api_keys
        if wanted and not _is_one_of(key, wanted):
            return Refusal(401, "unauthorized", "send `Authorization: Bearer KEY` with a key for this path")
        asker = key or (scope.get("client") or ("unknown",))[0]
        if wait_s := self._buckets.take(asker, self._clock()):
            return Refusal(429, "too_many", f"too many requests; ask again in {wait_s:.2f} s", retry_after_s=wait_s)
        if scope["method"] != "POST":
            return None
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limits.body_bytes:
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
                await _reply(send, self._too_large())
                return
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if not body.lstrip(b" \t\r\n").startswith(b"{"):
            metrics.REFUSED.labels("no_json").inc()
            await _reply(send, Refusal(400, "no_json", 'send a JSON object, for example {"user_id": "13085", "k": 10}'))
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


def _bearer(headers: Mapping[bytes, bytes]) -> str:
    kind, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _is_one_of(key: str, wanted: tuple[str, ...]) -> bool:
    """Compare with every key, each in constant time: how long it takes tells nothing about how much was right."""
    matches = [hmac.compare_digest(key.encode("latin-1"), known.encode("latin-1")) for known in wanted]
    return any(matches)


async def _reply(send: Send, refusal: Refusal) -> None:
    headers = [(b"content-type", b"application/json")]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(refusal.retry_after_s))))
    body = json.dumps({"error": refusal.error}).encode()
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _rewritten(send: Send) -> Send:
    """Send BentoML's OpenAPI page with what it leaves out."""
    start: MutableMapping[str, Any] = {}

    async def rewrite(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        body = json.dumps(as_it_is(json.loads(message["body"]))).encode()
        kept = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        await send({**start, "headers": [*kept, (b"content-length", b"%d" % len(body))]})
        await send({**message, "body": body})

    return rewrite
