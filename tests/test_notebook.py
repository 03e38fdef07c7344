"""The notebook in docs/ does what it shows, from the first cell to the last."""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image
from support.api_docs import is_what_is_shown, token_of

NOTEBOOK = ROOT / "docs" / "refine_and_export.ipynb"
MAX_BYTES = 1_500_000
FOLDERS = (
    "HOME",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "IPYTHONDIR",
)


@pytest.fixture(scope="module")
def committed() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(committed, live_server_process, tmp_path_factory) -> Iterator:
    """A copy of it that has run on a server of 600 postcards, as a user of its own."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = committed.copy()
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    with pytest.MonkeyPatch.context() as patch:
        (folder / "home").mkdir()
        for name in FOLDERS:
            patch.setenv(name, str(folder / name.lower()))
        patch.setenv("LAIONWEB_URL", live_server_process.url)
        patch.setenv("LAIONWEB_TOKEN", token_of(live_server_process, "notebook"))
        NotebookClient(
            notebook, timeout=120, resources={"metadata": {"path": str(folder)}}
        ).execute()
    notebook.metadata["ran_in"] = str(folder)
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: NotebookNode) -> str:
    return "".join(each.text for each in cell.outputs if each.output_type == "stream")


def pictures(notebook: NotebookNode) -> list[Image.Image]:
    shown = [
        output.data["image/jpeg"]
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "image/jpeg" in output.get("data", {})
    ]
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in shown]


def test_refining_finds_more_of_what_is_wanted(executed):
    told = "".join(map(printed, code_cells(executed)))
    found = re.findall(r"(\d+) of 20 are wanted: a precision of", told)
    first, second, third = map(int, found)
    assert first < second < third and third >= 18


def test_the_export_is_read_and_agrees_with_the_search(executed):
    told = "".join(map(printed, code_cells(executed)))
    rows = int(
        re.search(r"parquet: (\d+) rows, its sha256 is as it should be", told)[1]
    )
    assert rows >= 18
    assert f"{rows} vectors of 512 numbers, of length 1.00" in told
    assert "as similar as the column says: True" in told


def test_what_is_committed_is_what_it_prints(committed, executed):
    """But for the list of datasets, to which other tests add."""
    pairs = zip(code_cells(committed), code_cells(executed), strict=True)
    for shown, ran in list(pairs)[1:]:
        assert is_what_is_shown(printed(ran), printed(shown)), printed(ran)


def test_what_is_committed_shows_the_same_pictures(committed, executed):
    kept = pictures(committed)
    assert len(kept) >= 6
    assert [each.size for each in kept] == [each.size for each in pictures(executed)]
    for each in kept:  # not one colour all over
        assert len(each.convert("L").getcolors(256)) > 50


def test_what_is_committed_is_small_and_tells_nothing_of_where_it_ran(committed):
    assert NOTEBOOK.stat().st_size < MAX_BYTES
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "laion_" not in text.replace("laion_…", "")
    outputs = [output for cell in code_cells(committed) for output in cell.outputs]
    assert not re.search(r"127\.0\.0\.1|/tmp/|/root|\d{4}-\d\d-\d\dT", str(outputs))
    assert not any("timestamp" in str(cell.metadata) for cell in committed.cells)


def test_it_runs_without_touching_what_its_user_has_of_jupyter(executed):
    folder = Path(executed.metadata["ran_in"])
    assert (folder / "ipythondir").is_dir() and (folder / "home").is_dir()
    assert not any((folder / "home").iterdir())
