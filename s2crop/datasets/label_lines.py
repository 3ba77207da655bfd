"""Find and read the text of photos with PP-OCR, for `datasets.lines`: writes DATA/text_lines.json.gz.

    pip install rapidocr onnxruntime
    python -m s2crop.datasets.label_lines DATA

RapidOCR brings the networks (Apache-2.0) with it; photos are doubled first, as they were made small for training. About
five photos a second on two cores. The shipped weights had PP-OCRv6 (small) of RapidOCR 3.10.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from s2crop.datasets.lines import PLACES


def read_lines(reader: Any, path: Path) -> list[dict]:
    """The lines of one photo: box [x1, y1, x2, y2] in fractions of it, and how surely each was read, 0 to 1."""
    with Image.open(path) as image:
        width, height = image.size
        doubled = image.convert("RGB").resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
    found = reader(np.ascontiguousarray(np.asarray(doubled)[..., ::-1]), use_cls=False)
    if found.boxes is None:
        return []
    corners = np.asarray(found.boxes) / np.array(doubled.size)  # [K, 4, 2]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).round(4).tolist()
    return [{"box": box, "score": round(float(score), 3)} for box, score in zip(boxes, found.scores, strict=True)]


def main() -> None:
    from rapidocr import RapidOCR

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    reader = RapidOCR(params={"Global.text_score": 0.0, "Global.log_level": "error"})
    paths = [path for place in PLACES for path in sorted((data / place).glob("*.webp"))]
    lines = {}
    for number, path in enumerate(paths, start=1):
        lines[path.stem] = read_lines(reader, path)
        print(f"\r{number}/{len(paths)}", end="", file=sys.stderr)
    with gzip.open(data / "text_lines.json.gz", "wt") as file:
        json.dump(lines, file)


if __name__ == "__main__":
    main()
