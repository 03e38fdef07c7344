"""Rules for packages, imports, tasks, settings and locks, checked on the source."""

import ast
import itertools
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import django
import pytest

from laionweb.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("laionweb", "search", "collections", "postcards")
HEAVY = {"torch", "open_clip", "chdb", "clickhouse_connect"}
# Of Celery: messages and schedules of other versions call them by these names.
TASKS = [
    "search.ingestion.tasks.calibrate",
    "search.ingestion.tasks.hide_removed",
    "search.ingestion.tasks.ingest_shard",
    "search.ingestion.tasks.profile",
    "search.ingestion.tasks.publish",
    "search.ingestion.tasks.recover",
    "search.ingestion.tasks.sweep_uploads",
    "search.ingestion.tasks.watch",
    "usercollections.collecting.sweep",
    "usercollections.exporting.recover",
    "usercollections.exporting.sweep",
    "usercollections.exporting.write_export",
    "usercollections.refining.sweep",
]
# Packages and modules of search/: each imports only from lines above its own.
LAYERS = (
    ("errors",),
    ("circuits", "deadlines", "links"),
    ("cache", "clustering", "csv_output", "fetch", "images", "observability"),
    ("query", "rate_limits", "request_bodies"),
    ("clickhouse", "encoder"),
    ("jobs", "models"),
    ("removals",),
    ("retrieval",),
    ("evaluation",),
    ("ingestion",),
    ("thumbnails",),
    ("api", "web"),
    ("admin", "checks", "clip_retrieval", "templatetags"),
    ("apps", "management", "urls"),
)
# The modules of search that collections import, other than in its commands.
PUBLIC_MODULES = {
    "search.api.errors",
    "search.api.fields",
    "search.api.item_serializers",
    "search.api.negotiation",
    "search.api.serializers",
    "search.cache",
    "search.csv_output",
    "search.errors",
    "search.jobs.broker",
    "search.jobs.leases",
    "search.jobs.runs",
    "search.links",
    "search.models",
    "search.models.signals",
    "search.query.concepts",
    "search.query.describe",
    "search.query.filters",
    "search.query.model",
    "search.query.parser",
    "search.query.ratings",
    "search.query.url_params",
    "search.rate_limits",
    "search.request_bodies",
    "search.removals.takedowns",
    "search.retrieval.column_stats",
    "search.retrieval.feedback",
    "search.retrieval.item_lookup",
    "search.retrieval.items",
    "search.retrieval.popularity",
    "search.retrieval.scan",
    "search.retrieval.service",
    "search.retrieval.vocabulary",
    "search.web.forms",
    "search.web.histogram",
    "search.web.middleware",
}
LIGHT_MODULES = (
    "laionweb.wsgi",
    "laionweb.urls",
    "search.web.search_views",
    "search.api.views",
    "search.retrieval.service",
    "search.ingestion.tasks",
)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path, at_runtime: bool = False) -> list[str]:
    """Full names of what a file imports, wherever in it, relative ones resolved.

    `at_runtime` leaves out what only annotations need.
    """
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    statements = parsed(path).body
    if at_runtime:
        statements = [each for each in statements if not is_for_typing(each)]
    names: list[str] = []
    for node in itertools.chain(*map(ast.walk, statements)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def is_for_typing(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def importers(*modules: str, within: str = "") -> set[str]:
    """The files that import one of the modules or something in them."""
    pattern = re.compile(rf"({'|'.join(map(re.escape, modules))})(\.|$)")
    return {
        str(path.relative_to(ROOT))
        for path in python_files(within)
        if any(pattern.match(name) for name in imports(path))
    }


def python_files(within: str) -> Iterator[Path]:
    for package in [within] if within else PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def run_python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_collections_does_not_shadow_the_standard_library():
    assert (ROOT / "collections").is_dir()
    assert not (ROOT / "collections" / "__init__.py").exists()


@pytest.mark.usefixtures("processes")
def test_manage_py_check_passes():
    done = run_python("manage.py", "check")
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("asked", ["version", "--version"])
def test_manage_py_tells_the_version_of_laionweb(asked):
    done = run_python("manage.py", asked)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version, python = project["project"]["version"], platform.python_version()
    told = f"laionweb {version} (Django {django.get_version()}, Python {python})"
    assert (done.returncode, done.stdout) == (0, f"{told}\n"), done.stderr


def test_the_version_is_a_release_and_not_that_of_the_api(settings):
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert settings.SPECTACULAR_SETTINGS["VERSION"] == "1"


@pytest.mark.usefixtures("processes")
def test_a_web_process_that_asks_encode_workers_never_loads_a_model():
    script = (
        "import os, sys, django\n"
        "os.environ.update(DJANGO_SETTINGS_MODULE='laionweb.settings',\n"
        "    SEARCH_ENCODER='search.encoder.remote.CeleryEncoder',\n"
        "    CELERY_BROKER_URL='redis://127.0.0.1:1/0')\n"
        "django.setup()\n"
        "import laionweb.urls, laionweb.wsgi\n"
        "from PIL import Image\n"
        "from search.encoder import encoder_for\n"
        "from search.errors import SearchUnavailable\n"
        "encoder, refused = encoder_for('ViT-B-32', 'openai'), 0\n"
        "for ask, thing in [(encoder.encode_texts, 'a house'),\n"
        "                   (encoder.encode_images, Image.new('RGB', (9, 9)))]:\n"
        "    try: ask([thing])\n"
        "    except SearchUnavailable: refused += 1\n"
        f"print(refused, sorted({HEAVY} & set(sys.modules)))\n"
    )
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2 []"


def test_migrations_are_complete(db):
    from django.core.management import call_command

    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.usefixtures("processes")
def test_a_web_process_loads_neither_models_nor_engines():
    script = (
        "import importlib, os, sys, django\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'laionweb.settings'\n"
        "django.setup()\n"
        f"for name in {LIGHT_MODULES}: importlib.import_module(name)\n"
        f"print(sorted({HEAVY} & set(sys.modules)))\n"
    )
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("package", "other"),
    [("clickhouse", "search.encoder"), ("encoder", "search.clickhouse")],
)
def test_wrappers_know_neither_models_nor_requests_nor_each_other(package, other):
    above = [
        "search.models",
        "search.web.search_views",
        "search.api",
        "search.retrieval.service",
    ]
    web = ["django.http", "django.views", "rest_framework"]
    assert not importers(*above, *web, other, within=f"search/{package}")


def test_torch_stays_with_the_encoder():
    allowed = {f"search/encoder/{name}.py" for name in ("openclip",)}
    found = importers("torch", "torchvision", "open_clip")
    assert {name for name in found if not name.startswith("postcards/")} <= allowed


def test_clickhouse_connect_stays_with_its_client():
    assert importers("clickhouse_connect", "chdb") <= {"search/clickhouse/client.py"}


def test_urls_from_outside_are_fetched_by_the_guarded_fetcher_alone():
    clients = ["urllib.request", "http.client", "urllib3", "requests"]
    found = importers(*clients, "httpx", "httpx2", "aiohttp", "pycurl")
    # Shards are larger than the fetcher takes; their connections are checked alike.
    assert found <= {
        "search/fetch/__init__.py",
        "search/ingestion/download/checked_pool.py",
        "search/ingestion/download/download.py",
    }


def test_searches_pass_their_one_entrance():
    """Only retrieval.service counts images, resolves concepts, encodes and ranks."""
    behind = [f"search.retrieval.{name}" for name in ("query_encoder", "ranking")]
    index = "search.retrieval.dataset_index.DatasetIndex"
    encoders = "search.encoder.encoder_for"
    outside = {
        name
        for name in importers(*behind, index, encoders)
        if not name.startswith("search/retrieval/")
    }
    assert not outside


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(*packages: str) -> dict[str, set[str]]:
    """The modules that each module imports when it runs, in functions too."""
    paths = {
        module_name(path): path
        for path in itertools.chain(*map(python_files, packages))
        if "migrations" not in path.parts
    }
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        graph[module] = set()
        for name in imports(path, at_runtime=True):
            name = re.sub("^usercollections", "collections", name)
            while name and name not in paths:
                name = name.rpartition(".")[0]
            graph[module] |= {name} - {"", module}
    return graph


def subpackage_of(module: str) -> str:
    """Return "query" for search.query.model, "errors" for search.errors."""
    return module.split(".")[1] if "." in module else ""


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter(import_graph("search", "collections", "laionweb")).prepare()


def test_packages_of_search_import_from_the_layers_below():
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    wrong = {
        (module, imported)
        for module, names in import_graph("search").items()
        for imported in names
        if subpackage_of(imported) != subpackage_of(module)
        and layer[subpackage_of(imported)] >= layer[subpackage_of(module)]
    }
    assert not wrong


def test_search_knows_neither_collections_nor_the_example():
    assert not importers("usercollections", "postcards", within="search")


def test_collections_import_the_public_modules_of_search():
    imported = {
        name
        for module, names in import_graph("search", "collections").items()
        for name in names
        if module.startswith("collections") and ".management." not in module
    }
    assert {name for name in imported if name.startswith("search.")} == PUBLIC_MODULES


def test_the_documentation_lists_every_setting_with_its_default():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| .+ \|$", page, re.M)
    listed = {name: default.strip("` ") for name, default in rows}
    read = dict(settings_read())
    assert listed.keys() == read.keys()
    stated = {name: listed[name] for name in read if read[name] is not None}
    assert stated == {name: read[name] for name in stated}


def settings_read() -> Iterator[tuple[str, str | None]]:
    """Names and defaults in settings.py; None for a default that is computed."""
    source = (ROOT / "laionweb" / "settings.py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if ast.unparse(node.func.value) not in ("env", "os.environ"):
            continue
        defaults = [kw.value for kw in node.keywords if kw.arg == "default"]
        yield node.args[0].value, readable(defaults[0]) if defaults else None


def readable(default: ast.expr) -> str | None:
    """Return a default as the table states it; None for an empty one."""
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return None
    if isinstance(value, list):
        return ",".join(value) or None
    return str(value).lower() if isinstance(value, bool) else str(value) or None


def test_each_task_has_the_name_that_messages_on_their_way_have():
    """A name taken from the module would change when the module moves."""
    from laionweb.celery import app

    app.loader.import_default_modules()
    ours = [name for name in app.tasks if not name.startswith("celery.")]
    assert sorted(ours) == TASKS
    for path in itertools.chain(*map(python_files, PACKAGES)):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                for decorator in node.decorator_list:
                    assert not unnamed_task(decorator), f"{path}: {node.name}"


def unnamed_task(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    if ast.unparse(called).rpartition(".")[2] not in ("shared_task", "task"):
        return False
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    return not any(keyword.arg == "name" for keyword in keywords)


def test_the_schedule_names_tasks():
    from django.conf import settings

    entries = settings.CELERY_BEAT_SCHEDULE.values()
    assert {entry["task"] for entry in entries} <= set(TASKS)


def test_sweepers_have_queues_of_their_own():
    """In one queue, a message of one would keep the other from sending work again."""
    from django.conf import settings

    from laionweb.celery import app

    app.loader.import_default_modules()
    queues = [
        app.tasks[entry["task"]].queue
        for entry in settings.CELERY_BEAT_SCHEDULE.values()
        if entry["schedule"] == settings.RECOVERY_INTERVAL_S
    ]
    assert sorted(queues) == ["export", "publish"]


def test_the_steps_of_a_worker_exist():
    from celery.utils.imports import symbol_by_name

    from laionweb.celery import app

    assert all(map(symbol_by_name, app.steps["worker"]))


def test_docstrings_say_what_a_thing_does():
    """They answer no question: "Return whether …", never "Whether …"."""
    questions = re.compile(r"(What|How|Whether|Who|Whose|Those|Of)\b")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{path.relative_to(ROOT)}: {docstring.splitlines()[0]}"
        for path in own_files()
        for node in ast.walk(parsed(path))
        if isinstance(node, documented) and (docstring := ast.get_docstring(node))
        if questions.match(docstring)
    ]
    assert not found, "\n".join(found)


def own_files() -> Iterator[Path]:
    for folder in (*PACKAGES, "benchmarks", "deploy", "tests"):
        yield from python_files(folder)
    yield from ROOT.glob("*.py")


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_locks_have_what_is_asked_for_with_hashes_and_name_no_index(name):
    lock = (ROOT / f"{name}.txt").read_text(encoding="utf-8")
    assert pins(f"{name}.in") <= pins(f"{name}.txt")
    for package in re.findall(r"^[a-z].*", lock, re.M):
        assert package.endswith(" \\"), f"no hash follows: {package}"
    assert "://" not in lock and "--index" not in lock


def test_the_lock_of_the_tools_has_exactly_what_is_asked_for():
    """It is installed without dependencies."""
    assert pins("requirements-tools.in") == pins("requirements-tools.txt")


def pins(name: str) -> set[tuple[str, str]]:
    """Return names and versions, the names as pip compares them."""
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", text, re.M)
    return {(re.sub("[-_.]+", "-", pin).lower(), version) for pin, version in lines}


def test_the_makefile_has_its_commands():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([\w-]+):.* ## ", makefile, re.M)
    names = "help run dev test test-fast soak lint lock bench"
    assert set(targets) == set(names.split())


def test_continuous_integration_runs_the_tests():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()
