"""How fast a library is looked through whose outputs are there already, and what flushing each one to disk costs.

    python tests/benchmarks/resume.py [--pictures 100000] [--profile] [--results weights/results.json]

Pictures of a few pixels, in folders of a thousand, get an output each with the mark of a run; then the whole command is
timed, from the start of its process to its end. It is given a network that does nothing, as nothing is left to score.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from s2crop.cropping.request import CropRequest
from s2crop.files.encode import encode
from s2crop.files.plan import Plan
from s2crop.files.sources import find_sources
from s2crop.files.write import write_atomic
from s2crop.geometry.ratio import FREE, Ratio
from s2crop.run.resume import CROP, Resume, What
from s2crop.run.work import BatchOptions, Job

ROOT = Path(__file__).parents[2]
IN_A_FOLDER = 1000
COMMAND = """
import sys
from s2crop import cli
from s2crop.cli import loading
class Nothing:
    model, device = "s2cnet", "cpu"
loading.load_cropper = lambda *asked: Nothing()
{start}
try:
    cli.main(prog_name="s2crop")
finally:
    {end}
"""
PROFILE = "import cProfile; profile = cProfile.Profile(); profile.enable()"
PROFILED = (
    "profile.disable(); import pstats; pstats.Stats(profile, stream=sys.stderr).sort_stats('tottime').print_stats(30)"
)


def make(folder: Path, count: int) -> None:
    """Pictures, and beside them the outputs of a run over them."""
    image = Image.linear_gradient("L").resize((24, 16)).convert("RGB")
    for i in range(count):
        place = folder / "in" / f"{i // IN_A_FOLDER:03}"
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"IMG_{i:06}.jpg")
    resume = Resume(BatchOptions(CropRequest(ratios=(Ratio(FREE, None),))), "s2cnet")
    for i, source in enumerate(find_sources([str(folder / "in")], recursive=True)):
        output = folder / "out" / source.relative.parent / f"{source.relative.stem}_free.jpg"
        job = Job(i, source, Plan({(FREE, 1): output}))
        resume.find_origin(job)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(encode(image, ".jpg", 90, software=resume.mark(job, ".jpg", What(CROP, FREE, 1))))


def look_through(folder: Path, profile: bool) -> float:
    """Seconds of a whole process that finds everything done."""
    script = COMMAND.format(start=PROFILE if profile else "", end=PROFILED if profile else "pass")
    command = [sys.executable, "-c", script, "in", "-r", "-o", "out", *(["-j", "1"] if profile else [])]
    started = time.perf_counter()
    run = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True, check=True
    )
    took = time.perf_counter() - started
    print(run.stderr.strip())
    return took


def flushing(folder: Path, count: int = 300, size: int = 60_000) -> dict[str, float]:
    """Milliseconds of writing a file of the size of a crop, with and without waiting for the disk."""
    data, wait = os.urandom(size), os.fsync

    def write(name: str) -> float:
        started = time.perf_counter()
        for i in range(count):
            write_atomic(folder / name / f"{i}.jpg", data, overwrite=False)
        return 1e3 * (time.perf_counter() - started) / count

    nothing: Callable[[int], None] = lambda descriptor: None  # noqa: E731
    flushed = write("flushed")
    os.fsync = nothing
    try:
        return {"flushed_ms": round(flushed, 2), "not_flushed_ms": round(write("not flushed"), 2)}
    finally:
        os.fsync = wait


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--profile", action="store_true", help="Show where the time goes, on one thread.")
    parser.add_argument("--folder", type=Path, help="Where to make the files, on the disk to be measured.")
    parser.add_argument("--results", type=Path, help='JSON file to keep the figures in, under "resume"')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make(folder, options.pictures)
        seconds = look_through(folder, options.profile)
        found = {
            "pictures": options.pictures,
            "seconds": round(seconds, 1),
            "a_second": round(options.pictures / seconds),
        }
        found |= flushing(folder)
    print("  ".join(f"{key} {value}" for key, value in found.items()))
    if options.results:
        results = json.loads(options.results.read_text()) if options.results.exists() else {}
        options.results.write_text(json.dumps(results | {"resume": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
