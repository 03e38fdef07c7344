"""The words of a caption: one notion for what is indexed and what is searched for.

Letters, marks and digits of any script make words; everything else separates them.
Case, compatibility forms and normal forms do not matter (Unicode's NFKC_Casefold, made
here per character), nor do characters that are not seen, nor the points of Hebrew and
the vowel signs of Arabic, which are mostly left out. A caption is indexed as its tokens
in their order, and what is searched for is looked up as tokens, and as sequences of
them:

- A word in a script that puts spaces between words is one token.
- A run of a script without such spaces gives each character, and each pair of
  neighbours, so that all its substrings are sequences of tokens: 红色的 is 红 红色 色
  色的 的.
- Pieces around an apostrophe, or where scripts meet, are found alone (cat in cat’s);
  typed together, they have to be neighbours.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain
from operator import add

# Signs inside a word, which keyboards and typesetters write in many ways; among them
# the Hebrew geresh and gershayim, and the Tibetan sign between syllables.
APOSTROPHES = "'`´‘’‛′ʹʻʼʽ՚׳״་༌＇ꞌ"
JOINT = "'"  # stands for them, and for the border between scripts
ZERO_WIDTH_SPACE = "\u200b"
# Characters without a glyph that are not in the category Cf, and the Arabic line that
# only stretches a word.
UNSEEN = "\u034f\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f"
UNSEEN += "\U000e0100-\U000e01ef"
# Points of Hebrew; vowels and other signs of Arabic, without the hamza and the madda,
# which make other letters.
POINTS = "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u0652"
POINTS += "\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\ufb1e"
POINTS += "\ufe70-\ufe72\ufe74\ufe76-\ufe7f"  # alone, as glyphs of old fonts
POINTS += "\u0897-\u089f\u08ca-\u08e1\u08e3-\u08ff"
# Quotation marks between Hebrew letters, in the place of gershayim.
GERSHAYIM = re.compile('["“”„](?<=[\u0591-\u05f2].)(?=[\u05d0-\u05f2])')
# Thai, Lao, Burmese, Khmer, Tai Le, New Tai Lue, Tai Tham, Balinese, kana, Bopomofo,
# Han, Javanese, Shan, Khamti, Tai Viet, Ahom, Tangut, Khitan, older kana, Nüshu, Han.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f"
    "\u3005-\u3007\u3021-\u302f\u3031-\u3035\u3038-\u303c\u3041-\u30ff\u3105-\u312f"
    "\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua980-\ua9ff\uaa60-\uaadf"
    "\uf900-\ufaff\U00011700-\U0001174f\U00016fe0-\U00018dff\U0001aff0-\U0001b2ff"
    "\U00020000-\U0003ffff"
)
FIRST_UNSPACED = UNSPACED[0]
RUN = re.compile(f"[{UNSPACED}]+")
INNER_ZERO_WIDTH_SPACE = re.compile(
    f"(?<=[{UNSPACED}]){ZERO_WIDTH_SPACE}+(?=[{UNSPACED}])"
)
IS_UNSEEN = re.compile(f"[{UNSEEN}{POINTS}]")
# Letters and words in a circle or a square, as ㎏ and ㍿, and radicals that look like
# Han: for Unicode they are symbols.
SYMBOLIC_LETTER = re.compile(
    "[\u24b6-\u24e9\u2e9f\u2ef3\u2f00-\u2fd5\u3200-\u33ff\U0001f130-\U0001f189]"
)
CACHED_WORDS = 2**16  # with their tokens: 10 MB
MAX_CACHED = 24  # characters
ENCLOSING_MARK = "Me"  # a circle or a keycap


class _Spellings(dict[int, str]):
    """The spelling of each character, for str.translate; filled as they occur."""

    def __missing__(self, code: int) -> str:
        spelling = _spelling(chr(code))
        # Characters that are not assigned are too many to keep.
        if spelling != " " or unicodedata.category(chr(code))[0] != "C":
            self[code] = spelling
        return spelling


def _spelling(char: str) -> str:
    """Return the letters of a character, its joint, a space, or nothing."""
    category = unicodedata.category(char)
    if char in APOSTROPHES:
        return JOINT
    if char == ZERO_WIDTH_SPACE:
        return char
    if category in ("Cf", ENCLOSING_MARK) or IS_UNSEEN.match(char):
        return ""
    if category[0] not in "LMN" and not SYMBOLIC_LETTER.match(char):
        return " "  # ™ too, though it spells letters: a word ends before it
    folded = unicodedata.normalize("NFD", char)
    for _ in range(2):
        folded = unicodedata.normalize("NFKC", folded.casefold())
    return "".join(map(_part, folded))


def _part(char: str) -> str:
    if char in APOSTROPHES:
        return JOINT
    if IS_UNSEEN.match(char):
        return ""
    return char if unicodedata.category(char)[0] in "LMN" else " "


_SPELLINGS = _Spellings()
_ASCII = {code: _spelling(chr(code)) for code in range(128)}


def _spelled(text: str) -> str:
    """Return the words of a text between spaces, with a JOINT between their pieces."""
    if text.isascii():
        return text.translate(_ASCII)
    text = GERSHAYIM.sub(JOINT, unicodedata.normalize("NFC", text))
    text = unicodedata.normalize("NFC", text.translate(_SPELLINGS))
    if ZERO_WIDTH_SPACE in text:
        text = INNER_ZERO_WIDTH_SPACE.sub("", text).replace(ZERO_WIDTH_SPACE, " ")
    if max(text, default="") < FIRST_UNSPACED:
        return text
    return RUN.sub(rf"{JOINT}\g<0>{JOINT}", text)


def _tokens(piece: str) -> list[str]:
    """Return the tokens of a piece in their order."""
    kind = _kind(piece[0])
    if kind == "run":
        tokens = [""] * (2 * len(piece) - 1)
        tokens[::2] = piece
        tokens[1::2] = map(add, piece, piece[1:])
        return tokens
    if kind == "mark":  # it belongs to the letter before it; here there is none
        return _tokens(piece[1:]) if len(piece) > 1 else []
    return [piece]


@cache
def _kind(first: str) -> str:
    """Return "run", "mark" or "word" for a piece that begins with this character."""
    if RUN.match(first):
        return "run"
    return "mark" if unicodedata.category(first)[0] == "M" else "word"


def in_small_letters(text: str) -> str:
    """Return a text in small letters and composed, to be shown and compared."""
    return unicodedata.normalize("NFC", text.lower())


def indexed_words(caption: str) -> str:
    """Return the tokens of a caption, each between spaces; never an empty text."""
    if caption.isascii():
        return f" {_indexed(caption)} "
    # Nothing depends on what is beyond a space.
    words = (
        _indexed_often(word) if len(word) <= MAX_CACHED else _indexed(word)
        for word in caption.split(" ")
    )
    return f" {' '.join(filter(None, words))} "


def _indexed(text: str) -> str:
    """Return the tokens of a text with a space between them."""
    pieces = _spelled(text).replace(JOINT, " ").split()
    if not text.isascii():
        pieces = list(chain.from_iterable(map(_tokens, pieces)))
    return " ".join(pieces)


_indexed_often = lru_cache(CACHED_WORDS)(_indexed)


@dataclass(frozen=True)
class WantedWords:
    """The tokens and the sequences of tokens that a caption must hold, all of them."""

    tokens: tuple[str, ...]
    sequences: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "WantedWords":
        tokens: dict[str, None] = {}
        sequences: dict[str, None] = {}
        for word in _spelled(text).split():
            pieces = [_tokens(piece) for piece in word.split(JOINT) if piece]
            for piece in pieces:
                # Pairs hold the characters of a run.
                tokens.update(dict.fromkeys(piece[1::2] or piece))
            in_order = list(chain.from_iterable(pieces))
            is_pair = len(pieces) == 1 and len(in_order) == 3
            if len(in_order) > 1 and not is_pair:
                sequences[f" {' '.join(in_order)} "] = None
        return cls(tuple(tokens), tuple(sequences))

    def __bool__(self) -> bool:
        return bool(self.tokens)

    def are_in(self, caption: str) -> bool:
        """Return whether all of them are in a caption."""
        indexed = indexed_words(caption)
        return set(indexed.split()).issuperset(self.tokens) and all(
            sequence in indexed for sequence in self.sequences
        )
