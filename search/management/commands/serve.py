"""Run web server, search engine and worker in one process, for a single machine."""

import errno
import logging
import os
import secrets
import signal
import socket
import sys
from threading import Event, Thread
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, call_command
from django.core.management.base import CommandParser
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, connections
from waitress import create_server
from waitress.server import BaseWSGIServer

from laionweb import slow_clients
from laionweb.embedded import EmbeddedWorker
from search.errors import SearchError

MAX_PORT = 65535
MAX_REQUEST_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1024 * 1024
MAX_CONNECTIONS = 700  # a process may have 1,024 files open
TASK_GRACE_S = 10
MIN_LOG_LEVEL = {
    "celery": logging.WARNING,
    "kombu": logging.ERROR,
    "clickhouse_connect": logging.WARNING,
}


class Error(CommandError):
    """A CommandError, by a name that manage.py may print before the sentence."""


class Command(BaseCommand):
    help = "Starts laionweb: the web pages, the search engine and the imports."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument(
            "--no-example",
            action="store_true",
            help="Do not make the example dataset Postcards.",
        )
        parser.add_argument(
            "--folder",
            default="",
            help="Import a folder of images, or another source, not the example.",
        )

    def handle(
        self, *, host: str, port: int, no_example: bool, folder: str, **options: Any
    ) -> None:
        stop_on_signals()
        source = os.path.abspath(os.path.expanduser(folder)) if folder else ""
        if source and not os.path.exists(source):
            raise Error(f"There is no folder {source}.")
        for name, level in MIN_LOG_LEVEL.items():
            logging.getLogger(name).setLevel(level)
        try:
            self.serve(listen(host, port), host, no_example, source)
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
        except (SearchError, CommandError) as error:
            raise Error(str(error)) from error

    def serve(
        self, listener: socket.socket, host: str, no_example: bool, source: str
    ) -> None:
        check_engine()
        prepare_database()
        password = create_admin()
        worker, stopped = start_worker(), Event()
        address = address_of(listener, host)
        loading = Thread(target=self.load, args=[source, address, stopped], daemon=True)
        try:
            server = make_server(listener, host)
            Thread(target=warm_up, name="warm-up", daemon=True).start()
            self.stdout.write(banner(address, password))
            self.stdout.flush()
            if source or not no_example:
                loading.start()
            server.run()
        finally:
            self.stdout.write("\nStopping …")
            stopped.set()
            if loading.is_alive():
                loading.join(TASK_GRACE_S)
            self.stop(worker)

    def load(self, source: str, address: str, stopped: Event) -> None:
        """Load a source or the example beside the server, whose page opens at once."""
        try:
            if source:
                self.import_source(source, address, stopped)
            else:
                call_command("load_example", queue=True, stopped=stopped)
        except (SearchError, CommandError) as error:
            self.say(str(error))
        finally:
            connections.close_all()

    def import_source(self, source: str, address: str, stopped: Event) -> None:
        from search.ingestion.setup.one_step import import_source

        dataset = import_source(source, self.say, stopped)
        if dataset is not None:
            self.say(f"Search them: {address}?dataset={dataset.slug}")

    def say(self, sentence: str) -> None:
        self.stdout.write(f"  {sentence}\n")
        self.stdout.flush()

    def stop(self, worker: EmbeddedWorker | None) -> None:
        if worker is None or worker.stop(TASK_GRACE_S):
            return
        # A thread in native code would crash the interpreter at its exit. The ledger
        # records the interrupted task, and the next start repeats it.
        self.stdout.write("The running import goes on at the next start.")
        self.stdout.flush()
        os._exit(0)


def stop_on_signals() -> None:
    """Stop on SIGINT, which shells ignore for background jobs, and on SIGTERM."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise Error with a hint if the port is unavailable.

    Called before anything slow, so that a second start fails at once.
    """
    if not 0 <= port <= MAX_PORT:
        raise Error(f"There is no port {port}: choose one from 1 to {MAX_PORT}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        raise Error(explain_bind_error(error, host, port)) from error
    return listener


def explain_bind_error(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is in use: stop the other program or choose another port,"
            " e.g. PORT=8001 make run."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"Port {port} is reserved for the system's administrator: choose one"
            " above 1023, e.g. PORT=8001 make run."
        )
    return (
        f"{host} is not an address of this machine: choose another host,"
        " e.g. HOST=127.0.0.1 make run."
    )


def check_engine() -> None:
    from search.clickhouse import client

    client.ping()


def prepare_database() -> None:
    try:
        call_command("migrate", verbosity=0, interactive=False)
    except DatabaseError as error:
        reason = str(error).strip().partition("\n")[0]
        raise Error(f"The database cannot be used: {reason}") from error


def create_admin() -> str:
    """Return the password of the admin account if it is created now, else ""."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return ""
    password = secrets.token_urlsafe(12)
    # A name that nobody guesses, so that nobody can try passwords.
    name = settings.ADMIN_NAME or f"admin-{secrets.token_hex(3)}"
    users.create_superuser(name, password=password)
    return password


def start_worker() -> EmbeddedWorker | None:
    """Start the worker of the in-memory broker; others have their own processes."""
    if not settings.CELERY_BROKER_URL.startswith("memory"):
        return None
    from search.ingestion.sweeper import recover_alone

    worker = EmbeddedWorker()
    worker.start()
    recover_alone()
    return worker


def make_server(listener: socket.socket, host: str) -> BaseWSGIServer:
    # WhiteNoise warns if the folder does not exist.
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    if host not in settings.ALLOWED_HOSTS:
        settings.ALLOWED_HOSTS.append(host)
    server = create_server(
        get_wsgi_application(),
        sockets=[listener],
        threads=settings.SERVER_THREADS,
        ident="laionweb",
        max_request_body_size=MAX_REQUEST_BYTES,
        channel_timeout=slow_clients.IDLE_S,
        cleanup_interval=slow_clients.CLEANUP_S,
        connection_limit=MAX_CONNECTIONS,
        asyncore_use_poll=True,
        clear_untrusted_proxy_headers=not settings.TRUSTED_PROXIES,
    )
    slow_clients.limit_reading(server)
    return server


def warm_up() -> None:
    from search.retrieval.service import warm_up

    warm_up()


def address_of(listener: socket.socket, host: str) -> str:
    wild = host in ("", "0.0.0.0", "::")
    shown = "127.0.0.1" if wild else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}/"


def banner(address: str, password: str) -> str:
    python = os.path.relpath(sys.executable)
    names = get_user_model().objects.filter(is_superuser=True)
    name = names.earliest("pk").get_username()
    if password:
        account = f"{name}, password {password}\n           (shown this once)"
    else:
        account = f"{name}; a new password: {python} manage.py changepassword {name}"
    return f"\n  laionweb runs at {address}\n  Account: {account}\n  Ctrl-C stops it.\n"
