"""What the templates need to show the items of a dataset."""

import json

from django import template

from ..links import safe_url, search_url

register = template.Library()

register.filter("as_link", safe_url)


@register.simple_tag
def similar_url(
    dataset: str, item: int, field: str = "image", dedupe: str = "yes"
) -> str:
    asked = {"dataset": dataset, "item": item, "field": field, "dedupe": dedupe}
    return search_url(asked)


@register.filter
def readable(value: str) -> str:
    """JSON in columns spread over lines; any other text as it is."""
    if not value.startswith(("{", "[")):
        return value
    try:
        return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return value
