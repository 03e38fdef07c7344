"""Run all services of production on this machine, without docker: make dev.

PostgreSQL and Redis have to be installed. ClickHouse is the server of CLICKHOUSE_URL;
without that variable, the embedded engine behind the tests' HTTP endpoint. Data is in
var/dev. Ctrl-C stops everything.
"""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bootstrap import postgres_folder  # noqa: E402

FOLDER = ROOT / "var" / "dev"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 25
CELERY = [sys.executable, "-m", "celery", "-A", "laionweb"]
MANAGE = [sys.executable, "manage.py"]


class CannotStart(Exception):
    """The message is one sentence for the user."""


class Services:
    """The processes that are running, and the environment of the next ones."""

    def __init__(self) -> None:
        self.running: list[tuple[str, subprocess.Popen]] = []
        self.environment = dict(os.environ)

    def start(self, name: str, *command: str) -> None:
        """Start a process that logs to var/dev/NAME.log."""
        with (FOLDER / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=ROOT, env=self.environment
            )
        self.running.append((name, process))

    def wait_for(self, name: str, port: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            self.check()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.2)
        raise CannotStart(f"{name} does not answer; see {FOLDER / name}.log.")

    def check(self) -> None:
        for name, process in self.running:
            if process.poll() is not None:
                raise CannotStart(f"{name} has ended; see {FOLDER / name}.log.")

    def stop(self) -> None:
        """Stop all processes in reverse order; ignore another Ctrl-C."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _, process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
            process.kill()


def main() -> int:
    services = Services()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        start(services)
        while True:
            services.check()
            time.sleep(1)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping …")
        return 0
    finally:
        services.stop()


def start(services: Services) -> None:
    redis, cache, postgres = free_port(), free_port(), free_port()
    web = int(os.environ.get("PORT", "8000"))
    # Without persistence, because the ledger is the record of the work to do.
    options = ["--port", str(redis), "--save", ""]
    services.start("redis", program("redis-server"), *options)
    evicting = ["--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"]
    options = ["--port", str(cache), "--save", "", *evicting]
    services.start("cache", program("redis-server"), *options)
    start_postgres(services, postgres)
    services.wait_for("redis", redis)
    services.wait_for("cache", cache)
    services.environment |= {
        "VAR_DIR": str(FOLDER),
        "DATABASE_URL": f"postgres://postgres@127.0.0.1:{postgres}/postgres",
        "CELERY_BROKER_URL": f"redis://127.0.0.1:{redis}/0",
        "CACHE_URL": f"rediscache://127.0.0.1:{cache}/0",
        "HOST": os.environ.get("HOST", "127.0.0.1"),
    }
    if "CLICKHOUSE_URL" not in os.environ:
        engine = free_port()
        endpoint = str(ROOT / "tests" / "support" / "clickhouse_http.py")
        folder = str(FOLDER / "clickhouse")
        services.start("clickhouse", sys.executable, endpoint, folder, str(engine))
        services.wait_for("clickhouse", engine)
        url = f"clickhouse://127.0.0.1:{engine}/default"
        services.environment["CLICKHOUSE_URL"] = url
    subprocess.run(
        [*MANAGE, "migrate", "--verbosity", "0"], env=services.environment, check=True
    )
    services.start("ingest", *CELERY, "worker", "--queues", "ingest,publish,export")
    services.start("beat", *CELERY, "beat")
    services.environment["SEARCH_ENCODER"] = "search.encoder.remote.CeleryEncoder"
    options = ["--queues", "encode", "--pool", "solo", "--hostname", "encode@%h"]
    services.start("encode", *CELERY, "worker", *options)
    config = str(ROOT / "deploy" / "gunicorn.conf.py")
    gunicorn = [sys.executable, "-m", "gunicorn", "laionweb.wsgi", "--config", config]
    services.start("web", *gunicorn)
    services.wait_for("web", web)
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/", timeout=60):
        print(f"laionweb runs at http://127.0.0.1:{web}/, its logs are in {FOLDER}.")
    print("To create an admin: manage.py createsuperuser, with these variables:")
    for name in ("VAR_DIR", "DATABASE_URL", "CLICKHOUSE_URL", "CELERY_BROKER_URL"):
        print(f"  export {name}={services.environment[name]}")


def start_postgres(services: Services, port: int) -> None:
    folder = postgres_folder()
    if not folder:
        raise CannotStart("PostgreSQL is not installed (Debian: postgresql).")
    data = FOLDER / "postgres"
    as_postgres: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_postgres = ["runuser", "-u", "postgres", "--"]
        # One for each checkout, in a folder that this user may enter.
        checkout = hashlib.blake2b(str(ROOT).encode(), digest_size=4).hexdigest()
        data = Path(f"/var/tmp/laionweb-dev-postgres-{checkout}")
    if not data.exists():
        initdb = [f"{folder}/initdb", "-D", str(data), "-U", "postgres", "-A", "trust"]
        subprocess.run(
            [*as_postgres, *initdb], check=True, stdout=subprocess.DEVNULL, cwd="/"
        )
    options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(data)]
    services.start("postgres", *as_postgres, f"{folder}/postgres", *options)
    services.wait_for("postgres", port)


def program(name: str) -> str:
    path = shutil.which(name)
    if not path:
        raise CannotStart(f"{name} is not installed (Debian: {name}).")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
