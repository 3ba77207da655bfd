import errno
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pictures
from s2crop.errors import OutputError
from s2crop.files import names as names_module
from s2crop.files import write as write_module
from s2crop.files.encode import encode
from s2crop.files.formats import TABLE, WRITTEN, format_of_name, output_suffix, suffix_for_name
from s2crop.files.names import plan_names
from s2crop.files.picture import Picture
from s2crop.files.plan import Plan
from s2crop.files.sizes import Size, output_size, parse_size
from s2crop.files.sources import Kind, Source, find_sources
from s2crop.files.write import write_atomic
from s2crop.geometry.ratio import Ratio, parse_ratio

WIDE, SQUARE = parse_ratio("16:9"), parse_ratio("square")
PHOTO = pictures.photo(160, 100)


class TestSizes:
    @pytest.mark.parametrize(
        "text, size",
        [("640", Size(640, None)), ("x360", Size(None, 360)), ("640x360", Size(640, 360)), (" 1X9 ", Size(1, 9))],
    )
    def test_sizes_as_people_write_them(self, text, size):
        assert parse_size(text) == size

    @pytest.mark.parametrize(
        "text", ["", "x", "0", "x0", "640x", "-5", "6.5", "640x360x2", "65536", "9999999", "wide", "²"]
    )
    def test_anything_else_is_refused(self, text):
        with pytest.raises(ValueError, match="size"):
            parse_size(text)

    def test_what_is_asked_for_is_what_comes_out(self):
        box = (10, 10, 1011, 573)  # 1001x563, nearly 16:9
        assert output_size(box, None, False) is None
        assert output_size(box, Size(640, 360), False) == (640, 360)
        assert output_size(box, Size(640, None), False, WIDE) == (640, 360)
        assert output_size(box, Size(None, 361), False, WIDE) == (642, 361)
        assert output_size(box, Size(2002, None), False, Ratio("free", None)) == (2002, 1126)
        assert output_size(box, Size(1, None), False, parse_ratio("20:1")) == (1, 1)

    def test_no_upscale_leaves_small_crops_as_they_are(self):
        box = (0, 0, 600, 400)
        assert output_size(box, Size(601, None), True) is None
        assert output_size(box, Size(300, 401), True) is None
        assert output_size(box, Size(600, 400), True) == (600, 400)
        assert output_size(box, Size(300, None), True) == (300, 200)

    def test_side_that_no_file_can_hold(self):
        with pytest.raises(OutputError, match="60000x120000"):
            output_size((0, 0, 10, 20), Size(60000, None), False)

    @pytest.mark.parametrize("size", ["33", "x47", "61x13", "300x1"])
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
    def test_file_has_exactly_that_size(self, size, suffix):
        box = (3, 5, 150, 91)
        size_wh = output_size(box, parse_size(size), False, WIDE)
        written = pictures.decoded(encode(Picture.open(PHOTO).crop(box, size_wh), suffix, 90))
        assert written.size == size_wh


class TestSuffixes:
    def test_every_row_of_the_table_holds_together(self):
        known = [suffix for row in TABLE for suffix in row.suffixes]
        assert len(known) == len(set(known)) and all(s == s.lower() and s.startswith(".") for s in known)
        for row in TABLE:
            assert format_of_name(f"x{row.suffixes[0].upper()}") is row
            assert set(row.writes) <= set(row.suffixes)
            assert row.writes or not (row.lossy or row.alpha)
            own_package = row.pillow in ("HEIF", "JXL")
            assert row.pillow is None or own_package or row.pillow in Image.registered_extensions().values()

    def test_every_format_that_is_offered_is_written_as_what_it_says(self):
        for row in WRITTEN:
            for suffix in row.writes:
                assert pictures.decoded(encode(PHOTO, suffix, 90)).format == row.pillow
            if row.alpha:
                assert pictures.decoded(encode(PHOTO, row.writes[0], 90, circle=True)).mode == "RGBA"
            else:
                with pytest.raises(ValueError, match="circle"):
                    encode(PHOTO, row.writes[0], 90, circle=True)

    @pytest.mark.parametrize(
        "name, suffix",
        [("a.jpg", ".jpg"), ("a.JPEG", ".jpg"), ("a.jfif", ".jpg"), ("a.png", ".png"), ("a.WebP", ".webp"),
         ("a.avif", ".avif"), ("a.tiff", ".png"), ("a.bmp", ".png"), ("a.gif", ".png"), ("stdin", ".png"),
         ("a.HEIC", ".jpg"), ("a.dng", ".jpg"), ("a.jxl", ".png")],
    )  # fmt: skip
    def test_same_format_where_we_write_it_else_lossless(self, name, suffix):
        assert suffix_for_name(name, "same", circle=False) == suffix

    @pytest.mark.parametrize(
        "name, inside, suffix",
        [("a.jpg", "PNG", ".png"), ("a.png", "JPEG", ".jpg"), ("a", "WEBP", ".webp"), ("a.heic", "AVIF", ".avif"),
         ("a.jpg", "HEIF", ".jpg"), ("a.jpg", "TIFF", ".png"), ("a.jpg", "GIF", ".png"), ("a.jpg", None, ".jpg"),
         ("a.dng", "TIFF", ".jpg"), ("a.NEF", "TIFF", ".jpg"), ("a.png", "raw", ".jpg"), ("a.raf", "raw", ".jpg"),
         ("a.dng", "PNG", ".png"), ("a.jpeg", "JPEG", ".jpg"), ("stdin", "JPEG", ".jpg"), ("stdin", None, ".png")],
    )  # fmt: skip
    def test_the_contents_count_and_not_the_name(self, name, inside, suffix):
        assert suffix_for_name(name, "same", False, inside) == suffix
        assert suffix_for_name(name, "webp", False, inside) == ".webp"
        assert suffix_for_name(name, "same", True, inside) == (".png" if suffix == ".jpg" else suffix)

    def test_format_asked_for_and_circles(self):
        assert suffix_for_name("a.png", "jpg", circle=False) == ".jpg"
        assert suffix_for_name("a.jpg", "same", circle=True) == ".png"
        assert suffix_for_name("a.webp", "same", circle=True) == ".webp"
        assert suffix_for_name("a.jpg", "avif", circle=True) == ".avif"

    def test_suffix_by_format(self):
        known = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "AVIF": ".avif", "TIFF": ".png", None: ".png"}
        assert {fmt: output_suffix(fmt, "same", False) for fmt in known} == known
        assert output_suffix("PNG", "jpg", False) == ".jpg"
        assert output_suffix("JPEG", "same", True) == ".png"


def sources(*relative: str) -> list[Source]:
    return [Source(f"given/{path}", Path("given") / path, Path(path)) for path in relative]


def plan(*relative: str, ratios=(WIDE,), top=1, fmt="same", circle=False, **options) -> list[list[str]]:
    """The planned paths of each source below the folder "out", as text."""
    plans = plan_names(sources(*relative), ratios, top, folder=Path("out"), fmt=fmt, circle=circle, **options)
    return [[path.relative_to("out").as_posix() for path in plan.all_paths()] for plan in plans]


class TestNames:
    def test_default_names_mirror_the_tree(self):
        assert plan("sub/a.jpg", "b.tif") == [["sub/a_16x9.jpg"], ["b_16x9.png"]]
        assert plan("a.jpg", ratios=(WIDE, SQUARE, parse_ratio("free")), top=2) == [
            ["a_16x9_1.jpg", "a_16x9_2.jpg", "a_1x1_1.jpg", "a_1x1_2.jpg", "a_free_1.jpg", "a_free_2.jpg"]
        ]

    def test_plan_is_by_ratio_label_and_rank(self):
        (only,) = plan_names(sources("a.jpg"), [WIDE], 2, folder=Path("o"), fmt="webp", circle=False)
        assert only == Plan({("16:9", 1): Path("o/a_16x9_1.webp"), ("16:9", 2): Path("o/a_16x9_2.webp")})

    def test_plan_of_a_clip_is_by_cover_too(self):
        clip, either = (replace(source, kind=kind) for source, kind in zip(
            sources("sub/a.mov", "b.gif"), (Kind.CLIP, Kind.EITHER), strict=True))  # fmt: skip
        options = {
            "folder": Path("o"),
            "fmt": "same",
            "circle": False,
            "covers": 2,
            "keep_frames": True,
            "overlay": True,
        }
        of_clip, of_either = plan_names([clip, either], [WIDE], 1, **options)
        first, second = (
            Plan(
                {("16:9", 1): place / f"{cover}_16x9.jpg"},
                overlay=place / f"{cover}_overlay.jpg",
                frame=place / f"{cover}.jpg",
            )
            for place, cover in ((Path("o/sub"), "a_cover1"), (Path("o/sub"), "a_cover2"))
        )
        assert of_clip == Plan(covers=(first, second))
        own = Plan({("16:9", 1): Path("o/b_16x9.png")}, overlay=Path("o/b_overlay.jpg"))
        assert replace(of_either, covers=()) == own and list(of_either.paths()) == list(own.paths())
        assert of_either.covers[0].crops["16:9", 1] == Path("o/b_cover1_16x9.jpg")

    def test_the_frame_of_a_cover_and_a_crop_never_share_a_name(self):
        (clip,) = (replace(source, kind=Kind.CLIP) for source in sources("a.mp4"))
        options = {"folder": Path("o"), "fmt": "same", "circle": False}
        with pytest.raises(ValueError, match="same name"):
            plan_names([clip], [WIDE], 1, template="{stem}{cover}", covers=1, keep_frames=True, **options)
        with pytest.raises(ValueError, match="{cover}"):
            plan_names([clip], [WIDE], 1, template="{stem}{ratio}", covers=2, **options)
        (plan,) = plan_names([clip], [WIDE], 1, template="{cover}/{stem}{ratio}", covers=2, **options)
        assert plan.covers[1].crops["16:9", 1] == Path("o/_cover2/a16x9.jpg")

    def test_inputs_that_would_share_a_name_get_their_own(self):
        assert plan("a.jpg", "a.png", "A.JPG", "a.jpeg") == [
            ["a_16x9.jpg"], ["a_16x9.png"], ["A_JPG_16x9.jpg"], ["a_jpeg_16x9.jpg"],
        ]  # fmt: skip
        assert plan("a.jpg", "a.png", fmt="jpg") == [["a_16x9.jpg"], ["a_png_16x9.jpg"]]

    def test_files_of_one_name_from_several_folders_are_numbered(self):
        assert plan("a.jpg", "a.jpg", "a.jpg", "a.jpg") == [
            ["a_16x9.jpg"], ["a_jpg_16x9.jpg"], ["a_2_16x9.jpg"], ["a_3_16x9.jpg"],
        ]  # fmt: skip

    def test_clash_with_a_name_that_was_made_to_avoid_one(self):
        names = [name for (name,) in plan("a.jpg", "a.png", "a_png.jpg", "a_2.jpg", "a.png", fmt="jpg")]
        assert names == ["a_16x9.jpg", "a_png_16x9.jpg", "a_png_jpg_16x9.jpg", "a_2_16x9.jpg", "a_3_16x9.jpg"]

    def test_case_and_unicode_forms_count_as_one_name(self):
        composed, apart = "\u00e9.jpg", "e\u0301.jpg"
        names = [name for (name,) in plan(composed, apart, "Straße.jpg", "STRASSE.jpg", "Sub/a.jpg", "sub/a.jpg")]
        assert len({names_module._key(Path(name)) for name in names}) == 6
        assert names[1] == "e\u0301_jpg_16x9.jpg"

    def test_all_crops_of_an_input_move_together(self):
        _, moved = plan("a.jpg", "a.png", ratios=(SQUARE, WIDE), fmt="jpg")
        assert moved == ["a_png_1x1.jpg", "a_png_16x9.jpg"]
        # Here the later input would take only one of the earlier one's two names.
        taken, moved = plan("a1.jpg", "a.jpg", ratios=(SQUARE, Ratio("11x1", 11.0)), template="{stem}{ratio}")
        assert taken == ["a11x1.jpg", "a111x1.jpg"] and moved == ["a_jpg1x1.jpg", "a_jpg11x1.jpg"]

    def test_names_depend_on_the_list_only(self):
        many = [f"{folder}.{ext}" for folder in "aAbB" for ext in ("jpg", "png", "JPG")]
        assert plan(*many, fmt="jpg") == plan(*many, fmt="jpg")
        assert len({name for names in plan(*many, fmt="jpg") for name in names}) == len(many)

    def test_many_inputs_of_one_name_stay_cheap(self):
        names = plan(*["IMG_1.jpg"] * 5000)
        assert len({name for (name,) in names}) == 5000

    def test_template_fields_and_folders(self):
        assert plan("s/a.jpg", ratios=(WIDE,), template="{ratio}/{stem}-{ext}") == [["s/16x9/a-jpg.jpg"]]
        assert plan("a.jpg", "b.jpg", template="crop_{ratio}") == [["crop_16x9.jpg"], ["crop_16x9_jpg.jpg"]]
        assert plan("a.jpg", template="{{{stem}}}") == [["{a}.jpg"]]

    @pytest.mark.parametrize(
        "template",
        ["../{stem}", "{stem}/../../x", "/tmp/{stem}", "C:\\{stem}", "c:{stem}", "..\\{stem}", "\\\\host\\{stem}",
         "", "{cover}", "{rank}", ".", "..", "{stem}/", "{cover}/{stem}", ".{cover}./{stem}", "{stem}\0",
         "{name}", "{}", "{0}", "{stem.__class__}", "{stem[0]}", "{stem!r}", "{stem:>99}", "{stem", "stem}"],
    )  # fmt: skip
    def test_template_that_leads_astray_is_wrong_usage(self, template):
        with pytest.raises(ValueError) as error:
            plan("a.jpg", template=template)
        assert repr(template) in str(error.value)

    def test_stem_of_dots_does_not_climb(self):
        with pytest.raises(ValueError):
            plan("...jpg", template="{stem}/{ratio}")
        assert plan("...jpg") == [[".._16x9.jpg"]]

    @pytest.mark.parametrize("options", [{"ratios": (WIDE, SQUARE)}, {"top": 2}])
    def test_template_that_cannot_tell_crops_apart(self, options):
        with pytest.raises(ValueError, match="{ratio}"):
            plan("a.jpg", template="{stem}", **options)

    def test_sources_as_they_are_found(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("in/x/a.jpg", "in/y/a.jpg", "a.jpg"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()
        found = find_sources(["in", "a.jpg", "in/y/a.jpg", "-", "/nowhere/b.png"], recursive=True)
        plans = plan_names(found, [SQUARE], 1, folder=Path("out"), fmt="same", circle=False)
        assert [p.crops["1:1", 1].as_posix() for p in plans] == [
            "out/x/a_1x1.jpg", "out/y/a_1x1.jpg", "out/a_1x1.jpg", "out/stdin_1x1.png", "out/b_1x1.png",
        ]  # fmt: skip


class TestEncoding:
    @pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".avif", ".JPG"])
    def test_profile_is_kept_byte_for_byte(self, suffix):
        image = PHOTO.copy()
        image.info["icc_profile"] = pictures.p3_profile()
        written = pictures.decoded(encode(image, suffix, 90))
        assert written.info["icc_profile"] == pictures.p3_profile()
        assert np.abs(np.asarray(written, int) - np.asarray(PHOTO)).mean() < 4, "the numbers stay, not the colours"

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
    def test_nothing_else_goes_along(self, suffix):
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "secret"
        source = pictures.encoded(PHOTO, exif=exif, comment=b"secret", dpi=(300, 300))
        written = encode(Picture.open(source).crop((0, 0, 90, 90)), suffix, 90)
        assert b"secret" not in written and not pictures.decoded(written).getexif()

    def test_jpeg_has_no_alpha_and_no_16_bit(self):
        clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
        assert pictures.decoded(encode(clear, ".jpg", 90)).getpixel((8, 8)) == (255, 255, 255)
        deep = Image.fromarray(np.full((16, 16), 32768, np.uint16))
        written = pictures.decoded(encode(deep, ".jpg", 90))
        assert written.mode == "L" and written.getpixel((8, 8)) == 128

    def test_png_keeps_every_value(self):
        deep = Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257)
        written = pictures.decoded(encode(deep, ".png", 90))
        assert written.mode == "I;16" and (np.asarray(written) == np.asarray(deep)).all()
        half = PHOTO.convert("RGBA")
        half.putalpha(100)
        assert pictures.decoded(encode(half, ".png", 1)).tobytes() == half.tobytes()

    @pytest.mark.parametrize("suffix", [".webp", ".avif"])
    def test_webp_and_avif_keep_alpha(self, suffix):
        half = PHOTO.convert("RGBA")
        half.putalpha(Image.linear_gradient("L").resize(PHOTO.size))
        alpha = np.asarray(pictures.decoded(encode(half, suffix, 95)).getchannel("A"), int)
        assert np.abs(alpha - np.asarray(half.getchannel("A"))).mean() < 3

    def test_cmyk_stays_in_jpeg_and_is_converted_by_its_profile_elsewhere(self):
        ink = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
        ink.info["icc_profile"] = pictures.cmyk_profile()
        jpeg = pictures.decoded(encode(ink, ".jpg", 95))
        assert jpeg.mode == "CMYK" and jpeg.info["icc_profile"] == pictures.cmyk_profile()
        assert np.abs(np.array(jpeg.getpixel((9, 9))) - (255, 0, 0, 0)).max() < 4
        for suffix in (".png", ".webp", ".avif"):
            written = pictures.decoded(encode(ink, suffix, 95))
            red, green, blue = written.getpixel((9, 9))
            assert red > 200 and max(green, blue) < 60, "the profile calls this ink red"
            assert not written.info.get("icc_profile")

    def test_grey_with_a_grey_profile(self):
        grey = Image.new("L", (32, 32), 128)
        grey.info["icc_profile"] = pictures.grey_profile(gamma=1.0)
        for suffix in (".jpg", ".png"):
            written = pictures.decoded(encode(grey, suffix, 95))
            assert written.mode == "L" and written.info["icc_profile"] == grey.info["icc_profile"]
            assert written.getpixel((9, 9)) == 128
        for suffix in (".webp", ".avif"):  # no grey there, and a grey profile does not fit RGB
            written = pictures.decoded(encode(grey, suffix, 95))
            assert not written.info.get("icc_profile")
            assert abs(written.getpixel((9, 9))[0] - 188) < 4, "half the light is 188 in sRGB"

    @pytest.mark.parametrize(
        "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F"]
    )
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
    def test_every_mode_can_be_written(self, mode, suffix):
        image = PHOTO.convert("L") if mode in ("I", "F") else PHOTO
        image = image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)
        assert pictures.decoded(encode(image, suffix, 80)).size == PHOTO.size
        if suffix != ".jpg":
            assert pictures.decoded(encode(image, suffix, 80, circle=True)).mode in ("LA", "RGBA")

    @pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
    def test_quality_counts(self, suffix):
        image = pictures.photo(320, 240, noise=15)
        sizes = [len(encode(image, suffix, quality)) for quality in (10, 50, 90, 100)]
        assert sizes == sorted(sizes) and sizes[0] * 2 < sizes[-1]

    def test_same_image_gives_the_same_bytes(self):
        for suffix in (".jpg", ".png", ".webp", ".avif"):
            assert encode(PHOTO, suffix, 90) == encode(PHOTO, suffix, 90)

    def test_image_that_the_format_cannot_hold(self):
        for suffix, name, most in ((".webp", "WebP", 16383), (".jpg", "JPEG", 65500), (".avif", "AVIF", 65536)):
            with pytest.raises(OutputError, match=f"{most + 1}x1 is too large to write as {name}: .* {most} pixels"):
                encode(Image.new("RGB", (most + 1, 1)), suffix, 90)
            assert encode(Image.new("RGB", (most, 1)), suffix, 90)
        assert encode(Image.new("RGB", (70000, 1)), ".png", 90)

    @pytest.mark.parametrize("suffix, circle", [(".gif", False), ("", False), (".jpg", True)])
    def test_what_cannot_be_asked_for(self, suffix, circle):
        with pytest.raises(ValueError):
            encode(PHOTO, suffix, 90, circle=circle)


class TestCircle:
    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "I;16"])
    def test_corners_are_clear_and_the_middle_is_untouched(self, mode):
        image = pictures.photo(101, 101).convert("L" if mode == "I;16" else mode)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        written = pictures.decoded(encode(image, ".png", 90, circle=True))
        alpha = np.asarray(written.getchannel("A"), int)
        y, x = np.mgrid[0:101, 0:101] - 50
        assert (alpha[np.hypot(x, y) > 51.1] == 0).all()
        assert (alpha[np.hypot(x, y) < 49.9] == 255).all()
        assert (np.asarray(written)[np.hypot(x, y) > 51.1] == 0).all(), "nothing is hidden in the corners"
        if mode in ("L", "RGB"):
            opaque = written.convert(mode)
            assert opaque.getpixel((50, 50)) == image.getpixel((50, 50))

    def test_edge_is_smooth_and_even(self):
        written = pictures.decoded(encode(Image.new("RGB", (64, 64), "white"), ".png", 90, circle=True))
        alpha = np.asarray(written.getchannel("A"), int)
        for turned in (alpha[::-1], alpha[:, ::-1], alpha.T):
            assert (turned == alpha).all()
        assert len(np.unique(alpha)) > 20
        assert abs(alpha.sum() / 255 - np.pi * 32**2) < 2, "the area of the circle"

    def test_transparency_that_was_there_stays(self):
        image = Image.new("RGBA", (40, 40), (9, 9, 9, 100))
        alpha = pictures.decoded(encode(image, ".png", 90, circle=True)).getchannel("A")
        assert alpha.getpixel((20, 20)) == 100 and alpha.getpixel((0, 0)) == 0

    @pytest.mark.parametrize("suffix", [".png", ".webp", ".avif"])
    def test_profile_goes_along(self, suffix):
        image = pictures.photo(60, 60)
        image.info["icc_profile"] = pictures.p3_profile()
        written = pictures.decoded(encode(image, suffix, 90, circle=True))
        assert written.mode == "RGBA" and written.info["icc_profile"] == pictures.p3_profile()
        assert written.getpixel((0, 0))[3] == 0 and written.getpixel((30, 30))[3] == 255


class TestWriting:
    @pytest.fixture(autouse=True, params=["unnamed", "named"])
    def way(self, request, monkeypatch):
        """Through a file without a name until it is whole, where the system has such files, and through one with."""
        if request.param == "named":
            monkeypatch.delattr(os, "O_TMPFILE", raising=False)

    @pytest.mark.parametrize("overwrite", [True, False])
    def test_a_writer_that_is_killed_leaves_nothing_behind(self, tmp_path, monkeypatch, overwrite):
        seen = []

        class Watched(_FullDisk):
            def __init__(self, path, mode):
                super().__init__(path, mode, lambda data: seen.append(os.listdir(tmp_path)) or self._file.write(data))
                self.flush, self.fileno = self._file.flush, self._file.fileno

        monkeypatch.setattr(write_module, "open", Watched, raising=False)
        assert write_atomic(tmp_path / "a.jpg", b"data", overwrite=overwrite)
        assert (tmp_path / "a.jpg").read_bytes() == b"data"
        (names,) = seen
        assert "a.jpg" not in names and (names == [] or not hasattr(os, "O_TMPFILE"))

    def test_folders_are_made_and_the_file_is_whole(self, tmp_path):
        path = tmp_path / "a" / "b" / "c.jpg"
        assert write_atomic(path, b"data", overwrite=False) is True
        assert path.read_bytes() == b"data" and os.listdir(path.parent) == ["c.jpg"]

    def test_new_files_have_the_usual_permissions(self, tmp_path):
        for overwrite in (False, True):
            write_atomic(tmp_path / f"{overwrite}.png", b"x", overwrite=overwrite)
            (tmp_path / "plain").touch()
            assert (tmp_path / f"{overwrite}.png").stat().st_mode == (tmp_path / "plain").stat().st_mode

    def test_file_that_exists_is_skipped_or_replaced(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.write_bytes(b"old")
        assert write_atomic(path, b"new", overwrite=False) is False
        assert path.read_bytes() == b"old"
        assert write_atomic(path, b"new", overwrite=True) is True
        assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["a.jpg"]

    def test_dangling_link_counts_as_a_file(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.symlink_to(tmp_path / "elsewhere.jpg")
        assert write_atomic(path, b"new", overwrite=False) is False
        assert write_atomic(path, b"new", overwrite=True) is True
        assert not path.is_symlink() and not (tmp_path / "elsewhere.jpg").exists()

    def test_input_is_never_overwritten(self, tmp_path):
        original = tmp_path / "a.jpg"
        original.write_bytes(b"precious")
        (tmp_path / "link").symlink_to(tmp_path)
        (tmp_path / "b.jpg").symlink_to(original)
        protected = frozenset({Path(os.path.realpath(original))})
        around = tmp_path / "link" / ".." / tmp_path.name / "a.jpg"
        for path in (original, tmp_path / "link" / "a.jpg", around, tmp_path / "b.jpg"):
            for overwrite in (True, False):
                with pytest.raises(OutputError, match="is an input"):
                    write_atomic(path, b"crop", overwrite=overwrite, protected=protected)
        assert original.read_bytes() == b"precious" and sorted(os.listdir(tmp_path)) == ["a.jpg", "b.jpg", "link"]

    def test_link_out_of_the_output_folder_is_not_followed(self, tmp_path):
        folder, outside = tmp_path / "out", tmp_path / "outside"
        folder.mkdir()
        outside.mkdir()
        (folder / "sub").symlink_to(outside)
        (folder / "inner").mkdir()
        (folder / "alias").symlink_to(folder / "inner")
        with pytest.raises(OutputError, match="outside"):
            write_atomic(folder / "sub" / "deep" / "a.jpg", b"x", overwrite=True, folder=folder)
        assert os.listdir(outside) == []
        assert write_atomic(folder / "alias" / "a.jpg", b"x", overwrite=True, folder=folder)
        (tmp_path / "way in").symlink_to(folder)
        assert write_atomic(tmp_path / "way in" / "b.jpg", b"x", overwrite=True, folder=tmp_path / "way in")

    def test_what_is_in_the_way(self, tmp_path):
        (tmp_path / "a.jpg").mkdir()
        (tmp_path / "file").touch()
        for overwrite in (True, False):
            with pytest.raises(OutputError, match="a folder is in the way"):
                write_atomic(tmp_path / "a.jpg", b"x", overwrite=overwrite)
            with pytest.raises(OutputError, match="cannot write"):
                write_atomic(tmp_path / "file" / "b.jpg", b"x", overwrite=overwrite)
            with pytest.raises(OutputError, match="name too long"):
                write_atomic(tmp_path / ("n" * 300 + ".jpg"), b"x", overwrite=overwrite)
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(OutputError):
            write_atomic(tmp_path / "loop" / "b.jpg", b"x", overwrite=True, folder=tmp_path)
        assert sorted(os.listdir(tmp_path)) == ["a.jpg", "file", "loop"]

    @pytest.mark.parametrize("overwrite", [True, False])
    @pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
    @pytest.mark.parametrize("step", ["write", "name"])
    def test_failure_leaves_no_file_behind(self, tmp_path, monkeypatch, overwrite, failure, step):
        def fail(*_, **__):
            raise failure

        if step == "write":
            monkeypatch.setattr(write_module, "open", lambda path, mode: _FullDisk(path, mode, fail), raising=False)
        else:
            monkeypatch.setattr(os, "link", fail)
            monkeypatch.setattr(os, "replace", fail)
        expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else OutputError
        with pytest.raises(expected) as error:
            write_atomic(tmp_path / "a.jpg", b"data", overwrite=overwrite)
        assert os.listdir(tmp_path) == []
        if expected is OutputError:
            assert str(error.value) == f"cannot write {tmp_path / 'a.jpg'}: no space left on device"

    def test_file_system_without_hard_links(self, tmp_path, monkeypatch):
        def refuse(*_, **__):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        path = tmp_path / "a.jpg"
        assert write_atomic(path, b"first", overwrite=False) is True
        monkeypatch.setattr(os.path, "lexists", lambda path: False)  # it came between the look and the write
        assert write_module._link(tmp_path / "none", path) is False
        assert path.read_bytes() == b"first"

    @pytest.mark.parametrize("links", [True, False])
    def test_of_many_writers_one_wins(self, tmp_path, monkeypatch, links):
        if not links:
            monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
        path = tmp_path / "a.jpg"
        start, won = threading.Barrier(8), []

        def write(i: int) -> None:
            start.wait()
            if write_atomic(path, bytes([i]) * 100_000, overwrite=False):
                won.append(i)

        threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1 and path.read_bytes() == bytes(won) * 100_000
        assert os.listdir(tmp_path) == ["a.jpg"]


class _FullDisk:
    """A file that is made and then cannot be written."""

    def __init__(self, path, mode, fail):
        self._file, self.write = open(path, mode), fail

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
