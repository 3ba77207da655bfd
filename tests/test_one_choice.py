"""One picture, one choice: boxes follow from picture, ratio and weights, whatever else is asked for along with them."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

import pictures
from commands import records
from s2crop import Cropper
from s2crop.cli import loading
from s2crop.cropping.request import CropRequest
from s2crop.files.names import plan_names
from s2crop.files.picture import Picture
from s2crop.files.sizes import parse_size
from s2crop.files.sources import find_sources
from s2crop.geometry.ratio import parse_ratio
from s2crop.ray import CropActor
from s2crop.report import Record
from s2crop.run import pipeline
from s2crop.run.incoming import Listed
from s2crop.run.work import BatchOptions

WIDE, ALL = ("16:9",), ("16:9", "1:1", "4:5", "free")
ASPECTS = (3 / 2, 2 / 3, 4 / 3, 3 / 4, 16 / 9, 1.0)
# Megapixels of 60 pictures: most small, some on either side of the sizes at which the JPEG decoder's scale changes.
MEGAPIXELS = [1 + 0.11 * i for i in range(45)] + [6, 7, 8, 8, 9, 10, 12, 12, 12, 12.2, 13, 16, 18, 20, 24]

Boxes = dict[str, dict[str, tuple[int, ...]]]  # name of the file -> label of the ratio -> box


def drawn(seed: int, megapixels: float, aspect: float) -> bytes:
    """A JPEG: a ground that shades off, noise of several grains, and a few blobs and bars of strong colours."""
    rng = np.random.default_rng(seed)
    width = round((megapixels * 1e6 * aspect) ** 0.5)
    height = round(width / aspect)
    corners = Image.fromarray(rng.integers(30, 220, (3, 4, 3), dtype=np.uint8))
    page = corners.resize((width, height), Image.Resampling.BICUBIC)
    for grain, strength in ((6, 0.25), (40, 0.15)):
        noise = rng.integers(0, 255, (height // grain + 1, width // grain + 1, 3), dtype=np.uint8)
        page = Image.blend(page, Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR), strength)
    draw = ImageDraw.Draw(page)
    for _ in range(rng.integers(2, 6)):
        x, y = rng.uniform(0.05, 0.9, 2) * (width, height)
        across, down = rng.uniform(0.04, 0.25, 2) * min(width, height)
        shape = draw.ellipse if rng.random() < 0.7 else draw.rectangle
        shape((x, y, x + across, y + down), fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
    if megapixels < 6:
        page = page.filter(ImageFilter.GaussianBlur(1))
    return pictures.encoded(page, quality=int(rng.integers(70, 96)), subsampling=("4:2:0", "4:4:4")[seed % 2])


@dataclass(frozen=True)
class Library:
    """Files on disk, the network, and the boxes of a plain run."""

    folder: Path
    cropper: Cropper
    boxes: Boxes

    def run(self, ratios=ALL, fmt="jpg", out="out", **options) -> Boxes:
        """Boxes of a run over all of them."""
        return run(self.folder, self.cropper, ratios, fmt, out, **options)


def run(folder: Path, cropper: Cropper, ratios, fmt, out, **options) -> Boxes:
    sources = find_sources([str(folder / "photos")])
    request = CropRequest(ratios=tuple(map(parse_ratio, ratios)))
    plans = plan_names(sources, request.ratios, 1, folder=folder / out, fmt=fmt, circle=False)
    found: Boxes = {}

    def note(record: Record) -> None:
        assert record.error is None and record.box is not None and record.ratio is not None, record
        found.setdefault(Path(record.input).name, {})[record.ratio] = record.box

    pipeline.run(Listed(sources, plans), cropper, BatchOptions(request, overwrite=True, **{"jobs": 2} | options), note)
    return found


def moved(boxes: Boxes, expected: Boxes) -> list[str]:
    """What differs, of the ratios that there are."""
    assert boxes.keys() == expected.keys()
    return [
        f"{name} {ratio}: {box} instead of {expected[name][ratio]}"
        for name, own in boxes.items()
        for ratio, box in own.items()
        if tuple(box) != tuple(expected[name][ratio])
    ]


def library_of(folder: Path, cropper: Cropper, megapixels: list[float]) -> Library:
    (folder / "photos").mkdir()
    for i, count in enumerate(megapixels):
        (folder / "photos" / f"{i:02}.jpg").write_bytes(drawn(i, count, ASPECTS[i % len(ASPECTS)]))
    return Library(folder, cropper, run(folder, cropper, ALL, "jpg", "plain", sizes=(parse_size("160"),)))


@pytest.fixture(scope="module")
def library(tmp_path_factory, shipped_cropper) -> Library:
    return library_of(tmp_path_factory.mktemp("sixty"), shipped_cropper, MEGAPIXELS)


@pytest.fixture(scope="module")
def few(tmp_path_factory, shipped_cropper) -> Library:
    """A handful, for every run of the tests."""
    return library_of(tmp_path_factory.mktemp("few"), shipped_cropper, [1, 2.5, 3.6, 3.6, 2.2])


CASES = {
    "a larger size": {"sizes": (parse_size("800"),)},
    "no size": {},
    "a height": {"sizes": (parse_size("x90"),), "no_upscale": True},
    "one ratio": {"ratios": WIDE},
    "other ratios beside": {"ratios": ("1:1", "original", "16:9", "9:16", "3:2")},
    "one at a time": {"jobs": 1, "batch_size": 1, "sizes": (parse_size("160"),)},
    "in batches": {"jobs": 2, "batch_size": 4, "sizes": (parse_size("160"),)},
    "another format": {"fmt": "png", "sizes": (parse_size("160"),)},
    "a dry run": {"dry_run": True},
}


def check(library: Library, case: str) -> None:
    found = library.run(**CASES[case])
    shared = {name: {ratio: box for ratio, box in own.items() if ratio in ALL} for name, own in found.items()}
    assert all(shared.values()) and not moved(shared, library.boxes)


def check_library_and_ray(library: Library) -> None:
    photos = sorted((library.folder / "photos").iterdir())
    found = {path.name: {c.ratio: c.box for c in library.cropper.crop(path, list(ALL))} for path in photos}
    assert not moved(found, library.boxes)
    alone = {path.name: {c.ratio: c.box for c in library.cropper.crop(path, ["16:9"])} for path in photos}
    assert not moved(alone, library.boxes)
    actor = CropActor(list(ALL), size="640", device="cpu")
    for start in range(0, len(photos), 7):
        part = photos[start : start + 7]
        contents = np.empty(len(part), object)
        contents[:] = [path.read_bytes() for path in part]
        rows = actor({"path": np.array([path.name for path in part], object), "bytes": contents}).to_pylist()
        told: Boxes = {}
        for row in rows:
            assert row["error"] is None and Image.open(io.BytesIO(row["crop"])).width == 640
            told.setdefault(row["input"], {})[row["ratio"]] = tuple(row["box"])
        assert not moved(told, {path.name: library.boxes[path.name] for path in part})


@pytest.mark.parametrize("case", CASES)
def test_boxes_stay(few, case):
    check(few, case)


def test_library_and_ray_give_the_boxes_of_a_run(few):
    check_library_and_ray(few)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_boxes_of_sixty_pictures_stay(library, case):
    check(library, case)


@pytest.mark.slow
def test_library_and_ray_give_the_boxes_of_a_run_over_sixty_pictures(library):
    check_library_and_ray(library)


def test_the_command_gives_the_boxes_of_a_run(few, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: few.cropper)
    told = records(few.folder / "photos", "-a", "16:9,1:1", "-s", "320")
    assert len(told) == 2 * len(few.boxes)
    found: Boxes = {}
    for record in told:
        found.setdefault(Path(record["input"]).name, {})[record["ratio"]] = tuple(record["box"])
    assert not moved(found, few.boxes)


@pytest.mark.parametrize("megapixels", [2, 3.9, 12])
def test_no_picture_is_decoded_twice_in_full(tmp_path, shipped_cropper, monkeypatch, megapixels):
    decodes: list[int] = []
    decode = Picture._decode

    def watched(picture: Picture, scale: int) -> tuple[Image.Image, int]:
        image, scale = decode(picture, scale)
        decodes.append(scale)
        return image, scale

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(drawn(5, megapixels, 1.5))
    monkeypatch.setattr(Picture, "_decode", watched)
    for options in ({}, {"sizes": (parse_size("640"),)}, {"sizes": (parse_size("160"),)}):
        decodes.clear()
        run(tmp_path, shipped_cropper, ALL, "jpg", "out", **options)
        assert decodes.count(1) <= 1 and len(decodes) <= 2
