"""Words in captions of all scripts: what is indexed, and what a search finds of it."""

import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.searching import find
from support.tiny_shards import (
    DIMENSION,
    drop_tables,
    import_all,
    metadata,
    tiny_dataset,
    write_shard,
)

from search.errors import InvalidQuery
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.query.words import WantedWords, _indexed, indexed_words

PATIENT = settings(deadline=None)  # a busy machine is slow
# With spaces between words: no word is another one of this list.
SPACED = (
    *("zebrafish", "Okapi", "Straße", "Ibis", "İzmir", "Ἀθῆναι", "ΌΣΟΣ", "Ибис"),
    *("цапля", "Ёлка", "նապաստակ", "ანგელოზი", "بيت", "می‌خواهم", "שָׁלוֹם", "בית"),
    *("हिन्दी", "বাংলা", "தமிழ்", "മലയാളം", "አማርኛ", "고양이", "한국", "Ｗｉｄｅ"),
    *("ﬁnch", "naïve", "Ǆungla", "smörgåsbord", "Tiếng", "42", "٤٢", "x²", "ŉde"),
)
# Without: each is a run, of which substrings are words.
UNSPACED = (
    *("一只红色的猫坐在沙发上", "赤い家と青い湖", "カタカナのテスト", "ﾊﾝｶｸｶﾅ"),
    *("𠮷野家", "ㄅㄆㄇ", "บ้านสีแดงริมทะเลสาบ", "ເຮືອນສີແດງ", "ផ្ទះក្រហម"),
    "အိမ်အနီရောင်",
)
SEPARATORS = (
    *(" ", "\u00a0", "\u3000", "\n", "\u2028", "\x00", " – ", " 🦓 ", "™ ", "*️⃣"),
    *("’ ", " ‘", "״ ", *"—…®“”«»„、。！？؟،।։·・/_+-‑()『』€฿¿※"),
)
UNSEEN = ("\ufeff", "\u00ad", "\u200e", "\u2060", "\u200d", "\u2067", "\ufe0f")
CASES = (str, str.upper, str.lower, str.title, str.casefold)
FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def folded(text: str) -> str:
    """Fold as Unicode defines a compatibility caseless match, without ignorables."""
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    text = unicodedata.normalize("NFD", text)
    for _ in range(2):
        text = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFKC", text)


def same_word(word: str, other: str) -> bool:
    return folded(word) == folded(other)


def spelled(word: str, chance: random.Random) -> str:
    """Return a word in another case and normal form, perhaps with signs around it."""
    changed = unicodedata.normalize(chance.choice(FORMS), chance.choice(CASES)(word))
    if not same_word(changed, word):  # ŉ in capitals is ʼN, which is two pieces
        changed = word
    if chance.random() < 0.3:
        changed = chance.choice(UNSEEN) + changed
    return changed


def caption_of(words: list[str], chance: random.Random) -> str:
    pieces = [chance.choice(SEPARATORS)]
    for word in words:
        pieces += [spelled(word, chance), chance.choice(SEPARATORS)]
    return "".join(pieces)


def holds(words: list[str], wanted: str) -> bool:
    """Return whether a caption of these words holds one: by how it was made."""
    if any(same_word(wanted, word) for word in SPACED):
        return any(same_word(wanted, word) for word in words)
    runs = [folded(word) for word in words if word in UNSPACED]
    return any(folded(wanted) in run for run in runs)


def part_of_a_run(run: str, chance: random.Random) -> str:
    """Return a substring that is one in all normal forms, too."""
    run = unicodedata.normalize("NFKC", run)
    while True:
        start, end = sorted(chance.sample(range(len(run) + 1), 2))
        part = run[start:end]
        if unicodedata.category(part[0])[0] == "L" and folded(part) in folded(run):
            return part


def one_word(chance: random.Random) -> str:
    word = chance.choice(SPACED + UNSPACED)
    return part_of_a_run(word, chance) if word in UNSPACED else word


@PATIENT
@given(st.randoms(use_true_random=False))
def test_words_are_found_in_the_captions_that_hold_them(chance):
    words = chance.choices(SPACED + UNSPACED, k=chance.randint(0, 5))
    caption = caption_of(words, chance)
    assert indexed_words(caption) == f" {_indexed(caption)} "
    for _ in range(8):
        wanted = one_word(chance)
        signs = chance.choice(SEPARATORS), chance.choice(SEPARATORS)
        asked = signs[0] + spelled(wanted, chance) + signs[1]
        assert WantedWords.of(asked).are_in(caption) == holds(words, wanted), (
            caption,
            asked,
        )


@pytest.mark.parametrize(
    ("caption", "found", "not_found"),
    [
        ("The cat’s pyjamas", ["cat's", "CAT`S", "cat", "catʼs"], ["cats", "pyjama"]),
        ("men's shirt, cat", ["men’s", "cat"], ["cat's", "man's"]),
        ("l’été à la mer", ["été", "l'été", "E\u0301TÉ"], ["ete"]),
        ("נתב״ג", ['נתב"ג', "נתב״ג", "נתב”ג", "נתב"], ["נתבג"]),
        ("שָׁלוֹם בֵּית־סֵפֶר", ["שלום", "בית ספר", "שָׁלום"], ["של", "שָׁל"]),
        ("محمد أحمد", ["مُحَمَّدٌ", "م\ufe77حمد", "أَحمد"], ["احمد", "محم"]),
        ("هٰذا مُحَمَّد", ["هذا", "محمد"], ["هذ"]),
        ("हिन्दी ދިވެހި", ["हिन्दी", "ދިވެހި"], ["हन्द", "ދވހ"]),
        ("5月3日", ["5月", "月3日", "3日"], ["3月", "5日"]),
        (
            "iPhone手机壳",
            ["iphone", "手机", "iPhone手机", "机壳"],
            ["phone", "phone手机"],
        ),
        ("红色 色红", ["红色", "色红"], ["红色红", "红红"]),
        ("色的红色", ["红色"], ["红色的"]),
        ("བོད་ཡིག་", ["བོད་ཡིག", "ཡིག"], ["ཡིག་བོད"]),
        ("Quokka™ ⓕⓡⓔⓔ", ["quokka", "Quokka™®", "free"], ["quokkatm", "tm"]),
        ("10㎏ ㍿の ⼈間 ㈱", ["10KG", "株式会社の", "人間", "㍿", "株"], ["式会の"]),
        ("foo\u200bbar แมว\u200bดำ", ["foo", "bar", "แมวดำ"], ["foobar"]),
        ("´ \u0301 a", ["a"], ["b"]),
        ("snow_leopard C++ AC/DC", ["snow", "snow_leopard", "c++", "ac/dc"], ["acdc"]),
    ],
)
def test_pieces_and_signs(caption, found, not_found):
    assert [word for word in found if not WantedWords.of(word).are_in(caption)] == []
    assert [word for word in not_found if WantedWords.of(word).are_in(caption)] == []


@PATIENT
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_caption_can_be_indexed(caption):
    """The engine splits the words at ASCII signs, which are spaces alone."""
    indexed = indexed_words(caption)
    assert indexed == f" {_indexed(caption)} "
    assert indexed.startswith(" ") and indexed.endswith(" ") and indexed != ""
    ascii_signs = {char for char in indexed if char.isascii() and not char.isalnum()}
    assert ascii_signs == {" "}
    assert indexed_words(unicodedata.normalize("NFD", caption)) == indexed
    assert WantedWords.of(caption).are_in(caption)


def test_a_caption_filter_needs_a_word():
    for signs in ("“…”", "™", "🦊", "–", "\u0301", "\ufeff", "''"):
        with pytest.raises(InvalidQuery, match="has no words"):
            Filters(caption=signs)


ROWS = 200


@pytest.fixture(scope="module")
def babel(tmp_path_factory, django_db_setup, django_db_blocker):
    """A dataset of captions of many scripts, and the words of each."""
    chance = random.Random(1)
    words = [
        chance.choices(SPACED + UNSPACED, k=chance.randint(0, 6)) for _ in range(ROWS)
    ]
    captions = [caption_of(each, chance).replace("\x00", " ") for each in words]
    folder = tmp_path_factory.mktemp("babel")
    write_shard(
        folder,
        0,
        ROWS,
        image=unequal(ROWS),
        metadata=metadata(ROWS) | {"caption": captions, "NSFW": [None] * ROWS},
    )
    with django_db_blocker.unblock():
        dataset = tiny_dataset(folder, slug="babel")
        import_all(dataset)
        yield words
        drop_tables(dataset)
        dataset.delete()


def unequal(rows: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((rows, DIMENSION)).astype("f2")


@pytest.mark.django_db
def test_the_engine_finds_and_counts_the_items_that_hold_all_words(babel):
    chance = random.Random(2)
    direction = Term(embedding=(1.0,) * DIMENSION)
    counts = []
    for _ in range(40):
        wanted = [one_word(chance) for _ in range(chance.choice((1, 1, 2, 3)))]
        asked = chance.choice(SEPARATORS[:4]).join(spelled(w, chance) for w in wanted)
        rows = [
            row
            for row, words in enumerate(babel)
            if all(holds(words, word) for word in wanted)
        ]
        filters = Filters(caption=asked, dedupe=False, nsfw="any")
        page = find(SearchQuery("babel", (direction,), filters=filters, limit=100))
        assert page.matching is not None
        assert (page.matching.items, page.matching.estimated) == (len(rows), False)
        assert {hit.id for hit in page.hits} <= set(rows)
        assert len(page.hits) == min(len(rows), 100)
        counts.append(len(rows))
    assert 0 in counts and any(counts)
