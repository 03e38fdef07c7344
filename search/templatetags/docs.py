"""Template tags of the API's documentation: examples, code and limits."""

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
    """Show an example in its languages; screen readers read `title`."""
    found = examples.for_site(name, context["address"], context["dataset"])
    return {"name": name, "title": title, "languages": found}


@register.filter
def answer_coloured(text: str) -> SafeString:
    """Highlight JSON; return other output escaped."""
    return highlight(text, "json" if text.startswith(("{", "[")) else "")


@register.filter
def with_code(text: str) -> SafeString:
    """Turn text between backticks into <code>."""
    parts = str(escape(text)).split("`")
    pairs = zip_longest(parts[::2], parts[1::2], fillvalue="")
    html = (f"{prose}<code>{code}</code>" if code else prose for prose, code in pairs)
    return mark_safe("".join(html))  # escaped above


@register.simple_tag
def limit(scope: str) -> str:
    """Return a rate limit of the settings in words, such as “120 in a minute”."""
    rate = settings.LIMITS[scope]
    if not rate:
        return "no limit"
    count, period = read_rate(rate)
    return f"{count:,} in {PERIODS[period][1]}"
