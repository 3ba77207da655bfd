"""Time of the whole network against its own backbone alone, side by side in one run.

    python tests/benchmarks/network.py [--threads 2] [--rounds 30] [--results weights/results.json]

The whole network is features, node embedding and graph for 83 crops and 10 proposals of a 256x384
picture, float32, packed as the command has it; the backbone is the folded channels-last MobileNetV2
that it contains. Both run in turn, so that a busy machine slows both; the ratio is the median over
rounds of paired times.

Then the shipped models in turn: scoring, search and choice for one picture of 1536x1024 at 16:9, 1:1 and 4:5, once it
is resized.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from PIL import Image

from s2crop.cropping.cropper import Cropper
from s2crop.cropping.request import CropRequest
from s2crop.files.picture import Picture
from s2crop.geometry.ratio import parse_ratio
from s2crop.models.conv import pack_convolutions
from s2crop.models.s2cnet import S2CNet, S2CNetConfig
from s2crop.models.weights import MODELS, load_model

SIZE, CROPS = (256, 384), 83
NETWORKS = {
    "GAICv1 layout": lambda: S2CNet(S2CNetConfig(align_size=9)),
    "GAICv2 layout": lambda: S2CNet(S2CNetConfig(num_proposals=5, head="all")),
    "shipped s2cnet": lambda: load_model("s2cnet"),
}


def random_boxes(batch: int, count: int) -> torch.Tensor:
    corners = torch.rand(batch, count, 2) * 100
    return torch.cat([corners, corners + 50 + torch.rand(batch, count, 2) * 100], dim=-1)


def seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@torch.inference_mode()
def measure(net: S2CNet, batch: int, rounds: int) -> dict:
    net = net.eval().to(memory_format=torch.channels_last)
    pack_convolutions(net)
    config = net.config
    image = torch.randn(batch, 3, *SIZE).contiguous(memory_format=torch.channels_last)
    crops, proposals = random_boxes(batch, CROPS), random_boxes(batch, config.num_proposals)
    attributes = torch.rand(batch, config.num_proposals, 4) if config.node_geometry else None

    def whole():
        features = net.features(image)
        net.score(features.reduced, crops, proposals, SIZE, attributes)

    def backbone():
        net.backbone(image)

    parts = {"backbone": backbone, "network": whole}
    if net.proposal_head is not None:
        maps = net.backbone(image)
        parts["proposals"] = lambda: net.proposal_head.propose(maps, SIZE)
    times = {name: [] for name in parts}
    for _ in range(5):
        whole()
    for _ in range(rounds):
        for name, function in parts.items():
            times[name].append(seconds(function))
    ratios = {
        name: statistics.median(t / b for t, b in zip(values, times["backbone"], strict=True))
        for name, values in times.items()
        if name != "backbone"
    }
    return {
        "batch": batch,
        "backbone_ms": round(1e3 * statistics.median(times["backbone"]) / batch, 2),
        **{f"{name}_to_backbone": round(ratio, 2) for name, ratio in ratios.items()},
    }


def measure_models(threads: int, rounds: int) -> list[dict]:
    """Parameters of each shipped model, and the time that it takes for a picture."""
    image = Image.effect_noise((1536, 1024), 90).convert("RGB")
    request = CropRequest(ratios=tuple(map(parse_ratio, ("16:9", "1:1", "4:5"))))
    croppers = {name: Cropper(name, device="cpu") for name in MODELS}
    prepared = {name: cropper.prepare(Picture.open(image)) for name, cropper in croppers.items()}
    times = {name: [] for name in croppers}
    for _ in range(rounds + 3):
        for name, cropper in croppers.items():
            times[name].append(seconds(lambda name=name, cropper=cropper: cropper.rank([prepared[name]], request)))
    return [
        {
            "model": name,
            "parameters": sum(p.numel() for p in cropper.net.parameters()),
            "picture_ms": round(1e3 * statistics.median(times[name][3:]), 1),
        }
        for name, cropper in croppers.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--results", type=Path, help='JSON file to keep the rows in, under "network" and "models"')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows = []
    for name, make in NETWORKS.items():
        for batch in (1, 8):
            rows.append({"network": name, **measure(make(), batch, options.rounds)})
            print("  ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    models = measure_models(options.threads, options.rounds)
    for row in models:
        print("  ".join(f"{k} {v}" for k, v in row.items()))
    if options.results:
        results = json.loads(options.results.read_text()) if options.results.exists() else {}
        results["network"] = {"threads": options.threads, "device": "cpu", "rows": rows}
        results["models"] = {"threads": options.threads, "device": "cpu", "rows": models}
        options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
