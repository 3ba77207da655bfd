"""When a crop misses what matters, and the box that is filled up in its place."""

import numpy as np
import pytest
from PIL import Image

from s2crop.cropping.content import Content
from s2crop.cropping.padding import HELD, MARGIN, MATTERS, fits, largest_around, misses, needed, padded_box, replaces
from s2crop.cropping.request import CropRequest
from s2crop.errors import InputError

SIZE = 1600, 900
NOTHING = np.zeros((0, 4)), np.zeros(0)


def content(heads=(), texts=(), subject=None, score=0.9):
    """What was found in a picture of SIZE: boxes in pixels, a subject that fills a box."""
    parts = {
        part: (np.array(boxes, float) / np.tile(SIZE, 2), np.full(len(boxes), score)) if boxes else NOTHING
        for part, boxes in (("head", heads), ("text", texts))
    }
    mask = np.zeros((45, 80), np.float32)
    if subject:
        x1, y1, x2, y2 = (round(edge / 20) for edge in subject)
        mask[y1:y2, x1:x2] = 1
    return Content(
        SIZE, mask, np.full((9, 16), 1 / 144), np.zeros((2, 9, 16)), parts | {"eyes": NOTHING, "person": NOTHING}
    )


def missed(found, box, protect="all", circle=False):
    return bool(misses(found, np.array([box], float), protect, circle)[0])


def test_a_head_that_is_cut_or_left_out_is_missed_and_a_sliver_is_not():
    one = content(heads=[(700, 200, 900, 450)])
    assert not missed(one, (350, 0, 1250, 900))
    assert missed(one, (800, 0, 1600, 900)) and missed(one, (950, 0, 1600, 900))
    assert not missed(one, (715, 0, 1600, 900))  # 7 % of it
    assert not missed(one, (950, 0, 1600, 900), protect="text")


def test_small_or_doubtful_things_do_not_matter():
    assert not missed(content(heads=[(10, 10, 40, 45)]), (800, 0, 1600, 900))
    assert not missed(content(heads=[(10, 10, 300, 350)], score=0.35), (800, 0, 1600, 900))
    assert missed(content(texts=[(10, 10, 500, 90)]), (800, 0, 1600, 900))
    assert not missed(content(texts=[(10, 10, 40, 18)]), (800, 0, 1600, 900))
    large = [(10, 10, 700, 200)]
    assert missed(content(texts=large, score=0.41), (800, 0, 1600, 900))
    assert not missed(content(texts=large, score=0.39), (800, 0, 1600, 900)), "nobody is told of it either"


def test_of_a_crowd_no_head_matters_by_itself():
    row = [(90 * i, 100, 90 * i + 85, 200) for i in range(17)]
    assert missed(content(heads=row[:12]), (0, 0, 900, 900))
    assert not missed(content(heads=row), (0, 0, 900, 900))
    assert needed(content(heads=row), "all", HELD) is None


def test_heads_in_front_of_a_crowd_are_of_it():
    front = [(90 * i, 700, 90 * i + 85, 800) for i in range(12)]
    small = [(40 * i, 40 * j, 40 * i + 38, 40 * j + 38) for i in range(20) for j in range(2)]
    assert missed(content(heads=front + small[:20]), (0, 0, 900, 900))
    assert not missed(content(heads=front + small), (0, 0, 900, 900))
    assert needed(content(heads=front + small), "face", HELD) is None


def test_a_subject_matters_where_much_of_it_is_cut_off():
    car = content(subject=(200, 300, 1400, 700))
    assert missed(car, (350, 0, 1250, 900)), "both sides run through it"
    assert missed(car, (0, 0, 800, 900)) and not missed(car, (200, 0, 1600, 900))
    assert not missed(car, (0, 0, 1300, 900)), "a twelfth of it"
    assert not missed(car, (0, 0, 800, 900), protect="face")
    assert not missed(content(), (0, 0, 100, 100))


def test_no_subject_is_given_up_for_a_text():
    bird, mark = (100, 200, 600, 800), (1150, 820, 1500, 870)
    best, others = np.array([0, 0, 900, 900.0]), np.array([[650, 0, 1550, 900], [520, 0, 1420, 900.0]])
    found = content(texts=[mark], subject=bird)
    assert missed(found, best) and not missed(found, others[0])
    assert not replaces(found, others, best, "all").any()
    assert replaces(found, others, best, "text").tolist() == [True, False]
    assert replaces(content(texts=[mark]), others, best, "all").tolist() == [True, False]
    small = content(texts=[mark], subject=(500, 200, 700, 800))  # a quarter of it is outside of the other crop
    assert not replaces(small, np.array([[550, 0, 1550, 900.0]]), best, "all").any()
    assert replaces(small, np.array([[530, 0, 1530, 900.0]]), best, "all").all()


def test_circles_hold_less():
    one = content(heads=[(360, 10, 560, 160)])  # in the corner of a square crop
    assert not missed(one, (350, 0, 1250, 900)) and missed(one, (350, 0, 1250, 900), circle=True)
    whole = content(subject=(400, 40, 1200, 860))
    assert not missed(whole, (350, 0, 1250, 900)) and not missed(whole, (350, 0, 1250, 900), circle=True)
    assert missed(content(subject=(0, 0, 1600, 900)), (350, 0, 1250, 900), circle=True)


def test_what_is_needed_lies_in_one_box():
    found = content(heads=[(100, 100, 300, 350)], texts=[(900, 700, 1500, 800)], subject=(400, 200, 800, 600))
    assert needed(found, "all", MATTERS).tolist() == pytest.approx([100, 100, 1500, 800])
    assert needed(found, "face", MATTERS).tolist() == pytest.approx([100, 100, 300, 350])
    assert needed(content(), "all", MATTERS) is None and needed(found, "none", MATTERS) is None
    small = content(heads=[(100, 100, 190, 200)], score=0.5)
    assert needed(small, "all", MATTERS) is None and needed(small, "all", HELD) is not None


def test_the_box_is_the_smallest_that_holds_it_with_margins():
    need = np.array([300, 200, 1300, 700.0])
    margin = MARGIN * 1600
    assert padded_box(need, SIZE, 1.0).tolist() == pytest.approx([300 - margin, 0, 1300 + margin, 900])
    assert padded_box(np.array([0, 200, 1000, 700.0]), SIZE, 1.0).tolist() == pytest.approx([0, 0, 1064, 900])
    tall = padded_box(np.array([700, 100, 900, 800.0]), SIZE, 16 / 5)
    assert tall.tolist() == pytest.approx([0, 100 - margin, 1600, 800 + margin])


def test_pads_are_never_a_thread_and_no_sliver_of_the_picture_is_left_out():
    x1, y1, x2, y2 = padded_box(np.array([400, 0, 1305, 900.0]), (4000, 900), 1.0)
    assert x2 - x1 >= 900 * 1.08 - 1e-6 and (y1, y2) == (0, 900)
    assert padded_box(np.array([90, 0, 1580, 900.0]), SIZE, 1.0).tolist() == [0, 0, 1600, 900]


def test_in_a_circle_the_box_is_as_near_to_a_square_as_it_can_be():
    x1, y1, x2, y2 = padded_box(np.array([700, 200, 900, 700.0]), SIZE, 1.0, circle=True)
    assert x2 - x1 == pytest.approx(y2 - y1) == pytest.approx(500 + 2 * MARGIN * 1600)
    wide = padded_box(np.array([100, 400, 1500, 500.0]), SIZE, 1.0, circle=True)
    assert wide[3] - wide[1] == 900


def test_a_crop_of_the_ratio_that_holds_it_needs_no_pads():
    need = np.array([1000, 100, 1700 - 100, 800.0])
    assert fits(need, SIZE, 1.0) and not fits(np.array([0, 0, 1000, 10.0]), SIZE, 1.0)
    assert largest_around(need, SIZE, 1.0).tolist() == [700, 0, 1600, 900]


def test_a_request_with_an_unknown_pad():
    with pytest.raises(ValueError, match="never, auto, always"):
        CropRequest(pad="sometimes")


@pytest.mark.slow
class TestCropper:
    """With the shipped weights."""

    def picture(self, name):
        from golden_examples import EXAMPLES

        return EXAMPLES / name

    def test_a_headline_and_its_presenter_are_filled_up_and_nothing_of_them_is_lost(self, shipped_cropper):
        news, ratios = self.picture("news.jpg"), ["1:1", "4:5", "16:9", "free", "original"]
        plain = shipped_cropper.crop(news, ratios)
        auto = shipped_cropper.crop(news, ratios, pad="auto", pad_with="#000000")
        assert all(crop.cut or crop.lost for crop in plain[:2]), "or else there is nothing to show"
        assert all(crop.padded and not crop.cut and not crop.lost for crop in auto[:2])
        assert [crop.box for crop in auto[2:]] == [crop.box for crop in plain[2:]]
        assert all(crop.padded is None for crop in auto[2:])
        square = auto[0].image
        assert abs(square.width - square.height) <= 1 and square.getpixel((square.width // 2, 2)) == (0, 0, 0)
        x1, y1, x2, y2 = auto[0].box
        left, top, right, bottom = auto[0].padded
        inside = square.crop((left, top, square.width - right, square.height - bottom))
        with Image.open(news) as whole:
            assert inside.tobytes() == whole.crop((x1, y1, x2, y2)).tobytes()

    @pytest.mark.parametrize("name", ["group.jpg", "landscape.jpg", "phone.jpg", "news.jpg"])
    def test_what_crops_well_is_left_as_it_is(self, shipped_cropper, name):
        ratios = ["1:1", "16:9", "4:5", "9:16"]
        for one, other in zip(
            shipped_cropper.crop(self.picture(name), ratios),
            shipped_cropper.crop(self.picture(name), ratios, pad="auto"),
            strict=True,
        ):
            if not one.cut and not one.lost:
                assert one == other

    def test_always_is_the_whole_picture_once(self, shipped_cropper):
        crops = shipped_cropper.crop(self.picture("group.jpg"), ["1:1", "3:2", "free"], top=3, pad="always")
        assert [(crop.ratio, crop.rank) for crop in crops if crop.ratio != "free"] == [("1:1", 1), ("3:2", 1)]
        assert crops[0].box == (0, 0, 1200, 800) and crops[0].padded == (0, 200, 0, 200)
        assert crops[1].box == (0, 0, 1200, 800) and crops[1].padded is None
        (alone,) = shipped_cropper.score(self.picture("group.jpg"), [crops[0].box])
        assert crops[0].score == pytest.approx(alone, abs=0.01)

    def test_the_filled_up_crop_leads_and_the_others_follow(self, shipped_cropper):
        crops = shipped_cropper.crop(self.picture("news.jpg"), ["1:1"], top=3, pad="auto")
        assert [crop.rank for crop in crops] == [1, 2, 3]
        assert [crop.padded is not None for crop in crops] == [True, False, False]
        assert crops[0].worth >= crops[1].worth >= crops[2].worth

    def test_what_must_be_kept_and_does_not_fit_is_filled_up(self, shipped_cropper):
        asked = {"ratios": ["1:1"], "keep": (0.02, 0.3, 0.96, 0.3), "protect": "none"}
        with pytest.raises(InputError, match="too large"):
            shipped_cropper.crop(self.picture("landscape.jpg"), **asked)
        (crop,) = shipped_cropper.crop(self.picture("landscape.jpg"), **asked, pad="auto", min_scale=1.0)
        assert crop.box[0] <= 24 and crop.box[2] >= 1176 and crop.padded is not None
        (crop,) = shipped_cropper.crop(self.picture("landscape.jpg"), **asked, pad="always")
        assert crop.box == (0, 0, 1200, 800)

    def test_between_bars_too(self, shipped_cropper):
        with Image.open(self.picture("news.jpg")) as news:
            boxed = Image.new("RGB", (1280, 1000))
            boxed.paste(news, (0, 140))
        (crop,) = shipped_cropper.crop(boxed, ["1:1"], pad="always")
        assert crop.box[0] == 0 and crop.box[2] == 1280 and abs(crop.box[1] - 140) <= 3 and crop.padded is not None
        (crop,) = shipped_cropper.crop(boxed, ["1:1"], pad="always", keep_bars=True)
        assert crop.box == (0, 0, 1280, 1000)

    def test_circles(self, shipped_cropper):
        (crop,) = shipped_cropper.crop(self.picture("news.jpg"), ["1:1"], pad="auto", circle=True)
        left, top, right, bottom = crop.padded
        width, height = crop.box[2] - crop.box[0], crop.box[3] - crop.box[1]
        assert left + width + right == top + height + bottom >= np.hypot(width, height)
        assert not crop.cut and not crop.lost
