"""Train the small CLIP of the postcards.

    python -m postcards.train --steps 4500 --seed 0

Both towers are classes of open_clip. The loss is a sum of three:
- the cosine distance of each embedding to its vector of attributes (attributes.py),
  which a fixed random rotation maps to 512 dimensions;
- a logistic loss for each attribute, read from the image embedding and biased towards
  rare ones, which learns small things sooner than the cosine does;
- the pairwise sigmoid loss between the images and texts of a batch (Zhai et al.,
  "Sigmoid Loss for Language Image Pre-Training", 2023), where a pair is positive
  whenever the text is true of the image, its own or another one.

The ids of scenes start at FIRST_TRAINING_ID, far above those of the example dataset and
the evaluation.
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
DRAW_SIZE = (192, 144)
SHIFT = 3  # pixels, the maximum of a random shift
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
    drawings = draw_images(options.scenes)
    targets = np.stack(
        [attributes.scene_vector(scene) for scene in scenes(options.scenes)]
    )
    write_merges()
    model = new_model().to(options.device)
    train(model, drawings, targets, options)
    save(model)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1e6:.1f} MB")


def save(model: open_clip.CLIP) -> None:
    state = {name: to_half(tensor) for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(state, WEIGHTS)


def to_half(tensor: torch.Tensor) -> torch.Tensor:
    """Convert to half precision, which halves the file, except integer counters."""
    tensor = tensor.half() if tensor.is_floating_point() else tensor
    return tensor.cpu().contiguous()


def scenes(count: int) -> Iterator[Scene]:
    return (scene_of(FIRST_TRAINING_ID + i) for i in range(count))


def draw_images(count: int) -> np.ndarray:
    """Draw scenes on all cores; return uint8 (count, SIDE, SIDE, 3)."""
    drawings = np.empty((count, SIDE, SIDE, 3), np.uint8)
    ids = range(FIRST_TRAINING_ID, FIRST_TRAINING_ID + count)
    with multiprocessing.Pool() as pool:
        drawn = pool.imap(_draw_image, ids, chunksize=200)
        for i, drawing in enumerate(tqdm(drawn, "drawing", count, unit=" scenes")):
            drawings[i] = drawing
    return drawings


def _draw_image(postcard_id: int) -> np.ndarray:
    drawing = draw(scene_of(postcard_id), postcard_id, *DRAW_SIZE)
    return np.asarray(drawing.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


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
    drawings: np.ndarray,
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
        chosen = np.sort(order.choice(len(drawings), options.batch, replace=False))
        images = augment(drawings[chosen], order).to(device)
        texts, said = sample_words(chosen, step, options.seed)
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


def augment(drawings: np.ndarray, order: np.random.Generator) -> torch.Tensor:
    """Return float32 (batch, 3, SIDE, SIDE), shifted, relit and normalized."""
    padding = ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0))
    padded = np.pad(drawings, padding, mode="edge")
    moved = np.empty_like(drawings)
    for i, (dy, dx) in enumerate(order.integers(0, 2 * SHIFT + 1, (len(drawings), 2))):
        moved[i] = padded[i, dy : dy + SIDE, dx : dx + SIDE]
    light = order.uniform((0.92, -0.04), (1.08, 0.04), (len(drawings), 2))
    gain, offset = light.astype(np.float32).T.reshape(2, -1, 1, 1, 1)
    mean = np.float32(open_clip.OPENAI_DATASET_MEAN)
    std = np.float32(open_clip.OPENAI_DATASET_STD)
    images = torch.from_numpy(moved) * torch.from_numpy(gain / 255 / std)
    images += torch.from_numpy((offset - mean) / std)
    return images.permute(0, 3, 1, 2)  # channels-last in memory


def sample_words(
    chosen: np.ndarray, step: int, seed: int
) -> tuple[list[str], torch.Tensor]:
    """Return new words for each scene, and the unit vectors of what they state."""
    texts, said = [], []
    for i in chosen:
        postcard_id = FIRST_TRAINING_ID + int(i)
        dice = Dice("words", seed, step, postcard_id)
        words = captions.query if dice.chance(0.5) else captions.caption
        text, description = words(scene_of(postcard_id), seed, step, postcard_id)
        texts.append(add_noise(text, dice))
        said.append(attributes.description_vector(description))
    return texts, torch.from_numpy(np.stack(said))


def add_noise(text: str, dice: Dice) -> str:
    """Sometimes insert an unknown word, or swap two letters."""
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
    """The rotation from attributes to embeddings, and the three losses."""

    rotation: torch.Tensor  # a buffer: saved, but not trained

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
