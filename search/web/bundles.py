"""One file of styles and one of scripts for each page, made of its files in static/.

Browsers can load the sources as they are, and with DEBUG they do. A bundle holds the
modules of a page and what they import, each as a function that runs once; modules that
are imported later have a bundle of their own, which defines only what is missing.
"""

import gzip
import hashlib
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.html import escape
from django.views.decorators.http import require_safe

from search.errors import NotFound

MAX_FILES = 80
MAX_BUNDLES = 64  # in the memory of a process
NO_FILE = "There is no such file."
NAME = re.compile(r"(css|js|vendor)/[\w.-]+\.(css|js)")
TYPES = {"css": "text/css", "js": "text/javascript"}
IMPORT = re.compile(r"^import (?:\{([^}]*)\} from )?'\./([\w.]+)'$", re.M)
LATER = re.compile(r"\bimport\('\./([\w.]+)'\)")
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.M)
# Each bundle has these functions; the modules are those of all bundles of a page.
PRELUDE = """\
const modules = globalThis.laionwebModules ??= new Map()
const define = (name, run) => { if (!modules.has(name)) modules.set(name, { run }) }
const use = (name) => {
  const module = modules.get(name)
  if (!module.exports) module.run(module.exports = {})
  return module.exports
}
"""


class Bundle(NamedTuple):
    content: bytes
    compressed: bytes


def url(kind: str, names: Sequence[str]) -> str:
    """Return the URL of a bundle of files, which changes with those in static/."""
    files = urlencode({"of": ",".join(names)}, safe=",/")
    return f"{reverse('bundle', args=[_version(), kind])}?{files}"


@login_not_required
@require_safe
def bundle(request: HttpRequest, version: str, kind: str) -> HttpResponse:
    names = request.GET.get("of", "").split(",")
    if kind not in TYPES or len(names) > MAX_FILES:
        raise NotFound(NO_FILE)
    found = _bundle(kind, tuple(names))
    zips = "gzip" in request.headers.get("Accept-Encoding", "")
    response = HttpResponse(
        found.compressed if zips else found.content,
        content_type=f"{TYPES[kind]}; charset=utf-8",
    )
    if zips:
        response["Content-Encoding"] = "gzip"
    patch_vary_headers(response, ["Accept-Encoding"])
    fresh = "public, max-age=31536000, immutable"
    response["Cache-Control"] = fresh if version == _version() else "no-cache"
    return response


@cache
def _version() -> str:
    """Return a hash of all style sheets and scripts, once per process."""
    digest = hashlib.sha256(PRELUDE.encode())
    for folder in settings.STATICFILES_DIRS:
        for path in sorted(Path(folder).glob("*/*.[cj]s*")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@lru_cache(MAX_BUNDLES)
def _bundle(kind: str, names: tuple[str, ...]) -> Bundle:
    """Join files, each after those that it imports. Raises NotFound."""
    texts: dict[str, str] = {}
    for name in names:
        _collect(kind, name, texts, ())
    if kind == "js":
        modules = [_defined(name, code) for name, code in texts.items()]
        text = "\n".join([PRELUDE, *modules, *(f"use('{name}')" for name in names)])
    else:
        text = "\n".join(texts.values())
    return Bundle(text.encode(), gzip.compress(text.encode(), mtime=0))


def _collect(
    kind: str, name: str, texts: dict[str, str], above: tuple[str, ...]
) -> None:
    if name in texts:
        return
    if name in above:
        raise ImportError(f"Import cycle: {' → '.join([*above, name])}")
    path = finders.find(name) if NAME.fullmatch(name) else None
    if not isinstance(path, str) or not name.endswith(f".{kind}"):
        raise NotFound(NO_FILE)
    text = Path(path).read_text()
    if name.startswith("js/"):
        for match in IMPORT.finditer(text):
            _collect(kind, f"js/{match[2]}", texts, (*above, name))
    texts[name] = text


def _defined(name: str, code: str) -> str:
    """Return the definition of a module; of a library, one that leaves it global."""
    if name.startswith("vendor/"):
        library = Path(name).name.partition("-")[0]
        return f"define('{name}', () => {{ {code}\nglobalThis.{library} = {library} }})"
    names = EXPORT.findall(code)
    getters = ", ".join(f"{each}: {{ get: () => {each} }}" for each in names)
    code = EXPORT.sub("", LATER.sub(_later, IMPORT.sub(_import, code)))
    exports = f"Object.defineProperties(exports, {{ {getters} }})"
    return f"define('{name}', (exports) => {{ {exports}\n{code}}})"


def _import(match: re.Match[str]) -> str:
    use = f"use('js/{match[2]}')"
    names = (match[1] or "").replace(" as ", ": ")
    return f"const {{{names}}} = {use};" if names else f"{use};"


def _later(match: re.Match[str]) -> str:
    name = f"js/{match[1]}"
    return f"import('{url('js', [name])}').then(() => use('{name}'))"


# -- in templates

TAG = re.compile(
    r'<link rel="stylesheet" href="([^"]+)">'
    r'|<script[^>]* src="([^"]+)"[^>]*></script>'
)


def bundled(html: str) -> str:
    """Replace the style sheets and scripts of a page's head by one of each."""
    if settings.DEBUG:
        return html
    names: dict[str, list[str]] = {"css": [], "js": []}
    for match in TAG.finditer(html):
        name = (match[1] or match[2]).removeprefix(settings.STATIC_URL)
        names[name.rpartition(".")[2]].append(name)
    style, script = (escape(url(kind, names[kind])) for kind in ("css", "js"))
    return (
        f'<link rel="stylesheet" href="{style}">\n'
        f'  <script src="{script}" type="module" blocking="render"></script>\n'
        f"  {TAG.sub('', html).strip()}"
    )
