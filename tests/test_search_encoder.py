import threading

import numpy as np
import pytest
from PIL import Image

from postcards.draw import draw
from postcards.scene import Scene, Thing
from postcards.shards import MODEL
from search.encoder import local_encoder
from search.encoder.openclip import OpenClipEncoder
from search.errors import SearchUnavailable

pytestmark = pytest.mark.usefixtures("torch")

RED = Scene("night", "clear", "meadow", (), (Thing("house", "red", "large", "middle"),))
BLUE = Scene("day", "clear", "beach", (), (Thing("boat", "blue", "large", "middle"),))


@pytest.fixture(scope="module")
def encoder():
    return local_encoder(MODEL, "")


def test_vectors_are_of_unit_length_and_float32(encoder):
    texts = encoder.encode_texts(["a red house", "", "🏠 " * 200])
    images = encoder.encode_images([draw(RED), Image.new("RGB", (1, 1))])
    for vectors, count in ((texts, 3), (images, 2)):
        assert vectors.shape == (count, encoder.dimension) == (count, 512)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_words_are_close_to_the_picture_they_describe(encoder):
    texts = encoder.encode_texts(["a red house at night", "a blue boat on the beach"])
    images = encoder.encode_images([draw(RED), draw(BLUE)])
    closeness = texts @ images.T
    assert closeness[0, 0] > closeness[0, 1] + 0.2
    assert closeness[1, 1] > closeness[1, 0] + 0.2


def test_the_company_in_a_batch_changes_nothing(encoder):
    alone = encoder.encode_texts(["a red house"])[0]
    among = encoder.encode_texts(["a red house", "a long text about a sea", "x"])[0]
    assert np.allclose(alone, among, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "a red house " * 60,
        "  a  House,\n\t" * 40,
        "猫が坐っている" * 30,
        "🏠 " * 100,
        "&amp; &lt; a house " * 30,
        "incomprehensibilities" * 30,
    ],
)
def test_what_follows_the_part_that_was_read_has_no_effect(encoder, text):
    (vector,), (length,) = encoder.read_texts([text])
    assert 0 < length < len(text)
    assert np.array_equal(vector, encoder.encode_texts([text])[0])
    read = text[:length]
    others = encoder.encode_texts([read, read + " with a boat", read[:-1], read[:-4]])
    assert np.allclose(others[:2], vector, atol=1e-5)
    assert not np.allclose(others[3], vector, atol=1e-5)


def test_a_text_that_fits_is_read_as_a_whole(encoder):
    texts = ["", "a red house", "a " * 34, "a " * 33 + "! \n ", " \n"]
    _, lengths = encoder.read_texts(texts)
    assert lengths == list(map(len, texts))
    _, (length,) = encoder.read_texts(["a " * 35])
    assert length == len("a " * 34) - 1


def test_a_model_is_loaded_once_by_many_threads(monkeypatch):
    import open_clip

    loads = []
    create = open_clip.create_model_and_transforms

    def counted(*arguments, **options):
        loads.append(arguments)
        return create(*arguments, **options)

    monkeypatch.setattr(open_clip, "create_model_and_transforms", counted)
    encoder = OpenClipEncoder(MODEL)
    threads = [
        threading.Thread(target=encoder.encode_texts, args=(["a"],)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("model", "weights", "sentence"),
    [
        ("local-dir:nowhere", "", "no weights"),
        ("ViT-B-32-quickgelu", "", "no weights"),
        ("ViT-B-32-quickgelu", "/nowhere.pt", "cannot be loaded"),
        ("no-such-architecture", "openai", "cannot be loaded"),
    ],
)
def test_a_model_that_cannot_be_had_is_unavailable(model, weights, sentence):
    with pytest.raises(SearchUnavailable, match=sentence):
        OpenClipEncoder(model, weights).encode_texts(["a"])


def test_laions_own_architecture_is_known_to_open_clip():
    """Its weights cannot be had here; that the names fit together can be checked."""
    import open_clip

    assert open_clip.get_model_config("ViT-B-32-quickgelu")["embed_dim"] == 512
    assert open_clip.get_pretrained_cfg("ViT-B-32-quickgelu", "openai")


def test_weights_that_failed_are_not_tried_again_at_once(monkeypatch):
    import open_clip

    tries = []

    def failing(*arguments, **options):
        tries.append(arguments)
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", failing)
    encoder = OpenClipEncoder("ViT-B-32-quickgelu", "openai")
    for _ in range(3):
        with pytest.raises(SearchUnavailable, match="cannot be loaded"):
            encoder.encode_texts(["a"])
    assert len(tries) == 1
