"""The trainings of SFRC and ASM-Net on tiny made-up data."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from made_up_data import made_up_gaicd, run_recipe, write_tiny_data
from networks import SIBLINGS
from s2crop.errors import InputError
from s2crop.models import weights
from s2crop.models.asmnet import ASMNet, ASMNetConfig, Features
from s2crop.models.s2cnet import S2CNet, S2CNetConfig
from s2crop.models.sfrc import SFRC, SFRCConfig
from s2crop.models.weights import load_model, save_weights
from s2crop.training import asmnet, gaic, heads, publish, sfrc

OWN_LOSSES = {
    "sfrc": {"regression", "classifier", "voted", "consistency"},
    "asmnet": {"ranking", "saliency", "regression"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, and a teacher among the runs."""
    folder = tmp_path_factory.mktemp("heads")
    write_tiny_data(folder / "data")
    generator = torch.Generator().manual_seed(0)
    layer = {"features.18.0.weight": torch.randn(1280, 320, 1, 1, generator=generator) / 18}
    for part in ("weight", "bias", "running_mean", "running_var"):
        layer[f"features.18.1.{part}"] = torch.rand(1280, generator=generator) + 0.5
    (folder / "data/teachers").mkdir()
    save_file(layer, folder / "data/teachers/mobilenet_v2_imagenet.safetensors")
    (folder / "runs/teacher").mkdir(parents=True)
    torch.manual_seed(0)
    config = S2CNetConfig(
        short_side=64,
        align_size=3,
        node_dim=16,
        relation_dim=8,
        mlp_dim=16,
        num_proposals=4,
        proposal_head=True,
        node_geometry=True,
        padding="same",
    )
    save_weights(S2CNet(config), folder / "runs/teacher/weights.safetensors")
    return folder


def train(folder, name, *more, **options):
    changes = [f"network.{key}={value}" for key, value in SIBLINGS[name].items()]
    changes += ["training.teacher=teacher", "training.candidates=12", *more]
    lines = []
    results = run_recipe(
        name, folder / "data", folder / "runs", changes=changes, device="cpu", report=lines.append, **options
    )
    return results, lines


@pytest.mark.slow
@pytest.mark.parametrize("name", SIBLINGS)
def test_training_writes_a_network_with_the_teachers_backbone(name, folder, monkeypatch):
    monkeypatch.setattr(
        heads, "score_as_they_are", lambda teacher, group, crops: 2 * torch.randn(crops.shape[:2])
    )  # untrained, it rates all alike
    results, lines = train(folder, name, "training.epochs=1")
    assert len(lines) == 1 and 0 <= results["pairs"] <= 1 and results["validation_photos"] == 3
    log = json.loads((folder / f"runs/{name}/log.jsonl").read_text().splitlines()[0])
    assert {"vote", "best", "held"} | OWN_LOSSES[name] <= log.keys()
    teacher = load_model("s2cnet", folder / "runs/teacher/weights.safetensors")
    net = load_model(name, folder / f"runs/{name}/weights.safetensors")
    assert net.config.padding == "same" and net.config.short_side == 64 and net.config.proposal_head
    for part in ("backbone", "proposal_head"):
        given, kept = getattr(teacher, part).state_dict(), getattr(net, part).state_dict()
        assert all(torch.equal(kept[key], value) for key, value in given.items())
    with pytest.raises(InputError, match="training.rate was .* resume"):
        train(folder, name, "training.epochs=2", "training.rate=0.5", resume=True)
    train(folder, name, "training.epochs=2", resume=True)
    assert len((folder / f"runs/{name}/log.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SIBLINGS)
def test_ten_photos_are_overfit(name, folder):
    results, _ = train(folder, name, sanity=True)
    assert results["pairs"] == 1.0  # all ten photos have the same votes
    assert (folder / f"runs/{name}-sanity/weights.safetensors").is_file()


def test_last_layer_is_the_given_one_with_its_batch_norm_folded(folder):
    path = folder / "data/teachers/mobilenet_v2_imagenet.safetensors"
    state = sfrc.read_last_layer(path)
    from safetensors.torch import load_file

    raw = load_file(path)
    x = torch.randn(1, 320, 2, 2)
    plain = torch.nn.functional.conv2d(x, raw["features.18.0.weight"])
    expected = torch.nn.functional.batch_norm(
        plain, *(raw[f"features.18.1.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    )
    torch.testing.assert_close(torch.nn.functional.conv2d(x, **state), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_transductive_setting_adds_the_photos_held_out_without_their_labels(folder, monkeypatch):
    seen = {}

    def keep(head, teacher, run, training, validation, resume):
        seen[head.recipe.setting] = training
        return {}

    monkeypatch.setattr(heads, "fit_head", keep)
    for setting in ("inductive", "transductive"):
        train(folder, "sfrc", f"training.setting={setting}")
    more = seen["transductive"][len(seen["inductive"]) :]
    assert len(more) >= 3 and all(s.source == "unlabelled" for pair in more for s in pair)
    with pytest.raises(InputError, match="setting is"):
        train(folder, "sfrc", "training.setting=nonesuch")


def test_proposals_need_the_backbone_that_they_were_trained_on(folder):
    with pytest.raises(InputError, match="mobilenetv2"):
        train(folder, "asmnet", "network.backbone=vgg16")


@pytest.mark.slow
@pytest.mark.parametrize("name", SIBLINGS)
def test_the_papers_own_training_learns_a_right_ranking(name, folder, tmp_path, monkeypatch):
    made_up_gaicd(tmp_path / "data", 24)
    changes = [
        "network.short_side=64",
        *(f"network.{key}={value}" for key, value in SIBLINGS[name].items()),
        "training.epochs=5",
        "training.crops=24",
        "training.rate=1e-3",
    ]
    monkeypatch.setattr(
        gaic, "load_model", lambda name: SFRC()
    )  # its last layer, as a file of torchvision's would give it
    results = run_recipe(
        f"{name}-gaic", tmp_path / "data", tmp_path / "runs", changes=changes, device="cpu", report=lambda line: None
    )
    assert results["srcc"] > 0.5
    assert load_model(name, tmp_path / f"runs/{name}-gaic/weights.safetensors").config.short_side == 64


@pytest.mark.slow
def test_vgg16_is_trained_from_a_file_alone(tmp_path):
    made_up_gaicd(tmp_path / "data", 1)
    with pytest.raises(InputError, match="no VGG16 is shipped"):
        run_recipe(
            "asmnet-gaic", tmp_path / "data", tmp_path / "runs", changes=["network.backbone=vgg16"], device="cpu"
        )
    torch.manual_seed(0)
    model = ASMNet(ASMNetConfig(backbone="vgg16"))
    given = {key: torch.randn_like(value) for key, value in model.backbone.state_dict().items()}
    save_file(given | {"classifier.0.weight": torch.zeros(1)}, tmp_path / "vgg16.safetensors")
    gaic.load_pretrained(model, str(tmp_path / "vgg16.safetensors"))
    assert all(torch.equal(model.backbone.state_dict()[key], value) for key, value in given.items())


def test_sfrcs_losses_are_those_of_each_picture():
    torch.manual_seed(0)
    model = SFRC(SFRCConfig(**SIBLINGS["sfrc"]))
    rated = torch.randn(2, 5, 20)
    scores, targets = torch.randn(2, 5), torch.tensor([[0.0, 1, 2, 3, 4], [0, 0, 0, 0, 0]])  # the second has no pair
    found = sfrc.paper_losses(model, rated, scores, targets, 0.5, 99)
    total = 0.0
    for i in range(5):
        for j in range(i + 1, 5):
            logit = model.classifier(torch.cat([rated[0, i], rated[0, j]])).item()
            total += np.log1p(np.exp(logit)) / 10  # the first is never the better
    assert found["classifier"].item() == pytest.approx(total, abs=1e-5)
    difference = (scores - targets).abs()
    smooth = torch.where(difference < 1, difference**2 / 2, difference - 0.5).mean()
    assert found["regression"].item() == pytest.approx(smooth.item())
    assert "classifier" not in sfrc.paper_losses(model, rated[1:], scores[1:], targets[1:], 0.5, 99)


def test_asmnets_losses_are_weighted_and_margins_are_in_the_temperature():
    scores = torch.tensor([[0.0, 0.4, 2.0]])
    targets = torch.tensor([[0.0, 0.5, 2.0]])  # 0.8 of MOS are 1 of these: two clear pairs
    maps = torch.rand(1, 12, 4, 4)
    features = Features((), maps, None, (16, 16))
    recipe = asmnet.ASMNetRecipe(saliency_weight=0.1, regression_weight=0.0)
    found = asmnet.paper_losses(features, scores, targets, torch.ones(1, 8, 8), recipe, 4.0)
    assert found.keys() == {"ranking", "saliency"}
    assert found["ranking"].item() == pytest.approx(((1 - 0.5) + (1 - 0.4)) / 2)
    assert found["saliency"] == 0  # everything draws the eye
    nothing_salient = asmnet.paper_losses(features, scores, targets, torch.zeros(1, 8, 8), recipe, 4.0)
    assert nothing_salient["saliency"].item() == pytest.approx(0.1)


def test_scores_of_samples_are_those_of_the_network():
    torch.manual_seed(0)
    model = ASMNet(ASMNetConfig(**SIBLINGS["asmnet"])).eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        features = model.features(image)
        maps = tuple(m[0] for m in features.maps[-3:])
        boxes = np.array([[0.0, 0, 50, 40], [10, 10, 90, 60]])
        expected = model.rate(features, torch.tensor(boxes, dtype=torch.float32)[None])[0]
        sample = heads.Sample((64, 96), maps, None, None, None)
        head = asmnet.ASMNetHead(model, asmnet.ASMNetRecipe(), None)
        found = heads.scorer_of_samples(head, model)(sample, boxes)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_a_finished_run_is_published_under_its_networks_name(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "weights_folder", lambda: tmp_path)
    run = tmp_path / "runs/any-name"
    run.mkdir(parents=True)
    torch.manual_seed(0)
    save_weights(ASMNet(ASMNetConfig(**SIBLINGS["asmnet"])), run / "weights.safetensors")
    (tmp_path / "manifest.json").write_text(json.dumps({"models": {"s2cnet": {"file": "s2cnet.safetensors"}}}))
    entry = publish.publish(run)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["models"].keys() == {"s2cnet", "asmnet"} and manifest["models"]["asmnet"] == entry
    assert (
        entry["recipe"][-1] == "s2crop-train choice --set training.model=asmnet" and entry["config"]["hidden_dim"] == 8
    )
    own, whole = (
        (folder / name).stat().st_size
        for folder, name in ((tmp_path, "asmnet.safetensors"), (run, "weights.safetensors"))
    )
    assert own < whole and (tmp_path / "shared.safetensors").exists()  # the backbone lies beside it
    monkeypatch.setattr(weights, "weights_folder", lambda: tmp_path)
    assert load_model("asmnet").config.hidden_dim == 8  # its hash is the manifest's
