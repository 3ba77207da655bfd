"""Crops that are filled up to a ratio: where the pads lie, what fills them, and what the command makes of it."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import clips
from commands import draw, files, records, s2crop, usage_error
from pictures import cmyk_profile, grey_profile, p3_profile
from s2crop.errors import OutputError
from s2crop.files import pixels
from s2crop.files.encode import encode
from s2crop.files.pad import BRIGHTNESS, checked, padded
from s2crop.files.sizes import Size, layout
from s2crop.geometry.pads import pads_around, pads_in
from s2crop.geometry.ratio import parse_ratio
from scenes import scene

MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "I;16")
FILLS = ("blur", "edge", "transparent", "#c83219", "white")
PADS = (5, 9, 4, 0)  # left, top, right, bottom

sides = st.integers(1, 5000)


def photo_in(mode, size_wh=(40, 24)):
    """Noise in a mode; 16-bit values of which 8 bits would keep none, and alpha at every level."""
    rng = np.random.default_rng(3)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, size_wh[::-1], np.uint16))
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size_wh, rng.integers(0, 256, (*size_wh[::-1], bands), np.uint8).tobytes())


class TestPlaces:
    def test_a_wide_box_is_filled_up_above_and_below(self):
        assert pads_around((160, 90), 1.0) == (0, 35, 0, 35)
        assert pads_around((160, 91), 1.0) == (0, 34, 0, 35)
        assert pads_around((90, 160), 16 / 9) == (97, 0, 97, 0)

    def test_what_nearly_has_the_ratio_is_not_filled_up(self):
        assert pads_around((1000, 667), 1.5) is None
        assert pads_around((1000, 664), 1.5) is None  # 3 lines are missing, less than half a per cent
        assert pads_around((1000, 662), 1.5) == (0, 2, 0, 3)
        assert pads_around((1000, 640), 1.5) is not None
        assert pads_around((1, 1), 1.0) is None

    @given(sides, sides, st.floats(0.05, 20))
    def test_the_whole_has_the_ratio_and_grows_along_one_axis(self, width, height, ratio):
        pads = pads_around((width, height), ratio)
        if pads is None:
            assert abs(width - height * ratio) <= 0.011 * max(width, height * ratio) + 2 * max(1, ratio)
            return
        left, top, right, bottom = pads
        assert min(pads) >= 0 and (left + right == 0) != (top + bottom == 0)
        assert abs(left - right) <= 1 and abs(top - bottom) <= 1
        whole = left + width + right, top + height + bottom
        assert abs(whole[0] - whole[1] * ratio) <= 0.5 or abs(whole[1] - whole[0] / ratio) <= 0.5

    @given(sides, sides)
    def test_in_a_circle_the_corners_touch_it(self, width, height):
        left, top, right, bottom = pads_around((width, height), 1.0, circle=True)
        whole = left + width + right
        assert whole == top + height + bottom
        assert math.hypot(width, height) <= whole < math.hypot(width, height) + 1

    @given(sides, sides, st.sampled_from([0.5, 1.0, 16 / 9]), sides, st.booleans())
    def test_in_an_output_of_any_size_the_parts_make_up_the_whole(self, width, height, ratio, out, circle):
        pads = pads_around((width, height), 1.0 if circle else ratio, circle)
        if pads is None:
            return
        output_wh = (out, out) if circle else (out, max(1, round(out / ratio)))
        left, top, right, bottom = pads_in(output_wh, (width, height), pads)
        inside = output_wh[0] - left - right, output_wh[1] - top - bottom
        assert min(left, top, right, bottom) >= 0 and min(inside) >= 1
        assert 0 <= right - left <= 1 and 0 <= bottom - top <= 1
        if circle and min(inside) > 1:  # nothing of it is cut off
            assert math.hypot(*inside) <= out + 0.01

    def test_an_output_is_laid_out_to_the_pixel(self):
        box, pads, square = (10, 0, 170, 90), (0, 35, 0, 35), parse_ratio("1:1")
        assert layout(box, pads, None, False, square) == ((160, 160), None, pads)
        assert layout(box, pads, Size(80, None), False, square) == ((80, 80), (80, 45), (0, 17, 0, 18))
        assert layout(box, pads, Size(33, 33), False, square) == ((33, 33), (33, 19), (0, 7, 0, 7))
        assert layout(box, pads, Size(640, None), True, square) == ((160, 160), None, pads)
        assert layout(box, None, Size(80, None), False, square) == ((80, 80), (80, 80), None)
        assert layout((0, 0, 160, 158), (0, 1, 0, 1), Size(20, 20), False) == ((20, 20), (20, 20), (0, 0, 0, 0))
        with pytest.raises(OutputError, match="too large"):
            layout((0, 0, 40000, 2), (0, 0, 40000, 0), None, False)


class TestFills:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("fill", FILLS)
    def test_the_picture_lies_in_its_place_and_the_size_is_exact(self, mode, fill):
        image = photo_in(mode)
        made = padded(image, PADS, fill)
        assert made.size == (5 + 40 + 4, 9 + 24)
        inside = made.crop((5, 9, 45, 33))
        if made.mode == mode and not (fill in FILLS[3:] and mode in ("LA", "RGBA")):
            assert inside.tobytes() == image.tobytes()
        expected = {"transparent": {"L": "LA", "RGB": "RGBA", "CMYK": "RGBA", "I;16": "LA"}}.get(fill, {})
        if fill == "#c83219":  # grey holds no red, and what is clear in the picture lies on it
            expected = {"L": "RGB", "LA": "RGB", "RGBA": "RGB", "I;16": "RGB"}
        elif fill == "white":
            expected = {"LA": "L", "RGBA": "RGB"}
        assert made.mode == expected.get(mode, mode)

    @pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "I;16"])
    def test_a_blurred_picture_is_the_picture_dimmed_and_smooth(self, mode):
        top = 65535 if mode == "I;16" else 255
        values = np.full((30, 60, max(1, len(mode) if mode in ("RGB", "CMYK") else 1)), round(top * 0.8))
        values[:, :30] = round(top * 0.4)
        data = values.astype(np.uint16 if mode == "I;16" else np.uint8)
        image = Image.frombytes(mode, (60, 30), data.tobytes())
        made = np.asarray(padded(image, (0, 15, 0, 15))).astype(float).reshape(60, 60, -1)
        colours = made[..., :1]  # of CMYK cyan, which is not what is made darker
        scale = 1 if mode == "CMYK" else BRIGHTNESS
        assert colours[0, 0, 0] == pytest.approx(0.4 * top * scale, rel=0.03)
        assert colours[0, -1, 0] == pytest.approx(0.8 * top * scale, rel=0.03)
        assert np.abs(np.diff(colours[:14], axis=1)).max() < 0.06 * top  # the edge in the picture is 0.4
        if mode == "CMYK":
            assert made[0, 0, 3] == pytest.approx(255 - (255 - 0.4 * 255) * BRIGHTNESS, abs=2)
        if mode == "I;16":
            assert (made[:15] % 257 > 0).mean() > 0.9  # values between those of 8 bits

    @given(st.integers(1, 90), st.integers(1, 90), st.floats(0.2, 5))
    def test_pictures_of_any_size_are_blurred(self, width, height, ratio):
        pads = pads_around((width, height), ratio) or (0, 0, 0, 0)
        made = padded(Image.new("RGB", (width, height), (90, 0, 0)), pads, "blur")
        assert made.size == (width + pads[0] + pads[2], height + pads[1] + pads[3])

    def test_where_parts_are_clear_nothing_is_blurred_into_the_pads(self):
        image = Image.new("RGBA", (40, 20), (200, 10, 10, 255))
        image.paste((10, 10, 200, 255), (30, 0, 40, 20))
        assert padded(image, (0, 10, 0, 10)).getpixel((0, 0)) == pytest.approx((144, 7, 7, 255), abs=2)
        image.putpixel((0, 0), (0, 0, 0, 0))
        made = padded(image, (0, 10, 0, 10))
        assert made.getpixel((20, 0))[3] == 0 and made.getpixel((20, 15)) == (200, 10, 10, 255)

    def test_a_plain_ground_goes_on_as_it_is(self):
        image = Image.new("RGB", (60, 40), "white")
        image.paste((200, 10, 10), (20, 0, 40, 40))  # it reaches the borders above and below
        made = padded(image, (15, 0, 15, 0))
        assert (
            made.crop((0, 0, 15, 40)).getcolors() == made.crop((75, 0, 90, 40)).getcolors() == [(600, (255, 255, 255))]
        )
        assert padded(image, (0, 15, 0, 15)).getpixel((0, 0)) == pytest.approx((184,) * 3, abs=3)

    def test_plain_borders_give_their_colour_and_others_are_stretched(self):
        image = Image.new("RGB", (40, 40), "white")
        for y in range(20):
            image.paste("black", (39, 2 * y, 40, 2 * y + 1))  # a striped right border
        made = padded(image, (10, 0, 10, 0), "edge")
        assert made.crop((0, 0, 10, 40)).getcolors() == [(400, (255, 255, 255))]
        right = np.asarray(made.convert("L"))[:, 50:]
        assert (right == right[:, :1]).all() and set(right[:, 0]) == {0, 255}
        noise = Image.fromarray(np.random.default_rng(0).integers(28, 33, (40, 40, 3), np.uint8))
        assert len(padded(noise, (0, 7, 0, 0), "edge").crop((0, 0, 40, 7)).getcolors()) == 1

    def test_stretched_corners_are_filled_too(self):
        made = padded(Image.new("I;16", (10, 10), 4660), (3, 3, 3, 3), "edge")
        assert np.unique(np.asarray(made)).tolist() == [4660]

    @pytest.mark.parametrize(
        ("mode", "fill", "value"),
        [
            ("RGB", "#c83219", (200, 50, 25)), ("RGB", "navy", (0, 0, 128)), ("L", "#808080", 128),
            ("I;16", "#808080", 128 * 257), ("I;16", "white", 65535), ("CMYK", "white", (0, 0, 0, 0)),
        ],
    )  # fmt: skip
    def test_a_colour_is_that_colour(self, mode, fill, value):
        assert padded(photo_in(mode), PADS, fill).getpixel((0, 0)) == value

    @pytest.mark.parametrize(
        ("mode", "profile"), [("RGB", p3_profile), ("CMYK", cmyk_profile), ("L", grey_profile), ("CMYK", None)]
    )
    def test_a_colour_is_that_colour_under_the_picture_s_profile(self, mode, profile):
        image = photo_in(mode)
        if profile:
            image.info["icc_profile"] = profile()
        fill = "#787878" if mode == "L" else "#a05a46"
        shown = pixels.to_srgb(padded(image, PADS, fill)).getpixel((0, 0))
        assert np.abs(np.subtract(shown, Image.new("RGB", (1, 1), fill).getpixel((0, 0)))).max() <= 3

    def test_the_profile_of_the_picture_goes_along(self):
        image = photo_in("RGB")
        image.info["icc_profile"] = p3_profile()
        for fill in FILLS:
            assert padded(image, PADS, fill).info["icc_profile"] == p3_profile()

    def test_what_is_clear_in_the_picture_lies_on_the_colour_too(self):
        made = padded(Image.new("RGBA", (10, 10), (0, 0, 0, 0)), (2, 2, 2, 2), "#0a141e")
        assert made.getcolors() == [(196, (10, 20, 30))]

    @pytest.mark.parametrize("suffix", [".png", ".webp", ".avif"])
    def test_nothing_stays_nothing_in_a_file(self, suffix, tmp_path):
        made = padded(photo_in("CMYK"), (0, 20, 0, 20), "transparent")
        (tmp_path / f"a{suffix}").write_bytes(encode(made, suffix, 90))
        with Image.open(tmp_path / f"a{suffix}") as image:
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
        assert not alpha[:18].any() and (alpha[22:42] == 255).all()

    def test_fills_that_are_none(self):
        for fill in ("blur", "edge", "transparent", "#fff", "rebeccapurple"):
            assert checked(fill) == fill
        for fill in ("blurred", "#12", "#ffffff80"):
            with pytest.raises(ValueError, match=r"pads|itself"):
                checked(fill)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two shots of 1.2 s, 160x96."""
    frames = [scene(seed, (96, 168))[:, i // 6 : 160 + i // 6] for seed in (1, 2) for i in range(30)]
    return clips.write_clip(tmp_path_factory.mktemp("film") / "film.mp4", frames)


@pytest.mark.usefixtures("folder")
class TestCommand:
    def test_covers_are_filled_up_too_in_every_size(self, film):
        told = records(
            film, "-n", "1", "-a", "1:1", "--pad", "always", "--pad-with", "white", "-s", "80,320", "-f", "png"
        )
        assert [(r["type"], r["size"], r["padded"]) for r in told] == [
            ("video", "80", [0, 16, 0, 16]), ("video", "320", [0, 64, 0, 64]),
        ]  # fmt: skip
        for record in told:
            with Image.open(record["output"]) as image:
                assert image.size == (record["output_width"],) * 2 and image.getpixel((9, 3)) == (255, 255, 255)
                assert image.getpixel((40, record["padded"][1] + 4)) != (255, 255, 255)
        assert files("s2crop-out") == ["film_cover1_1x1_320.png", "film_cover1_1x1_80.png"]

    def test_the_whole_picture_fills_the_ratio_exactly(self):
        draw("a.png", (160, 90))
        for size, whole, pads in (
            ([], (160, 160), [0, 35, 0, 35]),
            (["-s", "64"], (64, 64), [0, 14, 0, 14]),
            (["-s", "301x301"], (301, 301), [0, 66, 0, 66]),
            (["-s", "x33"], (33, 33), [0, 7, 0, 7]),
            (["-s", "640", "--no-upscale"], (160, 160), [0, 35, 0, 35]),
        ):
            (record,) = records("a.png", "-a", "1:1", "--pad", "always", "--overwrite", *size)
            assert (record["output_width"], record["output_height"]) == whole
            assert record["padded"] == pads and record["box"] == [0, 0, 160, 90]
            assert Image.open(record["output"]).size == whole
        (planned,) = records("a.png", "-a", "1:1", "--pad", "always", "--dry-run", "-s", "64")
        assert planned["padded"] == [0, 14, 0, 14] and planned["status"] == "planned"

    def test_without_it_outputs_are_byte_for_byte_the_same(self):
        draw("a.jpg", (160, 90))
        s2crop("a.jpg", "-a", "1:1,4:5", "-s", "64", "-o", "one")
        assert [r["padded"] for r in records("a.jpg", "-a", "1:1,4:5", "-s", "64", "--pad", "never", "-o", "two")] == [
            None, None,
        ]  # fmt: skip
        for name in files("one"):
            assert Path("one", name).read_bytes() == Path("two", name).read_bytes()

    def test_free_and_original_are_never_filled_up(self):
        draw("a.png", (160, 90))
        told = records("a.png", "-a", "free,original,1:1", "--pad", "always")
        assert [r["padded"] for r in told] == [None, None, [0, 35, 0, 35]]

    def test_every_fill_reaches_the_file(self):
        image = Image.new("RGB", (80, 40), (200, 100, 40))
        image.paste((40, 100, 200), (60, 0, 80, 40))
        image.save("a.png")
        corners = {}
        for fill in ("blur", "edge", "#123456", "transparent"):
            (record,) = records("a.png", "-a", "1:1", "--pad", "always", "--pad-with", fill, "-o", "x.png")
            with Image.open(record["output"]) as image:
                corners[fill] = image.getpixel((0, 0))
                assert image.getpixel((40, 40))[:3] == (200, 100, 40)
        assert corners.pop("blur") == pytest.approx(tuple(round(v * BRIGHTNESS) for v in (200, 100, 40)), abs=2)
        assert corners == {
            "edge": (200, 100, 40),
            "#123456": (18, 52, 86),
            "transparent": (0, 0, 0, 0),
        }

    def test_sixteen_bits_and_cmyk_come_out_as_they_went_in(self):
        photo_in("I;16", (80, 40)).save("deep.png")
        photo_in("CMYK", (80, 40)).save("ink.jpg", quality=95)
        options = ["-a", "1:1", "--pad", "always", "--colour", "keep", "-o", "out/"]
        for fill in ("blur", "edge", "white"):
            s2crop("deep.png", "ink.jpg", *options, "--pad-with", fill)
            with Image.open("out/deep_1x1.png") as image:
                assert image.mode == "I;16" and image.size == (80, 80)
                inside = np.asarray(image)[20:60]
            assert (inside == np.asarray(Image.open("deep.png"))).all()
            with Image.open("out/ink_1x1.jpg") as image:
                assert image.mode == "CMYK" and image.size == (80, 80)
                if fill == "white":
                    assert max(image.getpixel((40, 5))) <= 3  # no ink

    def test_transparent_pads_need_a_format_that_has_them(self):
        draw("photos/a.jpg", (80, 40))
        draw("photos/b.webp", (80, 40))
        clear = ["-a", "1:1", "--pad", "always", "--pad-with", "transparent"]
        assert sorted(Path(r["output"]).name for r in records("photos", *clear)) == ["a_1x1.png", "b_1x1.webp"]
        told = "JPEG has no transparency for --pad-with transparent: use png, webp or avif"
        assert usage_error("photos", *clear, "-f", "jpg") == told
        assert usage_error("photos/a.jpg", *clear, "-o", "x.jpg") == told

    def test_in_a_circle_the_whole_picture_lies_inside(self):
        Image.new("RGB", (80, 60), "red").save("a.png")
        (record,) = records(
            "a.png", "--shape", "circle", "--pad", "always", "--pad-with", "blue", "-s", "200", "-o", "x.png"
        )
        left, top, right, bottom = record["padded"]
        with Image.open("x.png") as image:
            values = np.asarray(image.convert("RGBA"))
        assert values.shape == (200, 200, 4) and values[0, 0, 3] == 0
        inside = values[top : 200 - bottom, left : 200 - right]
        assert inside.shape[:2] == (120, 160) and (inside[2:-2, 2:-2] == [255, 0, 0, 255]).all()
        assert (values[100, 5] == [0, 0, 255, 255]).all()
        assert values[top, left, 3] > 100  # a corner touches the circle

    def test_with_other_pads_an_output_is_made_again(self):
        draw("a.png", (80, 40))
        again = lambda *options: [r["status"] for r in records("a.png", "-a", "1:1", *options)]  # noqa: E731
        assert again() == ["written"]
        assert again("--pad", "always") == ["written"] and again("--pad", "always") == ["skipped"]
        assert again("--pad", "always", "--pad-with", "blur") == ["skipped"]
        assert again("--pad", "always", "--pad-with", "edge") == ["written"]
        assert again("--pad", "auto", "--pad-with", "edge") == ["written"]
        assert again() == ["written"]

    def test_a_line_of_pixels_is_not_filled_up_to_gigabytes(self):
        Image.new("RGB", (40_000, 2)).save("a.png")
        (record,) = records("a.png", "-a", "1:1", "--pad", "always", code=1)
        assert record["error"] == "filled up to 40000x40000 it is too large to write: give a size"
        (record,) = records("a.png", "-a", "1:1", "--pad", "always", "-s", "50")
        assert record["padded"] == [0, 24, 0, 25] and Image.open(record["output"]).size == (50, 50)

    def test_fewer_crops_than_asked_for_are_done_all_the_same(self):
        draw("a.png", (80, 40))
        asked = ["a.png", "-a", "1:1", "--pad", "always", "-k", "3"]
        assert [(r["rank"], r["status"]) for r in records(*asked)] == [(1, "written")]
        assert [(r["rank"], r["status"]) for r in records(*asked)] == [(1, "skipped")]

    def test_options_that_would_do_nothing(self):
        draw("a.png")
        assert usage_error("a.png", "-a", "1:1", "--pad-with", "edge") == (
            "--pad-with says what pads are filled with: give --pad auto or always too"
        )
        assert "--pad always fills up to a ratio" in usage_error("a.png", "--pad", "always")
        assert "--pad auto" in usage_error("a.png", "-a", "free,original", "--pad", "auto")
        assert "--protect none" in usage_error("a.png", "-a", "1:1", "--pad", "auto", "--protect", "none")
        assert "colour" in usage_error("a.png", "-a", "1:1", "--pad", "auto", "--pad-with", "smear")
        assert "transparent itself" in usage_error("a.png", "-a", "1:1", "--pad", "auto", "--pad-with", "#ffffff00")

    def test_an_overlay_has_room_for_the_frame(self):
        Image.new("RGB", (160, 90), "white").save("a.png")
        s2crop("a.png", "-a", "1:1", "--pad", "always", "--overlay")
        s2crop("a.png", "-a", "1:1", "--overlay", "-o", "plain")
        with Image.open("plain/a_overlay.jpg") as image:
            assert image.width > image.height
        with Image.open("s2crop-out/a_overlay.jpg") as image:
            assert abs(image.width - image.height) <= 1
            assert image.getpixel((image.width // 2, image.height // 2))[2] > 240
            assert image.getpixel((image.width // 2, image.height // 8))[2] < 170

    def test_a_heatmap_stays_as_large_as_the_picture(self):
        draw("a.png", (160, 90))
        s2crop("a.png", "-a", "1:1", "--pad", "always", "--heatmap")
        with Image.open("s2crop-out/a_heatmap.jpg") as image:
            assert image.width > image.height

    def test_a_summary_counts_what_is_enlarged_not_what_is_filled_up(self):
        draw("a.png", (160, 90))
        _, _, err = s2crop("a.png", "-a", "1:1", "--pad", "always")
        assert "enlarged" not in err
        _, _, err = s2crop("a.png", "-a", "1:1", "--pad", "always", "-s", "161", "--overwrite")
        assert "1 of them enlarged" in err
