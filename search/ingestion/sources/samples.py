"""Group the files of a folder or archive: images, and texts that describe them.

A text belongs to the image of the same name, endings apart: 22.05.txt describes
22.05.jpg, and so does 22.05.jpg.txt. An image without a text of some kind gets those of
its key, which in the webdataset format is the name up to the first dot:
sample01.outputs.txt describes sample01.input.jpg, and sample01.txt does, too. But where
texts of this kind have the full names of images, as 22.05.txt has, dots are part of
names, and 22.06.txt describes no other image; nor does a text of a key with several
images and several texts. Names are compared in one normal form, since macOS and other
systems write letters such as é in two.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CAPTIONS = ("txt", "text", "caption", "cap")  # the likeliest first
METADATA = "json"
TEXTS = (*CAPTIONS, METADATA, "cls")
SYSTEM_FILES = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Sample:
    """The names of an image, of its caption and metadata, or "", and of other texts."""

    image: str
    caption: str = ""
    metadata: str = ""
    others: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [name for name in (self.image, self.caption, self.metadata) if name] + [
            *self.others
        ]


def group(
    images: Sequence[str], texts: Iterable[str]
) -> tuple[list[Sample], list[str]]:
    """Return a sample for each image, in their order, and texts without an image."""
    texts = sorted(texts, key=_preference)
    index = TextIndex(images, texts)
    samples, used = [], set()
    for image in images:
        own = index.texts_of(image)
        used.update(own)
        samples.append(_sample(image, own))
    return samples, [text for text in texts if text not in used]


class TextIndex:
    """Texts by the names of the images that they may describe."""

    def __init__(self, images: Sequence[str], texts: Sequence[str]):
        named = {*map(_composed, images), *map(stem_of, images)}
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        self.by_key: dict[str, list[str]] = defaultdict(list)
        self.images = Counter(map(key_of, images))
        self.shared: Counter[tuple[str, str]] = Counter()  # keys and kinds
        self.named: set[tuple[str, str]] = set()
        for text in texts:
            stem, key = stem_of(text), key_of(text)
            self.by_stem[stem].append(text)
            if stem not in named:
                self.by_key[key].append(text)
                self.shared[key, _kind(text)] += 1
            elif stem != key:
                self.named.add((key, _kind(text)))

    def texts_of(self, image: str) -> list[str]:
        """Return the texts that describe an image, the likeliest of a kind first."""
        names = (stem_of(image), _composed(image))
        own = [text for name in names for text in self.by_stem.get(name, ())]
        kinds, key = set(map(_kind, own)), key_of(image)
        plain = self.by_stem.get(key, ())
        other = filter(self._is_shared, self.by_key.get(key, ()))
        own += [text for text in (*plain, *other) if _kind(text) not in kinds]
        return list(dict.fromkeys(own))

    def _is_shared(self, text: str) -> bool:
        """Return whether a text describes the images of its key."""
        key, kind = key_of(text), _kind(text)
        is_clear = self.images[key] == 1 or self.shared[key, kind] == 1
        return is_clear and (key, kind) not in self.named


def is_hidden(name: str) -> bool:
    """Return whether a file belongs to a file system or its browser."""
    base = name.rpartition("/")[2]
    return base.startswith(".") or base.lower() in SYSTEM_FILES


def is_text(name: str) -> bool:
    """Return whether a file of this name may describe an image."""
    return ending_of(name) in TEXTS


def text_name(text: str, image: str) -> str:
    """Return what a text is called in an image's metadata: cls for image.cls."""
    text = _composed(text)
    bases = (_composed(image), stem_of(image), key_of(image))
    base = next(base for base in bases if text.startswith(f"{base}."))
    return text.removeprefix(f"{base}.").lower()


def ending_of(name: str) -> str:
    """Return what follows the last dot of a file's name, in lower case."""
    _, dot, ending = name.rpartition("/")[2].rpartition(".")
    return ending.lower() if dot else ""


def stem_of(name: str) -> str:
    """Return a path without the ending of its file, composed."""
    name = _composed(name)
    return name.rpartition(".")[0] if "." in name.rpartition("/")[2] else name


def key_of(name: str) -> str:
    """Return a path up to the first dot of its file's name, composed."""
    folder, slash, base = _composed(name).rpartition("/")
    return folder + slash + base.partition(".")[0]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _sample(image: str, texts: list[str]) -> Sample:
    caption = next((text for text in texts if _kind(text) in CAPTIONS), "")
    metadata = next((text for text in texts if _kind(text) == METADATA), "")
    others = (text for text in texts if text not in (caption, metadata))
    return Sample(image, caption, metadata, tuple(others))


def _kind(name: str) -> str:
    ending = ending_of(name)
    return CAPTIONS[0] if ending in CAPTIONS else ending


def _preference(name: str) -> tuple[int, str]:
    return TEXTS.index(ending_of(name)), name
