"""Serve the first page of a running stack: where its servers are, which of them answer, what is live and what was decided.

The page only reads. It asks each server for its health and reads the decisions and the weeks done when somebody looks at it, at
most every three seconds. What cannot be read or does not answer is told on the page; it never takes the page away. All
imports are light, because this process runs beside servers that need the memory.
"""

from __future__ import annotations

import json
import re
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import gaierror
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, build_opener

from ingest.errors import PlatformError, SettingsError
from monitoring.pages import templates
from training.decision_log import DecisionLog
from training.parts import Parts
from training.promotion import MODEL, aliases_after
from training.vocabulary import Decision

if TYPE_CHECKING:
    from training.workspace import Workspace

HEALTH_TIMEOUT_S = 2.0  # a server that needs longer to say that it is well is not
FRESH_S = 3.0  # however many look, the servers are asked no more often
DECISIONS_SHOWN = 10
MODELS = (MODEL, "fraud")  # FRAUD.model; to import that would load XGBoost

# A script that got past the escaping would still not run, and no other page may frame this one.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

#: Where a page's file leaves a place for a variable; `$(…)` and `$name` are for the reader's shell.
NAME = re.compile(r"\$\{([A-Z_]+)\}")

T = TypeVar("T")
State = dict[str, Any]
Answer = tuple[str, bytes]  # content type and body


@dataclass(frozen=True)
class Page:
    """One server of the stack: `public_url` is for the reader's browser, `health_url` is asked from inside the network."""

    name: str
    what: str
    public_url: str
    health_url: str
    login: str = ""
    """A hint such as `user admin`, never a secret."""


def read_pages(path: Path, environment: Mapping[str, str]) -> tuple[list[Page], list[tuple[str, str]]]:
    """The servers and the commands to try of a JSON file, with `${NAME}` as the environment has it.

    Raises SettingsError when it is no such file, or a name is not in the environment.
    """
    try:
        filled = _filled(json.loads(path.read_text(encoding="utf-8")), environment)
        return [Page(**server) for server in filled["servers"]], [(what, typed) for what, typed in filled["commands"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SettingsError(
            f"{path} says not which servers there are: {error!r}. See infra/compose/pages.json."
        ) from error


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, environment) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, environment) for one in value]
    return NAME.sub(lambda found: environment[found[1]], value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Records:
    """What the page reads of a workspace. A `Workspace` will do, but its lake brings pandas and DuckDB: 110 MB more."""

    decisions: DecisionLog
    weeks: Parts

    @classmethod
    def of(cls, home: Path) -> Self:
        """The records of the workspace in this folder, which need not be there yet."""
        return cls(DecisionLog(home / "decisions.jsonl"), Parts(home / "weeks"))


def serve_first_page(
    ws: Workspace | Records,
    pages: Sequence[Page],
    *,
    commands: Sequence[tuple[str, str]] = (),
    host: str,
    port: int,
    models: Sequence[str] = MODELS,
    clock: Callable[[], float] = time.monotonic,
) -> ThreadingHTTPServer:
    """A server that is bound and answers once its `serve_forever` is called: `/`, `/state.json` and `/healthz`, nothing else.

    `commands` are shown to be tried, each as what it is for and the command itself. `clock` tells seconds, for the cache.
    Raises SettingsError when host and port cannot be listened at.
    """
    current = _Cached(_Observer(ws, pages, models).look, clock)
    template = templates().get_template("first_page.html.j2")

    def page() -> Answer:
        text = template.render(state=current.state(), commands=commands, when=_when, day=_day)
        # A record may hold half a surrogate pair, which JSON allows and UTF-8 does not.
        return "text/html; charset=utf-8", text.encode("utf-8", "replace")

    def state() -> Answer:
        return "application/json", json.dumps(current.state()).encode()

    def healthy() -> Answer:
        return "text/plain; charset=utf-8", b"ok\n"

    try:
        return _Server((host, port), {"/": page, "/state.json": state, "/healthz": healthy})
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"The first page cannot listen at {host}:{port}: {error}. Stop what listens there, or choose another port."
        ) from error


class _Cached:
    """The state as it was at most three seconds ago; whoever comes while it is looked at waits for that look."""

    def __init__(self, look: Callable[[], State], clock: Callable[[], float]) -> None:
        self._look, self._clock = look, clock
        self._one_looks = threading.Lock()
        self._seen: tuple[float, State] | None = None

    def state(self) -> State:
        with self._one_looks:
            if self._seen is None or self._clock() - self._seen[0] >= FRESH_S:
                state = self._look()
                self._seen = (self._clock(), state)
            return self._seen[1]


class _Observer:
    """Looks at everything that the page shows."""

    def __init__(self, ws: Workspace | Records, pages: Sequence[Page], models: Sequence[str]) -> None:
        self._ws, self._models = ws, models
        self._probes = [(page, _Probe(page.health_url)) for page in pages]

    def look(self) -> State:
        """One state for the page and for JSON; None stands for what is not known, with the reason beside it."""
        servers = self._servers()
        decided, decisions_problem = _read(self._decided)
        weeks, weeks_problem = _read(self._weeks)
        return {
            "asked_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "servers": servers,
            **(decided or {"live": None, "decisions": None, "decisions_recorded": None}),
            "decisions_problem": decisions_problem,
            **(weeks or {"weeks_done": None, "last_monday": None}),
            "weeks_problem": weeks_problem,
        }

    def _servers(self) -> list[State]:
        for _, probe in self._probes:
            probe.send()
        until = time.monotonic() + HEALTH_TIMEOUT_S
        return [
            {
                "name": page.name,
                "what": page.what,
                "url": page.public_url,
                "login": page.login,
                **probe.health(until)._asdict(),
            }
            for page, probe in self._probes
        ]

    def _decided(self) -> State:
        decisions = self._ws.decisions.read()
        return {
            "live": {model: _live(decisions, model) for model in self._models},
            "decisions": [_told(decision) for decision in reversed(decisions[-DECISIONS_SHOWN:])],
            "decisions_recorded": len(decisions),
        }

    def _weeks(self) -> State:
        mondays = self._ws.weeks.done("score")
        return {"weeks_done": len(mondays), "last_monday": f"{mondays[-1]:%Y-%m-%d}" if mondays else None}


def _live(decisions: Sequence[Decision], model: str) -> State:
    live = aliases_after(decisions, model)
    return {"champion": live.champion, "previous": live.previous, "challenger": live.challenger}


def _told(decision: Decision) -> State:
    return {
        "when": decision.at,
        "who": decision.actor,
        "model": decision.model,
        "what": decision.action.replace("_", " "),
        "version": decision.model_version,
        "why": decision.reason,
    }


def _read(read: Callable[[], T]) -> tuple[T | None, str]:
    """What was read, or why it could not be."""
    try:
        return read(), ""
    # Beside what readers raise on purpose: a damaged file may hold any JSON, and a list where a record should be is no error
    # that they foresee.
    except (PlatformError, OSError, ValueError, TypeError, AttributeError) as error:
        return None, str(error) or type(error).__name__


class _Health(NamedTuple):
    up: bool
    said: str


_SILENT = _Health(False, f"no answer within {HEALTH_TIMEOUT_S:g} s")


class _Probe:
    """Asks one server for its health, in a thread: looking up a name, or an answer that drips, heeds no timeout of urllib's.

    While one thread still waits no other is sent after it, so that a server that hangs costs one thread and not one a look.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._found = _SILENT
        self._thread = threading.Thread()

    def send(self) -> None:
        if not self._thread.is_alive():
            self._found = _SILENT
            self._thread = threading.Thread(target=self._ask, name=f"health of {self._url}", daemon=True)
            self._thread.start()

    def health(self, until: float) -> _Health:
        """What the server said, or that it said nothing until then."""
        self._thread.join(max(0.0, until - time.monotonic()))
        return _SILENT if self._thread.is_alive() else self._found

    def _ask(self) -> None:
        self._found = _ask(self._url)


def _ask(url: str) -> _Health:
    try:
        with _opener().open(url, timeout=HEALTH_TIMEOUT_S) as answer:
            return _Health(True, f"answered {answer.status}")
    except HTTPError as error:
        error.close()
        return _Health(False, f"answered {error.code}")
    except URLError as error:
        return _Health(False, _why(error.reason))
    except (OSError, HTTPException, ValueError) as error:
        return _Health(False, _why(error))


class _NoRedirect(HTTPRedirectHandler):
    """Being sent to a login page is no answer to whether one is well."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener() -> OpenerDirector:
    # Without the proxy that Docker hands to containers: it does not know the names inside the network.
    return build_opener(ProxyHandler({}), _NoRedirect)


def _why(error: object) -> str:
    match error:
        case TimeoutError():
            return _SILENT.said
        case gaierror():
            return "its name is not known: not started"
        case ConnectionRefusedError():
            return "nothing listens there yet"
        case ConnectionError():
            return "hung up without an answer"
        case HTTPException():
            return "what it answered is no HTTP"
        case _:
            return str(error)


def _when(at: str) -> str:
    """A moment as short as it can be: most decisions are about a midnight."""
    moment = datetime.fromisoformat(at)
    return _day(at) if moment.time() == datetime.min.time() else f"{_day(at)}, {moment:%H:%M}"


def _day(at: str) -> str:
    moment = datetime.fromisoformat(at)
    return f"{moment.day} {moment:%b %Y}"


class _Server(ThreadingHTTPServer):
    """Answers the paths that it is given; there is no file behind any of them."""

    request_queue_size = 64  # five, the default, makes a browser with a few tabs wait for a second

    def __init__(self, address: tuple[str, int], answers: Mapping[str, Callable[[], Answer]]) -> None:
        self.answers = answers
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer also looks up the host's full name, which nobody needs and which hangs where names resolve slowly.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about readers who leave before the page is there."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # browsers open connections in advance, and each holds a thread
    server_version, sys_version = "first-page", ""

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path.partition("?")[0])
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"Not found. The page is at /.\n")
        else:
            self._send(HTTPStatus.OK, *answer())

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: a page that asks anew every ten seconds would fill the log of the stack."""
