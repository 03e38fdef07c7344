"""The examples of the guide: files that the page shows and the tests run.

templates/api/examples has each task in up to two languages, `words.sh` and `words.py`,
and their output, `words.sh.out`, in which … marks what is left out.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings

FOLDER = Path(settings.BASE_DIR) / "templates" / "api" / "examples"
# The files are written for these; for_site replaces them.
ADDRESS = "http://127.0.0.1:8000"
DATASET = "postcards"
LANGUAGES = ("sh", "py")  # the suffixes of the files


@dataclass(frozen=True)
class Example:
    """An example in one language; `prints`, its output, may be empty."""

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
    """Return the example in each of its languages, unchanged."""
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
    """Return the example for a site and its dataset.

    `address` is like https://pictures.example.
    """

    def own(text: str) -> str:
        return text.replace(ADDRESS, address).replace(DATASET, dataset)

    return [
        Example(each.language, own(each.code), own(each.prints))
        for each in render_example(name)
    ]
