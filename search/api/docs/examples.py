"""The examples of the docs page: files that the page shows and the tests run.

In templates/api/examples lie `words.sh` and `words.py`, the same task in two languages,
and beside each what it prints, `words.sh.out`. There … stands for what is left out.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings

FOLDER = Path(settings.BASE_DIR) / "templates" / "api" / "examples"
# What the files are written for, and each site puts its own in the place of.
ADDRESS = "http://127.0.0.1:8000"
DATASET = "postcards"
LANGUAGES = ("sh", "py")  # by the ends of the files' names


@dataclass(frozen=True)
class Example:
    """`prints` is empty where there is nothing to show."""

    language: str  # one of LANGUAGES
    code: str
    prints: str

    @property
    def label(self) -> str:
        if self.language == "py":
            return "Python"
        return "curl" if "curl" in self.code else "Shell"


def names() -> list[str]:
    return sorted({path.stem for path in FOLDER.iterdir() if path.suffix != ".out"})


@cache
def render_example(name: str) -> tuple[Example, ...]:
    """The example in each language that it is there in, as the files have it."""
    found = []
    for language in LANGUAGES:
        path = FOLDER / f"{name}.{language}"
        if path.exists():
            prints = FOLDER / f"{path.name}.out"
            shown = prints.read_text(encoding="utf-8") if prints.exists() else ""
            code = path.read_text(encoding="utf-8").strip()
            found.append(Example(language, code, shown.strip()))
    return tuple(found)


def for_site(name: str, address: str, dataset: str) -> list[Example]:
    """The example for the site at this address, such as https://pictures.example."""

    def own(text: str) -> str:
        return text.replace(ADDRESS, address).replace(DATASET, dataset)

    return [
        Example(each.language, own(each.code), own(each.prints))
        for each in render_example(name)
    ]
