"""Losses, targets and the two trainings on made-up data whose answer can be learned."""

import json

import numpy as np
import pytest
import torch

from made_up_data import made_up_gaicd, run_recipe, write_tiny_data
from s2crop.datasets.fcdb import CropLabels
from s2crop.datasets.gaicd import Ratings
from s2crop.datasets.lettering import LAYOUTS, letter
from s2crop.datasets.metrics import iou
from s2crop.datasets.photos import FACE, OBJECT, TEXT, Boxes, Photo, join_words
from s2crop.datasets.split import is_validation
from s2crop.errors import InputError
from s2crop.geometry.boxes import iou_matrix
from s2crop.models.proposals import KINDS, MAX_PROPOSALS, Proposals, Sides, peak_boxes
from s2crop.models.s2cnet import S2CNet, S2CNetConfig
from s2crop.models.weights import load_model, save_weights
from s2crop.training import graph, proposals, views
from s2crop.training import run as run_module
from s2crop.training.losses import best_crop_loss, ranking_loss, vote_loss
from s2crop.training.recipe import KINDS as RECIPE_KINDS
from s2crop.training.recipe import read_recipe, recipe_names
from s2crop.training.run import Run
from s2crop.training.samples import Sample, held_share

CONFIG = S2CNetConfig(
    align_size=3,
    node_dim=32,
    relation_dim=16,
    mlp_dim=48,
    num_proposals=4,
    heads=2,
    node_geometry=True,
    overlap_messages=True,
    proposal_head=True,
)


def test_ranking_loss_equals_the_loop():
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(2, 6)), rng.normal(size=(2, 6))
    total = 0.0
    for s, t in zip(scores, targets, strict=True):
        pairs = [(i, j) for i in range(6) for j in range(i)]
        total += (
            sum(
                max(0.0, -np.sign((t[i] - t[j]) * (s[i] - s[j])) * abs((t[i] - t[j]) * (s[i] - s[j]))) for i, j in pairs
            )
            / len(pairs)
            / 2
        )
    assert ranking_loss(torch.tensor(scores), torch.tensor(targets)).item() == pytest.approx(total)
    assert ranking_loss(torch.tensor(targets), torch.tensor(targets)) == 0


def test_vote_loss_is_least_at_the_share_of_votes():
    votes = torch.tensor([[[4.0, 1.0]]])
    odds = torch.tensor(4.0).log()
    at = [
        vote_loss(torch.tensor([[[d, 0.0]]]), votes, torch.tensor(2.0)).item()
        for d in (2 * odds, 2 * odds + 0.5, 2 * odds - 0.5)
    ]
    assert at[0] < min(at[1:])


def test_best_crop_loss_vanishes_where_scores_are_ious():
    ious = torch.tensor([[0.2, 0.9, 0.5]])
    assert best_crop_loss(ious * 3, ious, torch.tensor(0.3), 0.1).item() == pytest.approx(0, abs=1e-6)
    assert best_crop_loss(-ious, ious, torch.tensor(0.3), 0.1) > 0.5


def test_split_is_fixed_and_its_folds_are_disjoint():
    names = [str(i) for i in range(4000)]
    folds = [{n for n in names if is_validation(n, f)} for f in range(7)]
    assert all(0.1 < len(f) / 4000 < 0.155 for f in folds)
    assert sum(map(len, folds)) == len(set.union(*folds))
    assert is_validation("11020299") == is_validation("11020299") and "0" not in folds[0] & folds[1]


def decode(heat, sides, size):
    """Boxes at the peaks of maps that are there as a whole: heat [1, K, h, w], sides [1, K, 4, h, w]."""

    def at(cells, kinds):
        return sides[0].flatten(2)[kinds[0], :, cells[0]][None]

    return Proposals(*peak_boxes(heat, at, size, MAX_PROPOSALS))


def test_targets_decode_to_the_boxes_they_were_made_from():
    boxes = np.float32([[0.1, 0.2, 0.6, 0.9], [0.3, 0.3, 0.42, 0.5], [0.5, 0.05, 0.95, 0.15]])
    heat, known, sides, weight = views.box_targets(
        boxes, np.array([OBJECT, FACE, TEXT]), np.float32([0.9, 0.8, 1.0]), (True, True, True), (256, 384)
    )
    assert known.min() == 1 and (weight.max(axis=(1, 2)) > 0).all()
    found = decode(torch.from_numpy(heat)[None], torch.from_numpy(sides)[None], (256, 384))
    assert found.scores[0, :3].tolist() == pytest.approx([1.0, 0.9, 0.8])
    assert [KINDS[k] for k in found.kinds[0, :3]] == ["text", "object", "face"]
    np.testing.assert_allclose(found.boxes[0, :3] / torch.tensor([384, 256, 384, 256]), boxes[[2, 0, 1]], atol=1e-5)
    assert found.scores[0, 3:].max() == 0 and (found.boxes[0, 3:] == torch.tensor([0, 0, 384, 256])).all()


def test_sides_at_some_cells_are_those_of_the_whole_map():
    torch.manual_seed(0)
    sides, x = Sides(16, 3), torch.randn(2, 16, 4, 6)
    cells, kinds = torch.tensor([[0, 7, 23], [5, 5, 11]]), torch.tensor([[0, 1, 2], [2, 0, 1]])
    whole, found = sides(x), sides.at(x, cells, kinds)
    for i in range(2):
        for j, (cell, kind) in enumerate(zip(cells[i].tolist(), kinds[i].tolist(), strict=True)):
            torch.testing.assert_close(found[i, j], whole[i, kind, :, cell // 6, cell % 6])


def test_boxes_mostly_outside_a_view_are_left_open():
    heat, known, _, weight = views.box_targets(
        np.float32([[-0.5, 0.2, 0.1, 0.4]]), np.array([FACE]), np.float32([1]), (True, True, False), (256, 256)
    )
    assert heat.max() == 0 and weight.max() == 0
    assert known[FACE].min() == 0 and known[OBJECT].min() == 1 and known[TEXT].max() == 0


def test_proposal_losses_lead_to_the_boxes():
    """Free maps that follow the losses' gradients end in the labelled boxes, each of its kind."""
    boxes = np.float32([[0.1, 0.2, 0.6, 0.9], [0.3, 0.3, 0.42, 0.5], [0.5, 0.05, 0.95, 0.15]])
    targets = views.box_targets(boxes, np.array([OBJECT, FACE, TEXT]), np.float32([1, 1, 1]), (True,) * 3, (128, 192))
    targets = [torch.from_numpy(t)[None] for t in targets]
    heat = torch.full((1, 3, 16, 24), -3.0, requires_grad=True)
    sides = torch.full((1, 3, 4, 16, 24), 2.5, requires_grad=True)
    optimizer = torch.optim.Adam([heat, sides], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        sum(views.proposal_losses(heat, sides.exp(), *targets)).backward()
        optimizer.step()
    found = decode(heat.detach().sigmoid(), sides.detach().exp(), (128, 192))
    first = np.argsort(found.kinds[0, :3].numpy())
    assert (
        sorted(found.kinds[0, :3].tolist()) == [OBJECT, FACE, TEXT]
        and found.scores[0, 2] > 0.5 > 2 * found.scores[0, 3]
    )
    overlap = iou_matrix(found.boxes[0, :3].numpy()[first] / np.float32([192, 128, 192, 128]), boxes)
    assert overlap.diagonal().min() > 0.9


@pytest.mark.slow
def test_proposal_training_writes_weights_and_results(tmp_path, monkeypatch):
    rng, photos = np.random.default_rng(1), []
    for i in range(5):
        x, y = rng.integers(2, 38, 2)
        pixels = np.full((64, 64, 3), 60, np.uint8)
        pixels[y : y + 24, x : x + 24] = (250, 200, 180)
        box = np.float32([[x, y, x + 24, y + 24]]) / 64
        photos.append(Photo(str(i), None, Boxes(box, np.array([FACE]), np.float32([1])), pixels=pixels))
    monkeypatch.setattr(proposals, "load_photos", lambda data, sources: photos)
    monkeypatch.setattr(proposals, "is_validation", lambda name: name == "0")
    monkeypatch.setattr(views, "SHAPES", ((64, 64),))
    backbone = S2CNet(CONFIG).backbone.state_dict()
    monkeypatch.setattr(proposals, "imagenet_backbone", lambda path, padding: backbone)
    recipe = proposals.ProposalRecipe(epochs=12, batch_size=4, average=0.5, first_trained_layer=7)
    config = S2CNetConfig(**{**vars(CONFIG), "short_side": 64})
    results = proposals.train(recipe, config, tmp_path, tmp_path / "run", resume=False, report=lambda line: None)
    assert results["recall"].keys() == {"face", "lettering"}  # there is nothing else in these photos
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert len(log) == 12 and log[-1]["heat"] < 0.75 * log[0]["heat"]
    trained = load_model(weights=tmp_path / "run/weights.safetensors").state_dict()
    for key, value in backbone.items():
        frozen = int(key.split(".")[1]) < 7
        assert torch.allclose(trained[f"backbone.{key}"], value, atol=1e-3) or not frozen
    assert any(not torch.allclose(trained[f"backbone.{k}"], v, atol=1e-3) for k, v in backbone.items())
    assert json.loads((tmp_path / "run/results.json").read_text())["training_photos"] == 4


def made_up_task(count):
    """Photos and ratings where the best crop is the one proposal, widened: learnable from geometry."""
    rng = np.random.default_rng(2)
    samples, ratings = [], []
    for i in range(count):
        corner = rng.uniform(0.05, 0.4, 2)
        best = np.concatenate([corner, corner + 0.5]).astype(np.float32)
        start = rng.uniform(0, 0.4, (20, 2))
        boxes = np.concatenate([start, start + rng.uniform(0.35, 0.6, (20, 2))], axis=1).clip(0, 1).astype(np.float32)
        worth = iou(boxes, best)
        pairs = boxes.reshape(10, 2, 4)
        first = worth.reshape(10, 2)[:, 0] > worth.reshape(10, 2)[:, 1]
        votes = np.where(first[:, None], [5, 0], [0, 5]).astype(np.float32)
        proposals_input = torch.from_numpy(np.concatenate([best[None], boxes[:3]]) * np.float32([96, 64, 96, 64]))
        attributes = torch.tensor([[1.0, 0, 0, 0.9], [1, 0, 0, 0.2], [1, 0, 0, 0.1], [1, 0, 0, 0.1]])
        maps = tuple(torch.zeros(c, 64 // s, 96 // s, dtype=torch.float16) for c, s in ((32, 8), (96, 16), (320, 32)))
        samples.append(Sample((64, 96), maps, proposals_input, attributes, CropLabels((96, 64), best, pairs, votes)))
        ratings.append(
            Ratings(
                str(i),
                (96, 64),
                np.concatenate([best[None], best[None], best[None], best[None]]),
                boxes,
                (1 + 4 * worth).astype(np.float32),
            )
        )
    return samples, ratings


def fit(folder, epochs, resume=False):
    samples, ratings = made_up_task(40)
    torch.manual_seed(0)
    recipe = graph.GraphRecipe(
        epochs=epochs, candidates=32, rate=3e-3, average=0.9, node_dropout=0.0, jitter=0.0, rating_rounds=1
    )
    model = S2CNet(CONFIG)
    run = Run(folder, 0, report=lambda line: None)
    results = graph.fit(
        model, recipe, run, [(s, s) for s in samples[8:]], ratings[8:], samples[:8], ratings[:8], resume
    )
    return model, results


@pytest.mark.slow
def test_graph_training_learns_votes_best_crops_and_ratings(tmp_path):
    torch.manual_seed(0)
    samples, ratings = made_up_task(8)
    before = graph.measure(S2CNet(CONFIG).eval(), samples, ratings)
    _, after = fit(tmp_path, 8)
    assert after["pairs"] > max(0.75, before["pairs"] + 0.1)
    assert after["srcc_boxes"] > max(0.6, before["srcc_boxes"] + 0.2)
    assert load_model(weights=tmp_path / "weights.safetensors").config == CONFIG


def test_share_of_points_held_by_hand():
    points = np.array([[1.0, 1], [3, 3], [9, 9], [2, 8]])
    assert held_share(np.array([[0.0, 0, 4, 4], [0, 0, 10, 10], [5, 5, 6, 6]]), points).tolist() == [0.5, 1, 0]


@pytest.mark.slow
def test_graph_training_learns_where_people_look(tmp_path):
    """People look at the first proposal; narrow crops come to hold it."""
    samples, ratings = made_up_task(40)
    rng = np.random.default_rng(0)
    for sample in samples[:32]:
        sample.labels = None
        middle = (sample.proposals[0, :2] + sample.proposals[0, 2:]).numpy() / 2 / [96, 64]
        sample.fixations = (middle + rng.normal(0, 0.04, (30, 2))).astype(np.float32)
    torch.manual_seed(0)
    recipe = graph.GraphRecipe(
        epochs=8, candidates=32, rate=3e-3, average=0.9, node_dropout=0.0, jitter=0.0, held_weight=2.0, rating_rounds=1
    )
    model, run = S2CNet(CONFIG), Run(tmp_path, 0, report=lambda line: None)
    before = graph.measure(model.eval(), [*samples[:8], *samples[32:]], ratings[:2])["held_share"]
    after = graph.fit(
        model,
        recipe,
        run,
        [(s, s) for s in samples[8:]],
        ratings[8:],
        [*samples[:8], *samples[32:]],
        ratings[:2],
        False,
    )["held_share"]
    assert after > max(0.9, before)


def test_graph_training_learns_to_hold_lines_of_text():
    """Nobody looks anywhere; the better of two crops is the one that holds the line whole."""
    samples, _ = made_up_task(1)
    sample = samples[0]
    sample.labels, sample.fixations, sample.lines = (
        None,
        np.zeros((0, 2), np.float32),
        np.float32([[0.1, 0.1, 0.3, 0.2]]),
    )

    class Marker:  # scores a crop by how whole it holds the line
        def multi_scale(self, maps):
            return None

        def score(self, reduced, crops, proposals, size, attributes):
            line = torch.tensor([0.1 * 96, 0.1 * 64, 0.3 * 96, 0.2 * 64])
            whole = (crops[..., :2] <= line[:2]).all(-1) & (crops[..., 2:] >= line[2:]).all(-1)
            return self.sign * whole.float()

    good, bad = Marker(), Marker()
    good.sign, bad.sign = 1.0, -1.0
    sample.fixations = np.float32([[0.5, 0.5]] * 4)
    recipe = graph.GraphRecipe()
    losses = [
        graph.fixations_step(m, [sample], recipe, torch.tensor(0.2), np.random.default_rng(0)).item()
        for m in (good, bad)
    ]
    assert losses[0] < losses[1]


@pytest.mark.slow
def test_folds_are_trained_and_measured_each_on_its_own_photos(tmp_path):
    write_tiny_data(tmp_path / "data")
    torch.manual_seed(0)
    (tmp_path / "runs/proposals").mkdir(parents=True)
    config = S2CNetConfig(short_side=64, proposal_head=True)
    save_weights(S2CNet(config), tmp_path / "runs/proposals/weights.safetensors")
    changes = [
        f"network.{k}={v}"
        for k, v in (("align_size", 3), ("node_dim", 16), ("relation_dim", 8), ("mlp_dim", 16), ("heads", 2))
    ]
    changes += [
        "training.epochs=1",
        "training.candidates=16",
        "training.rating_rounds=1",
    ]
    lines = []
    results = run_recipe(
        "s2cnet", tmp_path / "data", tmp_path / "runs", changes=changes, device="cpu", folds=2, report=lines.append
    )
    assert [row["pictures"] for row in results["folds"]] == [3, 3]
    assert results["mean"]["iou"] == pytest.approx(np.mean([row["iou"] for row in results["folds"]]))
    kept = json.loads((tmp_path / "runs/s2cnet-folds/results.json").read_text())
    assert kept["pictures"] == 6 and kept["mean"] == results["mean"]
    assert all((tmp_path / f"runs/s2cnet-fold{k}/weights.safetensors").is_file() for k in (0, 1))
    log = json.loads((tmp_path / "runs/s2cnet-fold0/log.jsonl").read_text())
    assert {"vote", "best", "held", "rating", "pairs"} <= log.keys()
    with pytest.raises(InputError, match="not cross-validated"):
        run_recipe("proposals", tmp_path / "data", tmp_path / "runs", folds=2)
    with pytest.raises(InputError, match="no --sanity"):
        run_recipe("proposals", tmp_path / "data", tmp_path / "runs", sanity=True)
    heart = run_recipe(
        "s2cnet", tmp_path / "data", tmp_path / "runs", changes=changes, device="cpu", sanity=True, report=lines.append
    )
    assert heart["pairs"] == 1.0  # all ten photos have the same votes


def test_a_training_that_is_measured_now_and_then_is_resumed_in_between(tmp_path):
    layer = torch.nn.Linear(2, 1)

    def fit(epochs, resume):
        recipe = graph.GraphRecipe(epochs=epochs, average=0.5)
        return run_module.fit(
            Run(tmp_path, 0, report=lambda line: None),
            layer,
            recipe,
            [{"params": list(layer.parameters()), "lr": 0.01}],
            batches=lambda rng: (2, iter([torch.ones(3, 2)] * 2)),
            losses=lambda batch: {"square": layer(batch).square().mean()},
            finished=lambda state: S2CNet(CONFIG),
            measure=lambda net: {"figure": 0.5},
            warmup=1,
            resume=resume,
            measure_every=3,
            photos=7,
        )

    assert fit(3, resume=False) == {"figure": 0.5}
    fit(8, resume=True)  # its fourth and fifth epochs are not measured
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept == {"figure": 0.5, "photos": 7}
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == list(range(8)) and log[7]["square"] < log[0]["square"]


@pytest.mark.slow
def test_resumed_training_equals_one_that_was_not_stopped(tmp_path, monkeypatch):
    straight, _ = fit(tmp_path / "a", 2)
    monkeypatch.setattr(
        run_module,
        "cosine",
        lambda step, steps, warmup: plain_cosine(step, 2 * steps if steps == FIRST else steps, warmup),
    )
    fit(tmp_path / "b", 1)  # stopped after one of two epochs
    monkeypatch.undo()
    resumed, _ = fit(tmp_path / "b", 2, resume=True)
    for key, value in straight.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[key], value, msg=key)


plain_cosine = run_module.cosine
SMALL_PAPER = (  # a network that learns in seconds
    "network.short_side=64",
    "network.align_size=5",
    "network.num_proposals=3",
    "network.node_dim=32",
    "network.mlp_dim=64",
)
FIRST = 8  # steps of one epoch: 32 photos and 32 ratings in batches of 8


@pytest.mark.slow
def test_the_papers_training_learns_a_right_ranking(tmp_path):
    made_up_gaicd(tmp_path / "data", 24)
    changes = [
        *SMALL_PAPER,
        "training.epochs=4",
        "training.crops=24",
        "training.rate=1e-3",
    ]
    lines = []
    results = run_recipe(
        "s2cnet-gaic",
        tmp_path / "data",
        tmp_path / "runs",
        resume=False,
        changes=changes,
        device="cpu",
        report=lines.append,
    )
    assert results["srcc"] > 0.6 and len(lines) == 4
    net = load_model(weights=tmp_path / "runs/s2cnet-gaic/weights.safetensors")
    assert (net.config.num_proposals, net.config.node_dim, net.config.head) == (3, 32, "crop")
    longer = [*changes[:-3], "training.epochs=5", *changes[-2:]]
    again = run_recipe(
        "s2cnet-gaic",
        tmp_path / "data",
        tmp_path / "runs",
        resume=True,
        changes=longer,
        device="cpu",
        report=lines.append,
    )
    assert len(lines) == 5 and again["srcc"] >= results["srcc"]


@pytest.mark.slow
def test_sanity_overfits_ten_pictures(tmp_path):
    made_up_gaicd(tmp_path / "data", 12)
    changes = [
        *SMALL_PAPER,
        "training.crops=24",
        "training.rate=5e-4",
    ]
    results = run_recipe(
        "s2cnet-gaic",
        tmp_path / "data",
        tmp_path / "runs",
        changes=changes,
        device="cpu",
        sanity=True,
        report=lambda line: None,
    )
    assert results["srcc"] > 0.85
    assert (tmp_path / "runs/s2cnet-gaic-sanity/weights.safetensors").is_file() and not (
        tmp_path / "runs/s2cnet-gaic"
    ).exists()


def test_words_side_by_side_become_lines():
    words = np.float32(
        [
            [0.1, 0.1, 0.2, 0.15],
            [0.21, 0.1, 0.3, 0.15],
            [0.31, 0.11, 0.4, 0.16],  # a line of three
            [0.1, 0.2, 0.2, 0.25],  # below it
            [0.8, 0.1, 0.9, 0.15],  # far to the right
            [0.41, 0.05, 0.6, 0.25],
        ]
    )  # a heading of four times the height
    lines = join_words(words, 1.0)
    expected = np.float32(
        [[0.1, 0.1, 0.4, 0.16], [0.1, 0.2, 0.2, 0.25], [0.8, 0.1, 0.9, 0.15], [0.41, 0.05, 0.6, 0.25]]
    )
    np.testing.assert_allclose(lines[np.lexsort(lines.T)], expected[np.lexsort(expected.T)], atol=1e-6)
    assert join_words(np.zeros((0, 4), np.float32), 1.5).shape == (0, 4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lettering_is_where_its_boxes_say(layout):
    for seed in range(6):
        plain = np.full((200, 300, 3), 128, np.uint8)
        out, lines, covered = letter(plain, np.random.default_rng(seed), layout=layout)
        again = letter(plain, np.random.default_rng(seed), layout=layout)
        assert (out == again[0]).all() and (lines == again[1]).all()
        assert (
            len(lines)
            and (lines[:, :2] < lines[:, 2:]).all()
            and (lines >= 0).all()
            and (lines <= [300, 200, 300, 200]).all()
        )
        changed = (out != plain).any(axis=2)
        for x1, y1, x2, y2 in lines.round().astype(int):
            assert changed[y1:y2, x1:x2].mean() > 0.1
        hull = np.concatenate([lines[:, :2].min(axis=0), lines[:, 2:].max(axis=0)])
        if covered.any():
            hull = np.concatenate([np.minimum(hull[:2], covered[:2]), np.maximum(hull[2:], covered[2:])])
        if (
            layout in ("subtitle", "lyrics", "title") and not covered.any()
        ):  # nothing but letters, outlines, shadows, a veil
            far = np.ones((200, 300), bool)
            x1, y1, x2, y2 = (hull + [-24, -24, 24, 24]).round().astype(int).clip(0)
            far[y1:y2, x1:x2] = False
            assert not changed[far].any()


def test_changes_of_a_recipe_are_typed_and_checked(tmp_path):
    recipe = read_recipe("s2cnet-gaic", ["network.gate=false", "network.spatial_edges=disdrop", "training.rate=2e-4"])
    assert recipe["network"]["gate"] is False and recipe["network"]["spatial_edges"] == "disdrop"
    assert recipe["training"]["rate"] == 2e-4
    for change in ("gate=false", "network.gate", "other.gate=1"):
        with pytest.raises(InputError, match="not a change"):
            read_recipe("s2cnet-gaic", [change])
    with pytest.raises(InputError, match="spatial_edges is one of"):
        run_recipe("s2cnet-gaic", tmp_path, tmp_path, resume=False, changes=["network.spatial_edges=nonesuch"])


@pytest.mark.parametrize(
    ("change", "noun"),
    [("seed=x", "a whole number"), ("seed=1.5", "a whole number"), ("epochs=true", "a whole number"),
     ("rate=fast", "a number"), ("start=3", "text"), ("rankings=a.json", "a list")],
)  # fmt: skip
def test_what_a_recipe_says_has_the_type_that_it_has_there(tmp_path, change, noun):
    name, _, value = change.partition("=")
    with pytest.raises(InputError, match=f"recipe appeal: {name} is {noun}, not (?i:'?{value}'?)$"):
        run_recipe("appeal", tmp_path, tmp_path, changes=[f"training.{change}"])


def test_a_part_that_the_network_lacks_is_named(tmp_path, monkeypatch):
    write_tiny_data(tmp_path / "data")
    (tmp_path / "runs/bare").mkdir(parents=True)
    bare = S2CNetConfig(**{**vars(CONFIG), "short_side": 64, "proposal_head": False})
    save_weights(S2CNet(bare), tmp_path / "runs/bare/weights.safetensors")

    def train(name, *changes):
        run_recipe(name, tmp_path / "data", tmp_path / "runs", changes=changes, device="cpu", report=lambda line: None)

    for name, change in (("s2cnet", "training.start=bare"), ("asmnet", "training.teacher=bare")):
        with pytest.raises(InputError, match="network that finds proposals"):
            train(name, change)
    with pytest.raises(InputError, match="network with a subject head"):
        train("choice", "training.subjects=bare")
    monkeypatch.setattr(proposals, "imagenet_backbone", lambda path, padding: S2CNet(CONFIG).backbone.state_dict())
    with pytest.raises(InputError, match="network that finds proposals"):
        train("proposals", "network.proposal_head=false", "training.sources=['fcdb']")


def test_recipes_are_read_and_bad_ones_are_refused(tmp_path):
    ours = {"proposals", "s2cnet", "sfrc", "asmnet", "s2cnet-gaic", "subjects", "text", "animals", "appeal", "choice"}
    assert ours <= set(recipe_names())
    for name in recipe_names():
        assert read_recipe(name)["kind"] in RECIPE_KINDS
    with pytest.raises(InputError, match="no recipe"):
        read_recipe("nonesuch")
    (tmp_path / "bad.toml").write_text("kind = ")
    with pytest.raises(InputError, match=r"bad\.toml"):
        read_recipe(str(tmp_path / "bad.toml"))
    (tmp_path / "odd.toml").write_text('kind = "graph"\n[training]\nnonesuch = 1\n')
    with pytest.raises(InputError, match="nonesuch"):
        run_recipe(str(tmp_path / "odd.toml"), tmp_path, tmp_path, resume=False)
    with pytest.raises(InputError, match="not there"):
        run_recipe("proposals", tmp_path / "none", tmp_path, resume=False)
    (tmp_path / "sibling.toml").write_text('kind = "proposals"\nmodel = "asmnet"\n')
    with pytest.raises(InputError, match="the proposals of s2cnet"):
        run_recipe(str(tmp_path / "sibling.toml"), tmp_path, tmp_path, resume=False)
