"""The one command: `mlops`. It assembles the rooms; nothing imports it."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.commands import app as infra_app
from ingest.errors import PlatformError, SettingsError

ENVIRONMENT = {
    # Nothing here phones home; Evidently, BentoML and MLflow each ask in their own way.
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # OpenMP threads that wait by spinning make a fit ten times slower as soon as somebody else uses a core.
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "2",
    # Memory that one step has freed must serve the next: a real week peaks at 1.6 GB so, and else at 2.3.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    # Airflow's tasks and the release controller try again themselves; a rollback must not wait for a registry that is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Ours is the progress display.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)
if sys.platform == "linux":
    # glibc has read its environment before we could set it; -8 is M_ARENA_MAX of malloc.h. Other C libraries know no arenas.
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(-8, int(os.environ["MALLOC_ARENA_MAX"]))

app = typer.Typer(
    name="mlops",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="A reference MLOps platform. Start with [bold]mlops doctor[/bold], then [bold]mlops demo[/bold].",
)
fraud_app = typer.Typer(no_args_is_help=True, help="Live days of the simulated card issuer, watched by the real DAG.")
data_app = typer.Typer(no_args_is_help=True, help="Get published data.")
bench_app = typer.Typer(no_args_is_help=True, help="Measure what the documentation claims.")
drill_app = typer.Typer(no_args_is_help=True, help="Rehearse incidents with a known cause.")
app.add_typer(fraud_app, name="fraud")
app.add_typer(data_app, name="data")
app.add_typer(bench_app, name="bench")
app.add_typer(drill_app, name="drill")
app.add_typer(infra_app, name="infra")

#: A table in a file or a pipe is not cut to a terminal that is not there.
console = Console(width=None if sys.stdout.isatty() else 160)
errors = Console(stderr=True)

Dir = Annotated[Path, typer.Option("--dir", envvar="MLOPS_HOME", help="A workspace: the --out of a replay.")]
AirflowAt = Annotated[str, typer.Option("--airflow", envvar="AIRFLOW_ADDRESS", help="Address of Airflow's API server.")]
Passwords = Annotated[
    Path | None,
    typer.Option(
        envvar="AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
        help="Airflow's password file; default: that of `mlops up`.",
    ),
]


@app.command()
def replay(
    out: Annotated[Path, typer.Option(help="The workspace to write; repeating the command goes on where it stopped.")],
    source: Annotated[str, typer.Option(help="shop (simulated), online-retail or interactions.")] = "shop",
    data: Annotated[Path | None, typer.Option(help="File or folder with the events; default: $DATA_DIR.")] = None,
    start: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="First Monday; all before it is history.")
    ] = datetime(2011, 1, 24),
    weeks: Annotated[int, typer.Option(min=1, help="How many Mondays to run.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed of the simulator, of sampling and of fitting.")] = 7,
    label_weeks: Annotated[
        int | None, typer.Option(min=1, help="Weeks of labels to learn from; default 4 for shop, else 26.")
    ] = None,
    scale: Annotated[int, typer.Option(min=1, help="Of the simulated shop: how many times the rows.")] = 1,
    encoding: Annotated[str, typer.Option(help="Encoding of CSV files, for example latin-1.")] = "utf-8",
    date_order: Annotated[
        str | None,
        typer.Option(help="How dates in text are written, where they do not show it: day-first or month-first."),
    ] = None,
    purchase_events: Annotated[
        str, typer.Option(help="Which values of `event` count as purchases, comma-separated.")
    ] = "purchase",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run the weekly loop over past weeks, with the real DAGs, and write weeks.json, decisions.jsonl, lists and report."""
    stop_when_told()
    from monitoring.week_table import summary, week_table
    from training.settings import build_settings

    given: dict[str, Any] = {
        "source": source, "data": data_path(source, data), "start": start.date(), "seed": seed, "scale": scale,
        "encoding": encoding, "date_order": date_order,
        "label_weeks": label_weeks or (4 if source == "shop" else 26),
        "purchase_events": tuple(e.strip() for e in purchase_events.split(",")),
    }  # fmt: skip
    records = run_replay(build_settings(out, **given), weeks, quiet=as_json)
    if as_json:
        print(json.dumps(summary(records, out)))
    else:
        console.print(week_table(records))
        console.print(
            f"Report: [link=file://{(out / 'report.html').resolve()}]{out / 'report.html'}[/link]   "
            f"next: mlops serve --dir {out}"
        )


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The workspace to write.")] = Path("runs/demo"),
    weeks: Annotated[int, typer.Option(min=1)] = 12,
    seed: Annotated[int, typer.Option()] = 7,
) -> None:
    """Twelve weeks of a simulated shop in which things go wrong; prints the table and writes the report."""
    replay(out=out, weeks=weeks, seed=seed)


def data_path(source: str, data: Path | None) -> Path | None:
    """The events' place: the option, or `DATA_DIR`; the simulator needs none."""

    if source == "shop":
        return None
    found = data or (Path(os.environ["DATA_DIR"]) if os.environ.get("DATA_DIR") else None)
    if found is None:
        raise SettingsError(
            f"Source {source!r} needs --data or DATA_DIR; `mlops data fetch online-retail` gets the published data."
        )
    return found.resolve()


def run_replay(settings: Any, weeks: int, *, quiet: bool) -> list[dict[str, Any]]:
    from dags.replay import replay as replay_weeks
    from training.workspace import Workspace

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=errors if quiet else console, disable=quiet, transient=True, refresh_per_second=4
    ) as progress:
        task = progress.add_task("starting Airflow", total=weeks)
        first = settings.start

        def show(as_of: datetime, step: str) -> None:
            progress.update(
                task, completed=(as_of.date() - first).days // 7, description=f"{as_of:%Y-%m-%d}  {step:<20}"
            )

        records = replay_weeks(settings, weeks, show)
    tell(Workspace(settings), records)
    return records


def command_line() -> str:
    return " ".join(["mlops", *sys.argv[1:]])


def tell(ws: Any, records: list[dict[str, Any]]) -> None:
    """Write the report of these weeks."""
    from monitoring.report import write_report

    meta = {"title": f"{ws.settings.source}, seed {ws.settings.seed}", "command": command_line()}
    write_report(records, [d.to_dict() for d in ws.decisions.read()], meta, ws.home / "report.html")


@app.command()
def report(directory: Dir) -> None:
    """Write weeks.json and report.html anew, weeks that `mlops up` ran included, and print the table."""
    from monitoring.week_table import week_table
    from training.week_record import write_records

    ws = open_workspace(directory)
    if not (records := write_records(ws)):
        console.print(f"No week has run to its end in {directory} yet; run some with `mlops replay`.")
        raise typer.Exit(1)
    tell(ws, records)
    console.print(week_table(records))
    console.print(f"Report: {directory / 'report.html'}")


def stop_when_told() -> None:
    """End at once on Ctrl-C or a polite kill; finished steps are kept, the one under way is done again next time.

    A thread waits for the signals because Airflow, in whose hands the main thread is, keeps interrupts for itself. Call
    it before anything that starts threads: they inherit what is blocked, and one that did not would take the signal.
    """
    told = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, told)

    def wait() -> None:
        number = signal.sigwait(told)
        errors.print("\nStopped. What was finished is kept; the same command goes on from there.")
        os._exit(128 + number)

    threading.Thread(target=wait, name="stop", daemon=True).start()


@app.command()
def serve(
    directory: Dir,
    port: Annotated[int, typer.Option(help="TCP port.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to bind; loopback unless you say otherwise.")] = "127.0.0.1",
) -> None:
    """Serve what the registry says is live, and follow it: POST /recommend {"user_id": "13085", "k": 10}. Ctrl-C stops it."""
    from serving.bento_server import bento_server
    from training.mlflow_registry import MlflowRegistry
    from training.recommender.artefact import RANKER

    ws = open_workspace(directory)
    champion = MlflowRegistry(ws.settings, RANKER).aliases().champion
    with bento_server(ws, port, host=host) as server:
        print(f"ready: http://{host}:{port}/recommend (recommender version {champion})", flush=True)
        wait_for(server)


@app.command()
def up(
    directory: Dir,
    port: Annotated[int, typer.Option(help="Port of the service.")] = 3000,
    airflow_port: Annotated[int, typer.Option()] = 8080,
    mlflow_port: Annotated[int, typer.Option()] = 5000,
    evidently_port: Annotated[int, typer.Option()] = 8001,
) -> None:
    """Start Airflow, the MLflow and Evidently pages and the service on a replayed workspace. Ctrl-C stops them all."""
    from dags.standalone import everything

    ports = {"service": port, "airflow": airflow_port, "mlflow": mlflow_port, "evidently": evidently_port}
    ws = open_workspace(directory)
    with everything(ws.settings, ports) as platform:
        for name, address in platform.addresses.items():
            console.print(f"[bold]{name:<10}[/bold] {address}", highlight=False)
        print("ready: Ctrl-C stops everything", flush=True)
        wait_for(*platform.servers)


@app.command()
def begin(directory: Dir, airflow: AirflowAt = "http://127.0.0.1:8080", passwords: Passwords = None) -> None:
    """Let a running Airflow's DAGs run, and see that there is something to serve: the first week, if there is none yet."""
    from dags.by_scheduler import begin
    from training.settings import build_settings
    from training.workspace import Workspace

    ws = Workspace(build_settings(directory))
    begin(ws, airflow_api(airflow, passwords, directory), say_step)
    print(f"ready: {len(ws.weeks_done('score'))} weeks are done", flush=True)


@app.command()
def weeks(
    directory: Dir,
    count: Annotated[int, typer.Argument(min=1, help="How many Mondays.")] = 1,
    airflow: AirflowAt = "http://127.0.0.1:8080",
    passwords: Passwords = None,
) -> None:
    """Run the next weeks now, under the Airflow that is running; its clock would start them on Mondays."""
    from dags.by_scheduler import next_week, run_week

    ws, api = open_workspace(directory), airflow_api(airflow, passwords, directory)
    for _ in range(count):
        run_week(ws, api, next_week(ws), say_step)


def airflow_api(address: str, passwords: Path | None, directory: Path) -> Any:
    from dags.airflow_api import PASSWORDS, AirflowApi

    return AirflowApi(address, passwords or directory / PASSWORDS)


def say_step(as_of: datetime, dag_id: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {as_of:%Y-%m-%d} {dag_id}", flush=True)


@app.command()
def page(
    directory: Dir,
    pages: Annotated[Path, typer.Option(help="A JSON file that says which servers there are, and what to try.")],
    port: Annotated[int, typer.Option(help="TCP port.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to bind; loopback unless you say otherwise.")] = "127.0.0.1",
) -> None:
    """Serve the first page of a stack: which servers are up, what is live, what was decided last."""
    from monitoring.first_page import Records, read_pages, serve_first_page

    servers, commands = read_pages(pages, os.environ)
    stop_when_told()
    serve_first_page(Records.of(directory), servers, commands=commands, host=host, port=port).serve_forever()


@app.command()
def traffic(
    directory: Dir,
    url: Annotated[str, typer.Option(help="Where the service is.")] = "http://127.0.0.1:3000",
    rate: Annotated[float, typer.Option(min=0, help="Recommendations a second.")] = 5.0,
    payments: Annotated[float, typer.Option(min=0, help="Payments a second, for /score.")] = 2.0,
    patience: Annotated[float, typer.Option(min=0.1, help="Seconds for which a customer asks again.")] = 60.0,
    key_file: Annotated[
        Path | None, typer.Option(help="A file with an API key; none: the service asks for none.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="How long; default: until Ctrl-C.")] = None,
    logged: Annotated[
        bool, typer.Option("--logged", help="At the end, look for every answer in the service's logs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final figures as JSON.")] = False,
) -> None:
    """Play simulated customers: they ask, ask again while the service is away, and buy by habit; payments are sent to /score."""
    from serving.traffic import TrafficSettings, play

    ws, over = open_workspace(directory), threading.Event()
    asked = TrafficSettings(url, rate, payments, patience, key_file.read_text().strip() if key_file else "")
    for told in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told, lambda *_: over.set())
    if seconds:
        threading.Timer(seconds, over.set).start()
    summary = play(ws, asked, until=over, say=say_traffic, keep_ids=logged)
    if as_json:
        print(json.dumps(summary.to_dict()), flush=True)
    else:
        say_traffic(summary)
    if logged and summary.unlogged:
        raise PlatformError(f"{len(summary.unlogged)} answers are not in the logs of {directory}.")


def say_traffic(summary: Any) -> None:
    if summary.waiting_for:
        errors.print(summary.waiting_for, highlight=False)
        return
    told = [
        f"{name}: {f.answered} of {f.asked} answered, {f.lost} lost, {f.asked_again} asked again, longest wait {f.longest_wait_s:.1f} s"
        for name, f in (("customers", summary), ("payments", summary.payments))
    ]
    errors.print(f"{datetime.now():%H:%M:%S} {'; '.join(told)}", highlight=False)


@app.command()
def status(directory: Dir, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """What is live, which versions there are, and what was decided last."""
    from training.mlflow_registry import MlflowRegistry
    from training.recommender.artefact import RANKER

    ws = open_workspace(directory)
    registry = MlflowRegistry(ws.settings, RANKER)
    live = registry.aliases()
    found: dict[str, Any] = {
        "champion": live.champion,
        "previous": live.previous,
        "versions": [{"version": v.version, "as_of": v.tags["as_of"], "run_id": v.run_id} for v in registry.versions()],
        "canary": canary_of(ws),
        "registry_behind": ws.unreconciled.exists(),
        "decisions": [d.to_dict() for d in ws.decisions.read()[-10:]],
    }
    if as_json:
        print(json.dumps(found))
        return
    table = Table("version", "made on", "role", "run")
    for v in found["versions"]:
        role = "champion" if v["version"] == live.champion else "previous" if v["version"] == live.previous else ""
        table.add_row(v["version"], v["as_of"], role, v["run_id"])
    console.print(table)
    if found["canary"]:
        console.print("canary: version {version} answers {share:.0%} of the customers".format(**found["canary"]))
    if found["registry_behind"]:
        console.print("The registry's aliases have not followed the last decision yet; a running service goes by it.")
    for d in found["decisions"]:
        console.print(f"{d['at'][:10]}  [bold]{d['kind']}[/bold]  {d['actor']}: {d['reason']}", highlight=False)


def canary_of(ws: Any) -> dict[str, Any] | None:
    """The version on canary and its share of the customers, if there is one."""
    from serving.release import ServingFolder
    from training.promotion import aliases_after

    version, path = aliases_after(ws.decisions.read()).challenger, ServingFolder(ws.home).canary
    if version is None:
        return None
    state = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {"version": version, "share": state["share"] if state.get("version") == version else 0.0}


@app.command()
def rollback(
    directory: Dir,
    reason: Annotated[str, typer.Option(help="Why; it is part of the record.")],
    to: Annotated[str | None, typer.Option(help="Version to go back to; default: the previous one.")] = None,
    by: Annotated[str, typer.Option(help="Who decides.", envvar="USER")] = "unknown",
    model: Annotated[Literal["recommender", "fraud"], typer.Option(help="Which model.")] = "recommender",
) -> None:
    """Put an earlier version back: the decision is recorded, then the registry's alias moves."""
    from training.decision_log import now
    from training.rollback import roll_back

    ws = open_workspace(directory)
    decision = roll_back(ws, now(), to=to, reason=reason, actor=f"person:{by}", model=model)
    console.print(
        f"Version {decision.model_version} is live again instead of {decision.previous_version} ({decision.decision_id})."
    )
    say_if_owed(ws)


def say_if_owed(ws: Any) -> None:
    if ws.unreconciled.exists():
        console.print(
            "The registry does not answer. A running service goes by the record; the aliases follow when it is back."
        )


@app.command()
def canary(
    version: Annotated[str, typer.Argument(help="A version that passed its gates; `mlops status` lists them.")],
    directory: Dir,
    reason: Annotated[str, typer.Option(help="Why; it is part of the record.")],
    by: Annotated[str, typer.Option(help="Who decides.", envvar="USER")] = "unknown",
) -> None:
    """Let a version answer 1, 10, 50 and then 100 % of the customers while it is compared with the champion.

    The running service takes the steps and aborts by itself; `mlops status` shows where it is, `mlops rollback` ends it.
    """
    from training.canary_decision import open_canary
    from training.decision_log import now

    ws = open_workspace(directory)
    decision = open_canary(ws, now(), version, reason=reason, actor=f"person:{by}")
    console.print(
        f"Version {version} is on canary against version {decision.previous_version} ({decision.decision_id})."
    )
    say_if_owed(ws)


@drill_app.command("list")
def drill_list() -> None:
    """What can be rehearsed: both models' incidents with the action each calls for, and harm to the service."""
    from monitoring.drill_told import rehearsals_table
    from monitoring.fraud.told import causes_table
    from serving.incidents import DRILLS

    console.print(causes_table())
    console.print(rehearsals_table())
    table = Table("harm to the service", "what happens")
    for name, rehearse in DRILLS.items():
        table.add_row(name, rehearse.__doc__)
    console.print(table)


@drill_app.command("run")
def drill_run(
    names: Annotated[
        list[str],
        typer.Argument(help="A cause (or two, as skew+label_delay), or harm to the service (several, or all)."),
    ],
    model: Annotated[
        Literal["fraud", "recommender"], typer.Option(help="Of a cause: whose. Both models know a bad_release.")
    ] = "fraud",
    strength: Annotated[str, typer.Option(help="Of a cause: weak, mid, strong, or a number up to 1.")] = "mid",
    seed: Annotated[int, typer.Option(min=0, help="Of a cause: which issuer or shop, and which form of it.")] = 100,
    days: Annotated[int, typer.Option(min=1, max=28, help="Of a cause of fraud: how many days to follow it.")] = 21,
    keep: Annotated[
        Path | None, typer.Option(help="Of a cause of fraud: write its tables there, for `mlops diagnose`.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Of a cause of fraud: write the incident as an HTML page there.")
    ] = None,
    directory: Annotated[
        Path, typer.Option("--dir", help="Of harm: a replayed workspace; a copy of it is harmed.")
    ] = Path("runs/demo"),
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Rehearse an incident. A cause: inject it into the simulated issuer and follow the platform day by day to its action.

    With --model recommender, into the simulated shop, its features or its registry, and week by week.
    Harm to the service is done under 200 requests a second. Exit code 1 when a drill did not end as it should.
    """
    from monitoring.fraud.battery import REHEARSED
    from monitoring.rehearsals import REHEARSALS
    from serving.incidents import DRILLS

    if model == "fraud" and set(names) <= {*DRILLS, "all"}:
        rehearse_harm(list(DRILLS) if "all" in names else names, directory, as_json=as_json)
    if len(names) > 1:
        raise SettingsError(f"One cause at a time, not {', '.join(names)}; `mlops drill battery` runs many.")
    if model == "recommender":
        if keep or page:
            raise SettingsError("--keep and --page are for causes of fraud; of the recommender's there is --json.")
        rehearse_weeks(names[0], strength, seed, as_json=as_json)
    if names[0] in REHEARSALS and names[0] not in REHEARSED:
        raise SettingsError(f"{names[0]} is a drill of the recommender; add --model recommender.")
    rehearse_cause(names[0], strength, seed, days, keep, page, as_json=as_json)


def rehearse_harm(names: list[str], directory: Path, *, as_json: bool) -> None:
    from serving.incidents import DRILLS

    home, reports = open_workspace(directory).home, []
    for name in names:
        with errors.status(f"drill {name}"):
            reports.append(DRILLS[name](home))
        if not as_json:
            show_drill(reports[-1])
    if as_json:
        print(json.dumps([r.to_dict() for r in reports]))
    raise typer.Exit(0 if all(r.passed for r in reports) else 1)


def rehearse_cause(
    cause: str, strength: str, seed: int, days: int, keep: Path | None, page: Path | None, *, as_json: bool
) -> None:
    from monitoring.fraud.drill import check, drill, tables_kept
    from monitoring.fraud.folder import write_folder
    from monitoring.fraud.incident_page import write_incident
    from monitoring.fraud.told import as_page, as_record, day_of

    share = strength_of(strength)
    check(cause, share)
    with errors.status(f"living the history of seed {seed}: 40 weeks") as status:

        def show(day: int, seen: Any) -> None:
            status.update(f"day {day} of {days}")
            if not as_json:
                said = f"{seen.diagnosis.cause:<20} {seen.response.action:<18} {seen.diagnosis.reason}"
                console.print(f"day {day:>2}  {day_of(seen.day)}  {said}", highlight=False)

        drilled = drill(cause, share, seed, days, on_day=show)
    last = drilled.watched[days]
    right = last.response.action == drilled.action
    if keep:
        write_folder(tables_kept(drilled), keep)
    if page:
        title = f"Drill {cause}, strength {share:g}, seed {seed}"
        write_incident(list(drilled.watched.values()), page, title=title, command=command_line())
    if as_json:
        by_day = [{"day": day, **as_record(seen)} for day, seen in drilled.watched.items()]
        told = {
            "cause": cause, "strength": share, "seed": seed, "named": last.diagnosis.cause, "action": last.response.action,
            "wanted": drilled.action, "right": right, "days_to_cause": drilled.days_to_cause,
            "average_precision": drilled.average_precision, "average_precision_clean": drilled.average_precision_clean,
            "days": by_day,
        }  # fmt: skip
        print(json.dumps(told))
    else:
        console.print(as_page(last))
        when = f"from day {drilled.days_to_cause} on" if drilled.days_to_cause else "not in the end"
        console.print(
            f"injected [bold]{cause}[/bold], strength {share:g}: named {when}; average precision by the truth "
            f"{drilled.average_precision_clean:.2f} → {drilled.average_precision:.2f}; wanted action {drilled.action}: "
            + ("[green]right[/green]" if right else "[red]wrong[/red]")
        )
        if page:
            console.print(f"page: [link=file://{page.resolve()}]{page}[/link]")
        if keep:
            console.print(f"tables: {keep}   next: mlops diagnose {keep} --as-of {day_of(last.day)}")
    raise typer.Exit(0 if right else 1)


def rehearse_weeks(name: str, strength: str, seed: int, *, as_json: bool) -> None:
    from monitoring.drill_told import as_record, as_table
    from monitoring.rehearsals import rehearsal
    from monitoring.weekly_drill import drill

    share = strength_of(strength)
    rehearsal(name, share)
    with (
        tempfile.TemporaryDirectory(prefix="mlops-drill-") as place,
        errors.status(f"opening the shop of seed {seed}") as status,
    ):
        drilled = drill(name, share, seed, Path(place), on_week=lambda monday: status.update(f"{monday:%Y-%m-%d}"))
    if as_json:
        print(json.dumps(as_record(drilled)))
    else:
        console.print(as_table(drilled))
        console.print(f"{drilled.seen.cause}: {drilled.seen.reason}", highlight=False)
    raise typer.Exit(0 if drilled.right else 1)


def strength_of(text: str) -> float:
    """A strength by its name or as a number."""
    from ingest.card_incidents import STRENGTHS

    try:
        return STRENGTHS.get(text) or float(text)
    except ValueError:
        raise SettingsError(
            f"--strength {text!r} is none of {', '.join(STRENGTHS)} and no number above 0 and up to 1."
        ) from None


@drill_app.command("inject")
def drill_inject(
    name: Annotated[str, typer.Argument(help="skewed_features, stale_features or bad_release.")],
    directory: Dir,
    strength: Annotated[str, typer.Option(help="weak, mid, strong, or a number above 0 and up to 1.")] = "strong",
) -> None:
    """Harm a live platform after its last Monday, and serve the week; the next Monday's watch must name it. It is meant for a demo."""
    from monitoring.inject import inject

    as_of = inject(open_workspace(directory), name, strength_of(strength))
    console.print(
        f"{name} was done to the week from {as_of:%Y-%m-%d}; run the next one (`mlops weeks 1`) and see the watch act."
    )


@drill_app.command("battery")
def drill_battery(
    seeds: Annotated[
        str, typer.Option(help="From-to, for example 100-109; the rules were tuned on 0 to 9.")
    ] = "100-101",
    causes: Annotated[str, typer.Option(help="Comma-separated; all of them by default.")] = "",
    strengths: Annotated[str, typer.Option(help="Comma-separated.")] = "weak,mid,strong",
    weeks: Annotated[int, typer.Option(min=0, help="Clean weeks to watch on each seed, for false alarms.")] = 0,
    money: Annotated[
        bool, typer.Option(help="Count at mid what each answer would have lost; a quarter of the time.")
    ] = True,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Many drills: confusion of causes, accuracy by day, false alarms, time to the cause, and money beside 'retrain on drift'."""
    from ingest.card_incidents import STRENGTHS
    from monitoring.fraud.battery import REHEARSED, as_record, battery, clean_weeks, summary
    from monitoring.fraud.drill import check
    from monitoring.fraud.told import battery_tables

    chosen, wanted = seeds_of(seeds), [c.strip() for c in causes.split(",") if c.strip()] or list(REHEARSED)
    strong = [s.strip() for s in strengths.split(",")]
    if unknown := set(strong) - set(STRENGTHS):
        raise SettingsError(f"--strengths {', '.join(sorted(unknown))}: a battery knows {', '.join(STRENGTHS)}.")
    for cause in wanted:
        check(cause, 1.0)
    began = time.monotonic()
    with errors.status(f"{len(chosen)} seeds, {len(wanted)} causes") as status:

        def show(what: str) -> None:
            status.update(what)
            errors.print(f"{time.monotonic() - began:6.0f} s  {what}", highlight=False)

        rows = battery(chosen, causes=wanted, strengths=strong, jobs=jobs, with_money=money, said=show)
        seconds = time.monotonic() - began
        clean = clean_weeks(chosen, weeks, jobs=jobs, said=show) if weeks else []
    found = {**summary(rows), "seconds": seconds}
    if as_json:
        from dataclasses import asdict

        print(json.dumps({**found, "rows": [as_record(r) for r in rows], "clean": [asdict(c) for c in clean]}))
        return
    for table in battery_tables(found, clean):
        console.print(table)
    console.print(f"{found['drills']} drills in {seconds:.0f} s, {jobs} processes")


def seeds_of(text: str) -> list[int]:
    """The seeds from-to."""
    first, _, last = text.partition("-")
    try:
        found = list(range(int(first), int(last or first) + 1))
    except ValueError:
        found = []
    if not found:
        raise SettingsError(f"--seeds {text!r} is no range; write for example 100-109.")
    return found


@app.command()
def diagnose(
    folder: Annotated[Path, typer.Argument(help="A folder of tables; docs/fraud.md says which, and what each is for.")],
    as_of: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d"], help="Look at all that had arrived before the midnight that begins this day."
        ),
    ],
    page: Annotated[Path | None, typer.Option(help="Write it as an HTML page there.")] = None,
    evidently: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the day's drift of payments as an Evidently report: a run of project fraud in the workspace "
            "DIR/evidently, a page in DIR/reports. Needs features_offline.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Name the cause of what your own fraud model shows, with the engine of the drills.

    Tables (Parquet or CSV): transactions and scores; better with labels, audits, features_offline, features_online, releases,
    training_labels, calendar. What is missing is told as a blind spot and lowers the confidence.
    """
    from monitoring.fraud.diagnose_folder import diagnose_folder
    from monitoring.fraud.incident_page import write_incident
    from monitoring.fraud.told import as_page, as_record

    with errors.status(f"reading {folder}") as status:
        seen, read = diagnose_folder(folder, as_of.date(), said=status.update)
    if page:
        title = f"{folder.name} on {as_of.date()}"
        write_incident([seen], page, title=title, command=command_line(), missing=read.missing, remarks=read.remarks)
    if as_json:
        print(json.dumps(as_record(seen, read.missing, read.remarks)))
    else:
        console.print(as_page(seen, read.missing, read.remarks))
    if evidently:
        write_evidently(read.tables, seen, evidently)


@app.command()
def reviews(
    folder: Annotated[Path, typer.Argument(help="A folder of tables, as for `mlops diagnose`.")],
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Whose payments analysts look at next.")],
    capacity: Annotated[int, typer.Option(min=1, help="How many they can look at.")] = 60,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List what analysts should look at: the payments of which the greatest loss is expected, score times amount.

    What was blocked is no loss any more, and what has a label needs no look.
    """
    from monitoring.fraud.reviews import as_record, as_table, queue_of

    with errors.status(f"reading {folder}"):
        queue = queue_of(folder, day.date(), capacity)
    if as_json:
        print(json.dumps(as_record(queue)))
    else:
        console.print(as_table(queue))


def write_evidently(tables: Any, seen: Any, home: Path) -> None:
    """Told beside the diagnosis, which may be read by another program."""
    from monitoring.fraud.evidently_report import windows_of, write_drift
    from monitoring.fraud.ledger import Ledger

    with errors.status("writing the drift of payments for Evidently"):
        report = write_drift(*windows_of(Ledger.of(tables), seen.day), home, as_of=seen.day, standings=seen.standings)
    moved = ", ".join(column.column for column in report.columns if column.drifted) or "nothing"
    errors.print(f"Evidently: moved {moved}; page {home / report.path}", highlight=False)
    for remark in report.remarks:
        errors.print(f"Evidently: {remark}", highlight=False)
    errors.print(f"next: evidently ui --workspace {home / 'evidently'}", highlight=False)


def show_drill(report: Any) -> None:
    why = "; ".join(report.failures) or "too late"
    outcome = "[green]passed[/green]" if report.passed else f"[red]failed[/red]: {why}"
    console.print(f"[bold]{report.drill}[/bold] {outcome}")
    detect = "-" if report.detect_s is None else f"{report.detect_s:.1f} s"
    console.print(
        f"  {report.requests:,} requests, lost {report.lost}, 5xx {report.server_errors}, asked again {report.retried}, "
        f"wrong version {report.wrong_version}, degraded {report.degraded}, p99 {report.p99_ms:.1f} ms; "
        f"detected after {detect}, restored after {report.restore_s:.1f} s"
        + ("" if report.restore_limit_s is None else f" (promised {report.restore_limit_s:.0f})"),
        highlight=False,
    )
    for note, value in report.notes.items():
        console.print(f"  {note}: {value}", highlight=False)


@fraud_app.command("live")
def fraud_live(
    out: Annotated[
        Path, typer.Option(help="The workspace to write; repeating the command goes on with the next day.")
    ] = Path("runs/fraud"),
    days: Annotated[int, typer.Option(min=1, help="How many days to live and to watch.")] = 7,
    incident: Annotated[
        str | None, typer.Option(help="A cause that begins on the next day; `mlops drill list` has them.")
    ] = None,
    strength: Annotated[str, typer.Option(help="Of the incident: weak, mid, strong, or a number up to 1.")] = "strong",
    seed: Annotated[int, typer.Option(min=0, help="Which issuer; of a new workspace.")] = 7,
    payments: Annotated[int, typer.Option(help="A day, about; of a new workspace.")] = 4_200,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Live days of the simulated issuer with the DAG `watch_fraud`: what was named, what was done, and which version is live.

    A new workspace first lives 40 weeks of history, which takes a minute or two: a rule, a first model that passes its gates,
    its successor, and what is usual on clean days. An incident stays until its owner has mended what the watch told of, or for good.
    """
    stop_when_told()
    from dags.replay_days import replay_days
    from training.settings import build_settings

    settings = build_settings(out, seed=seed, card_payments=payments)
    ordered = (incident, strength_of(strength)) if incident else None
    with errors.status("starting") as status:
        records = replay_days(settings, days, incident=ordered, said=status.update)
    if as_json:
        print(json.dumps(records))
        return
    table = Table("midnight", "cause", "done", "by", "training", "live", "why")
    for r in records:
        frozen = "frozen" if r["training_frozen"] else ""
        table.add_row(r["as_of"], r["cause"], r["outcome"], r["actor"], frozen, r["champion"] or "-", r["why"])
    console.print(table)
    for page in sorted((out / "cards" / "incidents").glob("*.html")):
        console.print(f"incident: {page}", highlight=False)
    console.print(f"next: mlops diagnose {out / 'cards' / 'tables'} --as-of {records[-1]['as_of']}", highlight=False)


@app.command()
def reproduce(version: str, directory: Dir, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Rebuild a version from its record and the lake, and compare it bit for bit; exit code 1 when it differs."""
    from training.reproduce import reproduce as rebuild

    compared = rebuild(open_workspace(directory), version)
    equal = all(c.equal for c in compared)
    if as_json:
        print(json.dumps({"version": version, "equal": equal, "compared": {c.what: c.equal for c in compared}}))
    else:
        table = Table("compared", "recorded", "rebuilt", "equal")
        for c in compared:
            table.add_row(c.what, c.recorded[:16], c.rebuilt[:16], "[green]yes[/green]" if c.equal else "[red]no[/red]")
        console.print(table)
    raise typer.Exit(0 if equal else 1)


@app.command()
def doctor(
    containers: Annotated[bool, typer.Option("--containers", help="What `docker compose up` needs instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Check what the platform needs of this machine, and say what to do; exit code 1 when something is missing."""
    from infra.doctor import examine, examine_containers

    checks = examine_containers(os.environ) if containers else examine(Path.cwd())
    if as_json:
        print(json.dumps([{"check": c.name, "ok": c.ok, "found": c.found, "remedy": c.remedy} for c in checks]))
    else:
        for c in checks:
            mark = "[green]ok[/green]  " if c.ok else "[red]FAIL[/red]"
            console.print(f"{mark} {c.name:<12} {c.found}" + ("" if c.ok else f"\n     → {c.remedy}"), highlight=False)
    raise typer.Exit(0 if all(c.ok for c in checks) else 1)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="online-retail")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("data"),
    url: Annotated[str | None, typer.Option(help="Another place of the same archive.")] = None,
) -> None:
    """Download a published data set; an interrupted download is resumed."""
    from ingest.fetch import PUBLISHED_URL, fetch_online_retail

    if name != "online-retail":
        raise SettingsError(f"There is no data set {name!r}; the one that can be fetched is online-retail.")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"fetching {name}", total=None)

        def show(stage: str, done: int, total: int | None) -> None:
            progress.update(task, description=stage, completed=done, total=total)

        path = fetch_online_retail(out, url or PUBLISHED_URL, progress=show)
    console.print(
        f"{path}   next: mlops replay --source online-retail --data {path} --start 2011-01-24 --weeks 18 --out runs/retail"
    )


@bench_app.command("recommender")
def bench_recommender(
    directory: Dir,
    weeks: Annotated[int, typer.Option(min=1, help="How many weeks to test on: the last ones in the lake.")] = 18,
    compare: Annotated[
        str, typer.Option(help="models, parts (what each source and feature is worth) or rankers.")
    ] = "models",
    label_weeks: Annotated[int, typer.Option(min=1)] = 26,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """The ranker beside popularity, item-kNN, EASE, ALS and repeat x popularity, on the same weeks, in one table."""
    from dataclasses import asdict

    from ingest.lake import read_interactions
    from training.recommender import bench

    measures = {"models": bench.bench_recommender, "parts": bench.bench_parts, "rankers": bench.bench_rankers}
    if compare not in measures:
        raise SettingsError(f"--compare {compare!r} is not known; choose one of {', '.join(measures)}.")
    lake = open_workspace(directory).lake
    latest = lake.reports(datetime.max)[-1].arrived
    events = read_interactions(lake.root, lake.snapshot(latest)).to_pandas()
    tested = [latest - timedelta(days=7 * n) for n in range(weeks, 0, -1)]
    rows = measures[compare](
        events[events["event"] == "purchase"], tested, replay=bench.Replay(label_weeks=label_weeks)
    )
    if as_json:
        print(json.dumps([{**asdict(row), "figures": dict(row.figures)} for row in rows]))
    else:
        console.print(bench.as_table(rows))


@bench_app.command("week")
def bench_week(
    scales: Annotated[str, typer.Option(help="Sizes of the shop to compare, comma-separated.")] = "1,4,16",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """What an ordinary week costs, by step, as the rows grow."""
    from dags.growth import measure_growth

    costs = measure_growth([int(s) for s in scales.split(",")])
    if as_json:
        print(
            json.dumps([{"scale": c.scale, "rows": c.rows, "seconds": c.seconds, "peak_mb": c.peak_mb} for c in costs])
        )
        return
    steps = [step for step in costs[0].seconds if max(c.seconds.get(step, 0) for c in costs) >= 0.1]
    table = Table("rows in the lake", *steps, "all", "peak MB", title="Seconds of one week, by step")
    for c in costs:
        cells = [f"{c.seconds.get(step, 0):.1f}" for step in steps]
        table.add_row(f"{c.rows:,}", *cells, f"{c.total_s:.1f}", f"{c.peak_mb:,.0f}")
    console.print(table)


@bench_app.command("serving")
def bench_serving(
    directory: Annotated[Path, typer.Option("--dir", help="A replayed workspace; a copy of it is served.")] = Path(
        "runs/demo"
    ),
    rounds: Annotated[int, typer.Option(min=1, help="How often each server has its turn.")] = 3,
    soak: Annotated[
        int, typer.Option(min=0, help="Requests after which memory must be as before; 0 for none.")
    ] = 200_000,
    compare: Annotated[
        str, typer.Option(help="servers, or scorers: libraries that could score the trees.")
    ] = "servers",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """The service under load, beside an empty BentoML endpoint and the same ranking behind plain Starlette."""
    from serving.bench import as_tables
    from serving.bench import bench_serving as measure

    if compare == "scorers":
        show_scorers(open_workspace(directory).home, as_json=as_json)
        return
    if compare != "servers":
        raise SettingsError(f"--compare {compare!r} is not known; choose servers or scorers.")

    with errors.status("starting") as status:
        found = measure(open_workspace(directory).home, rounds=rounds, soak=soak, tell=status.update)
    show_found(found, as_tables, as_json=as_json)


@bench_app.command("score")
def bench_score(
    directory: Annotated[Path, typer.Option("--dir", help="A replayed workspace; a copy of it is served.")] = Path(
        "runs/demo"
    ),
    rounds: Annotated[int, typer.Option(min=1, help="How often each load has its turn.")] = 3,
    beside: Annotated[float, typer.Option(min=1, help="Recommendations a second at the same time.")] = 100.0,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Scoring payments at 200 a second, alone and with the recommender at work in the same process."""
    from serving.bench_score import as_tables
    from serving.bench_score import bench_score as measure

    with errors.status("starting") as status:
        found = measure(open_workspace(directory).home, rounds=rounds, beside=beside, tell=status.update)
    show_found(found, as_tables, as_json=as_json)


@bench_app.command("fraud")
def bench_fraud(
    rows: Annotated[
        int, typer.Option(min=10_000, help="Payments to simulate, and rows of each side of the pass.")
    ] = 1_000_000,
    columns: Annotated[int, typer.Option(min=1)] = 30,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Simulating payments, and a drift pass beside Evidently's own preset on the same rows."""
    from dataclasses import asdict

    from monitoring.fraud.bench import bench_fraud as measure

    with errors.status("drawing rows") as status:
        costs = measure(rows, columns, rounds, said=status.update)
    if as_json:
        print(json.dumps([asdict(cost) for cost in costs]))
        return
    table = Table("what", "rows", "columns", "seconds", "from", "to")
    for c in costs:
        low, high = (f"{edge(c.seconds):.2f}" for edge in (min, max))
        table.add_row(c.what, f"{c.rows:,}", str(c.columns), f"{c.median_s:.2f}", low, high)
    console.print(table)


def show_found(found: Any, as_tables: Callable[[Any], Iterable[Any]], *, as_json: bool) -> None:
    """What a bench measured, for a program or for a person."""
    if as_json:
        print(json.dumps(found))
        return
    for table in as_tables(found):
        console.print(table)


def show_scorers(home: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    from serving.bench_scorers import bench_scorers

    costs = bench_scorers(home)
    if as_json:
        print(json.dumps([asdict(cost) for cost in costs]))
        return
    table = Table("scorer", "pairs", "CPU ms", "p50 ms", "p99 ms", "largest difference")
    for c in costs:
        parity = "other trees" if c.parity is None else f"{c.parity:.1e}"
        table.add_row(c.scorer, f"{c.pairs:.0f}", f"{c.cpu_ms:.2f}", f"{c.p50_ms:.2f}", f"{c.p99_ms:.2f}", parity)
    console.print(table)


def open_workspace(directory: Path) -> Any:
    """The workspace of an earlier replay."""
    from training.settings import build_settings
    from training.workspace import Workspace

    if not (directory / "settings.json").exists():
        raise SettingsError(
            f"{directory} is no workspace: it has no settings.json. Make one with `mlops replay --out {directory}`."
        )
    return Workspace(build_settings(directory))


def wait_for(*servers: Any) -> None:
    """Until Ctrl-C is pressed. Raises PlatformError when one of them ends by itself."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while not (ended := [server for server in servers if server.process.poll() is not None]):
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("stopping")
        return
    what = "; ".join(f"{server.name} ended with code {server.process.returncode}, see {server.log}" for server in ended)
    raise PlatformError(f"{what}. Mend what it complains of, then run the same command again.")


def main() -> None:
    """Run the command; a known error is one message and exit code 1, never a stack trace."""
    # Vendors warn each other through our users' terminals, and one of them undoes every filter.
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").propagate = False
    logging.getLogger("py.warnings").addHandler(logging.NullHandler())
    try:
        app()
        code = 0
    except PlatformError as error:
        errors.print(f"[bold red]{type(error).__name__}[/bold red] {escape(str(error))}", highlight=False)
        code = 1
    except OSError as error:
        what = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        errors.print(
            f"[bold red]{type(error).__name__}[/bold red] {escape(what)}. What was finished is kept.", highlight=False
        )
        code = 1
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    # Straight out: on an orderly way out DuckDB's bindings print a page about objects that vendors still hold.
    os._exit(code)


if __name__ == "__main__":
    main()
