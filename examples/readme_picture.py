"""Draw the picture of the README: each original with what matters outlined, the centre crop, and the crop of s2crop.

python examples/readme_picture.py

To be drawn anew whenever the weights change.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from s2crop import Cropper
from s2crop.evaluation.baselines import centre_crop

HERE = Path(__file__).parent
OUT = HERE / "readme" / "crops.jpg"
ROWS = (("group.jpg", ("1:1", "9:16")), ("landscape.jpg", ("4:5", "9:16")), ("news.jpg", ("4:5", "9:16")))
HEIGHT, GAP, MARGIN, TITLE = 200, 14, 16, 26  # pixels
COLOURS = {"face": (235, 70, 60), "text": (40, 120, 220), "object": (30, 150, 80)}
LEAST = {"face": 0.3, "text": 0.5, "object": 0.5}  # score of a proposal that is outlined
QUALITY = 85


def outlined(cropper: Cropper, image: Image.Image) -> Image.Image:
    """A picture at HEIGHT with what was found in it: faces, text and objects."""
    scale = HEIGHT / image.height
    small = image.resize((round(image.width * scale), HEIGHT), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(small)
    for box, score, kind in cropper.proposals(image):
        if score >= LEAST[kind]:
            draw.rectangle([v * scale for v in box], outline=COLOURS[kind], width=2)
    return small


def cells(cropper: Cropper, name: str, ratios: tuple[str, ...]) -> list[tuple[str, Image.Image]]:
    """Titles and pictures of a row."""
    with Image.open(HERE / name) as opened:
        image = opened.convert("RGB")
    row = [(name, outlined(cropper, image))]
    for crop in cropper.crop(image, ratios=ratios):
        width, height = map(float, crop.ratio.split(":"))
        box = centre_crop(np.asarray(image), width / height)
        size = round(HEIGHT * width / height), HEIGHT
        row.append((f"{crop.ratio}, centre", image.resize(size, Image.Resampling.LANCZOS, box=tuple(box))))
        row.append((f"{crop.ratio}, s2crop", image.resize(size, Image.Resampling.LANCZOS, box=crop.box)))
    return row


def main() -> None:
    cropper = Cropper(device="cpu")
    rows = [cells(cropper, name, ratios) for name, ratios in ROWS]
    width = max(sum(image.width for _, image in row) + GAP * (len(row) - 1) for row in rows) + 2 * MARGIN
    sheet = Image.new("RGB", (width, (TITLE + HEIGHT) * len(rows) + GAP * (len(rows) - 1) + 2 * MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, row in enumerate(rows):
        x, y = MARGIN, MARGIN + number * (TITLE + HEIGHT + GAP)
        for title, image in row:
            draw.text((x, y + 4), title, font=font, fill=(60, 60, 60))
            sheet.paste(image, (x, y + TITLE))
            x += image.width + GAP
    OUT.parent.mkdir(exist_ok=True)
    sheet.save(OUT, quality=QUALITY, optimize=True)
    print(f"wrote {OUT}: {sheet.width}x{sheet.height}, {OUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
