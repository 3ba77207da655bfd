"""Panoramas, comics and long screenshots: looked at in windows, and cropped where there is something to see."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from s2crop.cropping import windows
from s2crop.cropping.request import Crop, CropRequest
from s2crop.errors import InputError
from s2crop.files.picture import Picture
from s2crop.geometry.ratio import parse_ratio

SHORT_SIDE = 256  # of the network's input


def panorama(width=4000, height=200):
    """Hills under a sky, 20:1, with a house and a person at seven tenths of the length."""
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 12, width)[None]
    sky = np.stack([120 + 90 * y + 0 * x, 160 + 60 * y + 0 * x, 220 - 10 * y + 0 * x], axis=-1)
    grass = np.stack([70 + 30 * np.sin(x) + 0 * y, 110 + 20 * np.sin(2 * x) + 0 * y, 60 + 0 * x + 0 * y], axis=-1)
    hills = np.where((y > 0.65 + 0.06 * np.sin(1.3 * x))[..., None], grass, sky)
    image = Image.fromarray(hills.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.rectangle((2790, 87, 2880, 153), fill=(200, 60, 50))
    draw.polygon([(2780, 87), (2835, 43), (2890, 87)], fill=(90, 40, 30))
    draw.ellipse((2905, 100, 2918, 113), fill=(230, 180, 150))
    draw.rectangle((2903, 113, 2920, 153), fill=(20, 40, 160))
    return image


HOUSE, PERSON = (2780, 43, 2890, 153), (2903, 100, 2920, 153)


def share(box, thing=(2780, 43, 2920, 153)):
    """How much of a thing a crop holds, such as the house and the person."""
    sides = np.minimum(box[2:], thing[2:]) - np.maximum(box[:2], thing[:2])
    return float(sides.clip(min=0).prod() / np.prod(np.subtract(thing[2:], thing[:2])))


@settings(max_examples=200, deadline=None)
@given(st.integers(32, 700), st.floats(1, 300), st.booleans())
def test_windows_cover_the_picture_and_overlap_by_more_than_a_crop(short, elongation, is_tall):
    size_wh = (short, round(short * elongation)) if is_tall else (round(short * elongation), short)
    long, along = max(size_wh), int(is_tall)
    places = windows.places(*size_wh, SHORT_SIDE)
    assert bool(places) == (long > 4 * short) and len(places) <= windows.MOST
    if places:
        starts, ends = [box[along] for box in places], [box[2 + along] for box in places]
        assert starts[0] == 0 and ends[-1] == long
        assert all(box[1 - along] == 0 and box[3 - along] == short for box in places)
        overlaps = [end - start for start, end in zip(starts[1:], ends[:-1], strict=True)]
        assert all(overlap >= windows.OVERLAP * short - 1 for overlap in overlaps)
        assert max(end - start for start, end in zip(starts, ends, strict=True)) <= max(4 * short + 1, long)


@pytest.mark.parametrize("is_tall", [False, True])
def test_crops_of_a_long_picture_show_what_is_in_it(shipped_cropper, is_tall):
    image = panorama()
    ratios = ["1:1", "16:9", "9:16"]
    if is_tall:  # the same, stood on its end
        image = image.transpose(Image.Transpose.TRANSPOSE)
    crops = shipped_cropper.crop(image, ratios=ratios)
    assert [crop.ratio for crop in crops] == ratios
    for crop in crops:
        box = np.array(crop.box)[[1, 0, 3, 2]] if is_tall else np.array(crop.box)
        narrow = crop.ratio == ("16:9" if is_tall else "9:16")
        whole = max(share(box, HOUSE), share(box, PERSON)) if narrow else share(box)  # one of them fits, or both
        assert whole > 0.9, crop


def test_several_crops_are_distinct_and_ranked_by_worth(shipped_cropper):
    crops = shipped_cropper.crop(panorama(), ratios=["1:1"], top=5)
    assert [crop.rank for crop in crops] == [1, 2, 3, 4, 5]
    assert [crop.worth for crop in crops] == sorted((crop.worth for crop in crops), reverse=True)
    assert share(np.array(crops[0].box)) > 0.9 and len({crop.box for crop in crops}) == 5


def test_any_box_is_scored_in_the_window_in_whose_middle_it_lies(shipped_cropper):
    (crop,) = shipped_cropper.crop(panorama(), ratios=["1:1"])
    there, nowhere = shipped_cropper.score(panorama(), [crop.box, (1000, 0, 1200, 200)])
    assert there == pytest.approx(crop.score, abs=0.4)  # it was chosen in another window, perhaps
    assert there > nowhere + 0.5


def test_what_is_required_is_held_wherever_it_is(shipped_cropper):
    ends = [box[2] for box in windows.places(4000, 200, 256)]  # a pixel there is the first behind a window
    for focus in ((0.01, 0.5), (0.5, 0.5), (0.999, 0.5), (1, 0.5), (3999, 199), (ends[0], 9), (ends[1] / 4000, 0.5)):
        (crop,) = shipped_cropper.crop(panorama(), ratios=["1:1"], focus=focus)
        place = focus[0] * 4000 if max(focus) <= 1 else focus[0]
        assert crop.box[0] <= min(place, 3999) < crop.box[2]
    with pytest.raises(InputError, match="too large"):
        shipped_cropper.crop(panorama(), ratios=["1:1"], keep=(0, 0, 0.5, 1))


def test_with_pads_always_a_long_picture_is_kept_whole_too(shipped_cropper):
    padded, free = shipped_cropper.crop(panorama(), ratios=["1:1", "free"], top=1, pad="always")
    assert padded.box == (0, 0, 4000, 200) and padded.padded == (0, 1900, 0, 1900) and free.padded is None
    assert len(shipped_cropper.crop(panorama(), ratios=["1:1"], top=3, pad="always")) == 1
    (auto,) = shipped_cropper.crop(panorama(), ratios=["1:1"], pad="auto")
    assert auto.box != padded.box


def test_long_ratios_and_the_free_one_are_taken_from_the_whole(shipped_cropper):
    for crop in shipped_cropper.crop(panorama(), ratios=["free", "original", "10:1"]):
        assert crop.box[2] - crop.box[0] > 1000


def test_a_long_picture_between_bars_is_looked_at_in_windows_too(shipped_cropper):
    framed = Image.new("RGB", (4000, 320), "black")
    framed.paste(panorama(), (0, 60))
    (crop,) = shipped_cropper.crop(framed, ratios=["1:1"])
    assert crop.box[1] >= 60 and crop.box[3] <= 260 and share(np.array(crop.box) - [0, 60, 0, 60]) > 0.9


def test_a_long_picture_shows_the_same_things_in_any_company(shipped_cropper):
    thin = panorama().resize((640, 31))  # not looked at in windows, and as large to the network as a panorama's whole
    pano, thin = (shipped_cropper.prepare(Picture.open(image)) for image in (panorama(), thin))
    assert pano.windows and not thin.windows and pano.shape == thin.shape
    request = CropRequest(ratios=(parse_ratio("free"), parse_ratio("1:1")))
    (alone,), (alone_found,) = shipped_cropper.rank_and_propose([pano], request)
    (_, crops), (_, found) = shipped_cropper.rank_and_propose([thin, pano], request)
    assert [crop.box for crop in crops] == [crop.box for crop in alone] and alone_found
    assert [kind for *_, kind in found] == [kind for *_, kind in alone_found]
    np.testing.assert_allclose([box for box, *_ in found], [box for box, *_ in alone_found], atol=0.1)


def test_crops_of_windows_are_merged_by_the_scores_of_the_windows():
    def crop(x, score, worth):
        return Crop((x, 0, x + 10, 10), score, "1:1", 1, worth=worth)

    dull, good = [crop(0, 1.0, 0.9), crop(3, 1.0, 0.8)], [crop(20, 3.0, 0.5), crop(26, 2.9, 0.4), crop(20, 2.8, 0.3)]
    found = windows.merged([dull, good], 3, 0.5)
    assert [one.box[0] for one in found] == [20, 26, 0] and [one.rank for one in found] == [1, 2, 3]
    assert found[0].worth == pytest.approx(0.5 / (1 + np.exp(-4)))
