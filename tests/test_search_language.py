"""The language of the search box: how words are read, and where they cannot be."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search.errors import InvalidQuery, UnreadableWord
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.query.parsed import ParsedQuery
from search.query.parser import AWAY, MAX_QUERY_LENGTH, parse

HOST = "laionweb.example"


def read(text: str) -> ParsedQuery:
    return parse(text, "postcards", HOST)


def unreadable(text: str) -> tuple[str, str]:
    """The words that an error points at, and its sentence."""
    with pytest.raises(UnreadableWord) as caught:
        read(text)
    error = caught.value
    return text[error.start : error.end], error.message


def test_all_of_the_language_in_one_query():
    asked = read(
        "red house -car 2:boat width>512 nsfw:any site:flickr.com "
        '"words in the caption"'
    )
    assert asked.terms == (
        Term(text="red house"),
        Term(text="car", weight=AWAY),
        Term(text="boat", weight=2),
    )
    assert asked.filters == {
        "min_width": 513,
        "nsfw": "any",
        "site": "flickr.com",
        "caption": "words in the caption",
    }


TERMS = {
    "red  house": [("red house", 1)],
    "red -car house": [("red house", 1), ("car", AWAY)],
    "-car": [("car", AWAY)],
    "−car": [("car", AWAY)],
    "-(old car) red": [("old car", AWAY), ("red", 1)],
    "-(car (old))": [("car (old)", AWAY)],
    "2:boat": [("boat", 2)],
    "0.5:boat": [("boat", 0.5)],
    ".5:boat": [("boat", 0.5)],
    "-2:boat": [("boat", -2)],
    "2:(sail boat)": [("sail boat", 2)],
    "-0.5:(sail boat)": [("sail boat", -0.5)],
    "red +blue": [("red", 1), ("blue", 1)],
    "+(red house) sea": [("red house", 1), ("sea", 1)],
    "-4x4 -日本 -🚗": [("4x4", AWAY), ("日本", AWAY), ("🚗", AWAY)],
    "red, -car, -boat": [("red,", 1), ("car", AWAY), ("boat", AWAY)],
    "2:photo:sunset": [("photo:sunset", 2)],
}


@pytest.mark.parametrize("text", TERMS)
def test_words_become_terms(text):
    terms = tuple(Term(text=words, weight=weight) for words, weight in TERMS[text])
    assert read(text) == ParsedQuery(text, read(text).parts)
    assert read(text).terms == terms
    assert read(text).filters == {}


PLAIN = [
    "10:30 in the morning",
    "3:4 2:1",
    "a - b – c — d",
    "black-and-white",
    "-5 degrees",
    "-_- --> ->",
    'a 5" nail, 6\'2"',
    "rock 'n' roll",
    "I<3 cats",
    "cats > dogs",
    "a house (red) by the sea :)",
    "(photo:sunset -red width>5)",
    "(unclosed",
    "a) b)",
    # Of a caption that was pasted.
    "Photo:sunset over the bay",
    "License: CC BY",
    "Width: 30 cm, height: 20 cm",
    "width > height",
    "the width is > that",
    "www.example.com/picture.jpg",
    "item: 7",
    "1984",
]


@pytest.mark.parametrize("text", PLAIN)
def test_what_only_looks_like_the_language_is_plain_words(text):
    asked = read(text)
    assert asked.terms == (Term(text=text),)
    assert asked.filters == {}
    assert asked.parts[0].is_plain


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("item:123", (Term(item=123),)),
        ("ITEM:0", (Term(item=0),)),
        ("-item:123", (Term(item=123, weight=AWAY),)),
        ("2:item:123 boat", (Term(item=123, weight=2), Term(text="boat"))),
        ("http://a.org/b.jpg", (Term(image_url="http://a.org/b.jpg"),)),
        (
            "-https://a.org/b?c=1,2",
            (Term(image_url="https://a.org/b?c=1,2", weight=-1),),
        ),
        ("2:HTTPS://A.org/b", (Term(image_url="HTTPS://A.org/b", weight=2),)),
        (f"http://{HOST}/d/postcards/7", (Term(item=7),)),
        (f"-0.5:https://{HOST}/d/postcards/7", (Term(item=7, weight=-0.5),)),
        ("http://a.org/d/postcards/7", (Term(image_url="http://a.org/d/postcards/7"),)),
        (f"http://{HOST}/7.jpg", (Term(image_url=f"http://{HOST}/7.jpg"),)),
        ("http://[", (Term(image_url="http://["),)),
    ],
)
def test_items_and_pictures_are_known_by_number_and_by_address(text, terms):
    assert read(text).terms == terms


FILTERS = {
    "width>512": {"min_width": 513},
    "width>=512": {"min_width": 512},
    "width<2000": {"max_width": 1999},
    "width<=2000": {"max_width": 2000},
    "width=640": {"min_width": 640, "max_width": 640},
    "width > 512 height< 9": {"min_width": 513, "max_height": 8},
    "WIDTH>512, Height>=5": {"min_width": 513, "min_height": 5},
    "similarity>0.3": {"min_similarity": 0.3},
    "similarity>=-.5": {"min_similarity": -0.5},
    "cutoff:0.25": {"cutoff": 0.25},
    "NSFW:Any": {"nsfw": "any"},
    "nsfw:safe": {"nsfw": "safe"},
    "site:Flickr.com": {"site": "flickr.com"},
    'license:"CC BY"': {"license": "CC BY"},
    "license:“CC BY”": {"license": "CC BY"},
    "license:CC0": {"license": "CC0"},
    "dedupe:no": {"dedupe": False},
    "dedupe:ON": {"dedupe": True},
    '"golden gate"': {"caption": "golden gate"},
    "“golden” „gate“": {"caption": "golden gate"},
}


def test_quotation_marks_between_hebrew_letters_end_no_quotation():
    assert parse('boat "נתב"ג" "בית"').filters == {"caption": 'נתב"ג בית'}
    asked = parse('"בית"נתב')  # unless none ends it
    assert (asked.filters, asked.terms) == ({"caption": "בית"}, (Term(text="נתב"),))


@pytest.mark.parametrize("text", FILTERS)
def test_filters_are_named(text):
    asked = read(f"red {text} house")
    assert asked.filters == FILTERS[text]
    assert asked.terms == (Term(text="red house"),)
    Filters(**asked.filters)


@pytest.mark.parametrize(
    ("text", "word", "sentence"),
    [
        ("a width>abc b", "width>abc", "as width>512"),
        ("a width:512", "width:512", "as width>512"),
        ("Height:30cm tall", "Height:30cm", "a space after the colon"),
        ("width>-5", "width>-5", "number of pixels"),
        ("width<0", "width<0", "number of pixels"),
        (f"width>{'9' * 5_000}"[:2_900], f"width>{'9' * 2_894}", "number of pixels"),
        ("similarity<0.3", "similarity<0.3", "as similarity>0.3"),
        ("similarity>7", "similarity>7", "between −1 and 1"),
        ("similarity>nan", "similarity>nan", "between −1 and 1"),
        ("nsfw:maybe", "nsfw:maybe", "nsfw:any or nsfw:safe"),
        ("dedupe:maybe", "dedupe:maybe", "dedupe:no"),
        ("site:http://a.org/", "site:http://a.org/", "a host such as"),
        ("heigth>5", "heigth>5", "Did you mean height>512"),
        ("heigth > 5", "heigth > 5", "Did you mean height>512"),
        ("licence:cc0", "licence:cc0", 'Did you mean license:"CC BY"'),
        ("min_width:5", "min_width:5", "Did you mean width>512"),
        ("a iso>400", "iso>400", "Unknown filter “iso”"),
        ("a -nsfw:any", "-nsfw:any", "cannot have a sign"),
        ("2:width>5", "2:width>5", "cannot have a sign"),
        ('-"old car"', '-"', "-(some words)"),
        ('red "house', '"', "Close this"),
        ('license:"cc', '"', "Close this"),
        ('""', '""', "no word"),
        ('red "?!"', '"?!"', "no word"),
        ("a -(old car", "(", "Close this"),
        ("a -()", "-()", "no words"),
        ("item:x", "item:x", "followed by an item ID"),
        ("-item:" + "9" * 50, "-item:" + "9" * 50, "followed by an item ID"),
        ("1000:boat", "1000:boat", "between −100 and 100"),
        ("width>5 a width>=6", "width>=6", "twice"),
        ("width=5 width>6", "width>6", "twice"),
        (f"http://{HOST}/d/other/7", f"http://{HOST}/d/other/7", "“other”"),
        ("a " * 501, ("a " * 501).strip(), "1,000"),
        ("-" + "a" * 1_001, "-" + "a" * 1_001, "1,000"),
        ("http://a" + "a" * 2_000, "http://a" + "a" * 2_000, "2,000"),
    ],
)
def test_an_error_points_at_what_it_could_not_read(text, word, sentence):
    pointed_at, message = unreadable(text)
    assert pointed_at == word
    assert sentence in message


def test_a_text_has_an_end():
    with pytest.raises(InvalidQuery, match="3,000 characters"):
        read("a" * (MAX_QUERY_LENGTH + 1))


def test_more_terms_than_a_query_holds_are_refused():
    terms = read(" ".join(f"-w{number}x" for number in range(17))).terms
    with pytest.raises(InvalidQuery, match="up to 16 terms"):
        SearchQuery("postcards", terms)


def test_nothing_is_asked_by_nothing():
    assert read("").parts == read(" , ").parts == ()


def test_each_part_can_be_taken_out():
    text = 'red -car house  width>512 "a b"'
    asked = read(text)
    left = [asked.without(part) for part in asked.parts]
    assert left == [
        '-car width>512 "a b"',
        'red house width>512 "a b"',
        'red -car house "a b"',
        "red -car house width>512",
    ]
    assert asked.without(*asked.parts) == ""


def letters() -> st.SearchStrategy[str]:
    return st.text(st.characters(categories=["L"]), min_size=1, max_size=12)


@settings(deadline=None)
@given(st.lists(letters(), min_size=1, max_size=20))
def test_words_of_letters_are_read_as_they_are(words):
    assert parse(" ".join(words)).terms == (Term(text=" ".join(words)),)


PIECES = st.sampled_from(
    [
        *string.punctuation,
        *" \t\u00a0–—−“”„×",
        *("width", "height", "similarity", "nsfw", "site", "license", "dedupe"),
        *("item:", "http://", "https://x/d/p/1", "any", "no", "2:", "-2.5:", "1e9"),
        *("9" * 20, "0", "\0", "\ud800", "٣", "²", "日本", "🚗", "\u202e"),
    ]
)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(PIECES).map("".join)))
@example("http://[::1")
@example("http://x/d/p/" + "9" * 300)
@example("(" * 3_000)
@example('-"' * 1_000)
def test_whatever_is_typed_is_read_or_refused_in_its_place(text):
    try:
        asked = parse(text, "p", "x")
    except UnreadableWord as error:
        assert 0 <= error.start < error.end <= len(text)
        assert error.message.endswith(".")
        return
    except InvalidQuery as error:
        assert error.message.endswith(".")
        return
    Filters(**asked.filters)
    spans = [span for part in asked.parts for span in part.spans]
    for start, end in spans:
        assert 0 <= start < end <= len(text)
    for (_, end), (start, _) in zip(sorted(spans), sorted(spans)[1:], strict=False):
        assert end <= start
    for part in asked.parts:
        assert asked.without(part) != text


@settings(deadline=None)
@given(st.lists(PIECES).map("".join))
def test_what_is_left_without_a_part_reads_the_same(text):
    try:
        asked = parse(text, "p", "x")
    except InvalidQuery:
        return
    for part in asked.parts:
        if part.term is None and "caption" not in part.filters:
            left = parse(asked.without(part), "p", "x")
            names = asked.filters.keys() - part.filters.keys()
            assert left.filters == {name: asked.filters[name] for name in names}


# --- The same text with other weights


@pytest.mark.parametrize(
    ("text", "place", "weight", "written"),
    [
        ("red house -car", 0, 2, "2:(red house) -car"),
        ("red -car house", 0, -1, "-(red house) -car"),
        ("red house -car", 1, 1, "red house +car"),
        ("red house -car", 1, -0.25, "red house -0.25:car"),
        ("a 2:(sail boat) width>5", 1, 1, "a +(sail boat) width>5"),
        ("a item:7", 1, -1, "a -item:7"),
        ("a -0.5:item:7", 1, 1, "a item:7"),
        ("a -https://x.org/1.jpg", 1, 2, "a 2:https://x.org/1.jpg"),
        ("house (1984)", 0, 2, "2:(house (1984))"),
        ("a smile :) -b", 0, 2, "2:(a smile : ) -b"),
        ("a 2:boat", 1, 0, "a 0:boat"),
    ],
)
def test_a_term_is_written_with_another_weight(text, place, weight, written):
    asked = read(text)
    part = [part for part in asked.parts if part.term][place]
    assert asked.weighed(part, weight) == written
    assert sorted(term.weight for term in read(written).terms) == sorted(
        weight if each is part else each.term.weight
        for each in asked.parts
        if each.term
    )


@settings(deadline=None)
@given(st.lists(PIECES).map("".join), st.sampled_from([-2, -1, -0.05, 0.5, 1, 1.75]))
def test_a_text_with_another_weight_reads_the_same_but_for_it(text, weight):
    try:
        asked = parse(text, "p", "x")
    except InvalidQuery:
        return
    for part in asked.parts:
        if part.term is None or not (part.term.text or "a").strip("() "):
            continue
        again = parse(asked.weighed(part, weight), "p", "x")
        assert again.filters.keys() == asked.filters.keys()
        assert again.terms and len(again.terms) <= len(asked.terms)
        assert weight in [term.weight for term in again.terms]
        things = [things_of(each) for each in (asked, again)]
        assert things[0] == things[1]


def things_of(asked: ParsedQuery) -> list[str]:
    """Return the things in a query, without weights and parentheses."""
    words = " ".join(
        f"{term.text or term.item or term.image_url}" for term in asked.terms
    )
    return sorted(words.replace("(", " ").replace(")", " ").split())


def test_a_concept_is_a_term():
    number = "0b5c2b52-9d0e-4c1c-9a56-3f1f2b3c4d5e"
    assert read(f"a concept:{number.upper()}").terms[1] == Term(concept=number)
    assert read(f"-0.5:concept:{number}").terms == (Term(concept=number, weight=-0.5),)
    assert read("concept: art").terms == (Term(text="concept: art"),)
    pointed, sentence = unreadable("a concept:art b")
    assert pointed == "concept:art" and "concept ID" in sentence


def test_the_shape_of_pictures_is_a_filter():
    assert read("a orientation:Portrait").filters == {"orientation": "portrait"}
    assert "orientation:landscape" in unreadable("orientation:round")[1]
    assert "Did you mean orientation:" in unreadable("orientaton:square")[1]
