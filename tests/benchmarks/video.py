"""Time and memory of reading a clip and choosing its covers, against ffmpeg's bare decoding, side by side in one run.

    python tests/benchmarks/video.py [--minutes 1 60] [--rounds 5] [--long-rounds 1] [--results weights/results.json]

Each clip is looked through by both scans, all frames and I-frames alone; --minutes takes several lengths. Of clips of
ten minutes and more, which are not decoded whole unless that is asked for, the scan of all frames is left out, and one
round is enough. The clip is 1280x720, 30 frames a second, H.264, made here; long ones repeat its first minute, and are
joined without encoding. The floor is `ffmpeg -i clip -vf scale=160:-2 -f rawvideo` into nowhere.
All parts run in turn, so that a busy machine slows all; a ratio is the median over rounds of paired times: wall, and
processor time of ffmpeg and Python together, which a busy machine disturbs less.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import imageio_ffmpeg

from s2crop.video import scan
from s2crop.video.reader import Video

sys.path.insert(0, str(Path(__file__).parents[1]))
import clips  # noqa: E402

SCENES = (
    "mandelbrot=size=1280x720:rate=30",
    "testsrc2=size=1280x720:rate=30",
    "gradients=size=1280x720:rate=30:speed=0.02",
)
SCENE_S = 5
LONG_MINUTES = 10


def make_clip(path: Path, minutes: int) -> Path:
    """Scenes of five seconds, cut hard, with a little noise; longer clips repeat the first minute."""
    minute = path.with_name("minute.mp4")
    inputs, labels = [], ""
    for i in range(60 // SCENE_S):
        inputs += ["-f", "lavfi", "-t", SCENE_S, "-i", SCENES[i % len(SCENES)]]
        labels += f"[{i}:v]hue=h={30 * i},format=yuv420p[v{i}];"
    joined = "".join(f"[v{i}]" for i in range(60 // SCENE_S)) + f"concat=n={60 // SCENE_S},noise=alls=4:allf=t[v]"
    codec = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "4M", "-pix_fmt", "yuv420p"]
    clips.run_ffmpeg(*inputs, "-filter_complex", labels + joined, "-map", "[v]", *codec, minute)
    clips.run_ffmpeg("-stream_loop", minutes - 1, "-i", minute, "-c", "copy", path)
    return path


def floor(path: Path) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-i", str(path)]
    subprocess.run([*command, "-vf", "scale=160:-2", "-f", "rawvideo", "pipe:1"], stdout=subprocess.DEVNULL, check=True)


def read(path: Path) -> Video:
    video = Video.open(path)
    for _ in video.frames():
        pass
    return video


def analyse(path: Path, how: str) -> tuple[Video, list[float]]:
    video = Video.open(path)
    return video, [winner.time_s for winner in scan.scan(video, 3, how=how).winners]


def seconds(function, *arguments) -> tuple[float, float]:
    """Wall and processor time."""
    wall, before = time.perf_counter(), _processor_s()
    function(*arguments)
    return time.perf_counter() - wall, _processor_s() - before


def _processor_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(path: Path, rounds: int, full: bool) -> dict:
    """Rows of times, and the peaks of memory of this process and of the largest ffmpeg that it started.

    Args:
        full: the full scan too; the peaks are those of I-frames alone without it.
    """
    auto = scan.scan(Video.open(path), 3).how
    chosen = {}

    def analysis(how: str) -> None:
        chosen[how] = analyse(path, how)

    def read_again(how: str) -> None:
        video, times_s = chosen[how]
        for i in range(0, len(times_s), 4):  # as `covers.frames_of` does
            video.frames_at(times_s[i : i + 4])

    parts = {"floor": lambda: floor(path)}
    if full:
        parts |= {
            "reader": lambda: read(path),
            "analysis, full": lambda: analysis(scan.FULL),
            "frames read, full": lambda: read_again(scan.FULL),
        }
    parts |= {
        "analysis, keyframes": lambda: analysis(scan.KEY_FRAMES),
        "frames read, keyframes": lambda: read_again(scan.KEY_FRAMES),
    }
    times = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            times[name].append(seconds(part))
    rows = []
    for name, pairs in times.items():
        wall, processor = (
            statistics.median(pair[i] / base[i] for pair, base in zip(pairs, times["floor"], strict=True))
            for i in (0, 1)
        )
        wall_s = statistics.median(wall_s for wall_s, _ in pairs)
        rows.append(
            {
                "part": name,
                "wall_s": round(wall_s, 2),
                "wall_to_floor": round(wall, 2),
                "processor_to_floor": round(processor, 2),
            }
        )
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    peaks = [resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    rest = {
        "scan_taken_by_auto": auto,
        "frames_read_again": {how: len(times_s) for how, (_, times_s) in chosen.items()},
        "python_peak_mib": peaks[0],
        "ffmpeg_peak_mib": peaks[1],
    }  # as Linux counts
    print("  ".join(f"{key} {value}" for key, value in rest.items()))
    return {"rows": rows, **rest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 60])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long-rounds", type=int, default=1, help=f"those of clips of {LONG_MINUTES} minutes and more")
    parser.add_argument("--full-long", action="store_true", help="all frames of those too")
    parser.add_argument("--keyframes-only", action="store_true", help="leave out the full scan, for its memory")
    parser.add_argument("--results", type=Path, help='JSON file to keep the rows in, under "video"')
    options = parser.parse_args()
    measured = []
    for minutes in options.minutes:
        print(f"{minutes} minutes")
        # A process of its own, so that the encoder that made the clip does not count, nor the clip before.
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as apart:
            path = make_clip(Path(folder, "clip.mp4"), minutes)
            is_long = minutes >= LONG_MINUTES
            rounds = options.long_rounds if is_long else options.rounds
            full = not options.keyframes_only and (options.full_long or not is_long)
            rows = apart.submit(measure, path, rounds, full).result()
            measured.append({"minutes": minutes, "rounds": rounds, **rows})
    if options.results:
        results = json.loads(options.results.read_text()) if options.results.exists() else {}
        results["video"] = measured
        options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
