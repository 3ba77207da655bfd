"""The subject head, and the training of what an editor chooses."""

import json

import numpy as np
import pytest
import torch

from made_up_data import run_recipe, write_subject_data
from networks import CONFIG
from s2crop.cropping.features import ALL_NAMES
from s2crop.datasets.rankings import Ranking, read_rankings
from s2crop.datasets.subjects import Main
from s2crop.errors import InputError
from s2crop.evaluation.editor import judged, ordered
from s2crop.models.s2cnet import S2CNet
from s2crop.models.weights import load_model, read_weights, save_weights
from s2crop.training import subjects, utility


@pytest.fixture
def network():
    torch.manual_seed(0)
    return S2CNet(CONFIG).eval()


def test_subjects_have_the_shapes_they_are_said_to_have(network):
    pixels = torch.randint(0, 255, (2, 3, 64, 96), dtype=torch.uint8)
    proposals, seen, *others = network.see(network.features(network.normalise(pixels)).maps, (64, 96))
    assert seen.subject.shape == (2, 16, 24) and seen.looks.shape == (2, 8, 12)
    assert ((seen.subject >= 0) & (seen.subject <= 1)).all()
    torch.testing.assert_close(seen.looks.sum((1, 2)), torch.ones(2))
    assert seen.main.shape == (2, 2, 8, 12) and ((seen.main >= 0) & (seen.main <= 1)).all()
    assert seen.boxes.shape[:2] == seen.scores.shape == seen.kinds.shape
    inside = seen.boxes[seen.scores > 0]
    assert (inside[:, :2] >= 0).all() and (inside[:, 2] <= 96).all() and (inside[:, 3] <= 64).all()
    assert (seen.scores.diff(dim=1) <= 0).all() and proposals.boxes.shape[0] == 2 and others == [None] * 3


def test_subjects_of_a_batch_are_those_of_each_picture(network):
    pixels = torch.randint(0, 255, (3, 3, 64, 64), dtype=torch.uint8)
    together = network.see(network.features(network.normalise(pixels)).maps, (64, 64)).subjects
    for i in range(3):
        alone = network.see(network.features(network.normalise(pixels[i : i + 1])).maps, (64, 64)).subjects
        torch.testing.assert_close(alone.subject[0], together.subject[i], atol=1e-4, rtol=1e-4)


def test_what_siblings_share_lies_beside_their_weights(network, tmp_path):
    save_weights(network, tmp_path / "s2cnet.safetensors", shared=True)
    first = (tmp_path / "shared.safetensors").read_bytes()
    config, state = read_weights(tmp_path / "s2cnet.safetensors")
    assert config == CONFIG and state.keys() == network.state_dict().keys()
    save_weights(network, tmp_path / "s2cnet.safetensors", shared=True)
    assert (tmp_path / "shared.safetensors").read_bytes() == first  # the same each time, or siblings would not fit
    (tmp_path / "shared.safetensors").write_bytes(first[:-4] + b"\0\0\0\1")
    with pytest.raises(Exception, match="not the file"):
        load_model("s2cnet", tmp_path / "s2cnet.safetensors")
    (tmp_path / "shared.safetensors").unlink()
    with pytest.raises(Exception, match="needs"):
        load_model("s2cnet", tmp_path / "s2cnet.safetensors")


def test_masks_and_figures_are_learned(network):
    """A bright square on a dark ground: its mask, and a person and a head where it lies."""
    rng = np.random.default_rng(0)
    head = network.subject_head.train()
    optimizer = torch.optim.Adam(head.parameters(), 1e-3)
    recipe = subjects.SubjectRecipe()
    losses = []
    for _ in range(80):
        pixels, mask = np.full((4, 3, 64, 64), 40, np.uint8), np.zeros((4, 16, 16), np.float32)
        rows = []
        for i in range(4):
            x, y = rng.integers(0, 8, 2)
            pixels[i, :, 4 * y : 4 * y + 32, 4 * x : 4 * x + 32] = 220
            mask[i, y : y + 8, x : x + 8] = 1
            box = np.float32([[x / 16, y / 16, x / 16 + 0.5, y / 16 + 0.5]])
            looks, known = subjects.look_shares(rng.uniform(box[0, :2], box[0, 2:], (40, 2)), (64, 64))
            targets = subjects.box_targets(np.repeat(box, 2, 0), np.array([0, 1]), np.ones(2), (True, True), (64, 64))
            main, main_known = subjects.main_maps(Main(box, np.ones(1), None), np.float32([0, 0, 1, 1]), (64, 64))
            rows.append((looks, known, main, main_known, *targets))
        targets = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
        with torch.no_grad():
            maps = network.backbone(network.normalise(torch.from_numpy(pixels)))
            trunk = network.proposal_head.trunk(maps)
        parts = head(maps, trunk)
        wanted = subjects.Targets(torch.from_numpy(mask), torch.ones(4), *targets)
        found = subjects.subject_losses(parts, wanted, recipe)
        optimizer.zero_grad()
        sum(found.values()).backward()
        optimizer.step()
        losses.append({name: value.item() for name, value in found.items()})
    for name, share in (("mask", 0.7), ("looks", 0.97), ("main", 0.7), ("heat", 0.8), ("box", 0.98)):
        last = np.mean([found[name] for found in losses[-10:]])
        assert last < share * losses[0][name], name


def test_looks_are_shares_of_one_and_unknown_where_there_are_few():
    shares, known = subjects.look_shares(np.full((30, 2), 0.5), (64, 96))
    assert shares.shape == (8, 12) and shares.sum() == pytest.approx(1) and known == 1
    assert np.unravel_index(shares.argmax(), shares.shape) == (4, 6)
    assert subjects.look_shares(np.full((5, 2), 0.5), (64, 96))[1] == 0 == subjects.look_shares(None, (64, 96))[1]


def test_main_things_cover_their_cells_as_far_as_they_matter():
    main = Main(
        np.float32([[0.25, 0, 0.5, 1], [0.5, 0, 0.75, 0.5]]), np.float32([1, 0.5]), np.float32([0.25, 0, 0.5, 0.5])
    )
    (whole, core), known = subjects.main_maps(main, np.float32([0, 0, 1, 1]), (32, 32))
    assert (
        whole.tolist() == [[0, 1, 0.5, 0]] * 2 + [[0, 1, 0, 0]] * 2
        and core.tolist() == [[0, 1, 0, 0]] * 2 + [[0] * 4] * 2
    )
    assert known.tolist() == [1, 1]
    (half, _), known = subjects.main_maps(main, np.float32([0.375, 0, 1, 1]), (32, 40))
    assert half[0] == pytest.approx([1, 0.5, 0.5, 0, 0], abs=1e-6) and known.tolist() == [1, 1]
    assert subjects.main_maps(main, np.float32([0.5, 0, 1, 1]), (32, 32))[1].tolist() == [0, 0]  # too little is shown
    whole = Main(main.boxes, main.weights, None)
    assert subjects.main_maps(whole, np.float32([0, 0, 1, 1]), (32, 32))[1].tolist() == [1, 0]
    maps, known = subjects.main_maps(Main(np.zeros((0, 4)), np.zeros(0), None), np.float32([0, 0, 1, 1]), (32, 32))
    assert not maps.any() and known.tolist() == [1, 1]  # nothing stands out
    maps, known = subjects.main_maps(None, np.float32([0, 0, 1, 1]), (32, 32))
    assert maps.shape == (2, 4, 4) and known.tolist() == [0, 0]


def test_fixation_measures_by_hand():
    looks = np.array([[0.0, 0.0], [0.0, 1.0]])
    auc, nss = subjects.fixation_measures(looks, np.array([[0.9, 0.9]]))
    assert auc == pytest.approx(3.5 / 4) and nss == pytest.approx(3**0.5)


def ranking(order, bad=()):
    return Ranking(
        "p", "1:1", np.array([[i / 10, 0, i / 10 + 0.5, 1] for i in range(len(order))]), order, frozenset(bad)
    )


def examples(weights, count=150):
    """Rankings of random crops by known weights."""
    rng = np.random.default_rng(1)
    made = []
    for i in range(count):
        x = rng.normal(size=(5, len(ALL_NAMES)))
        order = np.argsort(-(x @ weights + rng.gumbel(size=5) * 0.1))
        made.append(utility.Example(str(i), [(x, ranking(tuple((int(k),) for k in order)))]))
    return made


def test_weights_behind_rankings_are_found_and_keep_their_signs():
    true = np.zeros(len(ALL_NAMES))
    true[ALL_NAMES.index("score")], true[ALL_NAMES.index("lost")], true[ALL_NAMES.index("fill")] = 2, -1, 0.5
    true[ALL_NAMES.index("head_cut")] = 1  # an editor who likes cut heads is not believed
    recipe = utility.ChoiceRecipe(vote_weight=0, best_weight=0, lettered_weight=0, floors={"text_lost": 2.0})
    made = examples(true)
    found = utility.fit(made, recipe)
    assert found[ALL_NAMES.index("score")] > 0 > found[ALL_NAMES.index("lost")] and found[ALL_NAMES.index("fill")] > 0
    assert found[ALL_NAMES.index("head_cut")] <= 0 and found[ALL_NAMES.index("text_lost")] <= -2
    assert utility.ordered_right(made, found) > 0.65
    for name in utility.NEVER_BETTER:
        assert found[ALL_NAMES.index(name)] <= 0


def test_votes_and_best_crops_teach_too():
    rng = np.random.default_rng(2)
    made = []
    for i in range(80):
        x = rng.normal(size=(10, 2, len(ALL_NAMES)))
        score = x[:, :, 0]
        votes = np.where(score[:, :1] > score[:, 1:], [[4.0, 1]], [[1.0, 4]])
        features = rng.normal(size=(20, len(ALL_NAMES)))
        pool = utility.Pool(features, 1 / (1 + np.exp(-features[:, 0])))
        made.append(utility.Example(str(i), voted=utility.Voted(x, votes), best=pool, free=pool))
    recipe = utility.ChoiceRecipe(ranking_weight=0, floors={})
    fixed = utility.fit(made, recipe)
    assert fixed[0] > 0 and utility.votes_right(made, fixed) > 0.9
    free = utility.fit(made, recipe, of_any_ratio=True, near=fixed)
    assert free[0] > 0 and utility.votes_right(made, free) > 0.9


def test_weights_are_drawn_to_others_and_some_are_kept():
    true, near = np.zeros(len(ALL_NAMES)), np.zeros(len(ALL_NAMES))
    true[ALL_NAMES.index("fill")], near[ALL_NAMES.index("score")] = 1, 2
    common = {"vote_weight": 0, "best_weight": 0, "lettered_weight": 0, "floors": {}}
    made = examples(true)
    kept = utility.fit(made, utility.ChoiceRecipe(**common, kept=("score",)), near=near)
    assert kept[ALL_NAMES.index("score")] == pytest.approx(2, rel=1e-5) and kept[ALL_NAMES.index("fill")] > 0
    drawn = utility.fit(made, utility.ChoiceRecipe(**common, shrink=10.0), near=near)
    alone = utility.fit(made, utility.ChoiceRecipe(**common, kept=("score",)))  # of nobody's weights none is kept
    assert drawn[ALL_NAMES.index("score")] > 1 > alone[ALL_NAMES.index("score")] >= 0


def test_pairs_of_a_ranking_leave_ties_out():
    better, worse = ranking(((1,), (0, 2))).pairs()
    assert list(zip(better, worse, strict=True)) == [(1, 0), (1, 2)]
    assert ordered(ranking(((1,), (0, 2))), np.array([0.0, 1, 2])) == [1, 0]
    assert ordered(ranking(((1,), (0,))), np.zeros(2)) == [0.5]
    assert [len(part) for part in ranking(((0, 1),)).pairs()] == [0, 0]


def test_a_crop_is_judged_by_the_ranked_one_it_is_nearest_to():
    rows = ranking(((1,), (0,), (2,)), bad={2})
    assert judged(rows, np.array([0.1, 0, 0.6, 1])).tolist() == [1, 0, 1]
    best, bad, near = judged(rows, np.array([0.25, 0, 0.75, 1]))
    assert (best, bad) == (0, 1) and 0.7 < near < 1


def test_a_file_that_holds_no_rankings_is_an_input_error(tmp_path):
    for text in ("{", "[1]", '[{"photo": "a"}]', '{"a": 1}'):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(InputError, match=r"r\.json: not (JSON|a file of rankings)"):
            read_rankings(tmp_path / "r.json")


@pytest.mark.slow
def test_subjects_and_choice_are_trained_one_after_the_other(tmp_path, monkeypatch):
    data, runs = tmp_path / "data", tmp_path / "runs"
    write_subject_data(data)
    torch.manual_seed(0)
    (runs / "start").mkdir(parents=True)
    import dataclasses

    bare = S2CNet(dataclasses.replace(CONFIG, subject_head=False))
    save_weights(bare, runs / "start/weights.safetensors")
    common = {"data": data, "out": runs, "device": "cpu", "report": lambda line: None}
    changes = ["training.start=start", "training.epochs=1", "training.batch_size=4"]
    results = run_recipe("subjects", changes=changes, **common)
    assert {"mask_iou", "main_iou", "core_iou", "look_auc", "head_recall", "person_recall"} <= results.keys()
    again = run_recipe("subjects", changes=[*changes[:1], "training.epochs=2", changes[2]], resume=True, **common)
    assert again.keys() == results.keys()
    trained = load_model("s2cnet", runs / "subjects/weights.safetensors")
    for (name, old), new in zip(bare.backbone.named_parameters(), trained.backbone.parameters(), strict=True):
        torch.testing.assert_close(old, new, atol=1e-3, rtol=1e-3, msg=name)  # half precision apart, it stays
    changes = [
        "training.start=start",
        'training.appeal=""',
        'training.text=""',
        'training.animals=""',
        "training.lettered_photos=4",
    ]
    run_recipe("choice", changes=changes, **common)
    chosen = load_model("s2cnet", runs / "choice/weights.safetensors")
    assert chosen.choice.fixed.abs().sum() > 0 and chosen.choice.free.abs().sum() > 0
    (runs / "choice").rename(runs / "first")
    run_recipe("choice", changes=[*changes, "training.near=first", 'training.kept=["scale"]'], **common)
    again = load_model("s2cnet", runs / "choice/weights.safetensors").choice
    assert again.fixed[ALL_NAMES.index("scale")] == chosen.choice.fixed[ALL_NAMES.index("scale")]
    assert json.loads((runs / "choice/results.json").read_text())["weights"].keys() == set(ALL_NAMES)
