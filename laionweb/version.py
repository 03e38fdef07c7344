"""Which laionweb this is. The number itself stands in pyproject.toml alone."""

import platform
import tomllib
from pathlib import Path

import django

_PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
VERSION: str = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["version"]


def described() -> str:
    """Name the version, and those of what it runs on, in one line."""
    return (
        f"laionweb {VERSION} "
        f"(Django {django.get_version()}, Python {platform.python_version()})"
    )
