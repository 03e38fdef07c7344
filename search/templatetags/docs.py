"""What the page about the API shows of its examples."""

from itertools import zip_longest
from typing import Any

from django import template
from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from search.api.docs import examples
from search.api.docs.highlighting import highlight
from search.rate_limits import PERIODS, read_rate

register = template.Library()

register.filter("coloured", highlight)


@register.inclusion_tag("api/_example.html", takes_context=True)
def example(context: template.Context, name: str, title: str) -> dict[str, Any]:
    """The example of this name in its languages; `title` is for those who listen."""
    found = examples.for_site(name, context["address"], context["dataset"])
    return {"name": name, "title": title, "languages": found}


@register.filter
def answer_coloured(text: str) -> SafeString:
    """JSON in colours, other output as it is."""
    return highlight(text, "json" if text.startswith(("{", "[")) else "")


@register.filter
def with_code(text: str) -> SafeString:
    """What stands between backticks, as it does in docstrings, is code."""
    parts = str(escape(text)).split("`")
    pairs = zip_longest(parts[::2], parts[1::2], fillvalue="")
    told = (f"{prose}<code>{code}</code>" if code else prose for prose, code in pairs)
    return mark_safe("".join(told))  # escaped above


@register.simple_tag
def limit(scope: str) -> str:
    """120 in a minute: as often as the settings allow it."""
    rate = settings.LIMITS[scope]
    if not rate:
        return "no limit"
    count, period = read_rate(rate)
    return f"{count:,} in a {PERIODS[period][1]}".replace("a hour", "an hour")
