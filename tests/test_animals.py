"""Heads of animals: the finder, its labels and training, and what the choice makes of them."""

import dataclasses
import gzip
import json

import numpy as np
import pytest
import torch

from made_up_data import run_recipe, write_subject_data
from networks import make_weights
from s2crop.cropping.content import contents
from s2crop.cropping.features import ANIMAL_TRUST, weights_of
from s2crop.datasets.animals import load_animal_photos
from s2crop.errors import InputError
from s2crop.models.animals import MIN_ANIMAL_SCORE, AnimalHead, Animals
from s2crop.models.weights import load_model
from s2crop.training.animals import AnimalRecipe, view


@pytest.fixture
def data(tmp_path):
    """Made-up photos; of those with an odd number it is known where the head of an animal is."""
    write_subject_data(tmp_path)
    names = sorted(path.stem for path in (tmp_path / "fcdb/photos").iterdir())
    (tmp_path / "animal_heads.json").write_text(json.dumps({name: [[0.2, 0.1, 0.6, 0.7]] for name in names[1::2]}))
    return tmp_path


@pytest.fixture(scope="module")
def model():
    return load_model()


def seen_in(model, seed=0):
    pixels = torch.from_numpy(np.random.default_rng(seed).integers(0, 255, (1, 3, 256, 384), dtype=np.uint8))
    with torch.inference_mode():
        return model.see(model.features(model.normalise(pixels)).maps, (256, 384))


def test_maps_have_a_place_for_each_eight_pixels():
    head = AnimalHead()
    heat, sides = head(torch.randn(2, 64, 8, 12), torch.randn(2, 96, 8, 12))
    assert heat.shape == (2, 1, 8, 12) and sides.shape == (2, 1, 4, 8, 12) and (sides > 0).all()
    found = head.find(torch.randn(2, 64, 8, 12), torch.randn(2, 96, 8, 12), (64, 96))
    assert found.boxes.shape[:2] == found.scores.shape and (found.scores.diff(dim=1) <= 0).all()


def test_heads_of_animals_are_heads_once(model):
    seen = seen_in(model)
    boxes = torch.tensor([[[40.0, 40, 120, 120], [200, 100, 280, 180]]])
    heads = seen.subjects._replace(
        boxes=boxes[:, :1], scores=torch.tensor([[0.9]]), kinds=torch.zeros(1, 1, dtype=torch.int64)
    )
    faceless = seen.proposals._replace(scores=0 * seen.proposals.scores)
    there = seen._replace(subjects=heads, proposals=faceless)
    (with_animals,) = contents(
        there._replace(animals=Animals(boxes, torch.tensor([[0.8, 0.6]]))), [(384, 256)], (256, 384)
    )
    found, scores = with_animals.parts["head"]
    assert scores == pytest.approx([0.9, 0.6])  # the first is a head that was found already
    assert found[1] * [384, 256, 384, 256] == pytest.approx([200, 100, 280, 180])
    assert list(with_animals.animals) == [False, True]
    weights = weights_of(with_animals, "head")
    sure = dataclasses.replace(with_animals, animals=np.array([False, False]))
    assert weights == pytest.approx(weights_of(sure, "head") * [1, min(ANIMAL_TRUST, 1 / 0.6)])
    (without,) = contents(there._replace(animals=None), [(384, 256)], (256, 384))
    assert len(without.parts["head"][0]) == 1


def test_noise_shows_no_sure_animal(model):
    for seed in range(3):
        animals = seen_in(model, seed).animals
        real = animals.scores > 0
        assert (animals.scores[real] > MIN_ANIMAL_SCORE).all() and animals.scores.max() < 0.5


def test_photos_of_which_nobody_knows_are_left_out(data):
    teacher = json.loads(gzip.decompress((data / "teacher_boxes.json.gz").read_bytes()))
    photos = {photo.id: photo for photo in load_animal_photos(data)}
    marked = json.loads((data / "animal_heads.json").read_text())
    assert all(len(photos[name].heads) == 1 for name in marked)
    assert "osie_1" not in photos and teacher["osie_1"][0]["label"] == "dog"  # it may show one, and was not looked at
    assert any(photo.path.parts[-3] == "crowd" and not len(photo.heads) for photo in photos.values())


def test_views_move_heads_with_the_picture(data):
    photo = next(photo for photo in load_animal_photos(data) if len(photo.heads))
    pixels, heat, known, sides, weight = view(photo, (64, 96), np.random.default_rng(0), recipe=AnimalRecipe())
    assert pixels.shape == (3, 64, 96) and heat.shape == (1, 8, 12) and sides.shape == (1, 4, 8, 12)
    assert heat.max() > 0.5 and weight.max() > 0.5 and known.any()


def test_training_changes_the_finder_alone_and_resumes(data, tmp_path):
    before, out = load_model().state_dict(), tmp_path / "runs"
    told = run_recipe("animals", data, out, changes=["training.epochs=1", "training.batch_size=4"], device="cpu")
    assert 0 <= told["animal_precision"] <= 1
    changes = ["training.epochs=2", "training.batch_size=4"]
    run_recipe("animals", data, out, changes=changes, device="cpu", resume=True)
    lines = (out / "animals/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]
    after = load_model("s2cnet", out / "animals/weights.safetensors").state_dict()
    assert {
        key.split(".")[0] for key, value in after.items() if not torch.equal(value, before.get(key, value + 1))
    } == {"animal_head"}


def test_a_warm_training_goes_on_with_the_finder_that_is_there(data, tmp_path):
    """At a rate of zero nothing moves: what is written is what there was, or a fresh finder."""
    before, out = load_model().animal_head.state_dict(), tmp_path / "runs"
    same = []
    for warm in ("true", "false"):
        changes = ["training.epochs=1", "training.rate=0.0", f"training.warm={warm}"]
        run_recipe("animals", data, out, changes=changes, device="cpu")
        after = load_model("s2cnet", out / "animals/weights.safetensors").animal_head.state_dict()
        same.append(all(torch.equal(value, before[key]) for key, value in after.items()))
    assert same == [True, False]


def test_a_finder_that_is_not_there_cannot_be_gone_on_with(data, tmp_path):
    (tmp_path / "runs/bare").mkdir(parents=True)
    make_weights(tmp_path / "runs/bare").rename(tmp_path / "runs/bare/weights.safetensors")
    with pytest.raises(InputError, match="bare has no animal head to go on with"):
        changes = ["training.start=bare", "training.warm=true"]
        run_recipe("animals", data, tmp_path / "runs", changes=changes, device="cpu")
