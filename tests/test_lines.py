"""Lines of text: the head, what it finds in drawn pictures, its training and its labels."""

import gzip
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from made_up_data import run_recipe, write_subject_data
from s2crop import Cropper
from s2crop.cropping.content import Content
from s2crop.cropping.features import ALL_NAMES, SIGN_SHARE, measure, weights_of
from s2crop.datasets.label_lines import main as label
from s2crop.datasets.lines import HARDLY, load_text_photos
from s2crop.models.lines import MIN_LINE_SCORE, TextHead
from s2crop.models.weights import load_model
from s2crop.training.parts import proposal_head, text_head
from s2crop.training.text import TextRecipe, lines_of, view

NONE = np.zeros((0, 4)), np.zeros(0)


@pytest.fixture(scope="module")
def model():
    return load_model()


def scene(size_wh=(480, 320), seed=0):
    """A picture of soft blobs."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(40, 216, (4, 6, 3), dtype=np.uint8))
    return small.resize(size_wh, Image.Resampling.BICUBIC)


def with_title(image, text="A quiet morning", size=34, place=(60, 240)):
    """The picture with a line over it, and its box in fractions."""
    image, font = image.copy(), ImageFont.load_default(size)
    draw = ImageDraw.Draw(image)
    draw.text(place, text, "white", font, stroke_width=2, stroke_fill="black")
    box = np.array(draw.textbbox(place, text, font)) / np.tile(image.size, 2)
    return image, box


def overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.clip(high - low, 0, None))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def test_a_title_is_found_where_it_is_and_known_to_be_over_the_picture(model):
    for place in ((60, 240), (20, 20), (150, 250)):
        image, box = with_title(scene(seed=1), place=place)
        boxes, scores, lettering = lines_of(model, np.asarray(image))
        assert overlap(boxes[0], box) > 0.6 and scores[0] > 0.6 and lettering[0] > 0.5
        assert (np.diff(scores) <= 0).all() and (scores > MIN_LINE_SCORE).all()


def test_a_picture_without_text_has_no_sure_line(model):
    for seed in range(4):
        _, scores, _ = lines_of(model, np.asarray(scene(seed=seed)))
        assert scores.max(initial=0) < 0.5


def test_maps_have_the_finest_stride_and_pictures_of_a_batch_do_not_mix(model):
    images = [with_title(scene((384, 256), seed), place=(20, 20 + 60 * seed))[0] for seed in range(2)]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).contiguous()
    with torch.inference_mode():
        maps = model.backbone(model.normalise(pixels))
        trunk = proposal_head(model).trunk(maps)
        heat, sides, lettering = text_head(model)(maps, trunk)
        together = text_head(model).find(maps, trunk, (256, 384))
        alone = text_head(model).find(tuple(m[1:] for m in maps), trunk[1:], (256, 384))
    assert heat.shape == (2, 1, 64, 96) and sides.shape == (2, 1, 4, 64, 96) and lettering.shape == (2, 64, 96)
    assert (sides > 0).all()
    real = alone.scores[0] > 0
    assert real.any() and torch.allclose(together.boxes[1][real], alone.boxes[0][real], atol=0.01)
    assert not torch.allclose(together.boxes[0, 0], together.boxes[1, 0], atol=4)


def test_the_head_is_small():
    assert sum(p.numel() for p in TextHead().parameters()) < 50_000


def test_text_in_the_picture_matters_less_than_text_over_it():
    boxes, scores = np.array([[0.1, 0.8, 0.3, 0.9], [0.6, 0.8, 0.8, 0.9]]), np.array([0.5, 0.5])
    parts = dict.fromkeys(("object", "head", "eyes", "person"), NONE) | {"text": (boxes, scores)}
    mask, looks, main = np.zeros((8, 12)), np.full((4, 6), 1 / 24), np.zeros((2, 4, 6))
    over, inside = weights_of(Content((600, 400), mask, looks, main, parts, np.array([1.0, 0.0])), "text")
    assert inside == pytest.approx(SIGN_SHARE * over)
    unknown = weights_of(Content((600, 400), mask, looks, main, parts), "text")
    assert unknown == pytest.approx([over, over])
    crops = np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1.0]])
    content = Content((600, 400), mask, looks, main, parts, np.array([1.0, 0.0]))
    lost = measure(content, crops, np.ones(2))[:, ALL_NAMES.index("text_lost")]
    assert lost[1] > lost[0] > 0  # the right half loses the title


def test_a_crop_keeps_a_title_and_tells_of_it_as_text():
    image, box = with_title(scene((900, 400)), "BREAKING NEWS", 40, (20, 320))
    cropper = Cropper()
    (crop,) = cropper.crop(np.asarray(image), ["1:1"])
    assert crop.box[0] <= box[0] * 900 and crop.box[2] >= box[2] * 900 and not crop.cut and not crop.lost
    found = cropper.proposals(np.asarray(image))
    text = [np.array(place) / np.tile(image.size, 2) for place, _, kind in found if kind == "text"]
    assert max(overlap(place, box) for place in text) > 0.6
    scores = [score for _, score, _ in found]
    assert scores == sorted(scores, reverse=True)


@pytest.fixture
def data(tmp_path):
    """Made-up photos, some with lines."""
    write_subject_data(tmp_path)
    names = [path.stem for place in ("fcdb/photos", "unlabelled") for path in sorted((tmp_path / place).glob("*"))]
    lines = [{"box": [0.1, 0.1, 0.6, 0.3], "score": 0.95}, {"box": [0.1, 0.5, 0.6, 0.7], "score": 0.6}]
    unread = {"box": [0.7, 0.7, 0.9, 0.9], "score": 0.2}
    with gzip.open(tmp_path / "text_lines.json.gz", "wt") as file:
        json.dump({name: [*lines, unread] if number % 2 else [] for number, name in enumerate(names)}, file)
    (tmp_path / "text/boxes.json").write_text("{}")
    return tmp_path


def test_lines_count_by_how_surely_they_were_read(data):
    photos = load_text_photos(data)
    assert len(photos) == len(json.loads(gzip.decompress((data / "text_lines.json.gz").read_bytes())))
    with_lines = [photo for photo in photos if len(photo.lines)]
    assert len(with_lines) == len(photos) // 2
    for photo in with_lines:
        assert photo.quality == pytest.approx([1, HARDLY]) and len(photo.unsure) == 1
        assert photo.pixels.shape == (64, 96, 3)


def test_words_that_a_human_marked_count_and_what_a_detector_alone_found_is_left_open(data):
    name = "300t"
    Image.new("RGB", (96, 64)).save(data / f"text/photos/{name}.webp")
    with gzip.open(data / "text_lines.json.gz", "wt") as file:
        json.dump({name: [{"box": [0.1, 0.1, 0.6, 0.3], "score": 0.9}]}, file)
    (data / "text/boxes.json").write_text(json.dumps({name: [[0.1, 0.1, 0.3, 0.3], [0.1, 0.6, 0.4, 0.8]]}))
    teacher = {name: [{"box": [0.7, 0.1, 0.9, 0.2], "score": 0.7, "kind": "text", "label": "text"}]}
    (data / "teacher_boxes.json.gz").write_bytes(gzip.compress(json.dumps(teacher).encode()))
    (photo,) = load_text_photos(data)
    assert photo.lines == pytest.approx(np.array([[0.1, 0.1, 0.6, 0.3], [0.1, 0.6, 0.4, 0.8]]))
    assert photo.quality == pytest.approx([1, 1]) and photo.unsure == pytest.approx(np.array([[0.7, 0.1, 0.9, 0.2]]))


def test_only_what_a_view_is_lettered_with_is_over_the_picture(data):
    photo = next(photo for photo in load_text_photos(data) if len(photo.lines))
    for lettered in (0.0, 1.0):
        recipe = TextRecipe(lettered=lettered)
        pixels, heat, known, sides, weight, over = view(
            photo, (256, 384), np.random.default_rng(1), recipe=recipe, fonts=()
        )
        assert pixels.shape == (3, 256, 384) and heat.shape == (1, 64, 96) and sides.shape == (1, 4, 64, 96)
        assert over.any() == bool(lettered) and not over[weight[0] == 0].any()
        assert known.min() == 0 if not lettered else True  # what could not be read is left open


def test_training_learns_keeps_the_rest_and_resumes(data, tmp_path):
    before = load_model().state_dict()
    out = tmp_path / "runs"
    told = run_recipe("text", data, out, changes=["training.epochs=1", "training.batch_size=4"], device="cpu")
    assert 0 <= told["precision"] <= 1 and 0 <= told["lettering"] <= 1
    run_recipe("text", data, out, changes=["training.epochs=2", "training.batch_size=4"], device="cpu", resume=True)
    lines = (out / "text/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]
    after = load_model("s2cnet", out / "text/weights.safetensors").state_dict()
    changed = {key.split(".")[0] for key, value in after.items() if not torch.equal(value, before[key])}
    assert changed == {"text_head"}


def test_labels_are_written_in_fractions_of_the_photo(data, monkeypatch):
    seen = []

    def reader(pixels, use_cls):
        seen.append(pixels.shape)
        height, width = pixels.shape[:2]
        quad = np.array([[0.1, 0.2], [0.5, 0.1], [0.5, 0.3], [0.1, 0.4]]) * [width, height]
        return SimpleNamespace(boxes=quad[None], scores=(0.91,)) if len(seen) > 1 else SimpleNamespace(boxes=None)

    monkeypatch.setitem(sys.modules, "rapidocr", SimpleNamespace(RapidOCR=lambda params: reader))
    monkeypatch.setattr(sys, "argv", ["label_lines", str(data)])
    label()
    found = json.loads(gzip.decompress((data / "text_lines.json.gz").read_bytes()))
    assert set(map(str, seen)) == {"(128, 192, 3)"} and len(found) == len(seen) > 10
    first, *others = found.values()
    assert first == [] and others[0] == [{"box": [0.1, 0.1, 0.5, 0.4], "score": 0.91}]
