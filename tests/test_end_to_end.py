"""The main job with the shipped weights, through the installed command, on the pictures of `examples/`."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from networks import published_state
from s2crop import Cropper, covers

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def s2crop(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "s2crop", *map(str, arguments)],
        capture_output=True,
        env=environment,
        check=False,
        **options,
    )


@pytest.mark.slow
def test_examples_are_cropped_to_three_ratios_at_the_exact_size(tmp_path):
    done = s2crop(EXAMPLES, "-a", "16:9,1:1,4:5", "-s", "640", "--json", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr.decode()
    records = [json.loads(line) for line in done.stdout.splitlines()]
    pictures = sorted(p.name for p in EXAMPLES.glob("*.jpg"))
    found = [(r["input"].rsplit("/", 1)[1], r["ratio"]) for r in records if r["type"] == "image"]
    assert found == [(p, r) for p in pictures for r in ("16:9", "1:1", "4:5")]
    assert {(r["cover_rank"], r["ratio"]) for r in records if r["type"] == "video"} == {
        (rank, ratio) for rank in (1, 2, 3) for ratio in ("16:9", "1:1", "4:5")
    }
    for record in records:
        height = {"16:9": 360, "1:1": 640, "4:5": 800}[record["ratio"]]
        assert (record["output_width"], record["output_height"]) == (640, height)
        assert record["status"] == "written" and 1 <= record["score"] <= 5
        with Image.open(record["output"]) as image:
            assert image.size == (640, height)
    again = s2crop(EXAMPLES, "-a", "16:9,1:1,4:5", "-s", "640", "--json", "-o", tmp_path / "out")
    assert again.returncode == 0 and {json.loads(line)["status"] for line in again.stdout.splitlines()} == {"skipped"}


@pytest.mark.slow
def test_a_picture_through_a_pipeline():
    data = io.BytesIO()
    with Image.open(EXAMPLES / "landscape.jpg") as image:
        image.save(data, "PNG")
    done = s2crop("-", "-a", "1:1", "-f", "jpg", "-o", "-", input=data.getvalue())
    assert done.returncode == 0, done.stderr.decode()
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.format == "JPEG" and image.width == image.height


@pytest.mark.slow
def test_covers_of_the_clip_are_of_both_its_shots(tmp_path, shipped_cropper):
    done = s2crop(
        EXAMPLES / "clip.mp4", "--cover", "-n", "2", "-a", "9:16", "--keep-frames", "--json", "-o", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr.decode()
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert {first["time_s"] >= 2.0, second["time_s"] >= 2.0} == {True, False}
    for record in (first, second):
        assert (record["width"], record["height"]) == (480, 270)
        with Image.open(tmp_path / "out" / f"clip_cover{record['cover_rank']}.jpg") as image:
            assert image.size == (480, 270)
    presenter = max(first, second, key=lambda record: record["time_s"])
    assert presenter["box"][0] <= 480 * 0.62 and presenter["box"][2] >= 480 * 0.72  # her face
    image, *_ = frames = covers(EXAMPLES / "clip.mp4", top=2, ratios=["9:16"], cropper=shipped_cropper)
    assert [round(frame.time_s, 3) for frame in frames] == [first["time_s"], second["time_s"]]
    assert image.image.size == (480, 270) and round(image.score, 4) == first["cover_score"]


# Boxes of things in the drawn pictures, in fractions, as looked at: (left, top, right, bottom).
FACES = [
    (0.095, 0.32, 0.155, 0.46),
    (0.22, 0.17, 0.31, 0.36),
    (0.35, 0.39, 0.43, 0.58),
    (0.46, 0.23, 0.55, 0.4),
    (0.58, 0.51, 0.655, 0.68),
]


def holds(crop, box, size):
    x1, y1, x2, y2 = (v * s for v, s in zip(box, (*size, *size), strict=True))
    return crop.box[0] <= x1 and crop.box[1] <= y1 and crop.box[2] >= x2 and crop.box[3] >= y2


def test_a_group_keeps_its_heads(shipped_cropper):
    path = EXAMPLES / "group.jpg"
    with Image.open(path) as image:
        size = image.size
    for crop in shipped_cropper.crop(path, ["16:9", "1:1", "free"]):
        assert all(holds(crop, face, size) for face in FACES), crop


def test_proposals_see_the_faces_of_a_group(shipped_cropper):
    faces = [
        box for box, score, kind in shipped_cropper.proposals(EXAMPLES / "group.jpg") if kind == "face" and score > 0.3
    ]
    assert len(faces) >= 4


def test_a_published_checkpoint_crops_with_the_shipped_proposals(tmp_path, shipped_cropper):
    torch.save(published_state(), tmp_path / "GAICv1.pth")
    published = Cropper(weights=tmp_path / "GAICv1.pth", device="cpu")
    (crop,) = published.crop(EXAMPLES / "group.jpg", ["1:1"])
    assert crop.box[2] - crop.box[0] == crop.box[3] - crop.box[1]
    ours = shipped_cropper.proposals(EXAMPLES / "group.jpg")
    assert {kind for _, _, kind in published.proposals(EXAMPLES / "group.jpg")} == {kind for _, _, kind in ours}


def test_mirrored_picture_gives_a_crop_of_like_score(shipped_cropper):
    with Image.open(EXAMPLES / "landscape.jpg") as image:
        crops = (
            shipped_cropper.crop(image, ["1:1"]),
            shipped_cropper.crop(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), ["1:1"]),
        )
    assert abs(crops[0][0].score - crops[1][0].score) < 0.3
