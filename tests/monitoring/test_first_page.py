"""The first page shows the state of the stack, whatever of it is missing, silent or damaged."""

from __future__ import annotations

import html
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from ingest.errors import SettingsError
from monitoring.first_page import HEALTH_TIMEOUT_S, MODELS, Page, Records, serve_first_page
from tests.monitoring.conftest import Browse
from training.vocabulary import Decision

COMMANDS = [("What is live", "docker compose exec scheduler mlops status --dir /workspace")]
Serve = Callable[..., "Site"]


class Site:
    """A server that runs, and how to ask it."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.server = server
        self.port = server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def ask(self, path: str = "/", method: str = "GET") -> tuple[HTTPResponse, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer, text

    def html(self) -> str:
        return self.ask()[1]

    def state(self) -> dict[str, Any]:
        return json.loads(self.ask("/state.json")[1])

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Asked(BaseHTTPRequestHandler):
    """Answers with the status that its path names, and counts."""

    times = 0

    def do_GET(self) -> None:
        type(self).times += 1
        self.send_response(int(self.path[1:]))
        self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@pytest.fixture
def serve(home: Path) -> Iterator[Serve]:
    sites: list[Site] = []

    def start(*pages: Page, **given: Any) -> Site:
        given = {"commands": COMMANDS, **given}
        sites.append(Site(serve_first_page(Records.of(home), pages, host="127.0.0.1", port=0, **given)))
        return sites[-1]

    yield start
    for site in sites:
        site.close()


@pytest.fixture
def asked() -> Iterator[Site]:
    Asked.times = 0
    site = Site(ThreadingHTTPServer(("127.0.0.1", 0), Asked))
    yield site
    site.close()


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that accepts, and then sends a byte now and then, for longer than any test takes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                for byte in b"HTTP/1.1 200 " + b"O" * 100:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.5)

        threading.Thread(target=drip, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def page(health_url: str, name: str = "MLflow", login: str = "") -> Page:
    return Page(name, f"what {name} is for", "http://127.0.0.1:5000", health_url, login)


def decide(home: Path, **given: Any) -> Decision:
    promoted = {
        "at": "2011-02-14T00:00:00",
        "actor": "policy",
        "kind": "promotion",
        "subject": "recommender",
        "action": "promote",
        "reason": "every gate passed",
        "model_version": "1",
    }
    return Records.of(home).decisions.record(Decision(**{**promoted, **given}))


def live_some_weeks(home: Path) -> None:
    """Twelve decisions about both models, and three weeks."""
    for week in (1, 2, 3):
        folder = home / "weeks" / f"2011-02-{7 * week:02d}"
        folder.mkdir(parents=True)
        (folder / "score.json").write_text("{}")
    for n in range(1, 9):
        decide(home, at=f"2011-01-{n:02d}T00:00:00", model_version=str(n))
    decide(home, at="2011-02-07T00:00:00", subject="fraud", model_version="4")
    decide(home, at="2011-02-08T00:00:00", subject="fraud", kind="shadow", action="shadow", model_version="5",
           reason="every gate passed; first scored beside the champion")  # fmt: skip
    decide(home, at="2011-02-14T00:00:00", kind="watch", action="ask_a_person", model_version=None,
           reason="quality lost: realised NDCG@10 is 3.4 usual deviations below what is usual, and no version is to blame")  # fmt: skip
    decide(home, at="2011-02-15T09:41:00", actor="person:ann", kind="rollback", action="roll_back", model_version="7",
           reason="customers complained <script>alert(1)</script>")  # fmt: skip


def test_a_server_is_up_when_it_answers_2xx(serve: Serve, asked: Site) -> None:
    """Anything else, a redirect to a login page and a refused connection included, is down, and the page says why."""
    statuses = {"200": True, "204": True, "302": False, "401": False, "503": False}
    pages = [page(f"{asked.url}/{status}", status) for status in statuses]
    gone = [page(f"http://127.0.0.1:{unused_port()}/", "gone"), page("nonsense", "nonsense")]
    servers = serve(*pages, *gone).state()["servers"]
    assert {s["name"]: s["up"] for s in servers} == {**statuses, "gone": False, "nonsense": False}
    said = {s["name"]: s["said"] for s in servers}
    assert said["503"] == "answered 503"
    assert said["gone"] == "nothing listens there yet"


def test_up_and_down_are_told_by_a_word_and_a_shape(serve: Serve, asked: Site) -> None:
    """With what it is for, where it is and who can log in."""
    text = serve(page(f"{asked.url}/200", "MLflow", "user admin"), page(f"{asked.url}/503", "Grafana")).html()
    well, ill = re.findall(r'<li class="(?:up|down)">.*?</li>', text, re.DOTALL)
    assert "</svg>up</span>" in well
    assert "</svg>down</span>" in ill
    assert re.search(r' d="(.*?)"', well)[1] != re.search(r' d="(.*?)"', ill)[1]
    for shown in ("MLflow", "what MLflow is for", 'href="http://127.0.0.1:5000"', "user admin"):
        assert shown in well
    assert "Not answering: Grafana." in text
    assert "1 of 2" in text


def test_the_proxy_of_the_container_is_not_asked(serve: Serve, asked: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker hands its proxy to every container, and that knows no name of the network inside."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert serve(page(f"{asked.url}/200")).state()["servers"][0]["up"]


def test_servers_that_hang_do_not_hold_the_page_up(serve: Serve, dripping: str) -> None:
    """They are asked at the same time, and given up together after two seconds, even one that drips."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        site = serve(page(silent, "silent"), page(dripping, "dripping"), page(silent, "silent too"))
        began = time.monotonic()
        text = site.html()
        took = time.monotonic() - began
    assert took < HEALTH_TIMEOUT_S + 1  # one second for a busy machine
    assert text.count("no answer within 2 s") == 3


def test_a_server_that_hangs_costs_one_thread(serve: Serve, dripping: str) -> None:
    """However often the page is looked at."""
    clock = Clock()
    site = serve(page(dripping), clock=clock)
    for _ in range(2):
        site.state()
        clock.seconds += 3
    assert [thread.name for thread in threading.enumerate()].count(f"health of {dripping}") == 1


def test_an_empty_workspace_has_nothing_to_show_yet(serve: Serve, home: Path) -> None:
    """Before the first week the page is whole, and looking at it makes no workspace."""
    site = serve()
    text, state = site.html(), site.state()
    assert "Nothing has been decided yet." in text
    assert state["live"]["recommender"] == {"champion": None, "previous": None, "challenger": None}
    assert (state["weeks_done"], state["last_monday"], state["decisions"]) == (0, None, [])
    assert not home.exists()


def test_what_is_live_is_a_fold_over_the_decisions(serve: Serve, home: Path) -> None:
    """For both models; a version that was rolled back is not the previous one."""
    live_some_weeks(home)
    state = serve().state()
    assert state["live"] == {
        "recommender": {"champion": "7", "previous": "6", "challenger": None},
        "fraud": {"champion": "4", "previous": None, "challenger": "5"},
    }
    assert (state["weeks_done"], state["last_monday"]) == (3, "2011-02-21")


def test_the_last_ten_decisions_are_shown_newest_first(serve: Serve, home: Path) -> None:
    """Newest is what was recorded last: a replay decides about the past."""
    live_some_weeks(home)
    state = serve().state()
    assert state["decisions_recorded"] == 12
    assert len(state["decisions"]) == 10
    assert state["decisions"][0] == {
        "when": "2011-02-15T09:41:00",
        "who": "person:ann",
        "model": "recommender",
        "what": "roll back",
        "version": "7",
        "why": "customers complained <script>alert(1)</script>",
    }
    assert state["decisions"][-1]["version"] == "3"


def test_what_records_say_is_escaped(serve: Serve, home: Path) -> None:
    """A reason may quote anything, half a surrogate pair included."""
    decide(home, reason="<script>alert(1)</script> \ud800", actor="person:<b>ann", model_version='"><img src=x>')
    answer, text = serve().ask()
    assert answer.status == 200
    assert "&lt;script&gt;alert(1)&lt;/script&gt; ?" in text
    assert not re.search(r"<script|<img|<b>ann", text)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("damage", [b"{torn}\n", b"[]\n", b"null\n", b"\xff\xfe\n", b'{"evidence": 3}\n'])
def test_a_damaged_log_is_told_of(serve: Serve, home: Path, asked: Site, damage: bytes) -> None:
    """The servers and the weeks are still shown."""
    live_some_weeks(home)
    log = home / "decisions.jsonl"
    log.write_bytes(log.read_bytes() + damage)
    site = serve(page(f"{asked.url}/200"))
    answer, text = site.ask()
    state = site.state()
    assert answer.status == 200
    assert "<strong>Which versions are live is not known.</strong>" in text
    assert state["decisions_problem"]
    assert html.escape(state["decisions_problem"]) in text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")
    assert (state["live"], state["decisions"], state["decisions_recorded"]) == (None, None, None)
    assert state["servers"][0]["up"]
    assert state["weeks_done"] == 3


def test_a_folder_that_is_no_week_is_told_of(serve: Serve, home: Path) -> None:
    """It does not take the decisions away."""
    live_some_weeks(home)
    (home / "weeks" / "copy of monday").mkdir()
    (home / "weeks" / "copy of monday" / "score.json").write_text("{}")
    site = serve()
    assert "It is not known how many weeks are done." in site.html()
    assert site.state()["weeks_done"] is None
    assert site.state()["decisions_recorded"] == 12


def test_the_json_says_what_the_page_says(serve: Serve, home: Path, asked: Site) -> None:
    """Both are made from one state."""
    live_some_weeks(home)
    site = serve(page(f"{asked.url}/200", "MLflow"), page(f"{asked.url}/503", "Grafana"), clock=Clock())
    text, state = site.html(), site.state()
    assert re.findall(r"</svg>(up|down)</span>\s*<strong>(.*?)</strong>", text) == [
        ("up" if s["up"] else "down", s["name"]) for s in state["servers"]
    ]
    cells = re.findall(
        r'<td class="name">(\w+)</td>' + r"<td>(?:v(\w+)|<span class=\"none\">none</span>)</td>" * 3, text
    )
    assert cells == [(model, *(v or "" for v in live.values())) for model, live in state["live"].items()]
    assert [html.unescape(why) for why in re.findall(r'<td class="why">(.*?)</td>', text)] == [
        d["why"] for d in state["decisions"]
    ]
    assert f"<b>{state['weeks_done']}</b>weeks done" in text
    assert f"Asked at {state['asked_at'][11:19]} UTC" in text


def test_many_readers_ask_the_servers_once(serve: Serve, asked: Site) -> None:
    """Within three seconds all see the same state; then it is asked for anew."""
    clock = Clock()
    site = serve(page(f"{asked.url}/200"), clock=clock)
    with ThreadPoolExecutor(20) as readers:
        texts = set(readers.map(lambda _: site.html(), range(20)))
    assert len(texts) == 1
    clock.seconds = 2.9
    site.state()
    assert Asked.times == 1
    clock.seconds = 3.0
    site.state()
    assert Asked.times == 2


def test_its_own_health_asks_nobody(serve: Serve, asked: Site) -> None:
    """Compose asks every few seconds, also when nobody looks."""
    answer, text = serve(page(f"{asked.url}/200")).ask("/healthz")
    assert (answer.status, text) == (200, "ok\n")
    assert Asked.times == 0


@pytest.mark.parametrize("path", ["/", "/?from=bookmark", "/state.json", "/healthz"])
def test_head_tells_what_get_would(serve: Serve, path: str) -> None:
    """The same headers, and no body."""
    site = serve(clock=Clock())
    whole, text = site.ask(path)
    head, nothing = site.ask(path, "HEAD")
    assert (head.status, nothing) == (200, "")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"] == str(len(text.encode()))


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/decisions.jsonl", "/static/", "/healthz/..", "/state.json/", "/favicon.ico"],
)  # fmt: skip
def test_nothing_else_is_there(serve: Serve, path: str) -> None:
    """No path leads to a file."""
    answer, text = serve().ask(path)
    assert (answer.status, text) == (404, "Not found. The page is at /.\n")


def test_a_port_that_is_taken_is_said(serve: Serve, home: Path) -> None:
    """With what to do about it."""
    taken = serve().port
    with pytest.raises(SettingsError, match=rf"cannot listen at 127\.0\.0\.1:{taken}: .*choose another port"):
        serve_first_page(Records.of(home), [], host="127.0.0.1", port=taken)


def test_it_writes_no_access_log(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither of readers, nor of those who leave before the answer."""
    site = serve()
    site.html()
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(b"GET / HT")
    site.ask("/nothing")
    assert capfd.readouterr() == ("", "")


def test_it_knows_the_models_by_their_names() -> None:
    """They are written down there, so that the page need not import what fits them."""
    from training.fraud.artefact import FRAUD
    from training.recommender.artefact import RANKER

    assert (RANKER.model, FRAUD.model) == MODELS


def test_it_reads_where_a_workspace_writes(home: Path) -> None:
    """`Records` are the light half of a `Workspace`, which will do in their place."""
    from training.settings import Settings
    from training.workspace import Workspace

    ws = Workspace(Settings(home=home))
    assert Records.of(home) == Records(ws.decisions, ws.weeks)
    serve_first_page(ws, [], host="127.0.0.1", port=0).server_close()


def test_it_imports_nothing_heavy() -> None:
    """Its process runs beside ten servers on a laptop."""
    heavy = ("pandas", "numpy", "pyarrow", "duckdb", "mlflow", "xgboost", "sklearn", "pydantic")
    code = f"import sys, monitoring.first_page; print([m for m in {heavy} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


SHOWN = (
    Page("This page", "where everything is", "http://127.0.0.1:8000", "/200"),
    Page("Airflow", "starts the weeks and asks people", "http://127.0.0.1:8080", "/200", "user admin, password in secrets/airflow"),
    Page("MLflow", "runs, versions and their aliases", "http://127.0.0.1:5000", "/503", "user admin"),
    Page("Recommendation service", "answers /recommend and /score", "http://127.0.0.1:3000", "/200", "needs a key, see below"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize(("scheme", "paper"), [("light", (0.95, 1.0)), ("dark", (0.0, 0.15))])
def test_a_browser_shows_it(
    serve: Serve,
    home: Path,
    asked: Site,
    browse: Browse,
    tmp_path: Path,
    *,
    width: int,
    scheme: str,
    paper: tuple[float, float],
) -> None:
    """All of it, on a phone and on a desk, in light and in dark, without scrolling sideways."""
    live_some_weeks(home)
    key = '-H "Authorization: Bearer $(docker compose exec -T service cat /secrets/api_key)"'
    body = """-d '{"request": {"customer_id": "12345"}}'"""
    commands = [
        ("Ask for recommendations", f"curl {key} -H 'Content-Type: application/json' {body} http://127.0.0.1:3000/recommend"),
        *COMMANDS,
        ("Live four more weeks", "docker compose exec scheduler mlops weeks 4 --dir /workspace"),
    ]  # fmt: skip
    pages = [Page(p.name, p.what, p.public_url, asked.url + p.health_url, p.login) for p in SHOWN]
    text = serve(*pages, commands=commands).html()
    # The window of a headless browser has a least width; a frame has not. Nor does the page have a script to measure with.
    framed = tmp_path / "framed.html"
    framed.write_text(
        f"""<body style="margin:0"><iframe srcdoc="{html.escape(text)}" style="border:0;width:{width}px;height:2000px"></iframe>
        <script>addEventListener("load", () => {{ const shown = document.querySelector("iframe").contentDocument;
        document.body.dataset.width = shown.documentElement.scrollWidth; document.body.dataset.text = shown.body.innerText; }})</script>"""
    )
    picture = tmp_path / "page.png"
    given = (f"--blink-settings=preferredColorScheme={1 if scheme == 'light' else 0}", f"--window-size={width},2000")
    document = html.unescape(browse(framed.as_uri(), "--dump-dom", f"--screenshot={picture}", *given))
    assert int(re.search(r'data-width="(\d+)"', document)[1]) <= width
    shown = document[document.index("data-text=") :]
    for said in (
        "3 of 4",
        "answered 503",
        "roll back to v7",
        "<script>alert(1)</script>",
        "mlops weeks 4",
        "21 Feb 2011",
    ):
        assert said in shown
    pixels = imread(picture)[:, :width, :3]
    assert paper[0] <= pixels[5, 5].mean() <= paper[1]
    assert (abs(pixels[:1200] - pixels[5, 5]).max(axis=2) > 0.3).mean() > 0.005


@pytest.mark.slow
def test_a_browser_takes_it_from_the_server(serve: Serve, asked: Site, browse: Browse) -> None:
    """The style is let through by the policy that lets nothing else through."""
    document = browse(serve(page(f"{asked.url}/200", "MLflow")).url, "--dump-dom")
    assert "All servers answer." in document
    assert "</svg>up</span>" in document
