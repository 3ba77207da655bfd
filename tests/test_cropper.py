"""`Cropper` with a small untrained network: everything but taste."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

import pictures
import s2crop
from networks import SCORE_TOLERANCE, make_weights
from pictures import picture
from s2crop import Cropper, CropRequest, DeviceError, InputError, WeightsError
from s2crop.cropping.request import Crop, required
from s2crop.cropping.selection import to_mos
from s2crop.files.picture import Picture
from s2crop.geometry.ratio import parse_ratio
from s2crop.geometry.search import SearchConfig
from s2crop.models.input import input_size, resize
from s2crop.models.proposals import KINDS, MAX_PROPOSALS, Proposals
from s2crop.models.scorer import Seen


@pytest.fixture(scope="module")
def cropper(small_weights):
    return Cropper(weights=small_weights, device="cpu")


def test_crops_come_ratio_by_ratio_ranked_and_inside(cropper):
    crops = cropper.crop(picture(640, 400), ratios=["16:9", "square", "free", "original"], top=3)
    assert [c.ratio for c in crops[::3]] == ["16:9", "1:1", "free", "original"]
    assert [c.rank for c in crops] == [1, 2, 3] * 4
    for crop in crops:
        x1, y1, x2, y2 = crop.box
        assert all(isinstance(v, int) for v in crop.box) and 0 <= x1 < x2 <= 640 and 0 <= y1 < y2 <= 400
        assert 1 <= crop.score <= 5 and crop.image.size == (x2 - x1, y2 - y1)
        if crop.ratio != "free":
            wanted = parse_ratio(crop.ratio).for_size(640, 400)
            assert abs((x2 - x1) - wanted * (y2 - y1)) <= max(0.5, wanted / 2) + 1e-6


def test_path_pil_image_and_array_give_the_same(cropper, tmp_path):
    array = picture(300, 200)
    Image.fromarray(array).save(tmp_path / "a.png")
    results = [
        cropper.crop(source, ["1:1"])
        for source in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(array), array)
    ]
    assert all(r == results[0] for r in results)


def test_mixed_batch_equals_single_pictures(cropper):
    request = CropRequest(ratios=(parse_ratio("16:9"), parse_ratio("free")), top=2)
    pictures = [
        picture(320, 200, 1),
        picture(200, 320, 2),
        picture(322, 201, 3),
        picture(90, 90, 4),
        picture(320, 200, 5),
    ]
    prepared = [cropper.prepare(Picture.open(p)) for p in pictures]
    together = cropper.rank(prepared, request)
    for one, crops in zip(prepared, together, strict=True):
        (alone,) = cropper.rank([one], request)
        assert [c.box for c in alone] == [c.box for c in crops]
        np.testing.assert_allclose([c.score for c in alone], [c.score for c in crops], atol=SCORE_TOLERANCE)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 4000), (4000, 40), (33, 700)])
def test_any_size_of_picture_is_cropped(cropper, size):
    crops = cropper.crop(picture(*size), ratios=["1:1", "16:9", "free", "original"])
    assert len(crops) == 4
    for crop in crops:
        assert crop.box[0] < crop.box[2] <= size[0] and crop.box[1] < crop.box[3] <= size[1]


def test_focus_and_keep_are_inside_every_crop(cropper):
    array = picture(640, 400)
    for focus in ((639, 399), (0, 0), (0.5, 0.02), (1.0, 1.0)):
        for crop in cropper.crop(array, ["16:9", "1:1", "9:16", "free"], top=3, focus=focus):
            x, y = (focus[0] * 640, focus[1] * 400) if max(focus) <= 1 else focus
            assert crop.box[0] <= x <= crop.box[2] and crop.box[1] <= y <= crop.box[3]
    for crop in cropper.crop(array, ["16:9", "1:1", "free"], top=3, keep=(500, 300, 120, 90)):
        assert crop.box[0] <= 500 and crop.box[1] <= 300 and crop.box[2] >= 620 and crop.box[3] >= 390


def test_a_point_has_room_around_it_where_there_is_any(cropper):
    for focus in ((100, 300), (320, 200), (600, 30)):
        for crop in cropper.crop(picture(640, 400), ["16:9", "1:1", "9:16"], top=3, focus=focus):
            x1, y1, x2, y2 = crop.box
            for start, end, point, whole in ((x1, x2, focus[0], 640), (y1, y2, focus[1], 400)):
                most = 0.1 * (end - start) - 2
                assert point - start >= min(most, point) and end - point >= min(most, whole - point), (focus, crop.box)


@pytest.mark.parametrize("least", [0.6, 0.9, 0.97, 1.0])
def test_crops_are_as_large_as_was_asked_for(cropper, least):
    width, height = 640, 400
    asked = {"16:9": (640, 360), "1:1": (400, 400), "9:16": (225, 400), "original": (640, 400)}
    for must in ({}, {"focus": (639, 399)}, {"keep": (100, 100, 30, 200)}):
        for crop in cropper.crop(picture(width, height), [*asked, "free"], top=3, min_scale=least, **must):
            sides = crop.box[2] - crop.box[0], crop.box[3] - crop.box[1]
            if crop.ratio == "free":
                assert max(sides[0] / width, sides[1] / height) >= least - 0.5 / height
            else:
                assert np.all(np.array(sides) >= least * np.array(asked[crop.ratio]) - 1)
                assert least < 1 or sides == asked[crop.ratio]


def test_crops_of_any_size_are_those_of_a_least_size_of_none(cropper):
    array = picture(640, 400, 3)
    assert cropper.crop(array, ["1:1", "free"], top=3) == cropper.crop(array, ["1:1", "free"], top=3, min_scale=0.0)


def test_the_published_search_gives_crops_as_large_as_asked_too(small_weights):
    published = Cropper(weights=small_weights, device="cpu", search=SearchConfig(method="argmax"))
    (crop,) = published.crop(picture(640, 400), min_scale=1)
    assert crop.box[2] - crop.box[0] == 640 or crop.box[3] - crop.box[1] == 400


def test_what_cannot_be_kept_is_an_input_error(cropper):
    with pytest.raises(InputError, match=r"no crop of 1:1 holds all .* too large"):
        cropper.crop(picture(640, 400), ["16:9", "1:1"], keep=(0, 0, 600, 100))
    with pytest.raises(InputError, match="outside"):
        cropper.crop(picture(640, 400), focus=(700, 10))
    request = CropRequest(focus=(300, 10))  # outside the second picture alone
    prepared = [cropper.prepare(Picture.open(picture(*size))) for size in ((320, 200), (200, 320))]
    good, bad = cropper.rank(prepared, request)
    assert len(good) == 1 and isinstance(bad, InputError)


@pytest.mark.parametrize("pad", ["never", "auto"])
def test_a_ratio_that_cannot_hold_what_must_be_kept_costs_no_other(cropper, pad):
    prepared = [cropper.prepare(Picture.open(picture(*size))) for size in ((640, 400), (620, 620))]

    def rank(*ratios):
        asked = tuple(map(parse_ratio, ratios))
        return cropper.rank(prepared, CropRequest(ratios=asked, keep=(0, 0, 600, 100), pad=pad, top=2))

    (wide, square), (alone, _) = rank("1:1", "9:16", "16:9", "original"), rank("16:9", "original")
    kept = {"1:1", "16:9", "original"} | ({"9:16"} if pad == "auto" else set())
    assert {crop.ratio for crop in square} == kept and all(crop.box[2] >= 600 for crop in wide + square)
    assert [crop for crop in wide if crop.ratio in ("16:9", "original")] == alone
    assert {crop.ratio for crop in wide} == (kept if pad == "auto" else {"16:9", "original"})
    if pad == "never":
        assert rank("1:1", "9:16")[0] == []


def test_fractions_and_pixels():
    assert required(CropRequest(), (100, 50)) is None
    np.testing.assert_allclose(required(CropRequest(focus=(0.5, 1)), (100, 50)), [50, 49, 51, 50])
    np.testing.assert_allclose(
        required(CropRequest(focus=(10, 20), keep=(0.2, 0.2, 0.1, 0.1)), (100, 50)), [10, 10, 30, 21]
    )


@pytest.mark.parametrize(
    ("focus", "pixel"),
    [((639, 399), (639, 399)), ((640, 400), (639, 399)), ((0, 399), (0, 399)), ((100.7, 3), (100, 3)),
     ((1, 1), (639, 399)), ((0, 0), (0, 0)), ((0.25, 0.999), (160, 399)), ((0.3, 0.7), (192, 280))],
)  # fmt: skip
def test_the_pixel_that_holds_the_focus_lies_in_every_crop(cropper, focus, pixel):
    assert required(CropRequest(focus=focus), (640, 400)).tolist() == [*pixel, pixel[0] + 1, pixel[1] + 1]
    for how in ({}, {"min_scale": 0.7}, {"pad": "auto"}, {"circle": True}, {"pad": "always"}):
        for crop in cropper.crop(picture(640, 400), ["1:1", "16:9", "1:20", "free"], top=5, focus=focus, **how):
            assert crop.box[0] <= pixel[0] < crop.box[2] and crop.box[1] <= pixel[1] < crop.box[3], (crop, how)


def test_the_smallest_pictures_have_a_focus_too(cropper):
    for size in ((5, 5), (1, 1), (40, 2)):
        for crop in cropper.crop(picture(*size), ["20:1", "1:20", "1:1", "free"], focus=(1, 1)):
            assert crop.box[2] == size[0] and crop.box[3] == size[1]


def test_scores_of_any_boxes_match_those_of_the_crops(cropper):
    array = picture(320, 320)
    boxes = [[0, 0, 320, 320], [10, 20, 200, 300], [-5, 0, 100, 100]]
    scores = cropper.score(array, boxes)
    assert scores.dtype == np.float32 and scores.shape == (3,) and ((scores >= 1) & (scores <= 5)).all()
    np.testing.assert_allclose(cropper.score(array, boxes[::-1]), scores[::-1], atol=SCORE_TOLERANCE)
    assert cropper.score(array, np.zeros((0, 4))).shape == (0,)
    with pytest.raises(ValueError, match="x1 < x2"):
        cropper.score(array, [[5, 5, 5, 9]])


def test_proposals_are_in_picture_pixels_best_first(cropper):
    found = cropper.proposals(picture(640, 400))
    assert 0 < len(found) <= MAX_PROPOSALS
    assert [score for _, score, _ in found] == sorted((score for _, score, _ in found), reverse=True)
    for box, _, kind in found:
        assert kind in ("object", "face", "text") and 0 <= box[0] < box[2] <= 640 and 0 <= box[1] < box[3] <= 400


def with_a_face(look, box):
    """What is seen of pictures, with one sure face, box in fractions, and nothing else."""

    def looking(prepared):
        features, seen = look(prepared)
        height, width = features.size
        proposals, subjects = seen.proposals, seen.subjects
        scores = torch.zeros_like(proposals.scores)
        scores[:, 0] = 0.9
        boxes = proposals.boxes.clone()
        boxes[:, 0] = torch.tensor(box) * torch.tensor([width, height] * 2)
        face = torch.full_like(proposals.kinds, KINDS.index("face"))
        nothing = subjects._replace(subject=0 * subjects.subject, scores=0 * subjects.scores)
        lines = seen.lines and seen.lines._replace(scores=0 * seen.lines.scores)
        return features, Seen(Proposals(boxes, scores, face), nothing, seen.appeal, lines, None)

    return looking


def test_protected_face_is_held_whole_unless_told_otherwise(cropper, monkeypatch):
    array = picture(900, 300)
    no_taste = lambda features, proposals, boxes, circle=False: np.zeros(len(boxes))  # noqa: E731
    monkeypatch.setattr(cropper, "_score", no_taste)
    look, kept = cropper._look, 0
    for x in (0.02, 0.3, 0.6, 0.85):
        monkeypatch.setattr(cropper, "_look", with_a_face(look, (x, 0.3, x + 0.1, 0.6)))
        (crop,) = cropper.crop(array, ["1:1"])
        assert crop.box[0] <= x * 900 and crop.box[2] >= (x + 0.1) * 900 and not crop.cut and not crop.lost
        (free,) = cropper.crop(array, ["1:1"], protect="none")
        (text,) = cropper.crop(array, ["1:1"], protect="text")
        assert free.box == text.box and not free.lost  # no text here, and nothing to tell of
        kept += free.box[0] <= x * 900 and free.box[2] >= (x + 0.1) * 900
    assert kept < 4  # without protection the middle is as good as any


def test_what_a_crop_cuts_and_loses_is_told_in_pixels(cropper, monkeypatch):
    array, look = picture(900, 300), cropper._look
    monkeypatch.setattr(cropper, "_look", with_a_face(look, (0.4, 0.3, 0.6, 0.6)))
    (lost,) = cropper.crop(array, ["1:1"], focus=(0, 150), keep=(0, 0, 299, 299))
    assert [thing.kind for thing in lost.lost] == ["face"] and not lost.cut
    x1, y1, x2, y2 = lost.lost[0].box
    assert x1 <= 360 < 540 <= x2 and y1 <= 90 < 180 <= y2  # the face, grown to the head
    (cut,) = cropper.crop(array, ["1:1"], keep=(170, 0, 299, 299))
    assert [thing.kind for thing in cut.cut] == ["face"] and not cut.lost


def test_worth_never_rises_with_the_rank_and_the_focus_lies_inside(cropper):
    for ratio in ("1:1", "free", "16:9"):
        crops = cropper.crop(picture(640, 400), [ratio], top=4)
        worths = [crop.worth for crop in crops]
        assert worths == sorted(worths, reverse=True) and all(0 <= worth <= 1 for worth in worths)
        for crop in crops:
            x, y = crop.focus[0] * 640, crop.focus[1] * 400
            assert crop.box[0] <= x <= crop.box[2] and crop.box[1] <= y <= crop.box[3]


def test_a_ratio_has_the_same_crops_whichever_others_are_asked_for(cropper):
    for size in ((640, 400), (333, 500), (900, 300)):
        array = picture(*size)
        together = cropper.crop(array, ["16:9", "1:1", "4:5", "free"])
        alone = [cropper.crop(array, [ratio])[0] for ratio in ("16:9", "1:1", "4:5", "free")]
        assert [crop.box for crop in together] == [crop.box for crop in alone]


def test_a_ratio_that_is_named_twice_has_its_crops_once(cropper):
    twice = cropper.crop(picture(90, 60), ["1:1", "square", "free", "1x1"], top=2)
    assert twice == cropper.crop(picture(90, 60), ["1:1", "free"], top=2)


def test_argmax_search_gives_a_grid_anchor(tmp_path):
    cropper = Cropper(weights=make_weights(tmp_path), device="cpu", search=SearchConfig(method="argmax"))
    (crop,) = cropper.crop(picture(480, 480), protect="none")
    assert all(v % 40 == 20 for v in crop.box)  # bin centres of a 12x12 grid


def test_published_way_of_resizing_and_multiples_of_32():
    assert input_size(768, 512, 256) == (256, 384)
    assert input_size(500, 333, 256) == (256, 384) and input_size(512, 700, 256) == (352, 256)
    assert input_size(8000, 40, 256) == (64, 1024)
    step = np.zeros((4, 4, 3), np.uint8)
    step[:, 2:] = 200
    assert resize(step, (2, 2), antialias=False)[0].tolist() == [[0, 200], [0, 200]]
    wide = np.zeros((8, 8, 3), np.uint8)
    wide[:, 3] = 240
    assert resize(wide, (2, 2), antialias=False).max() == 0 < resize(wide, (2, 2), antialias=True).max()


def test_mos_scale_is_bounded():
    assert to_mos(np.array([0.0, 1.0, -9, 9])).tolist() == [2.95, 3.75, 1, 5]


def test_devices_precisions_and_proposals_that_are_not_there(tmp_path, monkeypatch):
    weights = make_weights(tmp_path)
    if not torch.cuda.is_available():
        for device in ("cuda", "cuda:1"):
            with pytest.raises(DeviceError, match="not there"):
                Cropper(weights=weights, device=device)
    with pytest.raises(DeviceError, match="no such device"):
        Cropper(weights=weights, device="nonesuch")
    with pytest.raises(ValueError, match="precision"):
        Cropper(weights=weights, device="cpu", precision="int8")
    with pytest.raises(ValueError, match="proposals"):
        Cropper(weights=weights, device="cpu", proposals="nonesuch")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with pytest.raises(WeightsError, match="downloads nothing"):
        Cropper(weights=weights, device="cpu", proposals="torchvision")


@pytest.mark.slow
def test_torchvision_proposals_come_from_a_cached_file(tmp_path, monkeypatch):
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    net = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    torch.save(net.state_dict(), folder / "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth")
    weights = make_weights(tmp_path)
    with pytest.raises(WeightsError, match="damaged"):
        Cropper(weights=weights, device="cpu", proposals="torchvision")
    monkeypatch.setattr(
        "s2crop.models.proposals.hashlib.sha256", lambda data: type("", (), {"hexdigest": lambda self: "907ea3f9"})()
    )
    cropper = Cropper(weights=weights, device="cpu", proposals="torchvision")
    monkeypatch.undo()
    assert cropper.crop(picture(200, 150), ["1:1"])[0].ratio == "1:1"
    assert all(kind == "object" for _, _, kind in cropper.proposals(picture(200, 150)))


def test_half_precision_chooses_as_full_does(cropper, tmp_path):
    half = Cropper(weights=make_weights(tmp_path), device="cpu", precision="bf16")
    array = picture(320, 200)
    boxes = [[0, 0, 320, 200], [10, 20, 200, 190]]
    np.testing.assert_allclose(half.score(array, boxes), cropper.score(array, boxes), atol=0.2)


class TestScoresThatAreNoNumbers:
    @pytest.fixture
    def half(self, small_weights):
        return Cropper(weights=small_weights, device="cpu", precision="bf16")

    @pytest.fixture
    def spoil(self, monkeypatch):
        """Makes no number of the score of one candidate of every picture, in the croppers that are taken."""

        def spoil(taken, value=np.nan):
            score = Cropper._score

            def spoilt(cropper, *given):
                found = score(cropper, *given)
                if taken(cropper):
                    found[len(found) // 2] = value
                return found

            monkeypatch.setattr(Cropper, "_score", spoilt)

        return spoil

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("method", ["expected", "argmax"])
    def test_in_half_precision_the_picture_is_scored_again_in_full(self, small_weights, spoil, value, method):
        search = SearchConfig(method=method)
        half = Cropper(weights=small_weights, device="cpu", precision="bf16", search=search)
        full = Cropper(weights=small_weights, device="cpu", precision="fp32", search=search)
        arrays = [picture(320, 200, 1), picture(320, 200, 2)]
        expected = [full.crop(array, ["16:9", "free"], top=2) for array in arrays]
        spoil(lambda cropper: cropper is half, value)
        request = CropRequest(ratios=(parse_ratio("16:9"), parse_ratio("free")), top=2)
        for found, wanted in zip(
            half.rank([half.prepare(Picture.open(a)) for a in arrays], request), expected, strict=True
        ):
            assert [(c.box, c.score, c.worth) for c in found] == [(c.box, c.score, c.worth) for c in wanted]

    def test_in_full_precision_too_it_is_that_picture_s_error(self, half, spoil):
        spoil(lambda cropper: True)
        with pytest.raises(InputError, match="score is not a number"):
            half.crop(picture(320, 200), ["16:9"])

    def test_others_of_the_batch_have_their_crops(self, cropper, monkeypatch):
        score, calls = Cropper._score, []

        def spoilt(own, features, proposals, boxes, circle=False):
            calls.append(len(calls))
            return score(own, features, proposals, boxes, circle) * (np.nan if len(calls) == 1 else 1)

        monkeypatch.setattr(Cropper, "_score", spoilt)
        prepared = [cropper.prepare(Picture.open(picture(320, 200, seed))) for seed in (1, 2)]
        bad, good = cropper.rank(prepared, CropRequest(ratios=(parse_ratio("16:9"),)))
        assert isinstance(bad, InputError) and len(good) == 1 and np.isfinite(good[0].score)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_scores_as_the_cpu_does(cropper, tmp_path):
    on_cuda = Cropper(weights=make_weights(tmp_path), device="cuda", precision="fp32")
    boxes = [[0, 0, 320, 200], [10, 20, 200, 190]]
    np.testing.assert_allclose(
        on_cuda.score(picture(320, 200), boxes), cropper.score(picture(320, 200), boxes), atol=1e-2
    )


def test_ratios_are_text(cropper):
    with pytest.raises(ValueError, match="is text"):
        cropper.crop(picture(90, 60), [1.5])


def test_public_names_are_those_promised():
    for name in ("Cropper", "load_model", "S2CropError", "InputError", "VideoError", "WeightsError", "OutputError"):
        assert hasattr(s2crop, name) and name in dir(s2crop)
    with pytest.raises(AttributeError):
        s2crop.nonesuch  # noqa: B018


@pytest.mark.parametrize(
    "wrong, told",
    [({"protect": "faces"}, "none, face, text"), ({"top": 0}, "top"), ({"top": 1.5}, "top"), ({"ratios": ()}, "ratios"),
     ({"ratios": ("1:1",)}, "parse_ratio"), ({"focus": (1, 2, 3)}, "focus"), ({"focus": ("a", "b")}, "focus"),
     ({"min_scale": 1.1}, "min_scale"), ({"min_scale": -0.1}, "min_scale"), ({"min_scale": "1"}, "min_scale"),
     ({"min_scale": float("nan")}, "min_scale"), ({"keep": (1, 2)}, "keep"),
     ({"keep": (0, 0, float("nan"), 1)}, "keep")],
)  # fmt: skip
def test_requests_that_make_no_sense(wrong, told):
    with pytest.raises(ValueError, match=told):
        CropRequest(**wrong)


def test_crops_keep_their_own_pixels_alone(tmp_path):
    photo = pictures.photo(320, 200)
    (tmp_path / "a.png").write_bytes(pictures.encoded(photo, "PNG"))
    picture = Picture.open(tmp_path / "a.png")
    crops = [Crop((0, 0, 160, 200), 3.0, "4:5", 1, picture), Crop((9, 9, 20, 30), 3.0, "free", 1, picture)]
    images = [crop.image for crop in crops]
    assert picture.decoded_bytes == 0 and crops[0].image is images[0]
    for crop, image in zip(crops, images, strict=True):
        assert image.tobytes() == photo.crop(crop.box).tobytes()
    with pytest.raises(ValueError, match="without its picture"):
        _ = Crop((0, 0, 9, 9), 3.0, "free", 1).image


def test_a_picture_in_the_place_of_the_one_that_was_cropped_is_not_shown(tmp_path):
    path = tmp_path / "a.bmp"
    path.write_bytes(pictures.encoded(pictures.photo(320, 200), "BMP"))
    os.utime(path, (1, 1))
    crop = Crop((0, 0, 160, 200), 3.0, "4:5", 1, Picture.open(path))
    path.write_bytes(pictures.encoded(pictures.photo(320, 200, noise=9), "BMP"))
    with pytest.raises(InputError, match="changed"):
        _ = crop.image


def test_an_image_of_the_callers_stays_as_it_is(cropper, tmp_path):
    pictures.photo(90, 60).save(tmp_path / "a.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    pictures.photo(90, 60).save(tmp_path / "b.png", exif=turned)
    for name, size in (("a.png", (90, 60)), ("b.png", (60, 90))):
        with Image.open(tmp_path / name) as image, Image.open(tmp_path / name) as plain:
            plain.load()
            (crop,) = cropper.crop(image, ["original"])
            assert crop.image.size == size and image.info == plain.info and image.size == plain.size
