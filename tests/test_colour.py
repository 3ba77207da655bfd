"""Colours that no profile tells of, HDR, large profiles, and the ground that transparency lies on."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import pictures
from s2crop.files import colour, pixels
from s2crop.files.colour import HLG, PQ
from s2crop.files.encode import encode
from s2crop.files.picture import Picture
from test_cli import draw, records, s2crop, usage_error  # noqa: F401
from test_inputs import difference

PHOTO = pictures.photo(160, 100)
WHOLE = (0, 0, 160, 100)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pq(nits):
    """SMPTE ST 2084, its inverse EOTF, written out."""
    y = (np.asarray(nits, float) / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def linear(srgb):
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


# BT.2087: linear BT.709 in BT.2020
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def in_pq(image, depth=16):
    """An sRGB picture as it looks in PQ and BT.2020 with white at 203 nits."""
    light = linear(np.asarray(image, float) / 255) @ TO_2020.T
    top = (1 << depth) - 1
    return np.rint(pq(light * 203) * top).astype(np.uint16 if depth > 8 else np.uint8)


class TestCodePoints:
    def test_profile_describes_what_the_code_points_mean(self):
        """A colour-managed viewer shows P3's red as wider than sRGB's, and grey as the same grey."""
        coding = colour.from_code_points(12, 13)
        profile = ImageCms.ImageCmsProfile(io.BytesIO(colour.profile_of(coding)))
        assert len(colour.profile_of(coding)) < 600
        for name, expected in (("red", (0.5151, 0.2412, -0.0011)), ("green", (0.2920, 0.6922, 0.0419))):
            assert np.allclose(getattr(profile.profile, f"{name}_colorant")[0], expected, atol=4e-4)
        there = ImageCms.profileToProfile(PHOTO, ImageCms.createProfile("sRGB"), profile)
        back = ImageCms.profileToProfile(there, profile, ImageCms.createProfile("sRGB"))
        assert difference(back, PHOTO) < 1
        own = ImageCms.ImageCmsProfile(io.BytesIO(pictures.p3_profile()))
        assert difference(there, ImageCms.profileToProfile(PHOTO, ImageCms.createProfile("sRGB"), own)) < 0.5

    @pytest.mark.parametrize("points", [(1, 13), (1, 1), (2, 2), (1, 4), (99, 99), (5, 1)])
    def test_srgb_and_the_unknown_get_none(self, points):
        assert colour.from_code_points(*points) is None

    def test_hdr(self):
        assert colour.from_code_points(9, 16).hdr == PQ and colour.from_code_points(9, 18).hdr == HLG

    def test_png_chunk(self):
        data = pictures.png_with(pictures.encoded(PHOTO, "PNG"), (b"cICP", bytes([12, 13, 0, 1])))
        picture = Picture.open(data)
        crop = picture.crop(WHOLE)
        assert difference(crop, PHOTO) == 0 and len(crop.info["icc_profile"]) < 600

    @pytest.mark.parametrize(
        "chunks, gamma",
        [
            ([(b"gAMA", struct.pack(">I", 100000))], 1.0), ([(b"gAMA", struct.pack(">I", 55556))], 1.8),
            ([(b"gAMA", struct.pack(">I", 45455))], None), ([(b"gAMA", struct.pack(">I", 0))], None),
            ([(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100000))], None),
        ],
    )  # fmt: skip
    def test_png_gamma(self, chunks, gamma):
        crop = Picture.open(pictures.png_with(pictures.encoded(PHOTO, "PNG"), *chunks)).crop(WHOLE)
        if gamma is None:
            assert crop.info == {}
        else:
            shown = pixels.to_srgb(crop).getpixel((20, 90))
            value = np.array(PHOTO.getpixel((20, 90))) / 255
            light = value**gamma
            assert (
                np.abs(
                    np.array(shown) / 255
                    - np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
                ).max()
                < 0.02
            )

    def test_chromaticities_without_sense_are_passed_over(self):
        for numbers in ([0] * 8, [31270, 32900, 64000, 33000, 64000, 33000, 64000, 33000], [2**31] * 8):
            data = pictures.png_with(pictures.encoded(PHOTO, "PNG"), (b"cHRM", struct.pack(">8I", *numbers)))
            assert Picture.open(data).crop(WHOLE).info == {}

    def test_heic(self):
        data = pictures.heic(
            PHOTO, color_primaries=12, transfer_characteristics=13, matrix_coefficients=6, full_range_flag=1
        )
        crop = Picture.open(data).crop(WHOLE)
        assert difference(crop, PHOTO) < 5 and len(crop.info["icc_profile"]) < 600

    def test_profile_goes_before_the_box(self):
        data = pictures.heic(PHOTO, icc_profile=pictures.p3_profile())
        assert Picture.open(data).crop(WHOLE).info["icc_profile"] == pictures.p3_profile()


class TestHdr:
    def test_diffuse_picture_comes_out_as_it_was(self):
        """What is below the knee is not touched: a picture graded for white at 203 nits is the same in sRGB."""
        dim = PHOTO.point(lambda v: v * 0.8)
        made = colour.srgb_from_hdr(in_pq(dim), colour.from_code_points(9, 16))
        assert np.abs(np.asarray(made, int) - np.asarray(dim, int)).max() <= 3

    def test_highlights_are_rolled_off_and_keep_their_order_and_hue(self):
        nits = np.array([[100, 203, 400, 800, 1000, 4000]])
        values = np.rint(pq(nits)[..., None] * np.ones(3) * 65535).astype(np.uint16)
        made = np.asarray(colour.srgb_from_hdr(values, colour.from_code_points(9, 16)))[0, :, 0]
        assert 180 < made[0] < 195 and 225 < made[1] < 245 and (np.diff(made.astype(int)) >= 0).all() and made[4] == 255
        orange = np.rint(pq(np.array([[[600, 250, 40]]])) * 65535).astype(np.uint16)
        red, green, blue = np.asarray(colour.srgb_from_hdr(orange, colour.from_code_points(1, 16)))[0, 0].astype(int)
        assert red > green + 40 > blue + 80

    def test_hlg(self):
        """ITU-R BT.2408: 75 % of the signal is diffuse white, 203 nits on a screen of 1000."""
        made = np.asarray(
            colour.srgb_from_hdr(np.full((1, 1, 3), 0.75 * 65535, np.uint16), colour.from_code_points(9, 18))
        )
        assert 225 < made[0, 0, 0] < 245 and made.std() < 1

    def test_alpha_stays(self):
        values = np.dstack([in_pq(PHOTO), np.full((100, 160), 30000, np.uint16)])
        made = colour.srgb_from_hdr(values, colour.from_code_points(9, 16))
        assert made.mode == "RGBA" and made.getpixel((5, 5))[3] == 117

    def test_png_in_pq(self):
        data = pictures.png_with(pictures.png_16_bit_colour(in_pq(PHOTO)), (b"cICP", bytes([9, 16, 0, 1])))
        picture = Picture.open(data)
        assert np.abs(picture.reduced(100).astype(int) - np.asarray(PHOTO)).mean() < 8
        assert picture.crop(WHOLE).info == {} and picture.notes == ("HDR, tone-mapped to sRGB",)

    def test_heic_in_pq_keeps_its_ten_bits(self):
        import pillow_heif

        heif = pillow_heif.from_bytes(mode="RGB;16", size=(160, 100), data=in_pq(PHOTO).tobytes())
        data = io.BytesIO()
        heif.save(data, quality=95, chroma=444, color_primaries=9, transfer_characteristics=16, matrix_coefficients=9,
                  full_range_flag=1)  # fmt: skip
        picture = Picture.open(data.getvalue())
        assert np.abs(picture.reduced(100).astype(int) - np.asarray(PHOTO)).mean() < 8
        assert "HDR, tone-mapped to sRGB" in picture.notes
        Path("a.heic").write_bytes(data.getvalue())
        (record,) = records("a.heic", "-a", "1:1")
        assert Image.open(record["output"]).mode == "RGB"


class TestDeepGrey:
    def test_transparency_of_sixteen_bit_grey_is_kept(self):
        values = np.full((40, 60), 40000, np.uint16)
        values[:, 30:] = 1234
        data = pictures.png_with(pictures.encoded(Image.fromarray(values), "PNG"), (b"tRNS", struct.pack(">H", 1234)))
        crop = Picture.open(data).crop((0, 0, 60, 40))
        assert crop.mode == "LA" and crop.getpixel((10, 10)) == (156, 255) and crop.getpixel((50, 10))[1] == 0


def large_profile():
    """A profile of sRGB with as much text in it as printers' have tables."""
    profile = bytearray(pictures.srgb_profile() + bytes(100_000))
    struct.pack_into(">I", profile, 0, len(profile))
    return bytes(profile)


class TestProfiles:
    @pytest.mark.parametrize(
        "profile, size, policy, stays",
        [
            ("p3", 160, "auto", True), ("p3", 160, "keep", True), ("p3", 160, "srgb", False),
            ("large", 160, "auto", False),
            ("large", 160, "keep", True), ("large", 4000, "auto", True), ("large", 4000, "srgb", False),
        ],
    )  # fmt: skip
    def test_policies(self, profile, size, policy, stays):
        image = PHOTO.resize((size, 20))
        image.info["icc_profile"] = {"p3": pictures.p3_profile, "large": large_profile}[profile]()
        made = pictures.decoded(encode(image, ".png", 90, colour=policy))
        assert ("icc_profile" in made.info) == stays
        if profile == "p3" and not stays:
            own = ImageCms.ImageCmsProfile(io.BytesIO(pictures.p3_profile()))
            assert difference(made, ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"))) == 0

    @pytest.mark.parametrize("policy, mode", [("auto", "RGB"), ("srgb", "RGB"), ("keep", "CMYK")])
    def test_ink(self, policy, mode):
        draw("a.jpg", mode="CMYK")
        (record,) = records("a.jpg", "-a", "1:1", "--colour", policy)
        assert Image.open(record["output"]).mode == mode

    def test_deep_grey_without_a_profile_stays(self):
        image = Image.fromarray(np.full((20, 20), 30000, np.uint16))
        assert pixels.managed(image, "srgb") is image


def logo(colour_of_it, size=(300, 150)):
    image = Image.new("RGBA", size, (*colour_of_it, 0))
    image.paste((*colour_of_it, 255), (20, 50, 280, 100))
    return image


class TestGround:
    @pytest.mark.parametrize(
        "image, ground",
        [
            (logo((255, 255, 255)), "black"), (logo((0, 0, 0)), "white"), (logo((200, 30, 30)), "white"),
            (PHOTO, "white"), (logo((255, 255, 255)).convert("LA"), "black"), (Image.new("RGBA", (9, 9)), "white"),
            (Image.new("RGBA", (9, 9), "white"), "white"),
        ],
        ids=["white logo", "black logo", "red logo", "photo", "grey mode", "nothing", "no transparency"],
    )  # fmt: skip
    def test_white_unless_that_hides_it(self, image, ground):
        assert pixels.ground_for(image) == ground

    def test_white_logo_is_judged_and_written_on_black(self):
        Path("a.png").write_bytes(pictures.encoded(logo((255, 255, 255)), "PNG"))
        seen = Picture.open("a.png").reduced(150)
        assert seen[10, 10].max() == 0 and seen[75, 150].min() == 255
        (record,) = records("a.png", "-a", "2:1", "-f", "jpg")
        assert np.asarray(Image.open(record["output"]).convert("L")).min() < 10
        (record,) = records("a.png", "-a", "2:1", "-f", "png")
        assert Image.open(record["output"]).mode == "RGBA"

    def test_colour_that_was_named(self):
        Path("a.png").write_bytes(pictures.encoded(logo((255, 255, 255)), "PNG"))
        (record,) = records("a.png", "-a", "2:1", "-f", "jpg", "--background", "#204080", "--quality", "100")
        assert np.abs(np.asarray(Image.open(record["output"]))[0, 0].astype(int) - (0x20, 0x40, 0x80)).max() < 8

    @pytest.mark.parametrize("value", ["nonsense", "#12", "#11223344", ""])
    def test_what_is_no_colour(self, value):
        draw("a.jpg")
        assert "--background" in usage_error("a.jpg", "--background", value)
