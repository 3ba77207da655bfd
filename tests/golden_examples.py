"""What the shipped weights make of the pictures of `examples/`, kept below `golden/`; written anew by

python tests/golden_examples.py

which is to be done whenever weights, search or examples change on purpose, and looked through before it is committed.
"""

import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from s2crop import Cropper
from s2crop.choices import MODELS

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
GOLDEN = HERE / "golden" / "examples.json"
REWRITE = "python tests/golden_examples.py"

PICTURES = ("group.jpg", "landscape.jpg", "news.jpg", "phone.jpg")
RATIOS = ("16:9", "1:1", "4:5", "free")
# Boxes whose scores are kept, in fractions: the network by itself, without search and choice.
PARTS = np.array([[0, 0, 1, 1], [0, 0, 0.6, 0.6], [0.4, 0.4, 1, 1], [0.2, 0.1, 0.8, 0.9], [0.05, 0.3, 0.95, 0.75]])


def measured(cropper: Cropper, picture: str) -> dict:
    """For each ratio the crop of a picture, [x1, y1, x2, y2, score], and the scores of PARTS."""
    path = EXAMPLES / picture
    with Image.open(path) as image:
        size = np.tile(image.size, 2)
    crops = cropper.crop(path, ratios=RATIOS)
    rows = {crop.ratio: [*crop.box, round(crop.score, 4)] for crop in crops}
    return rows | {"parts": [round(float(score), 4) for score in cropper.score(path, PARTS * size)]}


def main() -> None:
    found = {}
    for model in MODELS:
        cropper = Cropper(model, device="cpu")
        found[model] = {picture: measured(cropper, picture) for picture in PICTURES}
    GOLDEN.parent.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1)
    GOLDEN.write_text(re.sub(r"\s+(?=[-\d\]])", " ", text).replace("[ ", "[").replace(" ]", "]") + "\n")  # a row a line
    print(f"wrote {GOLDEN}")


if __name__ == "__main__":
    main()
