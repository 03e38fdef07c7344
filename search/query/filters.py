"""The filters of a search: one FilterSpec each, and their values in Filters.

All that the application knows of a filter is in its spec: the words of the search box,
the URL parameter, the form field, the API field, the command-line option, the SQL
condition and the labels are made from it. To add a filter, add a spec to SPECS.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from search.errors import InvalidQuery
from search.links import host_forms

from .words import WantedWords

MAX_TEXT_LENGTH = 1_000
MAX_SIDE_PX = 2**32 - 1  # pixels
MAX_IDS = 5_000  # ClickHouse limits the size of a request field
MAX_EXCLUDED = MAX_IDS  # cannot be split: every node needs the whole list
LAST_ITEM = 2**53 - 1  # JavaScript keeps integers up to here
SAFE, RATED, UNRESTRICTED = "safe", "rated", "any"
HIDE_ALL = "nothing"  # what SAFE and RATED leave of a dataset that is unsafe as a whole
YES, NO = ("yes", "on", "true"), ("no", "off", "false")


@dataclass(frozen=True)
class Whole:
    """A whole number from `minimum` to `maximum`; `noun` names what it counts."""

    minimum: int = 0
    maximum: int = MAX_SIDE_PX
    noun: str = "a number of pixels"
    default: int | None = None

    def clean(self, name: str, value: Any) -> int:
        if not isinstance(value, int) or not self.minimum <= value <= self.maximum:
            raise InvalidQuery(f"Invalid filter: {name} must be {self.noun}.")
        return value

    def parse(self, text: str) -> int:
        return int(text)


@dataclass(frozen=True)
class Number:
    """A number from `minimum` to `maximum`."""

    minimum: float = -1
    maximum: float = 1
    default: float | None = None

    def clean(self, name: str, value: Any) -> float:
        if (
            not isinstance(value, int | float)
            or not self.minimum <= value <= self.maximum
        ):
            ends = f"{self.minimum:g} and {self.maximum:g}".replace("-", "−")
            raise InvalidQuery(f"Invalid filter: {name} must be between {ends}.")
        return float(value)

    def parse(self, text: str) -> float:
        return float(text)


@dataclass(frozen=True)
class Text:
    """A text of up to MAX_TEXT_LENGTH characters; an empty one filters nothing."""

    default: str = ""

    def clean(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise InvalidQuery(f"Invalid filter: {name} must be text.")
        if len(value) > MAX_TEXT_LENGTH:
            raise InvalidQuery(
                f"Invalid filter: {name} is longer than {MAX_TEXT_LENGTH:,} characters."
            )
        return value

    def parse(self, text: str) -> str:
        return text


@dataclass(frozen=True)
class Words(Text):
    """A text with at least one word."""

    def clean(self, name: str, value: Any) -> str:
        text = super().clean(name, value)
        if not WantedWords.of(text):
            raise InvalidQuery(f"Invalid filter: {name} has no words.")
        return text


@dataclass(frozen=True)
class Host(Text):
    """The name of a host."""

    def clean(self, name: str, value: Any) -> str:
        host = unicodedata.normalize("NFC", super().clean(name, value)).rstrip(".")
        if not HOST.fullmatch(host_forms(host)[0]):
            raise InvalidQuery(
                f"Invalid filter: {name} must be a host such as flickr.com."
            )
        return host

    def parse(self, text: str) -> str:
        return text.lower()


@dataclass(frozen=True)
class Choice:
    """One of a few words; `choices` are (value, label)."""

    choices: tuple[tuple[str, str], ...]
    default: str = ""

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(value for value, _ in self.choices)

    def clean(self, name: str, value: Any) -> str:
        if value not in self.values:
            *most, last = self.values
            raise InvalidQuery(
                f"Invalid filter: {name} must be {', '.join(most)} or {last}."
            )
        return value

    def parse(self, text: str) -> str:
        return {value: value for value in self.values}[text.lower()]


@dataclass(frozen=True)
class Switch:
    """On or off; "yes" or "no" in an address, with `labels` for the two."""

    labels: tuple[str, str]
    default: bool = True

    def clean(self, name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise InvalidQuery(f"Invalid filter: {name} must be true or false.")
        return value

    def parse(self, text: str) -> bool:
        return {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}[text.lower()]


@dataclass(frozen=True)
class Ids:
    """Ids of items."""

    default: tuple[int, ...] = ()

    def clean(self, name: str, value: Any) -> tuple[int, ...]:
        if not isinstance(value, list | tuple):
            raise InvalidQuery(f"Invalid filter: {name} must be a list of IDs.")
        ids = tuple(value)
        if len(ids) > MAX_EXCLUDED:
            raise InvalidQuery(f"At most {MAX_EXCLUDED:,} items can be excluded.")
        if not all(isinstance(item, int) and 0 <= item <= LAST_ITEM for item in ids):
            raise InvalidQuery(f"Invalid filter: {name} contains an invalid item ID.")
        return ids


FilterType = Whole | Number | Text | Choice | Switch | Ids


@dataclass(frozen=True)
class Word:
    """A filter's name in the search box; several filters can share one."""

    name: str
    example: str  # for the sentence that refuses what cannot be read
    help: str = ""  # an example in the help, where no line of its own shows one


@dataclass(frozen=True)
class Control:
    """The control of a filter in forms. `attributes` are those of its HTML input."""

    label: str
    title: str = ""
    placeholder: str = "any"
    group: str = ""  # the legend that it shares with its neighbours
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FilterSpec:
    """A filter.

    `name` is that of the URL parameter, the API field, the option and the parameter in
    `sql`, a test over the columns of items; where the test depends on the value, `sql`
    returns it with its parameters. `signs` are those that `word` takes, with what each
    adds to the number after it. `chip` labels a value: a text with a place for it, or a
    text for each value. `error` is the sentence of the search page's form.
    """

    name: str
    type: FilterType
    error: str = ""
    chip: str | Mapping[Any, str] = "{}"
    word: Word | None = None
    signs: Mapping[str, int] = field(default_factory=dict)
    sql: str | Callable[[Any], tuple[str, dict[str, Any]]] = ""
    sql_value: Callable[[Any], Any] | None = None
    # SQL for rows that have a value; the control is hidden if there are none.
    available_sql: str = ""
    control: Control | None = None
    api_help: str | None = None
    option_help: str | None = None
    metavar: str | None = None
    in_url: bool = True
    # For ranked searches only: an export of all items of a dataset rejects it.
    ranked_only: bool = False
    # Whether it leaves items out for what they are, so that the page counts them.
    is_narrowing: bool = True

    @property
    def url_default(self) -> str:
        """The value that is omitted from a URL."""
        value = self.type.default
        if isinstance(value, bool):
            return YES[0] if value else NO[0]
        return value if isinstance(value, str) else ""

    def clean(self, value: Any) -> Any:
        """Return the value in its own type; raise InvalidQuery for a bad one."""
        default = self.type.default
        if value is None or value == default:
            return default
        return self.type.clean(self.name, value)

    def condition(self, value: Any) -> tuple[str, dict[str, Any]]:
        """Return the test of a value, and its parameters."""
        if not isinstance(self.sql, str):
            return self.sql(value)
        return self.sql, {self.name: self.sql_value(value) if self.sql_value else value}

    def describe(self, value: Any) -> str:
        """Return the label of a value."""
        if isinstance(self.chip, str):
            return self.chip.format(value)
        return self.chip[value]

    def parse(self, sign: str, text: str) -> Any:
        """Return the value after one of `signs` in the search box.

        Raise ValueError or KeyError for a text that is no value.
        """
        assert not isinstance(self.type, Ids)  # they have no word
        if isinstance(self.type, Whole):
            return self.type.parse(text) + self.signs[sign]
        return self.type.parse(text)


HOST = re.compile(r"[^\W_]([\w.-]*[^\W_])?", re.ASCII)
AT_LEAST = {">": 1, ">=": 0, "=": 0}
AT_MOST = {"<": -1, "<=": 0, "=": 0}
SCORE_SIGNS = {">": 0, ">=": 0, ":": 0}
WORD_SIGNS = {":": 0, "=": 0}
# Sides that differ by less than a twentieth make a square.
ORIENTATION_SQL = (
    "multiIf(width = 0 OR height = 0, '', width > 1.05 * height, 'landscape', "
    "height > 1.05 * width, 'portrait', 'square')"
)
# A dataset may have written a name in ASCII or in its own script: the parameter holds
# both. Earlier versions stored names in any normal form, with only ASCII in lower case.
STORED_SITE = (
    "if(isValidASCII(site), site, lowerUTF8(normalizeUTF8NFKC(toValidUTF8(site))))"
)
SITE_SQL = (
    f"{STORED_SITE} = splitByChar(' ', {{{{site:String}}}})[{{0}}] OR endsWith("
    f"{STORED_SITE}, concat('.', splitByChar(' ', {{{{site:String}}}})[{{0}}]))"
)


def caption_sql(text: str) -> tuple[str, dict[str, Any]]:
    """Return the test for the words of a text in the column of indexed words."""
    wanted = WantedWords.of(text)
    tests = ["hasAllTokens(words, {caption:String})"]
    parameters = {"caption": " ".join(wanted.tokens)}
    for number, sequence in enumerate(wanted.sequences):
        tests.append(f"position(words, {{caption_{number}:String}}) > 0")
        parameters[f"caption_{number}"] = sequence
    return " AND ".join(tests), parameters


def _size_filter(side: str, bound: str) -> FilterSpec:
    """Return the filter by `side`, "width" or "height"; `bound` is "min" or "max"."""
    name, is_least = f"{bound}_{side}", bound == "min"
    # A size of 0 is not known.
    test = f"{side} >= " if is_least else f"{side} BETWEEN 1 AND "
    return FilterSpec(
        name=name,
        type=Whole(),
        error=f"The {'minimum' if is_least else 'maximum'} {side} must be a number "
        "of pixels.",
        chip=f"{side} {'≥' if is_least else '≤'} {{}}",
        word=Word(side, f"{side}>512 or {side}<=2000"),
        signs=AT_LEAST if is_least else AT_MOST,
        sql=f"{test}{{{name}:UInt32}}",
        available_sql="width > 0",  # of a picture both sides are known, or neither
        control=Control(
            f"{side.capitalize()} {'from' if is_least else 'to'}",
            group="Size in pixels",
            attributes={"inputmode": "numeric"},
        ),
        metavar="PIXELS",
    )


# By name, in the order of URLs and forms.
SPECS: dict[str, FilterSpec] = {
    spec.name: spec
    for spec in (
        FilterSpec(
            name="nsfw",
            type=Choice(
                ((RATED, "Rated safe only"), (SAFE, "On"), (UNRESTRICTED, "Off")),
                default=SAFE,
            ),
            error="Invalid filter: nsfw must be “safe” or “any”.",
            chip={
                RATED: "rated safe only",
                SAFE: "safe only",
                UNRESTRICTED: "includes NSFW",
            },
            word=Word("nsfw", "nsfw:any or nsfw:safe", help="nsfw:rated"),
            signs=WORD_SIGNS,
            api_help="`safe`, if it is left out: of a dataset with ratings, only what "
            "is rated safe. `rated` requires that of any dataset.",
            option_help="rated: only what is rated safe; any: includes NSFW",
            is_narrowing=False,
        ),
        _size_filter("width", "min"),
        _size_filter("width", "max"),
        _size_filter("height", "min"),
        _size_filter("height", "max"),
        FilterSpec(
            name="orientation",
            type=Choice(
                (
                    ("landscape", "Landscape"),
                    ("portrait", "Portrait"),
                    ("square", "Square"),
                )
            ),
            error="Invalid filter: orientation must be landscape, portrait or square.",
            word=Word(
                "orientation",
                "orientation:landscape, portrait or square",
                help="orientation:portrait",
            ),
            signs=WORD_SIGNS,
            sql=f"{ORIENTATION_SQL} = {{orientation:String}}",
            available_sql="width > 0",
            control=Control("Shape", placeholder="Any"),
        ),
        FilterSpec(
            name="caption",
            type=Words(),
            error=f"Up to {MAX_TEXT_LENGTH:,} characters of a caption.",
            chip="caption with “{}”",
            sql=caption_sql,
            control=Control("Words in the caption"),
            api_help="Words that must all occur.",
            option_help="that the caption must contain",
            metavar="WORDS",
        ),
        FilterSpec(
            name="site",
            type=Host(),
            error="Invalid filter: site must be a host such as flickr.com.",
            chip="from {}",
            word=Word("site", "site:flickr.com"),
            signs=WORD_SIGNS,
            sql=f"({' OR '.join(map(SITE_SQL.format, (1, 2)))})",
            sql_value=lambda host: " ".join(
                form.removeprefix("www.") for form in host_forms(host)
            ),
            available_sql="site != ''",
            control=Control(
                "Site",
                placeholder="any, or one such as flickr.com",
                attributes={
                    "autocapitalize": "none",
                    "spellcheck": "false",
                    "inputmode": "url",
                },
            ),
            api_help="A host such as flickr.com; its subdomains are taken along.",
            metavar="HOST",
        ),
        FilterSpec(
            name="license",
            type=Text(),
            error=f"Up to {MAX_TEXT_LENGTH:,} characters of a license.",
            chip="license {}",
            word=Word("license", 'license:"CC BY"', help='license:"CC BY"'),
            signs=WORD_SIGNS,
            sql="lowerUTF8(license) = lowerUTF8({license:String})",
            available_sql="license != ''",
            control=Control("License"),
            metavar="WORDS",
        ),
        FilterSpec(
            name="min_similarity",
            type=Number(),
            error="The minimum image–caption match must be a number between −1 and 1.",
            chip="similarity to the caption ≥ {}",
            word=Word("similarity", "similarity>0.3"),
            signs=SCORE_SIGNS,
            sql="caption_similarity >= {min_similarity:Float32}",
            available_sql="isFinite(caption_similarity)",
            control=Control(
                "Min. image–caption match",
                title="The dataset's own score of how well image and caption match",
                placeholder="any, or a number such as 0.3",
                attributes={"inputmode": "decimal"},
            ),
            api_help="Of the dataset's own score of image and caption.",
            option_help="of the dataset's own score of image and caption",
            metavar="N",
        ),
        FilterSpec(
            name="exclude",
            type=Ids(),
            api_help="Ids of items that are left out.",
            in_url=False,
        ),
        FilterSpec(
            name="dedupe",
            type=Switch(("Near-duplicates hidden", "Near-duplicates shown")),
            error="Invalid filter: dedupe must be yes or no.",
            chip={True: "near-duplicates hidden", False: "near-duplicates shown"},
            word=Word("dedupe", "dedupe:no or dedupe:yes", help="dedupe:no"),
            signs=WORD_SIGNS,
            control=Control("Show near-duplicates"),
            api_help="Whether near-duplicates are folded: true by itself.",
            option_help="show near-duplicates",
            ranked_only=True,
            is_narrowing=False,
        ),
        FilterSpec(
            name="cutoff",
            type=Number(),
            error="The cutoff must be a number between −1 and 1.",
            chip="similarity ≥ {}",
            word=Word("cutoff", "cutoff:0.25", help="cutoff:0.25"),
            signs=SCORE_SIGNS,
            api_help="The least similarity to the query.",
            option_help="least similarity to the query",
            metavar="N",
            ranked_only=True,
        ),
    )
}


def url_filters() -> Iterator[FilterSpec]:
    """Return the filters that an address can hold, in its order."""
    return (spec for spec in SPECS.values() if spec.in_url)


def filters_of_word(word: str) -> list[FilterSpec]:
    """Return the filters that a name in the search box stands for."""
    return [spec for spec in SPECS.values() if spec.word and spec.word.name == word]


def filter_words() -> dict[str, Word]:
    """Return the names of filters in the search box."""
    return {spec.word.name: spec.word for spec in SPECS.values() if spec.word}


class Filters(Mapping[str, Any]):
    """Which items may be among the results: a value of each filter, by its name.

    Immutable and hashable. A filter that is not given has the default of its spec.
    Raise InvalidQuery for a value that the spec refuses, or an unknown name.
    """

    __slots__ = ("_chosen",)
    _chosen: dict[str, Any]  # what differs from the defaults

    def __init__(self, **values: Any) -> None:
        self._chosen = {}
        for name, value in values.items():
            if name not in SPECS:
                raise InvalidQuery(f"Unknown filter {name[:100]}.")
            value = SPECS[name].clean(value)
            if value != SPECS[name].type.default:
                self._chosen[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._chosen.get(name, SPECS[name].type.default)

    def __iter__(self) -> Iterator[str]:
        return iter(SPECS)

    def __len__(self) -> int:
        return len(SPECS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filters) and self._chosen == other._chosen

    def __hash__(self) -> int:
        return hash(frozenset(self._chosen.items()))

    def __repr__(self) -> str:
        chosen = ", ".join(f"{name}={value!r}" for name, value in self.chosen.items())
        return f"Filters({chosen})"

    @property
    def chosen(self) -> dict[str, Any]:
        """The values that differ from the defaults, in the order of SPECS."""
        return {name: self._chosen[name] for name in SPECS if name in self._chosen}

    @property
    def nsfw(self) -> str:
        return self["nsfw"]

    @property
    def dedupe(self) -> bool:
        return self["dedupe"]

    @property
    def cutoff(self) -> float | None:
        """The least similarity to the query."""
        return self["cutoff"]

    @property
    def exclude(self) -> tuple[int, ...]:
        return self["exclude"]

    def replace(self, **changes: Any) -> Self:
        """Return the same filters with other values of some."""
        return type(self)(**{**self._chosen, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return all values in JSON's own types."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.items()
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return what to_dict wrote, by this version or an earlier one.

        Raise InvalidQuery for anything else.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise InvalidQuery("These are not filters.") from error
