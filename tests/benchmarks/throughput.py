"""Pictures a second against other tools and against a plain resize, and memory over the number of pictures.

    python tests/benchmarks/throughput.py [--rounds 3] [--photos FOLDER] [--results weights/results.json]

Sixty JPEGs of 12 megapixels, drawn in code with the entropy of photos, are cropped to 16:9, 1:1 and 4:5 at 640 pixels
of width and written as JPEG of quality 90. All tools do the same files in turn, on as many threads or processes as
there are CPUs, so that a busy machine slows all of them; ratios are medians over rounds. `pip install '.[bench]'`
installs the other tools:

* pyvips: `thumbnail(..., crop="attention")`, as `vipsthumbnail --smartcrop attention` runs it, called for each ratio.
* smartcrop: smartcrop.py as its own command does it, with one decode for all ratios.
* floor: the boxes that s2crop chose, without choosing: reduced-size decode, resize and encode in Pillow, one decode.
* own floor: the same boxes through s2crop's own decode, resize, encode and write.
* boxes: the same boxes through the run of `--boxes`.
* default: s2crop without options, one crop of any ratio, at the size that it has in the photo.

Those have the network loaded and their tools imported when the clock starts. Then whole processes of s2crop and pyvips,
start-up included, for more and more links to the photos; the difference between two counts is what a picture costs.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from s2crop.cli import loading
from s2crop.cropping.request import Crop, CropRequest
from s2crop.files.boxes import read_boxes
from s2crop.files.encode import encode
from s2crop.files.given import group
from s2crop.files.names import plan_names
from s2crop.files.picture import Picture
from s2crop.files.sizes import decoder_scale, parse_size
from s2crop.files.sources import find_sources
from s2crop.files.write import write_atomic
from s2crop.geometry.ratio import parse_ratio
from s2crop.run import pipeline
from s2crop.run.given import NoCropper
from s2crop.run.incoming import Listed
from s2crop.run.work import BatchOptions

ROOT = Path(__file__).parents[2]
PHOTOS, SIZE_WH = 60, (4000, 3000)
RATIOS, WIDTH, QUALITY = ("16:9", "1:1", "4:5"), 640, 90
JOBS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
COUNTS = (60, 180, 600)  # pictures of the runs whose memory is compared
WHOLE = (60, 180)  # pictures of the processes that are timed beside those of pyvips
# As `with_pyvips`, in a process that imports nothing of s2crop, nor torch.
WITH_PYVIPS = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pyvips
folder, out, sizes, quality, jobs = map(json.loads, sys.argv[1:])
Path(out).mkdir(parents=True, exist_ok=True)
pyvips.cache_set_max(0)
def crop(path):
    for label, (width, height) in sizes.items():
        image = pyvips.Image.thumbnail(str(path), width, height=height, crop="attention")
        image.jpegsave(str(Path(out, f"{path.stem}_{label}.jpg")), Q=quality, subsample_mode="on")
with ThreadPoolExecutor(jobs) as pool:
    list(pool.map(crop, sorted(Path(folder).iterdir())))
"""

Boxes = dict[str, dict[str, tuple[int, int, int, int]]]  # picture -> ratio -> box


# Photos


def photo(seed: int) -> Image.Image:
    """Clouds of noise at all scales, as natural pictures have them, grain, and some discs with sharp edges."""
    rng = np.random.default_rng(seed)
    width, height = SIZE_WH if seed % 3 else SIZE_WH[::-1]

    def clouds(layers: dict[float, float]) -> np.ndarray:
        """Layers are {pixels of a cell: amplitude}."""
        total = np.zeros((height, width), np.float32)
        for cell, amplitude in layers.items():
            cells = rng.integers(0, 256, (max(2, round(height / cell)), max(2, round(width / cell))), dtype=np.uint8)
            smooth = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
            total += (np.asarray(smooth, np.float32) - 128) * (amplitude / 128)
        return total

    light = clouds({1600: 90, 700: 60, 300: 40, 130: 25, 55: 14, 24: 9, 10: 6, 4.3: 4, 1.9: 5, 1: 11})
    colours = [light + clouds({1400: 50, 400: 25, 90: 10, 3: 3}) for _ in range(3)]
    image = Image.fromarray((np.stack(colours, axis=-1) + 118).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, radius = int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(60, 400))
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + 1.3 * radius), fill=tuple(map(int, rng.integers(20, 235, 3)))
        )
    return image


def draw_photo(folder: Path, seed: int) -> Path:
    path = folder / f"{seed:02}.jpg"
    if not path.exists():
        photo(seed).save(path, quality=92, subsampling="4:2:0")
    return path


# Tools: each crops one picture to all ratios


def sizes() -> dict[str, tuple[int, int]]:
    return {label: (WIDTH, round(WIDTH / parse_ratio(label).value)) for label in RATIOS}


def with_pyvips(out: Path, path: Path) -> None:
    import pyvips

    pyvips.cache_set_max(0)
    for label, (width, height) in sizes().items():
        image = pyvips.Image.thumbnail(str(path), width, height=height, crop="attention")
        image.jpegsave(str(out / f"{path.stem}_{label}.jpg"), Q=QUALITY, subsample_mode="on")


def with_smartcrop(out: Path, path: Path) -> None:
    from smartcrop import SmartCrop

    with Image.open(path) as image:
        image.load()
    cropper = SmartCrop()
    for label, (width, height) in sizes().items():
        box = cropper.crop(image, width=100, height=int(height / width * 100))["top_crop"]
        crop = image.crop((box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]))
        crop.thumbnail((width, height), Image.Resampling.LANCZOS)
        crop.save(out / f"{path.stem}_{label}.jpg", quality=QUALITY)


def with_floor(out: Path, boxes: Boxes, path: Path) -> None:
    with Image.open(path) as image:
        width, height = image.size
        scale = least_scale(path, boxes)
        image.draft(None, (width // scale, height // scale))
        image.load()
    for label, size_wh in sizes().items():
        box = tuple(edge / scale for edge in boxes[path.name][label])
        crop = image.resize(size_wh, Image.Resampling.LANCZOS, box, reducing_gap=3.0)
        crop.save(out / f"{path.stem}_{label}.jpg", quality=QUALITY)


def with_own_floor(out: Path, boxes: Boxes, path: Path) -> None:
    import torch  # noqa: F401 (loaded, it is what resizes)

    with Picture.open(path) as picture:
        picture.decode(least_scale(path, boxes))
        for label, size_wh in sizes().items():
            data = encode(picture.crop(boxes[path.name][label], size_wh), ".jpg", QUALITY)
            write_atomic(out / f"{path.stem}_{label}.jpg", data, overwrite=True)


def least_scale(path: Path, boxes: Boxes) -> int:
    wanted = [(boxes[path.name][label], size_wh) for label, size_wh in sizes().items()]
    return min(decoder_scale((x2 - x1, y2 - y1), size_wh) for (x1, y1, x2, y2), size_wh in wanted)


def warm_up(tool: str) -> None:
    """What a worker process does before the clock runs."""
    os.environ["VIPS_CONCURRENCY"] = "1"
    if tool in ("pyvips", "smartcrop"):
        __import__(tool)
    loading.keep_freed_memory()
    time.sleep(0.2)  # so that each process of the pool gets one of these


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class S2Crop:
    """The run of the command, in this process, with the network loaded."""

    def __init__(self, paths: list[Path]):
        self.request = CropRequest(ratios=tuple(map(parse_ratio, RATIOS)))
        self.sources = find_sources([str(path) for path in paths])
        self.cropper = loading.load_cropper("s2cnet", None, "cpu", "auto", "auto", JOBS).loaded

    def __call__(self, out: Path, *, default: bool = False) -> Boxes:
        """Crop all photos. Args: default: as the command does it without options."""
        request = CropRequest(ratios=(parse_ratio("free"),)) if default else self.request
        plans = plan_names(self.sources, request.ratios, 1, folder=out, fmt="jpg", circle=False)
        sizes = () if default else (parse_size(str(WIDTH)),)
        settings = BatchOptions(request, jobs=JOBS, sizes=sizes, quality=QUALITY, overwrite=True)
        boxes: Boxes = {}

        def note(record) -> None:
            assert record.error is None, record
            boxes.setdefault(Path(record.input).name, {})[record.ratio] = record.box

        pipeline.run(Listed(self.sources, plans), self.cropper, settings, note)
        return boxes

    def again(self, out: Path, boxes: Boxes) -> None:
        """The run of the boxes that were chosen, without choosing."""
        text = "".join(
            json.dumps({"input": str(source.path), "ratio": ratio, "box": box}) + "\n"
            for source in self.sources for ratio, box in boxes[source.path.name].items()
        )  # fmt: skip
        inputs = group(read_boxes(io.BytesIO(text.encode())), out)
        sources = [given.source for given in inputs]
        plans = plan_names(sources, self.request.ratios, 1, folder=out, fmt="jpg", circle=False)
        settings = BatchOptions(
            self.request, jobs=JOBS, sizes=(parse_size(str(WIDTH)),), quality=QUALITY, overwrite=True
        )
        summary = pipeline.run(Listed(sources, plans, inputs), NoCropper(), settings, lambda record: None)
        assert summary.crops["written"] == len(sources) * len(RATIOS)

    def parts(self) -> dict[str, float]:
        """Milliseconds a picture, one thread, one picture at a time."""
        times: dict[str, list[float]] = {"prepare": [], "score and choose": []}
        for source in self.sources[:12]:
            picture = Picture.open(source.path)
            started = time.perf_counter()
            prepared = self.cropper.prepare(picture, keep=True)
            ready = time.perf_counter()
            crops: list[list[Crop]] = self.cropper.rank([prepared], self.request)
            assert len(crops[0]) == len(RATIOS)
            times["prepare"].append(ready - started)
            times["score and choose"].append(time.perf_counter() - ready)
        return {name: round(1e3 * statistics.median(values), 1) for name, values in times.items()}


# Measurements


def measure_speed(paths: list[Path], rounds: int) -> dict:
    """Pictures a second of each tool, and s2crop's time as a multiple of theirs."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        ours = S2Crop(paths)
        boxes = ours(out)
        tools: dict[str, Callable] = {
            "floor": partial(with_floor, out, boxes),
            "own floor": partial(with_own_floor, out, boxes),
        }
        others = {"pyvips": with_pyvips, "smartcrop": with_smartcrop}
        missing = [name for name in others if find_spec(name) is None]
        tools |= {name: partial(tool, out) for name, tool in others.items() if name not in missing}
        for name in missing:
            print(f"{name} is not installed and left out")
        pools: dict[str, Executor] = {}
        for name in tools:
            pools[name] = ProcessPoolExecutor(JOBS, mp_context=get_context("spawn"))
            list(pools[name].map(warm_up, [name] * 2 * JOBS))
            list(pools[name].map(tools[name], paths[: 2 * JOBS]))
        times: dict[str, list[float]] = {name: [] for name in ("s2crop", "default", "boxes", *tools)}
        for _ in range(rounds):
            times["s2crop"].append(seconds(lambda: ours(out)))
            times["default"].append(seconds(lambda: ours(out, default=True)))
            times["boxes"].append(seconds(lambda: ours.again(out, boxes)))
            for name, tool in tools.items():
                times[name].append(seconds(lambda name=name, tool=tool: list(pools[name].map(tool, paths))))
        for pool in pools.values():
            pool.shutdown()
    rows = []
    for name, values in times.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(times["s2crop"], values, strict=True))
        rate = len(paths) / statistics.median(values)
        rows.append({"tool": name, "pictures_per_second": round(rate, 2), "s2crop_time_to_its": round(ratio, 2)})
        if name == "boxes":
            pairs = zip(values, times["floor"], strict=True)
            rows[-1]["its_time_to_floor"] = round(statistics.median(mine / theirs for mine, theirs in pairs), 2)
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    parts = ours.parts()
    print(parts)
    return {"rows": rows, "parts_ms": parts, "missing": missing}


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "s2crop", *map(str, arguments)]


# A process counts the memory of the one that started it; this one has little.
LAUNCHER = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


def spent(*words: str) -> tuple[float, float, int]:
    """Seconds of a process, in all and to its first line, and its peak memory in MB."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", LAUNCHER, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    first_line = time.perf_counter() - started
    process.stdout.read()
    peak = int(process.stderr.read())
    assert process.wait() == 0, words
    return time.perf_counter() - started, first_line, peak // (1024 if sys.platform == "linux" else 1 << 20)


def measure_whole(paths: list[Path], rounds: int) -> list[dict]:
    """Seconds of whole processes of s2crop and of pyvips, in turn, and how much faster s2crop's is."""
    times: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(rounds + 1):
            for count in WHOLE if round_ else WHOLE[:1]:  # the first is for the caches of the system
                library = _library(Path(folder, str(count)), paths, count)
                out = Path(folder, "out", f"{round_}-{count}")  # what is there already would be left
                given = map(json.dumps, (str(library), str(out), sizes(), QUALITY, JOBS))
                runs = {
                    "s2crop": command(library, "-a", ",".join(RATIOS), "-s", WIDTH, "-q", "-d", "cpu", "-o", out),
                    "pyvips": [sys.executable, "-c", WITH_PYVIPS, *given],
                }
                for name, words in runs.items():
                    environment = os.environ | {"PYTHONPATH": str(ROOT), "VIPS_CONCURRENCY": "1"}
                    took = seconds(
                        partial(subprocess.run, words, env=environment, check=True, stdout=subprocess.DEVNULL)
                    )
                    if round_:
                        times.setdefault((name, count), []).append(took)
    rows = []
    for count in WHOLE:
        ours, theirs = (np.array(times[name, count]) for name in ("s2crop", "pyvips"))
        rows.append(_whole_row(str(count), ours, theirs))
    few, many = WHOLE
    more = [np.array(times[name, many]) - np.array(times[name, few]) for name in ("s2crop", "pyvips")]
    rows.append(_whole_row(f"{many - few} more", *more))
    return rows


def _whole_row(pictures: str, ours: np.ndarray, theirs: np.ndarray) -> dict:
    row = {"pictures": pictures, "s2crop_s": round(float(np.median(ours)), 2)}
    row |= {"pyvips_s": round(float(np.median(theirs)), 2), "rate_to_pyvips": round(float(np.median(theirs / ours)), 2)}
    print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


def _library(folder: Path, paths: list[Path], count: int) -> Path:
    """A folder of links that stand for more photos."""
    if not folder.exists():
        folder.mkdir()
        for i in range(count):
            os.symlink(paths[i % len(paths)], folder / f"{i}.jpg")
    return folder


def measure_memory(paths: list[Path]) -> list[dict]:
    """Cost a picture and peak memory over the number of pictures; links stand for more photos."""
    asked = ("-a", ",".join(RATIOS), "-s", WIDTH, "-q")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        start, _, base = spent(*command(paths[0], *asked, "-o", Path(folder, "out", "0")))
        for count in COUNTS:
            library = _library(Path(folder, str(count)), paths, count)
            time_s, _, peak = spent(*command(library, *asked, "-o", Path(folder, "out", str(count))))
            cost = 1e3 * (time_s - start) / (count - 1)
            rows.append({"pictures": count, "ms_per_picture": round(cost, 1), "peak_mb": peak, "peak_mb_of_one": base})
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--photos", type=Path, default=Path(tempfile.gettempdir(), "s2crop-photos"), help="drawn here once"
    )
    parser.add_argument("--only", choices=["speed", "whole", "memory"], action="append", help="repeatable")
    parser.add_argument("--results", type=Path, help='JSON file to keep the figures in, under "throughput"')
    options = parser.parse_args()
    options.photos.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(JOBS, mp_context=get_context("spawn")) as pool:
        paths = list(pool.map(partial(draw_photo, options.photos), range(PHOTOS)))
    parts = {
        "speed": partial(measure_speed, paths, options.rounds),
        "whole": partial(measure_whole, paths, options.rounds),
        "memory": partial(measure_memory, paths),
    }
    found = {name: measure() for name, measure in parts.items() if name in (options.only or parts)}
    if options.results:
        results = json.loads(options.results.read_text()) if options.results.exists() else {}
        results["throughput"] = results.get("throughput", {}) | {"cpus": JOBS} | found
        options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
