"""What drove a score: the maps of each network, how they are drawn, and when they are written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clips
from commands import draw, files, records, s2crop, usage_error
from fake_cropper import FakeCropper
from loops import CHOICES, SIZE, make, one_crop_scores, random_boxes
from networks import CONFIG, make_weights
from pictures import grey, mask_of, picture
from s2crop import Cropper
from s2crop.cropping.request import Heatmap
from s2crop.errors import InputError
from s2crop.files.names import plan_names
from s2crop.files.picture import Picture
from s2crop.files.sources import Source
from s2crop.geometry.ratio import parse_ratio
from s2crop.models.asmnet import ASMNet, ASMNetConfig
from s2crop.models.proposals import Proposals
from s2crop.models.s2cnet import Features, S2CNet, box_bumps
from s2crop.models.scorer import Scorer, unknown
from s2crop.models.sfrc import SFRC, SFRCConfig
from s2crop.models.weights import save_weights
from s2crop.preview import heatmap, overlay
from s2crop.preview.heatmap import CROP
from s2crop.preview.overlay import Outline
from s2crop.video import covers
from scenes import scene

pytestmark = pytest.mark.usefixtures("folder")

ATOL = 1e-5  # float32 sums in another order
WIDE = parse_ratio("16:9")


# The maps


IMAGE = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
CROP_BOX = torch.tensor([[[10.0, 5, 80, 60]]])
NOTHING = unknown(torch.tensor([[[0.0, 0, 96, 64]] * 4]))


@pytest.mark.parametrize("choices", CHOICES, ids=lambda c: "-".join(f"{k}={v}" for k, v in c.items()) or "paper")
def test_attention_of_the_crop_equals_the_loop_and_adds_up_to_one(choices):
    net = make(**choices)
    crop, boxes, reduced = random_boxes(1, 1), random_boxes(1, 3), torch.randn(1, 8, 16, 24)
    found = Proposals(boxes, torch.tensor([[0.9, 0.4, 0.0]]), torch.tensor([[0, 1, 2]]))  # the last is a filler
    features = Features((), reduced, SIZE)
    attributes = found.attributes() if net.config.node_geometry else None
    rows = []
    with torch.inference_mode():
        before = net.rate(features, crop, found)
        (heat,) = net.explain(features, crop, found)
        assert torch.equal(net.rate(features, crop, found), before)
        crop_nodes, proposal_nodes = net.nodes(reduced, crop, boxes, SIZE, attributes)
        one_crop_scores(net, crop_nodes[0, 0], proposal_nodes[0], crop[0, 0], boxes[0], rows)
    assert not any(layer.softmax._forward_hooks for layer in net.graph.layers)
    assert len(rows) == net.config.depth * net.config.heads
    own, *shares = (sum(row) / len(rows) for row in np.stack([row.numpy() for row in rows]).T.tolist())
    np.testing.assert_allclose(heat.shares, shares, atol=ATOL)
    assert float(heat.shares.sum()) + own == pytest.approx(1, abs=ATOL) and f"{own:.0%} to itself" in heat.title
    assert heat.values.shape == (64, 96)
    for i, j in np.ndindex(64, 96):
        total = 0.0
        for (x1, y1, x2, y2), share in zip(boxes[0, :2].tolist(), shares, strict=False):
            total += share * np.exp(
                -(((8 * j + 4 - x1 - x2) / (x2 - x1)) ** 4) - ((8 * i + 4 - y1 - y2) / (y2 - y1)) ** 4
            )
        assert heat.values[i, j].item() == pytest.approx(total, abs=ATOL)


def test_the_softmax_module_adds_nothing_to_the_state():
    assert not [key for key in S2CNet(CONFIG).state_dict() if "softmax" in key]


def test_a_bump_is_over_its_box():
    bump = box_bumps(torch.tensor([[16.0, 8, 48, 24]]), (64, 96))[0].numpy()
    assert bump.shape == (16, 24) and np.unravel_index(bump.argmax(), bump.shape) in [
        (i, j) for i in (3, 4) for j in (7, 8)
    ]
    inside = np.zeros((16, 24), bool)
    inside[2:6, 4:12] = True
    assert bump[inside].sum() > 0.75 * bump.sum()


def test_an_unknown_picture_has_no_attention_to_show():
    torch.manual_seed(0)
    net = S2CNet(CONFIG).eval()
    with torch.inference_mode():
        (heat,) = net.explain(net.features(IMAGE), CROP_BOX, NOTHING)
    assert not heat.values.any()


def test_maps_of_asmnet_are_mean_and_deviation_over_partitions():
    torch.manual_seed(0)
    net = ASMNet(ASMNetConfig(map_stride=4, hidden_dim=8)).eval()
    with torch.inference_mode():
        features = net.features(IMAGE)
        content, composition = net.explain(features, CROP_BOX)
    scores = features.scores[0].numpy().astype(np.float64)
    assert content.shares is composition.shares is None and content.values.shape == (16, 24)
    np.testing.assert_allclose(content.values, sum(scores) / 12, atol=ATOL)
    np.testing.assert_allclose(
        composition.values, np.sqrt(sum((part - sum(scores) / 12) ** 2 for part in scores) / 12), atol=ATOL
    )


def test_the_map_of_sfrc_is_the_weighted_sum_of_responses():
    torch.manual_seed(0)
    net = SFRC(SFRCConfig(reduced_dim=4, align_size=3, map_size=16)).eval()
    with torch.inference_mode():
        maps, responses = net.look(IMAGE)
        net.response_mean.copy_(responses.mean(dim=(0, 2, 3)))
        features = net.head_features(maps, responses, (64, 96))
        (heat,) = net.explain(features, CROP_BOX)
    expected = np.zeros((16, 16))
    for k, weight in enumerate(features.attention[0].tolist()):
        expected += weight * (responses[0, k] - net.response_mean[k]).numpy().astype(np.float64)
    np.testing.assert_allclose(heat.values, expected.clip(min=0), atol=1e-4)
    assert (heat.values == 0).any() and (heat.values > 0).any()


@pytest.mark.parametrize("size", [(640, 400), (1, 1), (1, 4000), (4000, 40)])
def test_a_cropper_gives_maps_in_picture_pixels(tmp_path, size):
    cropper = Cropper(weights=make_weights(tmp_path), device="cpu")
    prepared = cropper.prepare(Picture.open(picture(*size)))
    (made,) = cropper.heatmaps_prepared(prepared, (0, 0, *size))
    assert made.place == (0, 0, *size) and made.values.shape == tuple(side // 4 for side in prepared.shape)
    found = cropper.proposals_prepared(prepared)[: CONFIG.num_proposals]
    assert [(box, kind) for box, _, kind in made.marks] == [(box, kind) for box, _, kind in found]
    assert 0 < sum(share for _, share, _ in made.marks) < 1
    page = heatmap.draw(grey(overlay.size_wh(*size)), size, [made], [Outline((0, 0, *size), "free 3.00", CROP)])
    assert page.size[0] == overlay.size_wh(*size)[0] and page.size[1] > overlay.size_wh(*size)[1]


@pytest.mark.parametrize("name, net, count", [("sfrc", SFRC, 1), ("asmnet", ASMNet, 2)])
def test_other_networks_have_maps_without_proposals(tmp_path, name, net, count):
    torch.manual_seed(0)
    save_weights(net(), tmp_path / "w")
    cropper = Cropper(name, tmp_path / "w", "cpu")
    made = cropper.heatmaps_prepared(cropper.prepare(Picture.open(picture(90, 60))), (5, 5, 80, 50))
    assert [len(m.marks) for m in made] == [0] * count and all(np.isfinite(m.values).all() for m in made)


# The drawing


def made_map(values, marks=(), place=(0, 0, 1200, 800)):
    return Heatmap("What it rests on", np.asarray(values, np.float32), marks, place)


def corner_map(**more):
    values = np.zeros((20, 30))
    values[10:, 15:] = 3
    return made_map(values, **more)


def below_title(page, height=800):
    return page.crop((0, page.height - height, *page.size))


def warmth(image):
    """Red less blue: 0 where the picture shows alone."""
    pixels = np.asarray(image, int)
    return pixels[..., 0] - pixels[..., 2]


def test_heat_lies_where_the_map_says():
    hot = warmth(below_title(heatmap.draw(grey(), (2400, 1600), [corner_map(place=(0, 0, 2400, 1600))], [])))
    assert hot[450:, 650:].min() > 50 and np.abs(hot[:350]).max() < 5 and np.abs(hot[:, :550]).max() < 5


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((4, 6)),
        np.full((4, 6), -3.7),
        np.full((4, 6), 1e4) + np.eye(4, 6) * 1e-3,
        np.full((4, 6), np.nan),
        np.diag([np.inf] * 4),
    ],
)
def test_a_constant_map_shows_nothing(values):
    image = below_title(heatmap.draw(grey(), (1200, 800), [made_map(values)], []))
    assert len(image.getcolors()) == 1


def test_a_map_is_normalised_to_its_own_range():
    values = np.random.default_rng(0).normal(size=(8, 12))
    one, other = (np.asarray(heatmap.draw(grey(), (1200, 800), [made_map(v)], [])) for v in (values, 100 * values - 40))
    assert np.abs(one.astype(int) - other).max() <= 2


def test_the_ramp_grows_lighter():
    ramp = np.asarray(heatmap._coloured(Image.fromarray(np.arange(256, dtype=np.uint8)[None])).convert("L"), int)[0]
    assert (np.diff(ramp) >= 0).all() and ramp[-1] - ramp[0] > 180


def test_proposals_are_marked_with_their_share_and_small_ones_left_out(monkeypatch):
    tags = []
    label = overlay._label
    monkeypatch.setattr(
        overlay,
        "_label",
        lambda pen, box, outline, *more: (tags.append(outline.label), label(pen, box, outline, *more)),
    )
    marks = [
        ((100, 100, 400, 400), 0.021, "text"),
        ((500, 100, 900, 700), 0.34, "face"),
        ((0, 0, 50, 50), 0.019, "object"),
    ]
    image = below_title(
        heatmap.draw(
            grey(), (1200, 800), [corner_map(marks=marks)], [Outline((50, 60, 1150, 740), "1:1 3.21", "#ffb000")]
        )
    )
    assert tags == ["1:1 3.21", "face 34%", "text 2%"]
    assert mask_of(image, CROP)[400].sum() == 4, "the crop's two lines"
    white = mask_of(image, "#ffffff")
    assert white[100:400, 100].sum() > 100 and white[:55, :45].sum() == 0


@pytest.mark.parametrize(
    "size, expected", [((1200, 800), (1200, 1666)), ((800, 1200), (1600, 1233)), ((800, 800), (800, 1644))]
)
def test_two_maps_lie_side_by_side_or_below_each_other(size, expected):
    page = heatmap.draw(
        grey(size), size, [corner_map(place=(0, 0, *size)), made_map(np.zeros((2, 2)), place=(0, 0, *size))], []
    )
    assert page.size == expected


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 3), (2, 2)])
def test_pictures_of_any_shape_are_drawn(size):
    made = made_map(np.arange(6).reshape(2, 3), [((0, 0, *size), 0.5, "face")], (0, 0, *size))
    page = grey(overlay.size_wh(*size))
    drawn = heatmap.draw(page, size, [made, made], [Outline((0, 0, *size), "16:9 3.25", CROP, circle=True)])
    assert drawn.width >= page.width and drawn.height > page.height
    drawn = heatmap.draw(grey((1, 1)), size, [made], [])
    assert drawn.getbbox() is not None


# The names


def plan(*names, **options):
    sources = [Source(name, Path(name), Path(name)) for name in names]
    plans = plan_names(sources, [WIDE], 1, folder=Path("o"), fmt="same", circle=False, heatmap=True, **options)
    return [sorted(path.relative_to("o").as_posix() for path in plan.paths()) for plan in plans]


def test_a_heatmap_has_a_name_that_nothing_else_has():
    assert plan("sub/a.png") == [["sub/a_16x9.png", "sub/a_heatmap.jpg"]]
    assert plan("a.jpg", overlay=True) == [["a_16x9.jpg", "a_heatmap.jpg", "a_overlay.jpg"]]
    assert plan("a.jpg", "A.jpg") == [["a_16x9.jpg", "a_heatmap.jpg"], ["A_jpg_16x9.jpg", "A_jpg_heatmap.jpg"]]
    assert plan("a.jpg", overlay=True, template="{ratio}/{stem}") == [["16x9/a.jpg", "heatmap/a.jpg", "overlay/a.jpg"]]
    assert plan("a.jpg", "a_heatmap.jpg", template="{stem}") == [
        ["a.jpg", "a_heatmap.jpg"], ["a_heatmap_jpg.jpg", "a_heatmap_jpg_heatmap.jpg"],
    ]  # fmt: skip


# The command


def test_heatmaps_are_written_beside_the_crops():
    draw("photos/a.png", (96, 64))
    draw("photos/sub/b.jpg", (64, 96))
    got = records("photos", "-r", "-a", "1:1,16:9", "-k", "2", "--heatmap", "--overlay")
    assert len(got) == 8 and all("heatmap" not in r["output"] for r in got)
    assert [name for name in files("s2crop-out") if "heatmap" in name] == ["a_heatmap.jpg", "sub/b_heatmap.jpg"]
    with Image.open("s2crop-out/a_heatmap.jpg") as image:
        assert (image.format, image.mode, image.width) == ("JPEG", "RGB", 1024)
        hot = warmth(below_title(image, 683))
        assert hot[100:300, 350:400].mean() > 60 > 20 > np.abs(hot[400:, 600:800]).mean(), "top left, in one piece"
        assert mask_of(image, CROP).sum() > 300


def test_heatmaps_are_skipped_and_overwritten_as_crops_are():
    draw("a.png")
    s2crop("a.png", "--heatmap")
    file = Path("s2crop-out/a_heatmap.jpg")
    file.write_text("mine")
    kept, refused = records("a.png", "--heatmap", code=1)
    assert kept["status"] == "skipped" and "no mark of ours" in refused["error"]
    assert [r["status"] for r in records("a.png", "--heatmap", "--skip-existing")] == ["skipped"]
    assert file.read_text() == "mine"
    assert [r["status"] for r in records("a.png", "--heatmap", "--overwrite")] == ["written"]
    file.unlink()
    assert [r["status"] for r in records("a.png", "--heatmap")] == ["skipped"], "the heatmap was left"
    assert Image.open(file).width == 1024
    assert s2crop("a.png", "--heatmap")[2].count("1 skipped") == 1


def test_a_heatmap_that_cannot_be_written_costs_one_line():
    draw("a.png")
    draw("b.png")
    Path("s2crop-out/a_heatmap.jpg").mkdir(parents=True)
    code, _, err = s2crop("a.png", "b.png", "--heatmap")
    assert (code, err.splitlines()[0]) == (
        1,
        "s2crop: a.png: cannot write s2crop-out/a_heatmap.jpg: a folder is in the way",
    )
    assert files("s2crop-out") == ["a_free.png", "b_free.png", "b_heatmap.jpg"]


def test_a_map_that_cannot_be_made_costs_one_line(monkeypatch):
    draw("a.png")
    draw("b.png")
    plain = FakeCropper.heatmaps_prepared
    calls = []

    def fail_once(self, prepared, box, keep_bars=False):
        calls.append(box)
        if len(calls) == 1:
            raise InputError("no memory left for it")
        return plain(self, prepared, box)

    monkeypatch.setattr("fake_cropper.FakeCropper.heatmaps_prepared", fail_once)
    code, _, err = s2crop("a.png", "b.png", "--heatmap")
    assert (code, err.splitlines()[0]) == (1, "s2crop: a.png: no memory left for it")
    assert files("s2crop-out") == ["b_free.png", "b_heatmap.jpg"]


def test_a_dry_run_draws_nothing_and_one_file_takes_no_heatmap(monkeypatch):
    draw("a.png")
    monkeypatch.setattr("fake_cropper.FakeCropper.heatmaps_prepared", lambda *given: pytest.fail("looked for nothing"))
    assert s2crop("a.png", "--heatmap", "--dry-run")[0] == 0
    assert files() == ["a.png"]
    for output in ("b.png", "-"):
        assert (
            usage_error("a.png", "--heatmap", "-o", output)
            == "--heatmap writes a picture beside the crops: give --output a folder"
        )


def test_heatmaps_of_covers():
    frames = [scene(seed, (96, 160)) for seed in (1, 2) for _ in range(30)]
    clips.write_clip(Path("film.mp4"), frames)
    assert s2crop("film.mp4", "-n", "2", "--heatmap", "-a", "1:1")[0] == 0
    made = ["film_cover1_1x1.jpg", "film_cover1_heatmap.jpg", "film_cover2_1x1.jpg", "film_cover2_heatmap.jpg"]
    assert files("s2crop-out") == made
    Path("s2crop-out/film_cover2_heatmap.jpg").unlink()
    assert [r["status"] for r in records("film.mp4", "-n", "2", "--heatmap", "-a", "1:1")] == ["skipped"] * 2
    assert files("s2crop-out") == made
    with Image.open("s2crop-out/film_cover2_heatmap.jpg") as image:
        assert image.width == 1024 and mask_of(image, CROP).sum() > 300


def test_the_map_of_a_letterboxed_cover_lies_between_its_bars(tmp_path):
    cropper = Cropper(weights=make_weights(tmp_path), device="cpu")
    prepared = cropper.prepare(Picture.open(picture(256, 108)))
    (crop,) = cropper.crop(picture(256, 108), ["1:1"])
    shown = covers.Shown(
        covers.Winner(1.0, 1.0, np.zeros(1), 0.0, 0.3, (0, 0.125, 0, 0.125), True),
        (256, 144),
        (0, 18, 256, 126),
        2.0,
        prepared,
    )
    cover = covers._cover(shown, 3.0, [crop], [], cropper.heatmaps_prepared(prepared, crop.box))
    (plain,), (moved,) = cropper.heatmaps_prepared(prepared, crop.box), cover.heatmaps
    assert moved.place == (0, 18, 256, 126) and moved.values.shape == plain.values.shape
    assert [box[1] for box, *_ in moved.marks] == [box[1] + 18 for box, *_ in plain.marks]
    page = below_title(heatmap.draw(grey((1024, 576)), (256, 144), [made_map(np.eye(4), place=moved.place)], []), 576)
    hot = warmth(page)
    assert not hot[:70].any() and not hot[510:].any() and hot[74:300, 5].max() > 50


def test_networks_that_cannot_say_raise():
    with pytest.raises(NotImplementedError):
        Scorer(CONFIG).explain(None, None, None)
