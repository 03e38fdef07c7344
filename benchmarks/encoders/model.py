"""ViT-B/32 with random weights, as a folder that open_clip loads."""

import json
from pathlib import Path

NAME = "ViT-B-32"
# Multiplications and additions of one picture, and of one token of a text.
PICTURE_FLOP = 8.8e9
TOKEN_FLOP = 2 * 12 * 12 * 512**2
# Dense, in 16 bits, as their makers state them.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12}


def random_model(folder: Path) -> str:
    """Return the name by which encoders load the model."""
    from search.encoder.openclip import make_torchvision_importable

    make_torchvision_importable()
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    here = folder / NAME
    here.mkdir()
    model, _, _ = open_clip.create_model_and_transforms(NAME)
    save_file(model.state_dict(), here / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config(NAME), "preprocess_cfg": {}}
    (here / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{here}"


def peak() -> float:
    """Return the operations per second of the GPU, or 0 if it is unknown."""
    import torch

    if not torch.cuda.is_available():
        return 0.0
    name = torch.cuda.get_device_name()
    return next((PEAKS[part] for part in PEAKS if part in name.split("-")[0]), 0.0)
