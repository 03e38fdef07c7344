"""Embeddings of texts are computed once, whichever encoder does it."""

import numpy as np
import pytest
from django.core.cache import cache
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from postcards.shards import MODEL
from search.encoder import encoder_for, uncached_encoder_for
from search.encoder.cached import CachedEncoder, normalized_text
from search.encoder.openclip import load


class Counting:
    """Vectors that tell the text; what was asked is kept."""

    dimension = 4

    def __init__(self, model: str, weights: str = ""):
        self.asked: list[str] = []

    def read_texts(self, texts):
        self.asked += texts
        vectors = np.array([[len(text), 1, 2, 3] for text in texts], np.float32)
        return vectors, [min(len(text), 8) for text in texts]


@pytest.fixture(autouse=True)
def empty_cache():
    cache.clear()


def test_what_was_asked_before_is_not_computed_again():
    counting = Counting("model")
    first = CachedEncoder(counting, "model", "weights").encode_texts(["a", "bb", "a"])
    second = CachedEncoder(counting, "model", "weights").encode_texts(["ccc", "bb"])
    assert counting.asked == ["a", "bb", "ccc"]
    assert first[:, 0].tolist() == [1, 2, 1]
    assert second[:, 0].tolist() == [3, 2]
    assert first.dtype == second.dtype == np.float32
    first[0] = 0  # the caller's own


def test_how_much_was_read_is_that_of_the_text_as_typed():
    texts = ["a  few \n words", "few", "a few words", "wörter  und mehr"]
    encoder = CachedEncoder(Counting("model"), "model", "weights")
    for _ in range(2):
        _, lengths = encoder.read_texts(texts)
        read = [text[:n] for text, n in zip(texts, lengths, strict=True)]
        assert read == ["a  few \n wo", "few", "a few wo", "wörter  "]


def test_another_model_has_other_vectors():
    for model, weights in [("one", "w"), ("two", "w"), ("one", "v"), ("one w", "")]:
        counting = Counting(model)
        CachedEncoder(counting, model, weights).encode_texts(["a"])
        assert counting.asked == ["a"]


def test_encoders_that_the_settings_name_remember(settings):
    settings.SEARCH_ENCODER = f"{__name__}.Counting"
    encoder_for("remembered", "").encode_texts(["a  b\n"])
    encoder_for("remembered", "").encode_texts([" a b"])
    assert uncached_encoder_for("remembered", "").asked == ["a b"]


def test_without_a_cache_it_computes(settings):
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }
    counting = Counting("model")
    remembered = CachedEncoder(counting, "model", "")
    assert remembered.encode_texts(["a"]).shape == (1, 4)
    assert remembered.encode_texts(["a"]).shape == (1, 4)
    assert counting.asked == ["a", "a"]


@pytest.fixture(scope="module")
def tokenizers(torch):
    postcards = load(MODEL, "").tokenizer
    import open_clip

    return [postcards, open_clip.get_tokenizer("ViT-B-32")]


@example(" a  red\n house\t")
@example("Ã\xa0 la  carte")
@example("&amp  ;&nbsp; \r x")
@given(
    text=st.text(alphabet=st.sampled_from("aB1 \t\n\r&;#<Ãâ€\xa0\x1b[m"), max_size=30)
)
@hypothesis_settings(max_examples=200, deadline=None)
def test_the_normal_form_has_the_same_tokens(tokenizers, text):
    for tokenizer in tokenizers:
        assert (tokenizer([normalized_text(text)]) == tokenizer([text])).all()
