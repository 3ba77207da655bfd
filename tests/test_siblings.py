"""SFRC and ASM-Net in the place of S2CNet: the same Cropper, the same command, small untrained networks."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from networks import SIBLINGS
from pictures import picture
from s2crop import Cropper, CropRequest, cli
from s2crop.files.picture import Picture
from s2crop.geometry.ratio import parse_ratio
from s2crop.models.asmnet import ASMNet, ASMNetConfig
from s2crop.models.s2cnet import MOS_MEAN, MOS_STD
from s2crop.models.sfrc import SFRC, SFRCConfig
from s2crop.models.weights import save_weights

COMMON = dict(short_side=64, padding="same", proposal_head=True)
NETWORKS = {
    "sfrc": lambda: SFRC(SFRCConfig(**SIBLINGS["sfrc"], **COMMON)),
    "asmnet": lambda: ASMNet(ASMNetConfig(**SIBLINGS["asmnet"], **COMMON)),
}
SCORE_TOLERANCE = 1e-4  # float32, batched or not


@pytest.fixture(scope="module", params=NETWORKS)
def weights(request, tmp_path_factory):
    """(name, file) of a network whose scores tell crops apart."""
    torch.manual_seed(0)
    model = NETWORKS[request.param]()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    if request.param == "asmnet":  # scores between 1 and 5
        torch.nn.init.normal_(model.score_map.out.weight, std=0.02)
    path = tmp_path_factory.mktemp(request.param) / "small.safetensors"
    save_weights(model, path, torch.float32)
    return request.param, path


@pytest.fixture(scope="module")
def cropper(weights):
    return Cropper(*weights, device="cpu")


def test_crops_are_ranked_inside_and_of_the_ratio(cropper, weights):
    crops = cropper.crop(picture(640, 400), ratios=["16:9", "square", "free"], top=2, focus=(0.2, 0.2))
    assert cropper.model == weights[0] and [c.rank for c in crops] == [1, 2] * 3
    for crop in crops:
        x1, y1, x2, y2 = crop.box
        assert 0 <= x1 <= 128 < x2 <= 640 and 0 <= y1 <= 80 < y2 <= 400 and 1 <= crop.score <= 5
    assert {kind for _, _, kind in cropper.proposals(picture(640, 400))} <= {"object", "face", "text"}


def test_mixed_batch_equals_single_pictures(cropper):
    request = CropRequest(ratios=(parse_ratio("16:9"), parse_ratio("free")))
    pictures = [picture(320, 200, 1), picture(200, 320, 2), picture(90, 90, 4), picture(320, 200, 5)]
    prepared = [cropper.prepare(Picture.open(p)) for p in pictures]
    for one, crops in zip(prepared, cropper.rank(prepared, request), strict=True):
        (alone,) = cropper.rank([one], request)
        assert [c.box for c in alone] == [c.box for c in crops]
        np.testing.assert_allclose([c.score for c in alone], [c.score for c in crops], atol=SCORE_TOLERANCE)


def test_scores_of_boxes_are_those_of_the_crops_and_differ(cropper):
    array = picture(300, 200)
    crops = cropper.crop(array, ["1:1", "4:5"], top=3, protect="none")
    prepared = cropper.prepare(Picture.open(array))
    scores = cropper.score_prepared(prepared, np.array([c.box for c in crops], float), clip=False)
    assert np.ptp(scores) > 1e-3 and cropper.score(array, np.zeros((0, 4))).shape == (0,)
    np.testing.assert_allclose(np.clip(scores, 1, 5), [c.score for c in crops], atol=0.3)  # boxes are rounded to pixels


def test_circles_are_scored_as_such_by_the_network_that_can(cropper):
    array = picture(300, 200)
    square, round_ = (cropper.crop(array, ["1:1"], top=5, protect="none", circle=circle) for circle in (False, True))
    if cropper.model == "sfrc":
        assert square == round_
        return
    assert {c.score for c in square} != {c.score for c in round_}
    crop = next(c for c in round_ if 1 < c.score < 5)
    prepared = cropper.prepare(Picture.open(array))
    features, _ = cropper._features([prepared])
    maps = features.scores[0].double().numpy()
    x1, y1, x2, y2 = np.array(crop.box) * prepared.scale / cropper.config.map_stride
    total = weight = 0.0
    rings = cropper.net.pooling.partitions
    assert rings == 12
    for y in np.linspace(y1, y2, 401)[:-1] + (y2 - y1) / 800:
        for x in np.linspace(x1, x2, 401)[:-1] + (x2 - x1) / 800:
            u, v = (x - x1) / (x2 - x1), (y - y1) / (y2 - y1)
            if (u - 0.5) ** 2 + (v - 0.5) ** 2 <= 0.25:
                near = min(int(u * 6), 5 - int(u * 6), int(v * 6), 5 - int(v * 6))
                part = 4 * (2 - near) + 2 * (v >= 0.5) + (u >= 0.5)
                total += maps[part, int(y), int(x)]
                weight += 1
    assert crop.score == pytest.approx(MOS_MEAN + MOS_STD * total / weight, abs=0.05)


def test_the_command_crops_with_it(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(320, 200)).save("a.png")
    name, path = weights
    done = CliRunner().invoke(
        cli.main, ["a.png", "-m", name, "--weights", str(path), "--shape", "circle", "-s", "40", "--json", "-d", "cpu"]
    )
    assert done.exit_code == 0, done.output
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert row["model"] == name and row["status"] == "written"
    with Image.open(row["output"]) as crop:
        assert (
            crop.size == (40, 40) and crop.mode == "RGBA" and crop.getpixel((0, 0))[3] == 0 < crop.getpixel((20, 20))[3]
        )


@pytest.mark.slow
def test_vgg16_crops_with_the_shipped_proposals(tmp_path):
    torch.manual_seed(0)
    save_weights(ASMNet(ASMNetConfig(backbone="vgg16", short_side=64, map_stride=8)), tmp_path / "vgg.safetensors")
    cropper = Cropper("asmnet", tmp_path / "vgg.safetensors", device="cpu")
    array = picture(300, 200)
    (crop,) = cropper.crop(array, ["16:9"])
    assert crop.box[2] - crop.box[0] > crop.box[3] - crop.box[1] and 1 <= crop.score <= 5
    features, (found, *_) = cropper._look([cropper.prepare(Picture.open(array))])
    assert [tuple(m.shape[1:]) for m in features.maps] == [(256, 16, 24), (512, 8, 12), (512, 4, 6)]
    assert found.boxes.shape[2] == 4 and float(found.boxes[..., 2].max()) <= features.size[1]
