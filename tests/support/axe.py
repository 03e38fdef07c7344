"""The faults that axe finds in a page: it knows the rules of WCAG for machines."""

from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page

SOURCE = Path(__file__).parent.parent / "axe.min.js"
TAGS = ("wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice")
COLOURS = ("color-contrast", "link-in-text-block")
GRAVE = ("serious", "critical")
RUN = """rules => axe.run(rules.length ? { runOnly: rules } : {})
    .then(found => found.violations)"""


def violations(
    page: Page,
    schemes: Sequence[str] = ("light", "dark"),
    rules: Sequence[str] = TAGS,
    impacts: Sequence[str] = (),
) -> list[str]:
    """Return violations of all rules in the first scheme, of colours in the others.

    Only colours depend on the scheme. No `rules` means those that axe has by default,
    and no `impacts` any.
    """
    page.evaluate(SOURCE.read_text(encoding="utf-8") + ";0")
    wrong = []
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = page.evaluate(RUN, list(rules if scheme == schemes[0] else COLOURS))
        wrong += [
            f"{scheme}, {rule['id']}: {node['html'][:200]}"
            for rule in found
            if not impacts or rule["impact"] in impacts
            for node in rule["nodes"]
        ]
    return wrong
