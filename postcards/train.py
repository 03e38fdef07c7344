"""Train the small CLIP of the postcards.

    python -m postcards.train --steps 4500 --seed 0

Both towers are open_clip's own classes. Three losses are added up:
- each embedding is pulled towards the vector of attributes that it should express
  (attributes.py), turned into the 512 dimensions by a fixed random rotation;
- each attribute is read off the picture's embedding (logistic, weighed towards the
  rare ones), which finds small things sooner than the cosine alone does;
- the pairwise sigmoid loss between the pictures and the words of a batch (Zhai et al.,
  "Sigmoid Loss for Language Image Pre-Training", 2023), a pair being right whenever the
  words are true of the picture, its own or another's.

Scenes are numbered from FIRST_TRAINING_ID, far above any that the example dataset or
the evaluation uses.
"""

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch.nn import functional as F
from tqdm import tqdm

from search.encoder.openclip import make_torchvision_importable

make_torchvision_importable()

import open_clip  # noqa: E402

from . import attributes, captions  # noqa: E402
from .bpe import learn_merges, save_merges  # noqa: E402
from .draw import draw  # noqa: E402
from .scene import Dice, Scene, scene_of  # noqa: E402

FIRST_TRAINING_ID = 1_000_000
MODEL = Path(__file__).parent / "model"
MERGES = MODEL / "bpe.txt.gz"
WEIGHTS = MODEL / "open_clip_model.safetensors"
SIDE = 96
DRAWN_SIZE = (192, 144)
SHIFT = 3  # pixels that a picture is moved by at random
PEAK_LEARNING_RATE = 1.5e-3
WARM_UP_STEPS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--scenes", type=int, default=120_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    pictures = drawn_pictures(options.scenes)
    targets = np.stack([attributes.of_scene(scene) for scene in scenes(options.scenes)])
    write_merges()
    model = new_model().to(options.device)
    train(model, pictures, targets, options)
    save(model)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1e6:.1f} MB")


def save(model: open_clip.CLIP) -> None:
    state = {name: packed(tensor) for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(state, WEIGHTS)


def packed(tensor: torch.Tensor) -> torch.Tensor:
    """Half precision halves the file; the counters of batch norm stay whole."""
    tensor = tensor.half() if tensor.is_floating_point() else tensor
    return tensor.cpu().contiguous()


def scenes(count: int) -> Iterator[Scene]:
    return (scene_of(FIRST_TRAINING_ID + i) for i in range(count))


def drawn_pictures(count: int) -> np.ndarray:
    """Array (count, SIDE, SIDE, 3) of uint8, drawn on all cores."""
    pictures = np.empty((count, SIDE, SIDE, 3), np.uint8)
    ids = range(FIRST_TRAINING_ID, FIRST_TRAINING_ID + count)
    with multiprocessing.Pool() as pool:
        drawn = pool.imap(_drawn, ids, chunksize=200)
        for i, picture in enumerate(tqdm(drawn, "drawing", count, unit=" scenes")):
            pictures[i] = picture
    return pictures


def _drawn(postcard_id: int) -> np.ndarray:
    picture = draw(scene_of(postcard_id), postcard_id, *DRAWN_SIZE)
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def write_merges() -> None:
    vocab_size = _config()["text_cfg"]["vocab_size"]
    texts = (
        words(scene, FIRST_TRAINING_ID + i)[0]
        for i, scene in enumerate(scenes(20_000))
        for words in (captions.caption, captions.query)
    )
    save_merges(learn_merges(texts, vocab_size), MERGES, vocab_size)


def _config() -> dict:
    return json.loads((MODEL / "open_clip_config.json").read_text())["model_cfg"]


def new_model() -> open_clip.CLIP:
    model = open_clip.CLIP(**_config())
    model.visual = model.visual.to(memory_format=torch.channels_last)
    return model


def train(
    model: open_clip.CLIP,
    pictures: np.ndarray,
    targets: np.ndarray,
    options: argparse.Namespace,
) -> None:
    tokenizer = open_clip.SimpleTokenizer(
        bpe_path=str(MERGES), context_length=_config()["text_cfg"]["context_length"]
    )
    device = options.device
    reader = AttributeReader(options.seed, targets).to(device)
    parameters = [*model.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, PEAK_LEARNING_RATE, (0.9, 0.98), weight_decay=0.02
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_share(step, options.steps)
    )
    order = np.random.default_rng(options.seed)
    model.train()
    started = time.time()
    for step in range(options.steps):
        chosen = np.sort(order.choice(len(pictures), options.batch, replace=False))
        images = augmented(pictures[chosen], order).to(device)
        texts, said = words_for(chosen, step, options.seed)
        tokens = tokenizer(texts).to(device)
        with torch.autocast(device, torch.bfloat16):
            image = model.encode_image(images, normalize=True)
            text = model.encode_text(tokens, normalize=True)
        scene_targets = torch.from_numpy(targets[chosen]).to(device)
        losses = reader.losses(
            image.float(), text.float(), scene_targets, said.to(device), model
        )
        loss = sum(losses.values(), start=torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == options.steps - 1:
            shown = "  ".join(f"{name} {v.item():.4f}" for name, v in losses.items())
            print(f"{time.time() - started:6.0f} s  step {step}  {shown}", flush=True)
        if step % 500 == 499:
            save(model)


def learning_rate_share(step: int, steps: int) -> float:
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    return 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-3


def augmented(pictures: np.ndarray, order: np.random.Generator) -> torch.Tensor:
    """Normalised float32 (batch, 3, SIDE, SIDE), moved a little, lit differently."""
    padding = ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0))
    padded = np.pad(pictures, padding, mode="edge")
    moved = np.empty_like(pictures)
    for i, (dy, dx) in enumerate(order.integers(0, 2 * SHIFT + 1, (len(pictures), 2))):
        moved[i] = padded[i, dy : dy + SIDE, dx : dx + SIDE]
    light = order.uniform((0.92, -0.04), (1.08, 0.04), (len(pictures), 2))
    gain, offset = light.astype(np.float32).T.reshape(2, -1, 1, 1, 1)
    mean = np.float32(open_clip.OPENAI_DATASET_MEAN)
    std = np.float32(open_clip.OPENAI_DATASET_STD)
    images = torch.from_numpy(moved) * torch.from_numpy(gain / 255 / std)
    images += torch.from_numpy((offset - mean) / std)
    return images.permute(0, 3, 1, 2)  # which is channels-last in memory


def words_for(
    chosen: np.ndarray, step: int, seed: int
) -> tuple[list[str], torch.Tensor]:
    """Fresh words for each scene, and the unit vectors of what they say."""
    texts, said = [], []
    for i in chosen:
        postcard_id = FIRST_TRAINING_ID + int(i)
        dice = Dice("words", seed, step, postcard_id)
        words = captions.query if dice.chance(0.5) else captions.caption
        text, description = words(scene_of(postcard_id), seed, step, postcard_id)
        texts.append(disturbed(text, dice))
        said.append(attributes.of_description(description))
    return texts, torch.from_numpy(np.stack(said))


def disturbed(text: str, dice: Dice) -> str:
    """Now and then a strange word among the known, or a slip of the finger."""
    words = text.split(" ")
    if dice.chance(0.1):
        strange = "".join(
            dice.pick("aeioubcdfglmnprst") for _ in range(3 + dice.below(6))
        )
        words.insert(dice.below(len(words) + 1), strange)
    if dice.chance(0.06):
        i = dice.below(len(words))
        j = dice.below(max(1, len(words[i]) - 1))
        if len(words[i]) > 4:
            words[i] = words[i][:j] + words[i][j + 1] + words[i][j] + words[i][j + 2 :]
    return " ".join(words)


class AttributeReader(torch.nn.Module):
    """The rotation from attributes into the embedding, and the three losses."""

    rotation: torch.Tensor  # a buffer: saved along, and not trained

    def __init__(self, seed: int, targets: np.ndarray, dimension: int = 512):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        square = torch.randn(dimension, dimension, generator=generator)
        rotation = torch.linalg.qr(square).Q[: attributes.DIMENSION]
        self.register_buffer("rotation", rotation)
        share = torch.from_numpy((targets[:, : attributes.COUNT] > 0).mean(0))
        bias = torch.logit(share.float().clamp(1e-4, 0.99)) - 2
        self.scale = torch.nn.Parameter(torch.full((attributes.COUNT,), 20.0))
        self.bias = torch.nn.Parameter(bias)

    def losses(
        self,
        image: torch.Tensor,
        text: torch.Tensor,
        scene_targets: torch.Tensor,
        said: torch.Tensor,
        model: open_clip.CLIP,
    ) -> dict[str, torch.Tensor]:
        read = image @ self.rotation.T
        spoken = text @ self.rotation.T
        logits = read[:, : attributes.COUNT] * self.scale + self.bias
        present = (scene_targets[:, : attributes.COUNT] > 0).float()
        reading = F.binary_cross_entropy_with_logits(logits, present, reduction="none")
        stated = (said[:, : attributes.COUNT] > 0).float()
        true = stated @ present.T >= stated.sum(1, keepdim=True) - 0.5
        sign = true.float() * 2 - 1
        pairs = text @ image.T * model.logit_scale.exp() + model.logit_bias
        return {
            "picture": (1 - (read * scene_targets).sum(1)).mean() * 4,
            "words": (1 - (spoken * said).sum(1)).mean() * 4,
            "attributes": reading.sum(1).mean() * 0.2,
            "pairs": -F.logsigmoid(sign * pairs).sum(1).mean() * 0.05,
        }


if __name__ == "__main__":
    main()
