"""Time from the start of a process to one crop, and to sixty, against `import torch` alone.

    python tests/benchmarks/start.py [--rounds 9] [--pictures 60] [--results weights/results.json]

Whole processes take turns, so that a busy machine slows all of them; ratios are medians over rounds of one process to
the `import torch` of the same round.

* import torch: an interpreter that does nothing else.
* help: the text of all options.
* in turn: one picture without overlap, for comparison: the network is loaded, then the picture is decoded.
* one picture: the command for one JPEG of 12 megapixels to three ratios, 640 pixels wide.
* again: the same with its outputs there already.
* boxes: the same with its boxes given by `--boxes`.
* answer: from a name written to `--files-from -` of a process that is warm to its line.
* pictures: as many links to the JPEG.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from throughput import RATIOS, ROOT, WIDTH, draw_photo

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
ASKED = ("-a", ",".join(RATIOS), "-s", str(WIDTH), "--overwrite", "--json", "-q", "-d", "cpu")
IN_TURN = """
import sys
from pathlib import Path
from s2crop.cli.loading import load_cropper
from s2crop.cropping.request import CropRequest
from s2crop.files.names import plan_names
from s2crop.files.sources import find_sources
from s2crop.geometry.ratio import parse_ratio
from s2crop.files.sizes import parse_size
from s2crop.run import pipeline
from s2crop.run.incoming import Listed
from s2crop.run.work import BatchOptions
cropper = load_cropper("s2cnet", None, "cpu", "auto", "auto", 2).load()
ratios = tuple(map(parse_ratio, sys.argv[3].split(",")))
sources = find_sources([sys.argv[1]])
plans = plan_names(sources, ratios, 1, folder=Path(sys.argv[2]), fmt="same", circle=False)
options = BatchOptions(CropRequest(ratios=ratios), jobs=2, sizes=(parse_size(sys.argv[4]),), overwrite=True)
assert not pipeline.run(Listed(sources, plans), cropper, options, print).failed
"""


def seconds(words: list[str]) -> float:
    """Of a whole process."""
    started = time.perf_counter()
    subprocess.run(words, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "s2crop", *map(str, arguments)]


def answers(path: Path, out: Path, count: int = 20) -> list[float]:
    """Seconds from a name to its last line, in one process, the first left out."""
    words = command("--files-from", "-", *ASKED, "-o", out)
    found = []
    with subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin and run.stdout
        for _ in range(count + 1):
            started = time.perf_counter()
            run.stdin.write(os.fsencode(path) + b"\n")
            run.stdin.flush()
            for _ in RATIOS:
                assert json.loads(run.stdout.readline())["status"] == "written"
            found.append(time.perf_counter() - started)
        run.stdin.close()
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--results", type=Path, help='JSON file to keep the figures in, under "start"')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, out, library = draw_photo(folder, 1), folder / "out", folder / "library"
        library.mkdir()
        for i in range(options.pictures):
            os.symlink(path, library / f"{i}.jpg")
        given = folder / "boxes.jsonl"
        with given.open("wb") as file:
            words = command(path, "-a", ",".join(RATIOS), "--dry-run", "--json", "-q", "-d", "cpu")
            subprocess.run(words, env=ENVIRONMENT, check=True, stdout=file)
        skip = [word for word in ASKED if word != "--overwrite"]
        kinds: dict[str, Callable[[], float]] = {
            "import torch": lambda: seconds([sys.executable, "-c", "import torch"]),
            "help": lambda: seconds(command("--help")),
            "in turn": lambda: seconds(
                [sys.executable, "-c", IN_TURN, str(path), str(out), ",".join(RATIOS), str(WIDTH)]
            ),
            "one picture": lambda: seconds(command(path, *ASKED, "-o", out)),
            "again": lambda: seconds(command(path, *skip, "-o", out)),
            "boxes": lambda: seconds(command("--boxes", given, *ASKED[2:-2], "-o", out)),
            f"{options.pictures} pictures": lambda: seconds(command(library, *ASKED, "-o", out)),
        }
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for measure in kinds.values():  # once for the caches of the system
            measure()
        for _ in range(options.rounds):
            for kind, measure in kinds.items():
                times[kind].append(measure())
        answer = statistics.median(answers(path, out))
    base = times["import torch"]
    rows = []
    for kind, values in times.items():
        ratio = statistics.median(mine / torch for mine, torch in zip(values, base, strict=True))
        row = {"what": kind, "seconds": round(statistics.median(values), 2), "to_import_torch": round(ratio, 2)}
        rows.append(row)
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    print(f"answer of a warm process {1e3 * answer:.0f} ms")
    if options.results:
        results = json.loads(options.results.read_text()) if options.results.exists() else {}
        results["start"] = {"rounds": options.rounds, "rows": rows, "answer_ms": round(1e3 * answer)}
        options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
