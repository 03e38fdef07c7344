"""manage.py export: the same exports, from a terminal."""

import json
import os
import pty
import termios
from io import StringIO
from uuid import uuid4

import pytest
from conftest import ROOT
from django.core.management import CommandError, call_command
from support import hostile_items, python_process
from support.collection_helpers import collection, first_ids
from support.export_helpers import check, rows

from search.errors import SearchUnavailable
from search.models import SYSTEM, Dataset
from search.query.filters import Filters

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def crowd(django_db_setup, django_db_blocker):
    with hostile_items.dataset(django_db_blocker) as crowd:
        yield crowd


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("ada")


@pytest.fixture(autouse=True)
def signals_as_they_were(monkeypatch):
    from usercollections.management.commands import export

    monkeypatch.setattr(export, "stop_on_signals", lambda: None)


def export(*words: object) -> str:
    out = StringIO()
    call_command("export", *map(str, words), stdout=out)
    return out.getvalue()


def manifest_of(folder) -> dict:
    manifest = json.loads((folder / "manifest.json").read_text())
    check(manifest, folder)
    return manifest


def test_each_kind_is_written_into_a_folder(crowd, user, tmp_path):
    from usercollections.models import Concept

    dataset = Dataset.objects.get(slug="hostile")
    vector = crowd.image[2].astype("<f4")
    concept = Concept.objects.create(
        owner=user,
        name="boats",
        model=dataset.model,
        weights=dataset.weights,
        vector=vector.tobytes(),
    )
    mine = collection(user, *first_ids("hostile", 9), dataset="hostile")
    commands = {
        "dataset": ["hostile", "--filters", "nsfw:any width>300", "--embeddings"],
        "collection": [mine.pk, "--user", "ada", "--form", "csv"],
        "concept": [
            *(concept.pk, "--dataset", "hostile", "--above", "0.2"),
            *("--user", "ada", "--form", "json", "--field", "both"),
        ],
        "search": [
            *(f"2:concept:{concept.pk} item:3 height<=480", "--dataset", "hostile"),
            *("--user", "ada", "--limit", "7", "--form", "img2dataset"),
        ],
    }
    for kind, words in commands.items():
        told = export(kind, *words, "--out", tmp_path / kind)
        manifest = manifest_of(tmp_path / kind)
        count = manifest["counts"]["rows"]
        assert count and told.startswith(f"{count:,} rows")
        assert told.rstrip().endswith(f"in {tmp_path / kind}.")
        assert manifest["asked"]["kind"] == kind
    found = rows(manifest_of(tmp_path / "dataset"), tmp_path / "dataset")
    assert all(row["width"] > 300 for row in found)
    assert len(found[0]["embedding"]) == hostile_items.DIMENSION
    assert len(
        rows(manifest_of(tmp_path / "collection"), tmp_path / "collection")
    ) == len(first_ids("hostile", 9))
    what = manifest_of(tmp_path / "search")["asked"]["what"]
    assert [term["weight"] for term in what["terms"]] == [2.0, 1.0]
    assert what["filters"]["max_height"] == 480 and what["limit"] == 7
    assert manifest_of(tmp_path / "concept")["asked"]["what"]["field"] == "both"


def test_the_same_words_go_on_and_others_are_refused(crowd, tmp_path, monkeypatch):
    from usercollections.export import writer
    from usercollections.management.commands.export import ProgressBar

    monkeypatch.setattr(writer, "PART_ROWS", 40)
    words = ["dataset", "hostile", "--form", "json", "--out", tmp_path]
    show, shown = ProgressBar.show, []

    def stopping(self, progress):
        shown.append(progress)
        show(self, progress)
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "show", stopping)
    with pytest.raises(CommandError, match="Stopped. The same command goes on.") as why:
        export(*words)
    assert why.value.returncode == 130
    assert (tmp_path / "progress.json").exists()
    with pytest.raises(CommandError, match="holds something else"):
        export(*words, "--filters", "nsfw:any")
    told = export(*words)
    manifest = manifest_of(tmp_path)
    assert f" left out) in {len(manifest['files'])} files, " in told
    assert len(manifest["files"]) > 2
    assert shown[3].looked_at > shown[1].looked_at  # it did not begin anew
    assert manifest["counts"]["rows"] == len(rows(manifest, tmp_path))
    assert export(*words).startswith("It is there already: ")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["dataset", "nowhere"], "There is no dataset named “nowhere”."),
        (
            ["dataset", "hostile", "--form", "csv", "--embeddings"],
            "only be exported as Parquet",
        ),
        (["dataset", "hostile", "--filters", "boats"], "Only filters"),
        (["dataset", "hostile", "--filters", "heigth>3"], "heigth"),
        (["search", "width>3", "--dataset", "hostile"], "needs more than filters"),
        (["search", "item:3", "--dataset", "hostile", "--limit", "0"], "10,000"),
        (["search", "item:99999", "--dataset", "hostile"], "no item 99999"),
        (["collection", uuid4(), "--user", "eve"], "There is no user “eve”."),
        (["collection", uuid4(), "--user", "ada"], "There is no such collection"),
        (
            [*("concept", uuid4(), "--dataset", "hostile", "--above"), 0, "--user=ada"],
            "This concept does not exist",
        ),
    ],
    ids=[
        *("dataset", "embeddings", "terms", "typo", "filters", "limit", "item"),
        *("user", "collection", "concept"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(crowd, user, tmp_path, words, why):
    with pytest.raises(CommandError, match=why):
        export(*words, "--out", tmp_path / "out")
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_folder_that_cannot_be_written_is_told(crowd, tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path, tmp_path / "file", "/proc/nowhere"):
        with pytest.raises(CommandError, match=str(folder)):
            export("dataset", "hostile", "--out", folder)
    assert (tmp_path / "file").read_text() == "mine"


def test_without_a_folder_it_is_named_after_the_export(crowd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export("dataset", "hostile", "--form", "csv")
    assert manifest_of(tmp_path / "hostile-csv")["counts"]["rows"]


def test_a_terminal_sees_a_bar_and_a_file_gets_lines(crowd, tmp_path, monkeypatch):
    from usercollections.export import writer
    from usercollections.export.checkpoint import Progress
    from usercollections.export.export_request import of_dataset
    from usercollections.management.commands import export as command

    monkeypatch.setattr(command, "LINE_EVERY_S", 0)
    assert "items looked at" in export("dataset", "hostile", "--out", tmp_path / "a")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        shown = command.ProgressBar(command.OutputWrapper(terminal))
        writer.write(
            of_dataset(SYSTEM, "hostile", Filters(), "csv"),
            SYSTEM,
            tmp_path / "b",
            shown.show,
        )
        shown.show(Progress(1, None, 1, 1))
        shown.close()
    assert b"rows" in os.read(ours, 10_000)
    os.close(ours)


def test_an_engine_that_is_away_has_its_exit_code(crowd, tmp_path, monkeypatch):
    from usercollections.management.commands import export as command

    monkeypatch.setattr(command, "check_engine", held_by_a_server)
    with pytest.raises(CommandError, match="export on its pages") as why:
        export("dataset", "hostile", "--out", tmp_path / "out")
    assert why.value.returncode == 75


def held_by_a_server(instead: str) -> None:
    raise SearchUnavailable(f"A server has it: {instead}.")


def test_usage_is_explained_with_exit_code_2():
    command = ["manage.py", "export", "dataset", "x", "--form", "xml"]
    done = python_process.run(command, cwd=ROOT)
    assert done.returncode == 2
    assert "invalid choice: 'xml'" in done.stderr
