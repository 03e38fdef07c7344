"""Fixtures for all tests: a throwaway PostgreSQL, data, a server, a browser."""

import gc
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import django
import pytest
from django.conf import settings
from filelock import FileLock
from support import python_process
from support.distribution import Scheduling, place_of

import bootstrap
from bootstrap import postgres_folder

ROOT = Path(__file__).resolve().parent.parent
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 6 * 2**30  # three times what all tests write


def has_room_in_memory() -> bool:
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_BYTES:
        return False
    facts = Path("/proc/meminfo").read_text()
    return int(re.search(r"MemAvailable: +(\d+)", facts)[1]) * 1024 > MEMORY_BYTES


# A disk would take most of the time: engines and databases write many small files.
if "TMPDIR" not in os.environ and has_room_in_memory():
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
TEMPORARY = Path(tempfile.mkdtemp(prefix="laionweb-tests-"))
START_TIMEOUT_S = 300
STOP_TIMEOUT_S = 30
PAGE_TIMEOUT_MS = 60_000  # what happens at all, happens in less on any machine
EXAMPLE_POSTCARDS = 600
EMBEDDED = ("DATABASE_URL", "CLICKHOUSE_URL", "CELERY_BROKER_URL", "CACHE_URL")
LIMITED = (
    "DRAWING",
    "EXPORT",
    "IMAGE",
    "ITEM",
    "PAGE",
    "REFINE",
    "SEARCH",
    "THUMBNAIL",
)
# Half a second less for each password than by the hasher of production.
QUICK_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SERVE_QUICKLY = f"""
import sys
from django.conf import settings
from django.core.management import execute_from_command_line
settings.PASSWORD_HASHERS = {QUICK_HASHERS}
execute_from_command_line(["manage.py", *sys.argv[1:]])"""
# A test that asks for one of these cannot be among the fast ones.
STARTING_FIXTURES = {
    "browser",
    "embedded_environment",
    "postcards_folder",
    "postgres",
    "processes",
    "tools",
    "torch",
}
BROWSER = pytest.StashKey[tuple]()  # Playwright and Chromium
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fast", action="store_true", help="run the tests that start nothing"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before pytest-django has the settings read it."""
    config.option.basetemp = config.option.basetemp or TEMPORARY / "pytest"
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # the tests run in other processes, which must not inherit it
    if "laionweb.settings" in sys.modules:
        pytest.exit("Unset DJANGO_SETTINGS_MODULE: these tests set it themselves.", 4)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    var_dir = TEMPORARY / "var"
    os.environ.update(
        DJANGO_SETTINGS_MODULE="laionweb.settings",
        VAR_DIR=str(var_dir),
        DATABASE_URL=f"postgres://postgres@127.0.0.1:{free_port()}/laionweb",
        # The embedded engine opens one folder in a process.
        CLICKHOUSE_URL=f"chdb://{var_dir / 'clickhouse'}",
        CELERY_BROKER_URL="memory://",
        # Models that compute side by side would wait for each other's threads.
        OMP_NUM_THREADS="1",
        INGEST_FOLDERS=str(TEMPORARY / "imports"),
        SOURCE_ALLOWED_HOSTS="127.0.0.1,localhost",
        HOST="127.0.0.1",
        DEBUG="false",
        ADMIN_NAME="admin",
        # A hurried test run is no abuse; what tests limits, sets them itself.
        **{f"LIMIT_{scope}": "1000000/min" for scope in LIMITED},
        LIMIT_LOGIN="",
        # On a busy machine a process takes long to load its model.
        SEARCH_TIMEOUT_S="60",
    )
    (var_dir / "static").mkdir(parents=True)
    (TEMPORARY / "imports").mkdir()
    django.setup()
    settings.PASSWORD_HASHERS = QUICK_HASHERS
    share_static_files()


def share_static_files() -> None:
    """Have WhiteNoise look at the static files once, not for each test's client."""
    from whitenoise.middleware import WhiteNoiseMiddleware

    look = WhiteNoiseMiddleware.add_files_from_finders
    known: dict[object, dict] = {}

    def add_files_from_finders(self) -> None:
        key = (self.static_prefix, self.max_age)
        if key not in known:
            look(self)
            known[key] = dict(self.files)
        self.files.update(known[key])

    WhiteNoiseMiddleware.add_files_from_finders = add_files_from_finders


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(TEMPORARY, ignore_errors=True)


def refuse_to_start_anything() -> None:
    """Fail the tests that load torch or start a process without saying so."""
    sys.modules["torch"] = None  # type: ignore[assignment]

    def refuse(event: str, arguments: tuple) -> None:
        if event == "subprocess.Popen":
            raise RuntimeError("have this test use the fixture processes")

    sys.addaudithook(refuse)


def pytest_collection_modifyitems(config: pytest.Config, items: list) -> None:
    """Leave out the long tests unless -m names them, and with --fast many more.

    The slow ones come first, and in a group those with a browser.
    """
    items.sort(key=lambda item: (place_of(item.path), not has_browser(item)))
    if config.getoption("fast"):
        leave_out(config, items, starts_something)
        refuse_to_start_anything()
    elif not config.option.markexpr:
        leave_out(config, items, lambda item: item.get_closest_marker("soak"))
    # What has been imported stays: a collection of garbage need not look at it.
    gc.freeze()
    gc.set_threshold(10_000)


def leave_out(config: pytest.Config, items: list, condition: Callable) -> None:
    left_out = {item for item in items if condition(item)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def starts_something(item: pytest.Item) -> object:
    """Return whether a test needs a database, another program or a model."""
    marked = item.get_closest_marker("django_db") or item.get_closest_marker("soak")
    return marked or not STARTING_FIXTURES.isdisjoint(item.fixturenames)


def has_browser(item: pytest.Item) -> bool:
    return item.path.stem.endswith("_browser")


def pytest_xdist_make_scheduler(config: pytest.Config, log) -> Scheduling:
    config.option.loadscopereorder = False  # it puts modules of few tests last
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def processes() -> None:
    """Tell of tests and fixtures that start a program, or this one once more."""


@pytest.fixture(scope="session")
def torch() -> None:
    """Tell of tests and fixtures that load torch."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- PostgreSQL


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: None) -> None:
    """Have pytest-django make its database in the throwaway server."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[None]:
    with started_postgres(urlsplit(os.environ["DATABASE_URL"]).port):
        yield


@contextmanager
def started_postgres(port: int) -> Iterator[Path]:
    """A server on this port, thrown away on leaving; yields the folder of its data."""
    folder = Path(tempfile.mkdtemp(prefix="laionweb-postgres-"))
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
    try:
        run_postgres("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
        run_postgres(
            "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start"
        )
        yield data
    finally:
        if (data / "postmaster.pid").exists():
            run_postgres("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def run_postgres(program: str, *arguments: object) -> None:
    folder = postgres_folder()
    assert folder, "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    command = [f"{folder}/{program}", *map(str, arguments)]
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    # A pipe would stay open in the server's hands.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, stdout=output, stderr=output, cwd="/")
        output.seek(0)
        assert done.returncode == 0, output.read()


# --- Example data


@pytest.fixture(scope="session")
def postcards_folder(request: pytest.FixtureRequest, torch) -> Path:
    """Two shards of a thousand postcards, drawn once for all processes.

    pytest's cache keeps them for the next runs, until what draws or embeds changes.
    """
    from postcards.shards import is_complete, write_shard

    drawn = request.config.cache.mkdir(f"postcards-{what_draws_postcards()}")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    # Two processes that need them at the same time draw one each.
    for number in (1, 0) if worker[-1:] in tuple("13579") else (0, 1):
        with FileLock(f"{drawn}.{number}.lock"):
            if not is_complete(drawn, number):
                write_shard(drawn, number, 1000, lambda _: None)
    return drawn


def what_draws_postcards() -> str:
    """Return a digest of the code, the model and the packages."""
    digest = hashlib.sha256()
    sources = [ROOT / "search/encoder/openclip.py", *(ROOT / "postcards").rglob("*")]
    for path in sorted(sources):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.read_bytes())
    for package in ("numpy", "open_clip_torch", "pillow", "pyarrow", "torch"):
        digest.update(version(package).encode())
    return digest.hexdigest()[:16]


def import_all(dataset) -> None:
    """All of a dataset's shards, in this process and without messages."""
    from search.ingestion import control, publishing, shard_run
    from search.models import Shard

    control.discover_shards(dataset)
    dataset.shards.update(state=Shard.State.QUEUED)
    for shard in dataset.shards.all():
        shard_run.ingest(shard.pk)
    for number in publishing.due_partitions(dataset):
        publishing.publish(dataset, number)


@pytest.fixture(scope="session")
def postcards_dataset(postcards_folder: Path, django_db_setup, django_db_blocker):
    """The dataset of the postcards, searchable; all tests share it: leave it as it is.

    It is committed, so a test with transaction=True, which empties all tables, would
    take it from the tests that follow.
    """
    from postcards.shards import MODEL
    from search.models import Dataset, Shard

    with django_db_blocker.unblock():
        dataset = Dataset.objects.create(
            slug="postcards",
            title="Postcards",
            model=MODEL,
            weights="",
            source=str(postcards_folder),
            without_removal_list=True,
        )
        import_all(dataset)
        assert not dataset.shards.exclude(state=Shard.State.INGESTED).exists()
    return dataset


@pytest.fixture(scope="session")
def crowds():
    """Two made-up datasets in clusters in the engine; the ledger lacks them."""
    from support.crowd import calibrated, described, drawn, put_in_engine, scattered

    crowds = {
        "crowd": drawn(100_000, index="clusters"),
        "flock": drawn(12_000, seed=1, index="clusters"),
    }
    found = {}
    for slug, crowd in crowds.items():
        dataset = described(crowd, slug)
        put_in_engine(crowd, dataset, clusters=len(crowd) // 200)
        found[slug] = crowd, calibrated(crowd, dataset, scattered(crowd, 200, seed=8))
    return found


@pytest.fixture(scope="module")
def crowd(crowds, django_db_setup, django_db_blocker):
    """The rows of the dataset "crowd", 100,000 drawn by chance; leave it as it is."""
    with in_ledger("crowd", crowds, django_db_blocker) as crowd:
        yield crowd


@pytest.fixture(scope="module")
def flock(crowds, django_db_setup, django_db_blocker):
    """The rows of "flock": but 12,000, for walks through all of them."""
    with in_ledger("flock", crowds, django_db_blocker) as flock:
        yield flock


@contextmanager
def in_ledger(slug: str, crowds, django_db_blocker) -> Iterator:
    """Committed, so that all threads see it, and away again with the module."""
    from support.crowd import described, put_in_ledger

    crowd, calibration = crowds[slug]
    dataset = described(crowd, slug, calibration=calibration)
    with django_db_blocker.unblock():
        put_in_ledger(crowd, dataset)
    yield crowd
    with django_db_blocker.unblock():
        dataset.delete()


# --- A server


@dataclass
class Server:
    url: str
    password: str  # of the account admin
    process: subprocess.Popen
    log: Path
    var_dir: Path


@pytest.fixture(autouse=True)
def closed_circuits() -> Iterator[None]:
    """Let no test find a service away because it was in the test before."""
    yield
    from search import cache
    from search.encoder import remote

    for circuit in (cache.CIRCUIT, remote.CIRCUIT):
        circuit.close()


@pytest.fixture
def no_datasets(db) -> None:
    """Hide the datasets that other tests of this process share."""
    from search.models import Dataset

    Dataset.objects.all().delete()


@pytest.fixture(scope="session")
def embedded_environment() -> Callable[..., dict[str, str]]:
    """The environment of a first start on a laptop, with a VAR_DIR of its own."""

    def environment(var_dir: Path, **more: str) -> dict[str, str]:
        kept = {key: os.environ[key] for key in os.environ if key not in EMBEDDED}
        return {**kept, "VAR_DIR": str(var_dir), "PORT": "0", **more}

    return environment


@pytest.fixture(scope="session")
def example_server(
    embedded_environment, postcards_folder, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., AbstractContextManager[Server]]:
    """Starts servers as a newcomer does, with 600 postcards.

    Drawing would take most of the time, so the postcards are there, and most of their
    thumbnails show the same one.
    """
    first = tmp_path_factory.mktemp("first")
    copy_first_rows(postcards_folder, first / "postcards", EXAMPLE_POSTCARDS)
    spare_drawing(first / "thumbnails")

    @contextmanager
    def started(**settings: str) -> Iterator[Server]:
        folder = tmp_path_factory.mktemp("serve")
        shutil.copytree(first, folder / "var")
        settings["EXAMPLE_POSTCARDS"] = str(EXAMPLE_POSTCARDS)
        environment = embedded_environment(folder / "var", **settings)
        program = ("-c", SERVE_QUICKLY)
        starting = started_server(
            folder / "log", environment, program=program, torch=True
        )
        with starting as server:
            starting.wait_for("postcards can be searched")
            yield server

    return started


def copy_first_rows(postcards: Path, folder: Path, rows: int) -> None:
    """Write a shard of the first rows of shard 0 of postcards."""
    import numpy as np
    import pyarrow.parquet as pq

    folder.mkdir()
    for name in ("img_emb_0.npy", "text_emb_0.npy"):
        np.save(folder / name, np.load(postcards / name)[:rows])
    table = pq.read_table(postcards / "metadata_0.parquet")
    pq.write_table(table.slice(0, rows), folder / "metadata_0.parquet")


DRAWN_POSTCARDS = 12  # the guide of the API searches by one of them


def spare_drawing(thumbnails: Path) -> None:
    """Cache thumbnails of most postcards; the server draws the first, and a tenth."""
    from postcards.shards import jpeg
    from search.thumbnails.service import resize_all, storage_key
    from search.thumbnails.store import Store

    images, store = resize_all(jpeg(0)), Store(thumbnails, limit=2**30)
    for number in range(DRAWN_POSTCARDS, EXAMPLE_POSTCARDS):
        if number % 10:
            store.put(storage_key(f"/postcards/{number}.jpg"), images)


@pytest.fixture(scope="session")
def live_server_process(example_server) -> Iterator[Server]:
    """A server with 600 postcards."""
    with example_server() as server:
        yield server


class started_server:
    """A manage.py serve that has printed its banner; stopped on leaving."""

    def __init__(
        self,
        log: Path,
        environment: dict[str, str],
        *options: str,
        program: tuple[str, ...] = ("manage.py",),
        torch: bool = False,
    ):
        self.log = log
        self.var_dir = Path(environment["VAR_DIR"])
        with log.open("w") as output:
            self.process = python_process.Popen(
                [*program, "serve", *options],
                torch=torch,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment,
            )

    def __enter__(self) -> Server:
        try:
            banner = self.wait_for("Ctrl-C stops it")
        except BaseException:
            self.__exit__()
            raise
        password = re.search(r", password (\S+)", banner)
        return Server(
            url=re.search(r"http://\S+", banner)[0].rstrip("/"),
            password=password[1] if password else "",
            process=self.process,
            log=self.log,
            var_dir=self.var_dir,
        )

    def wait_for(self, sentence: str) -> str:
        """Return what is printed, once a sentence is."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            printed = self.log.read_text()
            if sentence in printed:
                return printed
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"“{sentence}” was not printed:\n{self.log.read_text()}")

    def __exit__(self, *_) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """A server of files; downloads report each piece and reserve no disk space."""
    from support.file_server import Server

    from search.ingestion.download import download, partial_file

    monkeypatch.setattr(download, "REPORT_S", 0)
    monkeypatch.setattr(partial_file, "RESERVE_BYTES", 0)
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def fetch(file_server, tmp_path: Path) -> Callable[..., str]:
    from support.file_server import Fetch

    return Fetch(file_server, tmp_path / "work")


# --- Other people's tools


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder in which the programs of requirements-tools.txt lie."""
    if not bootstrap.TOOLS.stamp.exists():
        pytest.skip(
            f"{bootstrap.TOOLS.name} could not be installed (make lint tries anew)"
        )
    return bootstrap.TOOLS.python.parent


# --- A browser


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest):
    """Chromium, which modules that end in _browser leave open for the next one.

    While it is open, Django refuses its database in this process: Playwright's event
    loop runs then. So keep tests with a page in such modules, and have them look at the
    live server alone.
    """
    stash = request.config.stash
    if BROWSER not in stash or not stash[BROWSER][1].is_connected():
        close_browser(request.config)
        stash[BROWSER] = started_browser()
    return stash[BROWSER][1]


def started_browser():
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PAGE_TIMEOUT_MS)
    playwright = sync_playwright().start()
    return playwright, playwright.chromium.launch(
        executable_path=bootstrap.chromium(), args=CHROMIUM_OPTIONS
    )


def close_browser(config: pytest.Config) -> None:
    if open_one := config.stash.get(BROWSER, None):
        playwright, browser = open_one
        browser.close()
        playwright.stop()
        del config.stash[BROWSER]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is None or not has_browser(nextitem):
        close_browser(item.config)


@pytest.fixture
def page(opened):
    """A page on the live server; whatever it complains of fails the test."""
    return opened()


@pytest.fixture
def opened(browser, live_server_process: Server) -> Iterator[Callable]:
    """Opens pages on the live server, in contexts of their own."""
    with opening(browser, live_server_process.url) as open_page:
        yield open_page


@contextmanager
def opening(browser, url: str) -> Iterator[Callable]:
    """Yields what opens pages of a server; what they complain of fails the test.

    A test that provokes an error on purpose takes it out of page.complaints.
    """
    pages = []

    def open_page(**options):
        page = browser.new_context(base_url=url, **options).new_page()
        page.set_default_timeout(PAGE_TIMEOUT_MS)
        page.complaints = watched(page, url)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert not sum((page.complaints for page in pages), [])


def watched(page, own_url: str) -> list[str]:
    """Fills with console errors, uncaught exceptions and requests to other hosts."""
    complaints: list[str] = []

    def heard(message) -> None:
        if message.type == "error":
            complaints.append(f"console: {message.text}")

    def requested(request) -> None:
        if not request.url.startswith((f"{own_url}/", "data:", "blob:")):
            complaints.append(f"request to another host: {request.url}")

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
    page.on("request", requested)
    return complaints
