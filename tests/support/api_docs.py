"""Runs the examples of the page about the API as its readers would."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import requests
from conftest import Server

from search.api.docs import examples

NUMBER = r"(?<![\d.])\d\.\d+"  # as similarities are shown
ABOUT = 0.011  # computers differ in the last digits
# Goes through the examples that are named, each after the setting up anew.
PYTHON = """
import contextlib, io, json, sys
told = json.load(sys.stdin)
printed = {}
for name, code in told["examples"].items():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(told["setup"] + chr(10) + code, name, "exec"), {"__name__": name})
    printed[name] = out.getvalue()
json.dump(printed, sys.stdout)
"""


def token_of(server: Server, name: str) -> str:
    """A new token of this account, which is signed up for unless it is the admin's."""
    visitor = requests.Session()
    if name == "admin":
        account = {"login": name, "password": server.password}
        page = f"{server.url}/accounts/login/"
    else:
        account = {"username": name, "email": "", "password1": "a long password 1"}
        account["email"] = f"{name}@example.com"
        page = f"{server.url}/accounts/signup/"
    form = csrf_in(visitor.get(page))
    assert visitor.post(page, {**account, **form}).url.strip("/") == server.url
    form = csrf_in(visitor.get(f"{server.url}/account/"))
    made = visitor.post(
        f"{server.url}/account/tokens", {"name": "examples", "days": "", **form}
    )
    return re.search(r"laion_[\w-]+", made.text)[0]


PICKED = (318, 227, 358)  # by four people, and by the user of the examples


def seed_picks(server: Server) -> None:
    """Replace what was picked on a server by the picks that the examples show."""
    ledger = sqlite3.connect(server.var_dir / "laionweb.sqlite3", timeout=30)
    with closing(ledger), ledger:
        ledger.execute("DELETE FROM search_picker")
        ledger.execute("DELETE FROM search_pick")
        for item in PICKED:
            ledger.execute(
                "INSERT INTO search_pick (dataset_id, item, keyword, kind, count) "
                "SELECT id, ?, 'a windmill', 'saved', 0 FROM search_dataset "
                "WHERE slug = 'postcards'",
                (item,),
            )
    add_pickers(server, "a windmill")


def add_pickers(server: Server, words: str) -> None:
    """Have four more people pick what was picked after a search for these words."""
    ledger = sqlite3.connect(server.var_dir / "laionweb.sqlite3", timeout=30)
    with closing(ledger), ledger:
        ledger.executemany(
            "INSERT INTO search_picker (pick_id, person) "
            "SELECT id, ? FROM search_pick WHERE keyword = ?",
            [(person, words) for person in "abcd"],
        )
        ledger.execute(
            "UPDATE search_pick SET count = count + 4 WHERE keyword = ?", (words,)
        )


def csrf_in(page: requests.Response) -> dict[str, str]:
    name = "csrfmiddlewaretoken"
    return {name: re.search(rf'name="{name}" value="(\w+)"', page.text)[1]}


def code(name: str, language: str, address: str) -> str:
    """As the page of the site at this address shows it; "" in a language it lacks."""
    found = examples.for_site(name, address, "postcards")
    return next((each.code for each in found if each.language == language), "")


def run_shell(name: str, address: str, token: str, folder: Path) -> str:
    """Return what the shell's example prints; fail where one of its commands does."""
    setup = code("setup", "sh", address)
    script = f"set -euo pipefail\n{own(setup, token)}\n{code(name, 'sh', address)}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{name}: {done.stderr}\n{done.stdout}"
    return done.stdout


def run_python(names: list[str], address: str, token: str, folder: Path) -> dict:
    """Return what each Python example prints, by name; run all in one process."""
    told = {
        "setup": code("setup", "py", address),
        "examples": {name: code(name, "py", address) for name in names},
    }
    done = subprocess.run(
        [sys.executable, "-c", PYTHON],
        input=json.dumps(told),
        cwd=folder,
        env={**os.environ, "LAIONWEB_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def own(setup: str, token: str) -> str:
    assert "'your token'" in setup
    return setup.replace("'your token'", f"'{token}'")


def readable(printed: str) -> str:
    """JSON with a line for each value, as the page shows it; the rest as it is."""
    parts, rest, read = [], printed.strip(), json.JSONDecoder().raw_decode
    while rest:
        if rest.startswith(("{", "[")):
            told, end = read(rest)
            parts.append(json.dumps(told, indent=2, ensure_ascii=False))
        else:
            end = re.search(r"\n|$", rest).end()
            parts.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return "\n".join(parts)


def is_what_is_shown(printed: str, shown: str) -> bool:
    """Compare, taking … for anything and 0.46 for about that."""
    parts = [re.split(NUMBER, part) for part in re.split(r"\s*…\s*", shown.strip())]
    numbers = f"({NUMBER})"
    pattern = ".*?".join(numbers.join(map(re.escape, part)) for part in parts)
    found = re.fullmatch(pattern, printed.strip(), re.DOTALL)
    return found is not None and all(
        abs(float(told) - float(wanted)) <= ABOUT
        for told, wanted in zip(found.groups(), re.findall(NUMBER, shown), strict=True)
    )
