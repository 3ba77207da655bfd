"""The appeal of crops: how it is computed, where it counts, and its training."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from made_up_data import run_recipe, write_subject_data
from networks import CONFIG, make_weights
from pictures import picture
from s2crop import Cropper
from s2crop.cropping.features import ALL_NAMES, APPEAL
from s2crop.cropping.request import CropRequest
from s2crop.datasets.split import is_validation
from s2crop.errors import InputError
from s2crop.files.picture import Picture
from s2crop.geometry.ratio import parse_ratio
from s2crop.geometry.search import SearchConfig, candidates
from s2crop.models.appeal import AppealHead, AppealMap, between
from s2crop.models.s2cnet import S2CNet
from s2crop.models.weights import load_model, read_weights, save_weights
from s2crop.training import choice
from s2crop.training.appeal import heads_by_fold, keeping_loss
from s2crop.training.parts import looked
from s2crop.training.recipe import FOLDER
from s2crop.training.subjects import with_head

CROPS = torch.tensor([[[0.1, 0.2, 0.6, 0.9], [0.0, 0.0, 1.0, 1.0], [0.45, 0.05, 0.95, 0.4]]])


@pytest.fixture
def head():
    torch.manual_seed(0)
    return AppealHead().eval()


@pytest.fixture(scope="module")
def cropper(tmp_path_factory):
    """A small untrained network with an appeal head, on which the choice rests too."""
    path = make_weights(tmp_path_factory.mktemp("appealing"), appeal_head=True)
    net = load_model("s2cnet", path)
    net.choice.fixed[APPEAL] = net.choice.free[APPEAL] = 1.0
    save_weights(net, path, torch.float32)
    return Cropper(weights=path, device="cpu")


def made_up_map(pictures=1, height=8, width=12):
    generator = torch.Generator().manual_seed(1)
    return AppealMap(
        torch.randn(pictures, AppealHead.CHANNELS, height, width, generator=generator),
        torch.randn(pictures, AppealHead.HIDDEN, generator=generator),
    )


def bilinear(grid, x, y):
    """The map [C, H, W] at a place in fractions of the picture, and a 1; all 0 outside of it."""
    channels, height, width = grid.shape
    if not (0 <= x <= 1 and 0 <= y <= 1):
        return torch.zeros(channels + 1)
    column, row = min(max(x * width - 0.5, 0), width - 1), min(max(y * height - 0.5, 0), height - 1)
    left, top = min(int(column), width - 2), min(int(row), height - 2)
    right, down = column - left, row - top
    value = (1 - down) * ((1 - right) * grid[:, top, left] + right * grid[:, top, left + 1])
    value = value + down * ((1 - right) * grid[:, top + 1, left] + right * grid[:, top + 1, left + 1])
    return torch.cat([value, torch.ones(1)])


@torch.no_grad()
def test_the_appeal_of_crops_equals_the_loop(head):
    of = made_up_map()
    side = len(head.POINTS)
    for crop, value in zip(CROPS[0].tolist(), head.rate(of, CROPS)[0], strict=True):
        x1, y1, x2, y2 = crop
        seen = torch.zeros(side, side, head.CHANNELS + 1)
        for row, v in enumerate(head.POINTS):
            for column, u in enumerate(head.POINTS):
                seen[row, column] = bilinear(of.grid[0], x1 + u * (x2 - x1), y1 + v * (y2 - y1))
        x, y, width, height = (x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5, x2 - x1, y2 - y1
        lies = head.place(torch.tensor([x, y, abs(x), abs(y), width, height, max(width, height)]))
        hidden = head.hidden((head.pixels(seen.flatten()) + lies + of.whole[0]).relu()).relu()
        torch.testing.assert_close(value, head.head(hidden)[0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_company_changes_no_appeal(head):
    of = made_up_map(pictures=2)
    crops = torch.cat([CROPS, CROPS.flip(1)])
    together = head.rate(of, crops)
    assert together.shape == (2, 3) and head.rate(of, crops[:, :0]).shape == (2, 0)
    for row in range(2):
        own = AppealMap(of.grid[row : row + 1], of.whole[row : row + 1])
        for k in range(3):
            alone = head.rate(own, crops[row : row + 1, k : k + 1])
            torch.testing.assert_close(alone[0, 0], together[row, k], atol=1e-5, rtol=1e-5)


def test_places_of_an_axis_by_hand():
    first, weights = between(torch.tensor([-0.01, 0.0, 0.375, 0.5, 0.55, 1.0, 1.01]), 4)
    assert first.tolist() == [0, 0, 1, 1, 1, 2, 2]
    wanted = [[0, 0], [1, 0], [1, 0], [0.5, 0.5], [0.3, 0.7], [0, 1], [0, 0]]
    torch.testing.assert_close(weights, torch.tensor(wanted), atol=1e-6, rtol=0)


@torch.no_grad()
def test_what_lies_outside_of_the_picture_counts_as_zero(head):
    outside = torch.tensor([not 0 <= point <= 1 for point in head.POINTS])
    weights = head.pixels.weight.view(-1, len(outside), len(outside), head.CHANNELS + 1)
    weights *= (outside[:, None] | outside)[..., None]  # only what is seen beyond the crop
    of = made_up_map()
    other = of._replace(grid=of.grid + 1)
    whole, part = torch.tensor([[[0.0, 0, 1, 1]]]), CROPS[:, :1]
    assert torch.equal(head.rate(of, whole), head.rate(other, whole))
    assert not torch.allclose(head.rate(of, part), head.rate(other, part), atol=1e-3)


@torch.no_grad()
def test_a_mirrored_picture_has_an_appeal_of_its_own(head):
    of = made_up_map()
    mirrored = torch.stack([1 - CROPS[..., 2], CROPS[..., 1], 1 - CROPS[..., 0], CROPS[..., 3]], dim=-1)
    turned = head.rate(of._replace(grid=of.grid.flip(3)), mirrored)
    assert turned.shape == (1, 3) and not torch.isclose(turned, head.rate(of, CROPS), atol=1e-4).any()


@torch.no_grad()
def test_pictures_are_seen_once_for_proposals_subjects_and_appeal():
    torch.manual_seed(0)
    pixels = torch.randint(0, 255, (2, 3, 64, 96), dtype=torch.uint8)
    net = S2CNet(dataclasses.replace(CONFIG, appeal_head=True)).eval()
    maps = net.features(net.normalise(pixels)).maps
    seen = net.see(maps, (64, 96))
    assert seen.appeal.grid.shape == (2, AppealHead.CHANNELS, 8, 12)
    assert seen.appeal.whole.shape == (2, AppealHead.HIDDEN)
    net.appeal_head = None
    without = net.see(maps, (64, 96))
    assert without.appeal is None and torch.equal(without.subjects.subject, seen.subjects.subject)
    assert S2CNet(CONFIG).appeal_head is None
    assert S2CNet(dataclasses.replace(CONFIG, subject_head=False, appeal_head=True)).appeal_head is None


def test_siblings_share_the_head(cropper, tmp_path):
    save_weights(cropper.net, tmp_path / "s2cnet.safetensors", torch.float32, shared=True)
    config, state = read_weights(tmp_path / "s2cnet.safetensors")
    assert config.appeal_head and torch.equal(state["appeal_head.whole.bias"], cropper.net.appeal_head.whole.bias)
    own = (tmp_path / "s2cnet.safetensors").read_bytes()
    assert b"appeal_head.whole" not in own and b"appeal_head.whole" in (tmp_path / "shared.safetensors").read_bytes()


@torch.no_grad()
def test_the_feature_is_what_the_head_gives_and_0_without_one(cropper, monkeypatch):
    array = picture(300, 200)
    boxes = np.array([[0.0, 0, 200, 200], [30, 20, 270, 180], [100, 50, 300, 200]])
    prepared = cropper.prepare(Picture.open(array))
    found = cropper.features_prepared(prepared, boxes)
    features, seen = cropper._look([prepared])
    crops = torch.from_numpy(boxes / [300, 200, 300, 200]).float()
    wanted = cropper.net.appeal_head.rate(seen.appeal, crops[None])[0]
    np.testing.assert_allclose(found[:, APPEAL], wanted.numpy(), atol=1e-3)  # sides of the input are rounded
    assert np.ptp(found[:, APPEAL]) > 1e-4
    assert cropper.features_prepared(prepared, boxes[:0]).shape == (0, len(ALL_NAMES))
    monkeypatch.setitem(cropper.net._modules, "appeal_head", None)
    without = cropper.features_prepared(prepared, boxes)
    assert not without[:, APPEAL].any()
    np.testing.assert_array_equal(np.delete(without, APPEAL, 1), np.delete(found, APPEAL, 1))


@pytest.mark.parametrize("protect", ["all", "none"])
def test_crops_lie_where_they_appeal(cropper, monkeypatch, protect):
    for side, sign in (("left", -9.0), ("right", 9.0)):
        monkeypatch.setattr(cropper.net.appeal_head, "rate", lambda of, crops, sign=sign: sign * crops[..., 0])
        (crop,) = cropper.crop(picture(640, 200), ["1:1"], protect=protect)
        middle = (crop.box[0] + crop.box[2]) / 2
        assert middle < 160 if side == "left" else middle > 480


def test_crops_of_a_batch_are_those_of_each_picture(cropper):
    request = CropRequest(ratios=(parse_ratio("16:9"), parse_ratio("free")))
    arrays = [picture(320, 200, 1), picture(200, 320, 2), picture(320, 200, 5), picture(90, 90, 4)]
    prepared = [cropper.prepare(Picture.open(array)) for array in arrays]
    for one, crops in zip(prepared, cropper.rank(prepared, request), strict=True):
        assert [crop.box for crop in cropper.rank([one], request)[0]] == [crop.box for crop in crops]


def test_what_costs_more_is_asked_of_fewer(cropper, monkeypatch):
    asked = {"appeals": [], "scores": []}
    for name, part in (("appeals", cropper.net.appeal_head), ("scores", cropper.net)):
        rate = part.rate
        monkeypatch.setattr(
            part,
            "rate",
            lambda of, crops, *more, n=name, rate=rate: asked[n].append(crops.shape[1]) or rate(of, crops, *more),
        )
    search, array = SearchConfig(), picture(640, 400)
    cropper.crop(array, ["1:1", "16:9"])
    assert asked["appeals"][0] == 2 * search.rated and asked["scores"][0] == 2 * search.scored
    assert asked["appeals"][1] <= 2 * 6 * search.refined and asked["scores"][1] == 2 * search.scored_near
    assert len(asked["appeals"]) == 2 and sum(asked["scores"][2:]) <= 2  # those of crops that nobody had asked for yet
    for told in asked.values():
        told.clear()
    cropper.crop(array, ["1:1"], protect="none")
    first = len(candidates(1.0, (640, 400)))
    assert asked["appeals"][0] == first > search.rated and asked["scores"][0] == search.scored
    for told in asked.values():
        told.clear()
    cropper.crop(array, ["free"])
    assert asked["appeals"] == asked["scores"] and asked["scores"][0] > 90
    monkeypatch.setitem(cropper.net._modules, "appeal_head", None)
    for told in asked.values():
        told.clear()
    cropper.crop(array, ["1:1"])
    # What they hold is all that is known of the others.
    assert not asked["appeals"] and asked["scores"][0] == search.rated


def test_more_crops_do_not_change_the_first(cropper):
    array = picture(640, 400, 3)
    for ratio in ("1:1", "9:16", "free"):
        one, several = (cropper.crop(array, [ratio], top=top) for top in (1, 6))
        assert several[0].box == one[0].box and several[0].worth == one[0].worth and len(several) > 1
        assert [crop.worth for crop in several] == sorted((crop.worth for crop in several), reverse=True)
        assert np.isfinite([crop.score for crop in several]).all()


# Training


def write_discs(data, of_training=24, held_out=8):
    """Photos of a bright disc on noise, with rankings and votes by how much of the disc a crop holds."""
    rng = np.random.default_rng(6)
    (data / "fcdb/photos").mkdir(parents=True)
    names = [name for name in map(str, range(200)) if not is_validation(name)][:of_training]
    names += [name for name in map(str, range(200)) if is_validation(name)][:held_out]
    rankings, labels = [], []
    for name in names:
        x, y = rng.uniform(20, 76), rng.uniform(20, 44)
        columns, rows = np.meshgrid(np.arange(96), np.arange(64))
        disc = np.hypot(columns - x, rows - y) < 14
        pixels = np.where(disc[..., None], 235, rng.integers(20, 90, (64, 96, 3)))
        Image.fromarray(pixels.astype(np.uint8)).save(data / f"fcdb/photos/{name}.webp", lossless=True)
        start = np.stack([rng.integers(0, 56, 10), rng.integers(0, 24, 10)], axis=1)
        boxes = np.concatenate([start, start + 40], axis=1)
        held = np.array([disc[y1:y2, x1:x2].sum() / disc.sum() for x1, y1, x2, y2 in boxes])
        kind = np.digitize(held, [0.3, 0.8])  # lost, cut, whole
        rank = [np.flatnonzero(kind == k).tolist() for k in (2, 1, 0)]
        crops = (boxes / [96, 64, 96, 64]).tolist()
        best, worst = int(held.argmax()), int(held.argmin())
        pair = {"a": crops[worst], "b": crops[best], "votes_a": 1, "votes_b": 4}
        rankings.append({"photo": name, "ratio": "1:1", "candidates": crops, "rank": rank, "bad": {str(worst): "S"}})
        labels.append({"id": name, "width": 96, "height": 64, "best": crops[best], "pairs": [pair]})
    (data / "editor_rankings.json").write_text(json.dumps(rankings))
    (data / "fcdb/labels_train.json").write_text(json.dumps(labels))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs with a start, and the data beside it."""
    folder = tmp_path_factory.mktemp("discs")
    write_discs(folder / "data")
    (folder / "runs").mkdir()
    make_weights(folder / "runs")
    (folder / "runs/start").mkdir()
    (folder / "runs/small.safetensors").rename(folder / "runs/start/weights.safetensors")
    return folder / "runs"


def train(runs, *changes, name="appeal", report=lambda line: None, **options):
    """The shipped recipe on the discs, or the copy of it that has another name."""
    recipe = name
    if name != "appeal":
        recipe = runs / f"{name}.toml"
        recipe.write_text((FOLDER / "appeal.toml").read_text())
    settings = {"start": "start", "batch_size": 8, "rate": 1e-3, "average": 0.9, "most_candidates": 16}
    changes = [*(f"training.{key}={value}" for key, value in settings.items()), *changes]
    common = {"device": "cpu", "changes": changes, "report": report}
    return run_recipe(str(recipe), runs.parent / "data", runs, **common, **options)


def head_of(runs, name):
    return load_model("s2cnet", runs / name / "weights.safetensors").appeal_head.state_dict()


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_rankings_are_learned_and_the_rest_of_the_network_stays(runs):
    results = train(runs, "training.epochs=16")
    assert results["pairs"] > 0.7 and results["votes"] > 0.65  # 0.5 by chance; .84 to .94 were seen of three networks
    told = json.loads((runs / "appeal/results.json").read_text())
    assert told == {**results, "training_photos": 24, "validation_photos": 8}
    start, trained = (load_model("s2cnet", runs / name / "weights.safetensors") for name in ("start", "appeal"))
    assert trained.config == dataclasses.replace(start.config, appeal_head=True)
    for key, value in start.state_dict().items():
        if not key.startswith("choice."):
            torch.testing.assert_close(trained.state_dict()[key], value, atol=1e-3, rtol=1e-3, msg=key)


@pytest.mark.slow
def test_resumed_training_equals_one_that_was_not_stopped(runs):
    def stop(line):
        if "epoch 0" in line:
            raise KeyboardInterrupt

    straight = train(runs, "training.epochs=2", name="straight")
    with pytest.raises(KeyboardInterrupt):
        train(runs, "training.epochs=2", name="stopped", report=stop)
    lines = []
    assert train(runs, "training.epochs=2", name="stopped", report=lines.append, resume=True) == straight
    assert "epoch 1" in lines[-1] and not any("epoch 0" in line for line in lines)
    assert same(head_of(runs, "stopped"), head_of(runs, "straight"))
    with pytest.raises(InputError, match="another recipe"):
        train(runs, "training.epochs=2", "training.best_weight=1", name="stopped", resume=True)


def test_what_is_held_out_teaches_nothing(runs):
    path = runs.parent / "data/editor_rankings.json"
    before = path.read_text()
    first = train(runs, "training.epochs=1", name="first")
    rankings = json.loads(before)
    for ranking in rankings:
        if is_validation(ranking["photo"]):
            ranking["rank"].reverse()
    path.write_text(json.dumps(rankings))
    try:
        second = train(runs, "training.epochs=1", name="second")
        assert second["pairs"] == pytest.approx(1 - first["pairs"]) and same(
            head_of(runs, "first"), head_of(runs, "second")
        )
        train(runs, "training.epochs=1", "training.held_out=[1]", name="third")
        assert not same(head_of(runs, "first"), head_of(runs, "third"))
    finally:
        path.write_text(before)


def test_a_network_that_finds_no_subjects_is_an_input_error(runs):
    (runs / "bare").mkdir()
    bare = runs / "bare/weights.safetensors"
    save_weights(S2CNet(dataclasses.replace(CONFIG, subject_head=False)), bare)
    with pytest.raises(InputError, match="subject head"):
        train(runs, "training.start=bare", name="on-bare")
    (runs / "whole").mkdir()
    whole = runs / "whole/weights.safetensors"
    save_weights(S2CNet(dataclasses.replace(CONFIG, appeal_head=True)), whole)
    with pytest.raises(InputError, match="subject head"):
        with_head("appeal_head", "s2cnet", bare, whole, runs)
    with pytest.raises(InputError, match="appeal head"):
        with_head("appeal_head", "s2cnet", whole, runs / "start/weights.safetensors", runs)
    with pytest.raises(InputError, match="no --sanity"):
        train(runs, sanity=True)


def test_the_choice_is_fitted_to_appeals_of_photos_that_were_held_out(tmp_path, monkeypatch):
    write_subject_data(tmp_path / "data")
    runs = tmp_path / "runs"
    net = S2CNet(dataclasses.replace(CONFIG, appeal_head=True))
    torch.nn.init.zeros_(net.appeal_head.head.weight)
    for name, folds, appeal in (("appeal", [], 3.0), ("appeal-0", [0], 1.0), ("appeal-1", [1, 2], 2.0)):
        (runs / name).mkdir(parents=True)
        torch.nn.init.constant_(net.appeal_head.head.bias, appeal)
        save_weights(net, runs / name / "weights.safetensors")
        (runs / name / "recipe.json").write_text(json.dumps({"training": {"held_out": folds}}))
    gather, gathered = choice.gather, []

    def watched(*given):
        gathered.extend(gather(*given))
        return gathered

    monkeypatch.setattr(choice, "gather", watched)
    changes = [
        "start=appeal",
        'subjects=""',
        'text=""',
        'animals=""',
        'appeal_folds=["appeal-0", "appeal-1"]',
        "lettered_photos=2",
    ]
    changes = [f"training.{change}" for change in changes]
    run_recipe("choice", tmp_path / "data", runs, changes=changes, device="cpu", report=lambda line: None)
    told = {1.0: 0, 2.0: 0, 3.0: 0}
    for example in gathered:
        (features, _), *_ = example.rankings
        in_fold = [is_validation(example.id, fold) for fold in range(3)]
        wanted = 1.0 if in_fold[0] else 2.0 if in_fold[1] or in_fold[2] else 3.0
        assert (features[:, APPEAL] == wanted).all() and (example.free.features[:, APPEAL] == wanted).all()
        told[wanted] += 1
    assert all(told.values())
    chosen = load_model("s2cnet", runs / "choice/weights.safetensors")
    assert chosen.appeal_head.head.bias.item() == 3.0  # the network keeps its own head


@pytest.mark.slow
def test_a_teacher_is_followed_with_another_subject_head(runs):
    torch.manual_seed(3)
    for name in ("teacher", "moved"):  # the same backbone, each with a subject head of its own
        net = load_model("s2cnet", runs / "start/weights.safetensors")
        whole = S2CNet(dataclasses.replace(net.config, appeal_head=True))
        kept = {key: value for key, value in net.state_dict().items() if not key.startswith("subject_head.")}
        whole.load_state_dict(kept, strict=False)
        whole.appeal_head.head.weight.data *= 30  # that crops differ by much
        (runs / name).mkdir()
        save_weights(whole, runs / name / "weights.safetensors")
    alone = [f"training.{part}_weight=0" for part in ("ranking", "vote", "best")]
    taught = ["training.start=moved", "training.teacher=teacher", "training.epochs=10", *alone]
    train(runs, *taught, name="taught")
    log = [json.loads(line) for line in (runs / "taught/log.jsonl").read_text().splitlines()]
    assert log[-1]["followed"] < 0.5 * log[0]["followed"]
    assert not same(head_of(runs, "taught"), head_of(runs, "teacher"))


@pytest.mark.slow
def test_what_the_appeal_reads_can_learn_too_and_tells_what_it_told(runs):
    start = load_model("s2cnet", runs / "start/weights.safetensors")
    torch.manual_seed(5)
    seen = looked(start, torch.randint(0, 255, (4, 3, 64, 96), dtype=torch.uint8))
    wanted, apart = start.subject_head(*seen), {}
    for name, weight, deep_rate in (("free", 0, 1e-3), ("held", 30, 1e-3), ("shallow", 30, 0)):
        rates = ["training.epochs=4", "training.sight_rate=3e-3", f"training.deep_rate={deep_rate}"]
        train(runs, *rates, f"training.kept_weight={weight}", name=name)
        trained = load_model("s2cnet", runs / name / "weights.safetensors")
        moved = [key for key, value in trained.state_dict().items() if differs(start, key, value)]
        assert moved and all(key.startswith("subject_head.") for key in moved)
        assert any(key.startswith("subject_head.layers.") for key in moved) == bool(deep_rate)
        apart[name] = keeping_loss(trained.subject_head(*seen), wanted) - keeping_loss(wanted, wanted)
    assert 0 < apart["held"] < 0.7 * apart["free"]  # a thirtieth was seen


def differs(net, key, value):
    before = net.state_dict().get(key)
    return before is not None and not key.startswith("choice.") and not torch.allclose(before, value, 1e-3, 1e-3)


def test_what_a_subject_head_tells_is_kept_where_it_is_least_apart():
    torch.manual_seed(2)
    subject, looks, main = torch.randn(2, 16, 24), torch.randn(2, 8, 12), torch.randn(2, 2, 8, 12)
    heat, sides = torch.full((2, 2, 8, 12), -4.0), torch.rand(2, 2, 4, 8, 12) * 20 + 5
    heat[:, :, 3, 4] = 2.0  # a head and a person
    before = [subject, looks, main, heat, sides]
    least = keeping_loss(before, before)
    for number in range(len(before)):
        for change in (-0.5, 0.5):
            found = list(before)
            found[number] = before[number] + change * torch.randn_like(before[number])
            assert keeping_loss(found, before) > least + 1e-4, number
    unsure = [*before[:3], heat - 4, sides]  # of what was no figure, the sides are nobody's
    assert keeping_loss([*unsure[:4], sides + 3], unsure) == keeping_loss(unsure, unsure)


@pytest.mark.slow
def test_resumed_training_of_both_heads_equals_one_that_was_not_stopped(runs):
    def stop(line):
        if "epoch 0" in line:
            raise KeyboardInterrupt

    (runs / "known").mkdir()
    net = load_model("s2cnet", runs / "start/weights.safetensors")
    whole = S2CNet(dataclasses.replace(net.config, appeal_head=True))
    whole.load_state_dict(net.state_dict(), strict=False)
    save_weights(whole, runs / "known/weights.safetensors")
    both = ["training.epochs=2", "training.teacher=known", "training.sight_rate=1e-3", "training.deep_rate=1e-3"]
    straight = train(runs, *both, name="both")
    with pytest.raises(KeyboardInterrupt):
        train(runs, *both, name="both-stopped", report=stop)
    assert train(runs, *both, name="both-stopped", resume=True) == straight
    one, other = (load_model("s2cnet", runs / name / "weights.safetensors") for name in ("both", "both-stopped"))
    assert same(one.state_dict(), other.state_dict())


def test_what_does_not_learn_has_no_rate_and_gives_no_head_to_a_fold(runs):
    with pytest.raises(InputError, match="sight_rate is 0"):
        train(runs, "training.deep_rate=1e-3", name="rated")
    (runs / "learned").mkdir()
    net = S2CNet(dataclasses.replace(CONFIG, appeal_head=True))
    save_weights(net, runs / "learned/weights.safetensors")
    (runs / "learned/recipe.json").write_text(json.dumps({"training": {"held_out": [1], "sight_rate": 1e-3}}))
    with pytest.raises(InputError, match="learned: its appeal head reads a subject head that learned with it"):
        heads_by_fold([runs / "learned"], "cpu")
