"""Syntax highlighting of the examples: HTML with classes for CSS.

Pygments would do, but is no dependency of the running site.
"""

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

QUOTED = r'"(?:\\.|[^"\\])*"'
WORDS = (
    "and as assert break continue def else except False for from if import in is lambda"
    " None not or raise return True try while with"
)
# The start of a shell command.
BEGIN = r"(?:(?<![^\n])|(?<=\n  )|(?<=\$\()|(?<=; )|(?<=\| ))"
LANGUAGES = {
    "py": re.compile(
        rf"(?P<comment>\#[^\n]*)|(?P<text>[bfr]?{QUOTED}|[bfr]?'[^'\n]*')"
        rf"|(?P<word>\b(?:{'|'.join(WORDS.split())})\b)|(?P<number>\b\d[\d_.]*\b)"
    ),
    "sh": re.compile(
        r"(?P<comment>(?<!\S)\#[^\n]*)|(?P<text>'[^']*'|" + QUOTED + ")"
        r"|(?P<option>(?<=\s)--?[a-zA-Z][\w-]*)|(?P<name>\$\w+)"
        rf"|(?P<word>{BEGIN}(?:curl|export|while|do|done|case|esac|pip|echo)(?![\w-]))"
    ),
    "json": re.compile(
        rf"(?P<name>{QUOTED}(?=\s*:))|(?P<text>{QUOTED})"
        r"|(?P<word>\b(?:true|false|null)\b)|(?P<number>-?\b\d[\d.e+-]*)|(?P<left>…)"
    ),
}


def highlight(code: str, language: str) -> SafeString:
    """Return escaped code with spans of the classes above; none in other languages."""
    pattern, done = LANGUAGES.get(language), 0
    parts: list[str] = []
    for match in pattern.finditer(code) if pattern else ():
        parts.append(escape(code[done : match.start()]))
        parts.append(f'<span class="{match.lastgroup}">{escape(match[0])}</span>')
        done = match.end()
    parts.append(escape(code[done:]))
    return mark_safe("".join(parts))  # each part is escaped above
