"""Pages as the server sends them, parsed."""

from html.parser import HTMLParser

# Nothing listens there.
NO_ENGINE = "clickhouse://127.0.0.1:9/default"
HTMX = {"HX-Request": "true"}


class Page(HTMLParser):
    """The elements and the text of a response, as a browser would read it."""

    def __init__(self, response):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts = self.text = ""
        self.feed(response.content.decode())
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.lasttag in ("script", "style"):
            self.scripts += data.strip()
        self.text += data

    def all(self, tag: str, name: str, /, **wanted: str) -> list[str]:
        """Return the values of an attribute of the elements that have these others."""
        return [
            attributes[name]
            for found, attributes in self.elements
            if found == tag
            and name in attributes
            and all(attributes.get(key) == wanted[key] for key in wanted)
        ]

    @property
    def pictures(self) -> list[str]:
        """Return the addresses of the items shown, in order."""
        links = [element for tag, element in self.elements if tag == "a"]
        return [a["href"] for a in links if "picture" in (a.get("class") or "")]

    @property
    def ids(self) -> list[int]:
        return [int(address.rpartition("/")[2]) for address in self.pictures]

    @property
    def more(self) -> str:
        """Return the address of the next page of results."""
        (address,) = self.all("a", "hx-get", **{"hx-target": "closest .more"})
        return address

    @property
    def is_whole(self) -> bool:
        return bool(self.all("html", "lang"))
