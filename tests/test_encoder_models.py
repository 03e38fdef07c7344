"""The model in memory: texts cut short, other precisions, several models."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from postcards.shards import MODEL, jpeg
from search.encoder import openclip
from search.encoder.openclip import (
    ModelCache,
    OpenClipEncoder,
    encode_text,
    make_torchvision_importable,
    text_ends,
)

TEXTS = ["a", "a red house by a lake at night", "", "of many words " * 30, "🏠 " * 9]
SMALL = {"context_length": 40, "width": 32, "heads": 2, "layers": 2}
TOWERS = {
    "clip": {},
    "clip, pooled at its end token": {"pool_type": "eos", "eos_id": 49407},
    "custom": {"custom": True},
    "custom, with a linear projection": {"custom": True, "proj_bias": True},
    "seeing all": {"custom": True, "no_causal_mask": True},
    "pooled at the last": {"pool_type": "last", "custom": True},
    "with a token of its own": {"custom": True, "embed_cls": True},
}
SHORTENED = [name for name in TOWERS if name.startswith(("clip", "custom"))]


@pytest.fixture(scope="module", autouse=True)
def open_clip_can_be_imported(torch):
    make_torchvision_importable()


def tower(name: str):
    """A small model with random weights."""
    import open_clip
    import torch

    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {**SMALL, **TOWERS[name]}
    kind = open_clip.CustomTextCLIP if text.pop("custom", False) else open_clip.CLIP
    return kind(32, vision_cfg=vision, text_cfg=text).eval()


@pytest.mark.parametrize("name", TOWERS)
def test_a_text_cut_short_has_the_same_vector(name):
    import open_clip
    import torch

    model = tower(name)
    tokens = open_clip.SimpleTokenizer()(TEXTS, context_length=40)
    ends = text_ends(model, tokens)
    assert (int(ends.min()) < 39) == (name in SHORTENED)
    with torch.inference_mode():
        for rows in ([0], [0, 1, 2], list(range(len(TEXTS)))):
            whole = model.encode_text(tokens[rows])
            assert torch.allclose(encode_text(model, tokens[rows]), whole, atol=1e-5)


def test_the_position_after_the_end_would_be_missed():
    """That the ends are right: one token less gives another vector."""
    import open_clip
    import torch

    model = tower("clip")
    tokens = open_clip.SimpleTokenizer()(["a red house"], context_length=40)
    (end,) = text_ends(model, tokens).tolist()
    assert tokens[0, end] == 49407
    assert not tokens[0, end + 1 :].any()
    with torch.inference_mode():
        cut = model.encode_text(torch.where(torch.arange(40) < end, tokens, 0))
        assert not torch.allclose(cut, encode_text(model, tokens), atol=1e-3)


def test_long_and_short_texts_keep_their_places():
    encoder = OpenClipEncoder(MODEL)
    together = encoder.encode_texts(TEXTS * 20)
    alone = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    assert np.allclose(together, np.tile(alone, (20, 1)), atol=1e-5)


def test_half_the_precision_means_nearly_the_same(settings):
    images = [Image.open(BytesIO(jpeg(number))) for number in range(6)]
    full = OpenClipEncoder(MODEL)
    wanted = full.encode_texts(TEXTS), full.encode_images(images)
    settings.ENCODER_PRECISION = "bfloat16"
    half = OpenClipEncoder(MODEL)
    for vectors, right in zip(
        (half.encode_texts(TEXTS), half.encode_images(images)), wanted, strict=True
    ):
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert np.einsum("ij,ij->i", vectors, right).min() > 0.995


def test_the_model_used_longest_ago_makes_room(tmp_path: Path, settings, monkeypatch):
    settings.ENCODER_MEMORY_MB = 45  # each has 19
    monkeypatch.setattr(openclip, "model_cache", ModelCache())
    encoders = []
    for number in range(3):
        folder = tmp_path / str(number)
        shutil.copytree(settings.BASE_DIR / "postcards" / "model", folder)
        encoders.append(OpenClipEncoder(f"local-dir:{folder}"))
    first, second, third = encoders
    for encoder in (first, second, first, third):
        encoder.encode_texts(["a"])
    assert openclip.model_cache.get(second) is None
    assert openclip.model_cache.get(first) and openclip.model_cache.get(third)
    assert second.encode_texts(["a"]).shape == (1, 512)
    assert openclip.model_cache.get(first) is None

    config = json.loads((tmp_path / "2" / "open_clip_config.json").read_text())
    assert third.dimension == config["model_cfg"]["embed_dim"]


def test_a_model_larger_than_the_budget_stays_alone(settings, monkeypatch):
    settings.ENCODER_MEMORY_MB = 1
    monkeypatch.setattr(openclip, "model_cache", ModelCache())
    encoder = OpenClipEncoder(MODEL)
    encoder.encode_texts(["a"])
    assert openclip.model_cache.get(encoder)
