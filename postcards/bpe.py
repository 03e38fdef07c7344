"""Learn byte-pair merges from the captions, for open_clip's SimpleTokenizer.

The embeddings of CLIP's 49,408 pieces would need twice the weights of this small model;
the captions need a fortieth of them.
"""

import gzip
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from open_clip.tokenizer import bytes_to_unicode, whitespace_clean

Word = tuple[str, ...]
SPECIAL_TOKENS = 2


def learn_merges(texts: Iterable[str], vocab_size: int) -> list[tuple[str, str]]:
    """Merge the most frequent pair until the vocabulary is full; return the merges.

    Source: Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with
    Subword Units", 2016.
    """
    letters = bytes_to_unicode()
    words: Counter[Word] = Counter()
    for text in texts:
        for word in whitespace_clean(text).lower().split():
            for piece in _pieces(word):
                coded = [letters[byte] for byte in piece.encode()]
                coded[-1] += "</w>"
                words[tuple(coded)] += 1
    merges: list[tuple[str, str]] = []
    while len(merges) < vocab_size - 2 * len(letters) - SPECIAL_TOKENS:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_merge(word, best): count for word, count in words.items()})
    return merges


def save_merges(merges: list[tuple[str, str]], path: Path, vocab_size: int) -> None:
    """Write a file for SimpleTokenizer, padded to the size of the vocabulary."""
    spare = vocab_size - 2 * len(bytes_to_unicode()) - SPECIAL_TOKENS - len(merges)
    filled = merges + [("<spare>", str(i)) for i in range(spare)]
    lines = ["#version: postcards", *(" ".join(pair) for pair in filled)]
    data = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(data, mtime=0))


def _pieces(word: str) -> list[str]:
    """Split a word into runs of letters, single digits and runs of signs."""
    pieces: list[str] = []
    previous = ""
    for sign in word:
        kind = "letter" if sign.isalpha() else "digit" if sign.isdigit() else "sign"
        if pieces and kind == previous != "digit":
            pieces[-1] += sign
        else:
            pieces.append(sign)
        previous = kind
    return pieces


def _merge(word: Word, pair: tuple[str, str]) -> Word:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)
