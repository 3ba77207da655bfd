"""Bars of stills: found where there are some, and not where a picture is dark or white at its edges."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

import pictures
from commands import records
from s2crop.cli import loading
from s2crop.cropping.request import CropRequest
from s2crop.files.bars import find_bars
from s2crop.files.picture import Picture
from s2crop.geometry.ratio import parse_ratio


def noisy(image, sigma, seed=0):
    values = np.asarray(image, float)
    return (values + np.random.default_rng(seed).normal(0, sigma, values.shape)).clip(0, 255).astype(np.uint8)


def on_page(photo, size, colour, at):
    page = Image.new("RGB", size, colour)
    page.paste(photo, at)
    return page


def as_jpeg(image, quality):
    return np.asarray(pictures.decoded(pictures.encoded(image, quality=quality, subsampling="4:2:0")).convert("RGB"))


PHOTO = Image.fromarray(noisy(pictures.photo(320, 180), 6))


def whole(image):
    pixels = np.asarray(image)
    return (0, 0, pixels.shape[1], pixels.shape[0])


GREYS = [(16, 16, 16), (36, 36, 40), (128, 128, 128), (245, 245, 245)]


@pytest.mark.parametrize("colour", ["black", "white", *GREYS])
@pytest.mark.parametrize(
    "size, at",
    [((320, 240), (0, 30)), ((400, 180), (40, 0)), ((420, 260), (50, 40)), ((320, 500), (0, 120))],
    ids=["top and bottom", "left and right", "all around", "unequal"],
)
def test_bars_are_found_to_the_line(colour, size, at):
    found = find_bars(np.asarray(on_page(PHOTO, size, colour, at)))
    assert found == (at[0], at[1], at[0] + 320, at[1] + 180)


def test_a_frame_is_found_beside_a_white_sky_that_runs_into_it():
    photo = np.asarray(PHOTO).copy()
    photo[10:80, 250:] = 255  # four tenths of the right edge
    found = find_bars(np.asarray(on_page(Image.fromarray(photo), (420, 260), "white", (50, 40))))
    assert found == (50, 40, 370, 220)


@pytest.mark.parametrize("quality", [95, 75])
@pytest.mark.parametrize("at, size", [((0, 37), (320, 254)), ((43, 0), (406, 180))])
def test_jpeg_blurs_the_edge_by_lines_only(quality, at, size):
    found = find_bars(as_jpeg(on_page(PHOTO, size, "black", at), quality))
    assert np.abs(np.subtract(found, (at[0], at[1], at[0] + 320, at[1] + 180))).max() <= 3


@pytest.mark.parametrize("colour", GREYS)
@pytest.mark.parametrize("size, at", [((480, 400), (0, 65)), ((640, 270), (80, 0)), ((600, 390), (60, 60))])
def test_noise_and_jpeg_in_bars_are_passed_over(colour, size, at):
    page = noisy(on_page(PHOTO.resize((480, 270)), size, colour, at), 3)
    seen = Picture.open(pictures.encoded(Image.fromarray(page), quality=75, subsampling="4:2:0")).reduced(180)
    place = np.array([at[0], at[1], at[0] + 480, at[1] + 270]) * len(seen) / size[1]
    assert np.abs(find_bars(seen) - place).max() <= 3


def test_lettering_in_the_bars_of_a_telephone_is_passed_over():
    page = on_page(PHOTO, (320, 700), "black", (0, 260))
    draw = ImageDraw.Draw(page)
    draw.text((20, 15), "12:30", fill="white")
    draw.text((40, 660), "Like   Comment   Share", fill="white")
    assert find_bars(np.asarray(page)) == (0, 260, 320, 440)


def night(noise):
    y = np.linspace(0, 1, 240)[:, None, None]
    sky = np.broadcast_to(3 + 60 * y**3, (240, 360, 3)).copy()
    rng = np.random.default_rng(1)
    sky[rng.integers(0, 150, 60), rng.integers(0, 360, 60)] = 220  # stars
    sky[200:] = 4  # a dark ridge
    return noisy(sky, noise)


def product(corner):
    """A bottle, or a box with round corners, on the white of a studio, with its shadow."""
    page = Image.new("RGB", (360, 360), "white")
    draw = ImageDraw.Draw(page)
    draw.ellipse((90, 290, 270, 320), fill=(225, 225, 225))
    draw.rounded_rectangle((110, 60, 250, 305), corner, fill=(40, 90, 150))
    draw.rectangle((160, 30, 200, 62), fill=(40, 40, 40))
    return page


@pytest.mark.parametrize(
    "image",
    [
        night(0), night(2),
        product(30), product(4),
        pictures.photo(320, 200),
        Image.new("RGB", (200, 100)), Image.new("RGB", (200, 100), "white"),
        on_page(PHOTO, (320, 240), "black", (0, 0)),  # a bar at one side only
        on_page(PHOTO, (320, 240), (120, 30, 30), (0, 30)),  # no black, white or grey
        on_page(PHOTO, (320, 184), "black", (0, 2)),  # too thin
        Image.new("RGB", (1, 1)), Image.new("RGB", (5, 3000)),
    ],
    ids=["night", "noisy night", "bottle", "box", "photo", "black", "white", "one side", "red", "thin", "dot", "line"],
)  # fmt: skip
def test_dark_skies_white_studios_and_others_have_none(image):
    assert find_bars(np.asarray(image)) == whole(image)


def drawing(kind, ground):
    """A drawing with margins, in a frame of its own, at the size of thumbnails."""
    page, ink = Image.new("RGB", (380, 256), ground), "white" if sum(ground) < 380 else "black"
    draw = ImageDraw.Draw(page)
    box = (38, 26, 342, 230)
    if kind == "curve":
        draw.rectangle(box, outline=ink)
        draw.line([(x, 128 + 70 * np.sin(x / 25)) for x in range(38, 342)], fill=(200, 30, 30), width=2)
    elif kind == "grid":
        for x in range(38, 343, 16):
            draw.line((x, 26, x, 230), fill="grey")
        for y in range(26, 231, 12):
            draw.line((38, y, 342, y), fill="grey")
    else:
        draw.rectangle(box, outline=ink, width=4)
        draw.text((60, 110), "A framed text", fill=ink, font_size=30)
    return page


@pytest.mark.parametrize("ground", [(255, 255, 255), (235, 235, 235), (40, 44, 52), (0, 0, 0)])
@pytest.mark.parametrize("kind", ["curve", "grid", "text"])
def test_drawings_with_margins_are_no_framed_pictures(kind, ground):
    page = drawing(kind, ground)
    assert find_bars(np.asarray(page)) == whole(page)


def test_lights_along_a_dark_shore_are_no_letterbox():
    page = on_page(Image.fromarray(noisy(pictures.photo(400, 40), 6)), (400, 256), (5, 5, 8), (0, 110))
    assert find_bars(np.asarray(page)) == whole(page)


@pytest.mark.parametrize("grey", [40, 128, 215, 245])
def test_products_on_a_grey_ground_are_no_framed_pictures(grey):
    for corner in (0, 4, 30):
        ground = Image.new("RGB", (360, 360), (grey,) * 3)
        item = np.asarray(product(corner)).astype(int) + grey - 255
        assert find_bars(np.asarray(item.clip(0, 255).astype(np.uint8))) == whole(ground)


@pytest.mark.parametrize("lettered", [False, True])
def test_signs_and_logos_on_a_ground_are_no_framed_pictures(lettered):
    page = Image.new("RGB", (300, 300), "white")
    draw = ImageDraw.Draw(page)
    draw.rectangle((15, 120, 284, 179), fill=(200, 20, 30))
    if lettered:
        draw.text((40, 130), "A SIGN", fill="white", font_size=40)
    assert find_bars(np.asarray(page)) == whole(page)


def test_lamp_and_its_mirror_image_in_the_dark_are_no_letterbox():
    pixels = night(0)
    y, x = np.mgrid[0:240, 0:360]
    glow = 200 * np.exp(-((y - 120) ** 2) / 1800 - (x - 180) ** 2 / 9000)
    assert find_bars((glow[..., None] * np.ones(3)).clip(0, 255).astype(np.uint8)) == whole(pixels)


def test_turned_pictures_have_turned_bars():
    page = np.asarray(on_page(PHOTO, (420, 260), "white", (50, 40)))
    x1, y1, x2, y2 = find_bars(page)
    assert find_bars(np.ascontiguousarray(page.transpose(1, 0, 2))) == (y1, x1, y2, x2)


# What the cropper makes of them, with the shipped weights.

RATIOS = ["16:9", "1:1", "9:16", "free"]


def letterboxed(colour="black"):
    """A JPEG of 1600x1500, and where in it the picture is."""
    photo = Image.fromarray(noisy(pictures.photo(1600, 900), 6))
    return pictures.encoded(on_page(photo, (1600, 1500), colour, (0, 300)), quality=88), (0, 300, 1600, 1200)


def holds(outer, box):
    return outer[0] <= box[0] and outer[1] <= box[1] and box[2] <= outer[2] and box[3] <= outer[3]


@pytest.mark.parametrize("colour", ["black", "white"])
def test_crops_lie_between_the_bars_and_are_in_pixels_of_the_picture(shipped_cropper, colour):
    page, place = letterboxed(colour)
    for crop in shipped_cropper.crop(page, RATIOS, top=2):
        assert holds(place, crop.box)
        edge = np.asarray(crop.image.convert("RGB"), int)[[0, -1]]
        assert (np.abs(edge - (0 if colour == "black" else 255)).max(axis=-1) > 24).mean(axis=1).min() > 0.5
        assert place[1] / 1500 <= crop.focus[1] <= place[3] / 1500
        for thing in crop.cut + crop.lost:
            assert holds(np.add(place, [-3, -3, 3, 3]), thing.box)
    (wide,) = shipped_cropper.crop(page, ["16:9"])
    assert wide.box[2] - wide.box[0] > 1200


def test_bars_are_picture_for_the_ratio_original_and_when_asked_for(shipped_cropper):
    page, place = letterboxed()
    mixed = shipped_cropper.crop(page, ["original", "1:1"])
    assert [crop.ratio for crop in mixed] == ["original", "1:1"]
    alone = shipped_cropper.crop(page, ["original"]) + shipped_cropper.crop(page, ["1:1"])
    kept = shipped_cropper.crop(page, ["original", "1:1"], keep_bars=True)
    assert mixed == alone and mixed[0].box == kept[0].box
    assert holds(place, mixed[1].box) and not holds(place, kept[1].box)


def test_what_must_be_held_may_lie_in_a_bar(shipped_cropper):
    page, place = letterboxed()
    (inside,) = shipped_cropper.crop(page, ["1:1"], focus=(200, 700))
    assert holds(place, inside.box) and holds(inside.box, (200, 700, 201, 701))
    (in_fractions,) = shipped_cropper.crop(page, ["1:1"], focus=(200 / 1600, 700 / 1500))
    assert in_fractions.box == inside.box
    place = shipped_cropper.prepare(Picture.open(page)).inside.box
    for y in (place[1], place[3] - 1):  # the first and the last line of what is looked at
        (inside,) = shipped_cropper.crop(page, ["1:1"], focus=(200, y))
        assert holds(place, inside.box) and holds(inside.box, (200, y, 201, y + 1))
    (below,) = shipped_cropper.crop(page, ["1:1"], focus=(200, place[3]))
    assert holds(below.box, (200, place[3], 201, place[3] + 1))
    (across,) = shipped_cropper.crop(page, ["1:1"], keep=(100, 200, 300, 400))
    assert holds(across.box, (100, 200, 400, 600))
    (tall,) = shipped_cropper.crop(page, ["1:1"], keep=(300, 320, 1000, 860))  # too wide for a square between the bars
    assert holds(tall.box, (300, 320, 1300, 1180))


def test_a_ratio_that_does_not_fit_between_bars_moves_no_other(shipped_cropper):
    page, place = letterboxed()
    keep = (300, 320, 1000, 860)  # too wide for a square between the bars
    (alone,) = shipped_cropper.crop(page, ["16:9"], keep=keep)
    beside, square = shipped_cropper.crop(page, ["16:9", "1:1"], keep=keep)
    assert beside.box == alone.box and holds(place, beside.box) and not holds(place, square.box)


def test_heatmaps_cover_what_was_looked_at(shipped_cropper):
    page, place = letterboxed()
    prepared = shipped_cropper.prepare(Picture.open(page))
    request = CropRequest(ratios=(parse_ratio("1:1"),))
    ((crop,),), (proposals,) = shipped_cropper.rank_and_propose([prepared], request)
    assert all(holds(np.add(prepared.inside.box, [-1, -1, 1, 1]), box) for box, _, _ in proposals)
    (heat, *_) = shipped_cropper.heatmaps_prepared(prepared, crop.box)
    assert heat.place == prepared.inside.box
    (heat, *_) = shipped_cropper.heatmaps_prepared(prepared, (0, 0, 1600, 1500))
    assert heat.place == (0, 0, 1600, 1500)
    (heat, *_) = shipped_cropper.heatmaps_prepared(prepared, crop.box, keep_bars=True)
    assert heat.place == (0, 0, 1600, 1500)


def test_a_box_between_bars_has_the_score_of_a_crop_there(shipped_cropper):
    page, place = letterboxed()
    crops = shipped_cropper.crop(page, ["1:1", "16:9"])
    boxes = [crop.box for crop in crops]
    assert shipped_cropper.score(page, boxes) == pytest.approx([crop.score for crop in crops], abs=0.01)
    between, across = shipped_cropper.score(page, [boxes[0], (0, 0, 1600, 1500)])
    assert between == pytest.approx(crops[0].score, abs=0.01) and 1 <= across <= 5


@pytest.mark.parametrize("image", [night(2), np.asarray(product(30))], ids=["night", "studio"])
def test_night_skies_and_white_studios_are_cropped_as_they_are(shipped_cropper, image):
    page = Image.fromarray(image).resize((1440, 960))
    assert shipped_cropper.prepare(Picture.open(page)).inside is None
    assert shipped_cropper.crop(page, RATIOS) == shipped_cropper.crop(page, RATIOS, keep_bars=True)


def test_the_ground_of_a_transparent_picture_is_no_bar(shipped_cropper):
    logo = Image.new("RGBA", (600, 400))
    logo.paste(PHOTO.convert("RGBA"), (140, 110))
    opaque = Image.alpha_composite(Image.new("RGBA", logo.size, "black"), logo)
    for image, has_bars in ((logo, False), (opaque, True)):
        prepared = shipped_cropper.prepare(Picture.open(pictures.encoded(image, "PNG"), ground="black"))
        assert (prepared.inside is not None) == has_bars


def test_the_command_crops_bars_away_unless_told(folder, monkeypatch, shipped_cropper):
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: shipped_cropper)
    page, place = letterboxed()
    (folder / "a.jpg").write_bytes(page)
    (record,) = records("a.jpg", "-a", "1:1", "-o", "out")
    assert holds(place, record["box"]) and Image.open(folder / record["output"]).size[0] <= 900
    (record,) = records("a.jpg", "-a", "1:1", "-o", "kept", "--keep-bars")
    assert not holds(place, record["box"])
    assert (folder / "kept").exists()
