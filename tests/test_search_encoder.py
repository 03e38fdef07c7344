import threading
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.bombs import encoded

from postcards.draw import draw
from postcards.scene import Scene, Thing
from postcards.shards import MODEL
from search.encoder import local_encoder
from search.encoder.openclip import OpenClipEncoder
from search.errors import SearchUnavailable
from search.images.decoders import import_decoders

pytestmark = pytest.mark.usefixtures("torch")

RED = Scene("night", "clear", "meadow", (), (Thing("house", "red", "large", "middle"),))
BLUE = Scene("day", "clear", "beach", (), (Thing("boat", "blue", "large", "middle"),))

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Its red is green, and the reverse.
EXCHANGED = SRGB.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ")
EXCHANGED = EXCHANGED.replace(b"----", b"gXYZ")


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


KINDS = {
    "JPEG": {"quality": 90},
    "progressive": {"quality": 85, "progressive": True},
    "PNG": {"compress_level": 1},
    "WEBP": {"quality": 90, "method": 0},
}


@pytest.mark.parametrize("size", [(200, 150), (1024, 1400), (2400, 1600)], ids=str)
def test_images_have_the_vector_of_all_their_pixels(encoder, size):
    """In every encoding; and their pixels are those that a larger model would get."""
    picture = draw(RED, 1, 900, 600).resize(size, Image.Resampling.BICUBIC)
    grain = Image.effect_noise(size, 15).convert("RGB")
    picture = Image.blend(picture, grain, 0.1)
    vectors = []
    for name, options in KINDS.items():
        kind = "JPEG" if name == "progressive" else name
        data = encoded(picture, kind, **options)
        whole = Image.open(BytesIO(data)).convert("RGB")
        small = import_decoders.shrink([data])[0].image
        vectors += list(encoder.encode_images([whole, small]))
        input_size = 224, 224 * size[1] // size[0]
        shown, right = (
            np.asarray(image.resize(input_size, Image.Resampling.BICUBIC), int)
            for image in (small, whole)
        )
        assert np.abs(shown - right).mean() < 1, name
    assert np.min(vectors @ np.transpose(vectors)) > 0.999


def test_one_image_in_two_encodings_has_one_vector(encoder):
    """By transparency, by depth, by profile: what looks alike is alike."""
    scene = draw(RED, 1, 320, 240)
    key = (255, 0, 255)
    keyed = Image.new("RGB", scene.size, key)
    keyed.paste(scene.crop((80, 60, 240, 180)), (80, 60))
    clear = keyed.convert("RGBA")
    clear.putalpha(Image.new("L", scene.size, 0))
    clear.paste(scene.crop((80, 60, 240, 180)), (80, 60))
    grey = scene.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype("<u2") * 257)
    red, green, blue = scene.split()
    swapped = Image.merge("RGB", (green, red, blue))
    pairs = [
        (encoded(keyed, "PNG", transparency=key), encoded(clear, "PNG")),
        (encoded(grey, "PNG"), encoded(deep, "PNG")),
        (encoded(scene, "PNG"), encoded(swapped, "PNG", icc_profile=EXCHANGED)),
    ]
    for pair in pairs:
        images = [small.image for small in import_decoders.shrink(pair)]
        one, other = encoder.encode_images(images)
        assert one @ other > 0.999


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
        ("ViT-B-32-quickgelu", "/nowhere.pt", "no weights “/nowhere.pt”"),
        ("ViT-B-32-quickgelu", __file__, "cannot be loaded"),
        ("no-such-architecture", "openai", "no model named"),
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
