"""Pictures a second on a GPU: of the network, at batches of 1, 8 and 64, and of whole runs of the command.

    python tests/benchmarks/gpu.py [--photos FOLDER] [--results weights/results.json]

The network is the shipped S2CNet, its backbone in half precision as the command runs it, pixels already on the GPU:
features, node embedding and graph for 83 crops and 10 proposals of a 256x384 picture; "all in half" has the graph in
half precision too, "with subjects" adds proposals and subjects from the same pass. The runs are those of
`throughput.py`: JPEGs of 12 megapixels to 16:9, 1:1 and 4:5 at 640 pixels, whole processes with their start-up, on the
GPU and on the CPU of the same machine in turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from throughput import PHOTOS, RATIOS, WIDTH, draw_photo

from s2crop.models.proposals import Proposals
from s2crop.models.weights import load_model

SIZE, CROPS, PROPOSALS = (256, 384), 83, 10
ROOT = Path(__file__).parents[2]


def boxes(batch: int, count: int) -> torch.Tensor:
    corners = torch.rand(batch, count, 2) * 100
    return torch.cat([corners, corners + 50 + torch.rand(batch, count, 2) * 100], dim=-1).cuda()


@torch.inference_mode()
def network(batch: int, rounds: int) -> dict[str, float]:
    """Pictures a second: medians over rounds of some passes each."""
    net = load_model("s2cnet", device="cuda")
    net.backbone.half()  # as the command runs it
    pixels = torch.randint(0, 256, (batch, 3, *SIZE), dtype=torch.uint8).cuda()
    crops, found = boxes(batch, CROPS), boxes(batch, PROPOSALS)
    proposals = Proposals(found, torch.rand(batch, PROPOSALS).cuda(), torch.randint(0, 3, (batch, PROPOSALS)).cuda())

    def alone() -> None:
        net.rate(net.features(net.normalise(pixels)), crops, proposals)

    def with_subjects() -> None:
        features = net.features(net.normalise(pixels))
        net.see(features.maps, features.size)
        net.rate(features, crops, proposals)

    def all_in_half() -> None:
        with torch.autocast("cuda", torch.float16):
            alone()

    rates = {}
    for name, work in (("network", alone), ("all_in_half", all_in_half), ("with_subjects", with_subjects)):
        for _ in range(10):
            work()
        times = []
        for _ in range(rounds):
            torch.cuda.synchronize()
            started = time.perf_counter()
            for _ in range(10):
                work()
            torch.cuda.synchronize()
            times.append((time.perf_counter() - started) / 10)
        rates[f"{name}_per_s"] = round(batch / statistics.median(times), 1)
    return rates


def run_s(photos: Path, device: str) -> float:
    """Seconds of a whole run of the command."""
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "s2crop", str(photos), "-a", ",".join(RATIOS), "-s", str(WIDTH), "-o", out,
             "--device", device, "-q"],
            check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--photos", type=Path, default=Path(tempfile.gettempdir()) / "s2crop-photos")
    parser.add_argument("--results", type=Path, help='JSON file to keep the figures in, under "cuda"')
    options = parser.parse_args()
    torch.manual_seed(0)
    passes, runs = [], []
    for batch in (1, 8, 64):
        passes.append({"batch": batch, **network(batch, options.rounds)})
        print(passes[-1], flush=True)
    options.photos.mkdir(exist_ok=True)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(draw_photo, options.photos), range(PHOTOS)))
    run_s(options.photos, "cuda")  # so that files are in memory
    times: dict[str, list[float]] = {"cuda": [], "cpu": []}
    for _ in range(3):
        for device, found in times.items():
            found.append(run_s(options.photos, device))
    for device, found in times.items():
        seconds = statistics.median(found)
        runs.append(
            {"device": device, "photos": PHOTOS, "seconds": round(seconds, 2), "per_s": round(PHOTOS / seconds, 1)}
        )
        print(runs[-1], flush=True)
    if options.results:
        results = json.loads(options.results.read_text()) if options.results.exists() else {}
        machine = {"device": torch.cuda.get_device_name(), "cpus": len(os.sched_getaffinity(0))}
        results["cuda"] = {**machine, "network": passes, "runs": runs}
        options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
