"""Data sets of made-up pictures in the layouts that trainings and evaluations read."""

import gzip
import json
from functools import partial

import numpy as np
from PIL import Image

from s2crop.datasets.metrics import iou
from s2crop.datasets.split import is_validation
from s2crop.evaluation import fcdb, gaic
from s2crop.training import recipe

run_recipe = partial(recipe.run_recipe, evaluations={"fcdb": fcdb.evaluate, "gaic": gaic.evaluate})


def write_tiny_data(folder):
    """Photos, labels and ratings laid out as `training.data` says; ids fall into folds 0 and 1, and outside."""
    rng = np.random.default_rng(4)
    ids = [i for fold in (0, 1) for i in [n for n in map(str, range(200)) if is_validation(n, fold)][:3]]
    ids += [n for n in map(str, range(200)) if not (is_validation(n, 0) or is_validation(n, 1))][:8]
    for name in ("fcdb/photos", "unlabelled"):
        (folder / name).mkdir(parents=True)
    labels, boxes = [], {}
    for i in ids:
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)).save(folder / f"fcdb/photos/{i}.webp")
        pairs = [{"a": [0, 0, 0.5, 0.5], "b": [0.2, 0.2, 0.9, 0.9], "votes_a": 1, "votes_b": 4}] * 10
        labels.append({"id": i, "width": 96, "height": 64, "best": [0.1, 0.1, 0.8, 0.9], "pairs": pairs})
        boxes[i] = [{"box": [0.4, 0.4, 0.7, 0.7], "score": 0.9, "kind": "object", "label": "dog"}]
    for name in ("osie_1", "osie_2", "bsds_1"):
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)).save(folder / f"unlabelled/{name}.webp")
        boxes[name] = boxes[ids[0]]
    (folder / "fcdb/labels_train.json").write_text(json.dumps(labels))
    (folder / "osie_fixations.json").write_text(
        json.dumps({n: rng.uniform(0, 1, (20, 2)).tolist() for n in ("1", "2")})
    )
    (folder / "teacher_boxes.json.gz").write_bytes(gzip.compress(json.dumps(boxes).encode()))
    (folder / "gaicd_boxes_mos_train.json").write_text(json.dumps(rated_boxes(rng, 40)))


def made_up_gaicd(folder, count):
    """Pictures with one bright square; a crop is rated by how much of it the square fills and how whole it is."""
    rng = np.random.default_rng(3)
    for split, numbers in (("train", range(count)), ("val", range(count, count + 6))):
        (folder / "images" / split).mkdir(parents=True)
        for name in ("annotations", "bbox"):
            (folder / name).mkdir(exist_ok=True)
        for i in numbers:
            x, y = rng.integers(4, 60, 2)
            pixels = np.full((96, 96, 3), 60, np.uint8)
            pixels[y : y + 32, x : x + 32] = 230
            Image.fromarray(pixels).save(folder / f"images/{split}/{i}.png")
            square = np.array([x, y, x + 32, y + 32.0])
            corner = rng.uniform(0, 50, (24, 2)).round()
            crops = np.concatenate([corner, corner + rng.uniform(34, 46, (24, 2)).round()], axis=1)
            mos = 1 + 4 * iou(crops, square)
            rows = [f"{c[1]} {c[0]} {c[3]} {c[2]} {m:.3f}" for c, m in zip(crops, mos, strict=True)]
            (folder / f"annotations/{i}.txt").write_text("\n".join([*rows, "0 0 96 96 -2"]))
            (folder / f"bbox/{i}.txt").write_text(f"{y} {x} {y + 32} {x + 32}\n0 0 10 10\n")


def write_subject_data(folder):
    """`write_tiny_data`, with masks of subjects, heads, persons and rankings."""
    write_tiny_data(folder)
    rng = np.random.default_rng(5)
    inside = [n for n in map(str, range(300, 400)) if is_validation(n)][:2]
    outside = [n for n in map(str, range(300, 400)) if not is_validation(n)][:3]
    for name in ("text", "crowd", "people"):
        (folder / name / "photos").mkdir(parents=True)
    (folder / "subjects").mkdir()
    crowd, people = {}, {}
    for name in (*inside, *outside):
        for place, labels in (("crowd", crowd), ("people", people)):
            key = f"{name}{place[0]}"
            image = Image.fromarray(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
            image.save(folder / place / "photos" / f"{key}.webp")
            head, body = [0.4, 0.1, 0.6, 0.4], [0.3, 0.1, 0.7, 0.9]
            if place == "crowd":
                heads = [{"box": head, "kind": "frontal", "occluded": False}]
                labels[key] = {"heads": heads, "fixations": rng.uniform(0, 1, (30, 2)).tolist()}
            else:
                labels[key] = {"person": body, "head": head}
    (folder / "crowd/labels.json").write_text(json.dumps(crowd))
    (folder / "people/labels.json").write_text(json.dumps(people))
    mask = np.zeros((85, 128), np.uint8)
    mask[20:60, 40:90] = 255
    photos = {
        "fcdb": [p.stem for p in (folder / "fcdb/photos").iterdir()],
        "unlabelled": [p.stem for p in (folder / "unlabelled").iterdir()],
        "text": [],
        "crowd": list(crowd),
        "people": list(people),
    }
    for name, keys in photos.items():
        np.savez(folder / f"subjects/{name}.npz", **{key: mask for key in keys})
    rankings = [
        {
            "photo": key,
            "ratio": "1:1",
            "candidates": [[0, 0, 2 / 3, 1], [1 / 3, 0, 1, 1], [0.1, 0, 0.1 + 2 / 3, 1]],
            "rank": [[1], [0, 2]],
            "bad": {"0": "S"},
        }
        for key in photos["fcdb"]
    ]
    box = [0.3, 0.2, 0.7, 0.7]
    marked = {key: {"main": [box], "weight": [1], "core": None} for key in (*photos["fcdb"], *photos["unlabelled"])}
    (folder / "main_subjects.json").write_text(json.dumps(marked))
    (folder / "editor_rankings.json").write_text(json.dumps(rankings))


def rated_boxes(rng: np.random.Generator, pictures: int) -> list[dict]:
    """Rated crops of pictures that are not there, boxes in fractions."""
    return [
        {
            "id": f"g{i}",
            "width": 800,
            "height": 600,
            "proposals": [[0.1, 0.1, 0.5, 0.6]] * 10,
            "candidates": np.concatenate([corner, corner + 0.6], axis=1).tolist(),
            "mos": rng.uniform(1, 5, 15).tolist(),
        }
        for i, corner in enumerate(rng.uniform(0, 0.3, (pictures, 15, 2)))
    ]
