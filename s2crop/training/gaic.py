"""The papers' trainings: all of a network on rated crops, in the folder layout of GAICD.

UGCrop5K comes in the same layout. Tables 1 to 3 of S2CNet's paper are its recipe with other choices of
`network`: num_proposals, spatial_edges and drop_threshold, gate, semantic_bias, spatial_bias. SFRC's consistency, which
wants photos without ratings, is in the recipe `sfrc` alone.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from s2crop.cropping.cropper import Cropper
from s2crop.datasets.gaicd import RatedPicture, read_gaic
from s2crop.errors import InputError
from s2crop.files.picture import Picture
from s2crop.geometry.boxes import mirrored
from s2crop.models.asmnet import ASMNet
from s2crop.models.backbone import turn_kernels
from s2crop.models.device import find_device
from s2crop.models.input import input_size, resize
from s2crop.models.s2cnet import MOS_MEAN, MOS_STD, S2CNet
from s2crop.models.scorer import Config
from s2crop.models.sfrc import SFRC
from s2crop.models.weights import (
    MODELS,
    fold_mobilenet,
    load_model,
    name_of,
    save_weights,
    shipped_weights,
)
from s2crop.training import asmnet, sfrc
from s2crop.training.losses import rating_loss, total
from s2crop.training.parts import read_s2cnet
from s2crop.training.run import Report, Run, Stateful
from s2crop.training.saliency import spectral_residual

# Principal components of ImageNet's colours, for lighting noise (Krizhevsky et al. 2012, sec. 4.1).
COLOUR_STD = np.array([0.2175, 0.0188, 0.0045])
COLOUR_AXES = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])

Network = S2CNet | SFRC | ASMNet
OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
SANITY_PICTURES = 10
RESPONSE_PICTURES = 100  # that the layers' responses are measured on


@dataclass(frozen=True)
class GaicRecipe:
    """Choices of S2CNet's training (its section "Implementation Details"), and of its siblings' losses."""

    backbone: str = ""  # safetensors file, torchvision's mobilenet_v2 or vgg16 keys; "" takes the shipped MobileNetV2
    epochs: int = 80
    crops: int = 64  # drawn from each picture
    rate: float = 1e-4
    optimizer: str = "adamw"  # or "adam", whose decay is added to the gradient
    weight_decay: float = 0.01  # AdamW's own; S2CNet's paper names none
    drop_epoch: int = 0  # from this epoch on the rate is a tenth; 0: never
    saturation: float = 0.5  # largest change, as a share
    lighting: float = 0.1  # deviation along each colour axis
    score_margin: float = 0.5  # SFRC's, of pairs, in MOS
    pairs: int = 256  # SFRC's, of each picture
    pair_margin: float = 0.9  # ASM-Net's delta, in MOS
    saliency_weight: float = 0.1  # ASM-Net's lambda
    regression_weight: float = 0.0  # ASM-Net's, of smooth L1 to the ratings, which its paper has not
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer is one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}")


def train(
    recipe: GaicRecipe,
    config: Config,
    data: Path,
    out: Path,
    *,
    evaluate: Callable[..., dict[str, Any]],
    resume: bool,
    device: str = "auto",
    sanity: bool = False,
    report: Report = print,
) -> dict[str, float]:
    """Train on `images/train` and write `out/weights.safetensors`.

    Each epoch is measured on `images/val` where there is one, and the epoch of the highest SRCC is
    kept; otherwise the last. `images/test` is not looked at: `s2crop-eval gaic` is for that.

    BatchNorm stays folded into the convolutions, which are trained as they are: one picture a step
    gives no batch statistics worth having.

    Args:
        evaluate: `evaluation.gaic.evaluate`.
        device: on CUDA the layers run in float16.
        sanity: overfit ten pictures, and measure on those.
    Returns:
        SRCC, ACC5 and ACC10 of the kept epoch on the validation split, if any.
    Raises:
        InputError: data that cannot be used, or a backbone that this network cannot have.
    """
    run = Run(out, recipe.seed, report)
    where = find_device(device)
    torch.manual_seed(recipe.seed)
    name = name_of(config)
    model = MODELS[name][0](config)
    assert isinstance(model, Network)
    load_pretrained(model, recipe.backbone)
    model = model.to(where).to(memory_format=torch.channels_last)
    pictures = read_gaic(data, "train")
    has_validation = (data / "images" / "val").is_dir() or sanity
    split, limit = ("train", SANITY_PICTURES) if sanity else ("val", None)
    if sanity:
        pictures = pictures[:SANITY_PICTURES] * 8
        recipe = dataclasses.replace(recipe, epochs=3, rate=3 * recipe.rate, saturation=0.0, lighting=0.0)
    if isinstance(model, SFRC):
        sfrc.measure_responses(model, responses(model, pictures[:RESPONSE_PICTURES]))
    make = OPTIMIZERS[recipe.optimizer]
    optimizer = make(model.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    drops = [recipe.drop_epoch] if recipe.drop_epoch else []
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops)
    scaler = torch.amp.GradScaler(where.type, enabled=where.type == "cuda")
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "scaler": scaler, "scheduler": scheduler}
    done = run.resume(**parts) if resume else 0
    best = run.results() if resume else {}
    for epoch in range(done, recipe.epochs):
        rng = run.generator(epoch)
        model.train()
        losses = []
        for i in rng.permutation(len(pictures)):
            pixels, crops, proposals, mos = (part.to(where) for part in draw(pictures[i], model, recipe, rng))
            with torch.autocast(where.type, torch.float16, enabled=where.type == "cuda"):
                loss = paper_loss(model, pixels, crops, proposals, mos, recipe)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
        scheduler.step()
        run.save(epoch + 1, **parts)
        measured = {"epoch": epoch, "loss": float(np.mean(losses))}
        if has_validation:
            save_weights(model, out / "latest.safetensors")
            row = evaluate(Cropper(name, out / "latest.safetensors", device), data, split=split, limit=limit)["rows"][0]
            measured |= {name: row[name] for name in ("srcc", "acc5", "acc10")}
        run.log(**measured)
        if measured.get("srcc", 0.0) >= best.get("srcc", -1.0):
            best = measured
            save_weights(model, out / "weights.safetensors")
            run.finish(**best)
    return best


def paper_loss(
    model: Network, pixels: Tensor, crops: Tensor, proposals: Tensor, mos: Tensor, recipe: GaicRecipe
) -> Tensor:
    """What the network's paper minimises on rated crops. Args: a picture as `draw` gives it."""
    image = model.normalise(pixels)
    if isinstance(model, S2CNet):
        _, reduced, size = model.features(image)
        return rating_loss(model.score(reduced, crops, proposals, size).float(), mos)
    if isinstance(model, SFRC):
        rated = model.crop_features(model.features(image), crops)
        scores = model.head(rated).squeeze(-1).float()
        return total(sfrc.paper_losses(model, rated.float(), scores, mos, recipe.score_margin, recipe.pairs))
    features = model.features(image)
    whole = np.ascontiguousarray(pixels[0].permute(1, 2, 0).byte().cpu().numpy())
    saliency = torch.from_numpy(spectral_residual(whole))[None].to(pixels.device)
    scores = model.rate(features, crops).float()
    return total(asmnet.paper_losses(features, scores, mos, saliency, recipe, 1.0))


def load_pretrained(model: Network, path: str) -> None:
    """Load the backbone, and SFRC's last layer, from a torchvision file or, with "", from the shipped weights.

    Raises:
        InputError: the shipped backbone is none for this configuration.
    """
    if isinstance(model, ASMNet) and model.config.backbone == "vgg16":
        if not path:
            raise InputError("no VGG16 is shipped: name a file with torchvision's weights in training.backbone")
        state = load_file(path)
        model.backbone.load_state_dict({key: state[key] for key in model.backbone.state_dict()})
    else:
        model.backbone.load_state_dict(load_backbone(path, model.config.padding))
    if isinstance(model, SFRC):
        model.last_layer.load_state_dict(sfrc.read_last_layer(Path(path)) if path else shipped_last_layer())


def shipped_last_layer() -> dict[str, Tensor]:
    """State of the last layer of the shipped SFRC."""
    shipped = load_model("sfrc")
    assert isinstance(shipped, SFRC)
    return shipped.last_layer.state_dict()


@torch.inference_mode()
def responses(model: SFRC, pictures: list[RatedPicture]) -> Iterator[Tensor]:
    """What the layers respond to in each picture, [k, S, S]."""
    device = next(model.parameters()).device
    for picture in pictures:
        with Picture.open(picture.path) as opened:
            pixels, _ = network_input(opened, model.config)
        yield model.look(model.normalise(pixels.to(device)))[1][0]


def load_backbone(path: str, padding: str) -> dict[str, Tensor]:
    """State of a folded MobileNetV2; the shipped one has the padding that it was trained with, or InputError."""
    if path:
        folded = fold_mobilenet(load_file(path))
        return turn_kernels(folded) if padding == "same" else folded
    config, state = read_s2cnet(shipped_weights("s2cnet"))
    if config.padding != padding:
        raise InputError(
            f"the shipped backbone has padding {config.padding!r}: say so in the recipe, or name a backbone file"
        )
    return {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}


def network_input(opened: Picture, config: Config) -> tuple[Tensor, np.ndarray]:
    """float32 pixels [1, 3, h, w] and input pixels for each picture pixel, as [x, y, x, y]."""
    size = input_size(opened.width, opened.height, config.short_side)
    pixels = resize(opened.reduced(config.short_side), size, config.antialias)[None].float()
    return pixels, np.array([size[1] / opened.width, size[0] / opened.height] * 2)


def draw(
    picture: RatedPicture, model: Network, recipe: GaicRecipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One augmented picture: pixels [1, 3, h, w], crops [1, K, 4] and proposals [1, D, 4] in input pixels,
    scores [1, K].
    """
    with Picture.open(picture.path) as opened:
        pixels, scale = network_input(opened, model.config)
    size = pixels.shape[2:]
    rows = rng.choice(len(picture.mos), recipe.crops, replace=len(picture.mos) < recipe.crops)
    found = np.zeros((0, 4)) if picture.proposals is None else picture.proposals[: model.num_proposals] * scale
    whole = np.tile([0.0, 0, size[1], size[0]], (model.num_proposals - len(found), 1))
    boxes = np.concatenate([picture.crops[rows] * scale, found, whole])
    if rng.random() < 0.5:
        pixels = pixels.flip(3)
        boxes = mirrored(boxes, size[1])
    grey = pixels.mean(dim=1, keepdim=True)
    pixels = grey + (pixels - grey) * rng.uniform(1 - recipe.saturation, 1 + recipe.saturation)
    light = COLOUR_AXES @ (COLOUR_STD * rng.normal(0, recipe.lighting, 3)) * 255
    pixels = (pixels + torch.from_numpy(light.astype(np.float32)).view(1, 3, 1, 1)).clamp(0, 255)
    given = torch.from_numpy(boxes.astype(np.float32))[None]
    mos = torch.from_numpy(((picture.mos[rows] - MOS_MEAN) / MOS_STD).astype(np.float32))[None]
    return pixels, given[:, : recipe.crops], given[:, recipe.crops :], mos
