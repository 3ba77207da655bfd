import io
import itertools
import os
import subprocess
import sys
import unicodedata
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

import pictures
from s2crop.errors import InputError
from s2crop.files import picture as picture_module
from s2crop.files import pixels, resize
from s2crop.files.picture import Picture, lift_pillow_limits
from s2crop.files.pixels import to_srgb
from s2crop.files.sources import Source, find_sources, read_file_list

UPRIGHT = pictures.photo(320, 200)


def difference(a, b) -> float:
    """The mean over pixels and channels; 1 is a 255th of the range."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    assert a.shape == b.shape
    return np.abs(a - b).mean()


def names(sources: list[Source]) -> list[str]:
    return [source.name for source in sources]


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A folder of empty files with names that matter, as the working folder's `photos`."""
    pictures_at_top = "img10.jpg", "img2.JPG", "b.png"
    deeper = "sub/c.webp", "sub/deep/d.tiff", "x.jpg/inside.png"
    clips = ("clip.mp4",)
    others = "notes.txt", "code.ts", ".hidden.jpg", ".hidden.mp4", ".cache/e.jpg"
    for name in pictures_at_top + deeper + clips + others:
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


class TestFinding:
    def test_folder_gives_its_pictures_and_clips_in_natural_order(self, tree):
        assert names(find_sources(["photos"])) == [
            "photos/b.png",
            "photos/clip.mp4",
            "photos/img2.JPG",
            "photos/img10.jpg",
        ]

    def test_recursive_walks_deeper_and_skips_hidden(self, tree):
        found = find_sources(["photos/"], recursive=True)
        assert [source.relative.as_posix() for source in found] == [
            "b.png", "clip.mp4", "img2.JPG", "img10.jpg", "sub/c.webp", "sub/deep/d.tiff", "x.jpg/inside.png",
        ]  # fmt: skip
        assert found[-1].name == "photos/x.jpg/inside.png" and found[-1].path.is_file()

    def test_named_files_are_kept_whatever_they_are(self, tree):
        found = find_sources(["photos/notes.txt", "photos/clip.mp4", "photos/none.jpg", "photos/.hidden.jpg"])
        assert [source.relative.name for source in found] == ["notes.txt", "clip.mp4", "none.jpg", ".hidden.jpg"]

    def test_glob_is_expanded_only_where_no_file_has_that_name(self, tree):
        assert names(find_sources(["photos/img*"])) == ["photos/img2.JPG", "photos/img10.jpg"]
        assert names(find_sources(["photos/**/*.webp"])) == ["photos/sub/c.webp"]
        assert find_sources(["photos/*.bmp"]) == []
        (tree / "a[1].jpg").touch()
        (tree / "a1.jpg").touch()
        assert names(find_sources(["photos/a[1].jpg"])) == ["photos/a[1].jpg"]

    def test_empty_folder_gives_nothing(self, tmp_path):
        assert find_sources([str(tmp_path)], recursive=True) == []

    def test_standard_input(self):
        (source,) = find_sources(["-", "-"], include=["*.jpg"])
        assert source == Source("-", None, Path("stdin"))

    def test_same_file_named_twice_is_one(self, tree):
        (tree.parent / "alias").symlink_to(tree)
        again = ["photos/b.png", "./photos/b.png", "photos", str(tree / "b.png"), "alias/b.png"]
        assert names(find_sources(again)) == ["photos/b.png", "photos/clip.mp4", "photos/img2.JPG", "photos/img10.jpg"]

    def test_loops_of_links_end(self, tree):
        (tree / "sub" / "up").symlink_to(tree)
        (tree / "self.jpg").symlink_to(tree / "self.jpg")
        found = find_sources(["photos"], recursive=True)
        assert len(found) == 8
        loop = next(source for source in found if source.relative.name == "self.jpg")
        with pytest.raises(InputError, match="symbolic links"):
            Picture.open(loop.path)

    def test_linked_folder_is_walked(self, tree, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "f.jpg").touch()
        (tree / "link").symlink_to(tmp_path / "elsewhere")
        assert "photos/link/f.jpg" in names(find_sources(["photos"], recursive=True))

    def test_what_an_input_is_goes_by_its_name_and_by_what_is_asked_for(self, tree):
        def kinds(*named: str, **asked) -> list[str]:
            return [source.kind.value for source in find_sources(named, **asked)]

        named = "photos/b.png", "clip.MOV", "a.GIF", "a.webp", "a.heic", "a.nef", "film", "film.xyz", "code.ts", "-"
        assert kinds(*named) == ["picture", "clip"] + ["picture"] * 6 + ["clip", "picture"]
        expected = ["either", "clip", "either", "either", "either", "picture", "clip", "clip", "clip", "picture"]
        assert kinds(*named, covers=True) == expected
        assert kinds("photos") == ["picture", "clip", "picture", "picture"]

    def test_include_and_exclude_match_the_relative_path(self, tree):
        def find(**filters) -> list[str]:
            return names(find_sources(["photos", "photos/notes.txt"], recursive=True, **filters))

        assert find(include=["sub/*"]) == ["photos/sub/c.webp", "photos/sub/deep/d.tiff"]
        assert find(include=["*.png", "*.txt"], exclude=["x.jpg/*"]) == ["photos/b.png", "photos/notes.txt"]
        assert find(exclude=["*"]) == []

    def test_output_folder_is_left_out_unless_it_is_named(self, tree):
        assert "photos/sub/c.webp" not in names(find_sources(["photos"], recursive=True, skip_folder=tree / "sub"))
        assert names(find_sources(["photos/sub"], skip_folder=tree / "sub")) == ["photos/sub/c.webp"]

    def test_trees_deeper_than_calls_can_be(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        depth = 1100  # Python's limit is 1000
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("a.jpg").touch()
        monkeypatch.chdir(tmp_path)
        (source,) = find_sources(["d"], recursive=True)
        assert source.name == "d/" * depth + "a.jpg"
        for _ in range(depth):  # pytest's own removal is one that calls itself
            os.chdir("d")
        os.unlink("a.jpg")
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")

    def test_what_a_suffix_shares_with_other_files_is_told_by_its_content(self, tree):
        packet = b"\x47" + bytes(187)
        (tree / "film.ts").write_bytes(packet * 4)
        (tree / "Loud.TS").write_bytes(packet * 4)
        passed = Counter()
        found = names(find_sources(["photos"], passed_over=passed))
        assert {"photos/film.ts", "photos/Loud.TS"} <= set(found) and "photos/code.ts" not in found
        assert passed[".ts"] == 1

    def test_a_part_depends_on_the_place_in_the_tree_alone(self):
        places = [f"{i}/IMG_{i % 7}.jpg" for i in range(400)]
        of_four = {
            place: [i for i in range(1, 5) if Source("x", Path("x"), Path(place)).is_in_part(i, 4)] for place in places
        }
        assert all(len(found) == 1 for found in of_four.values())
        counts = Counter(found[0] for found in of_four.values())
        assert len(counts) == 4 and min(counts.values()) > 60
        assert of_four["3/IMG_3.jpg"] == [4] and of_four["10/IMG_3.jpg"] == [1], "the same on every machine"
        one, other = (Source("x", Path("x"), Path(unicodedata.normalize(form, "é.jpg"))) for form in ("NFC", "NFD"))
        assert [one.is_in_part(i, 50) for i in range(1, 51)] == [other.is_in_part(i, 50) for i in range(1, 51)]
        assert Source("x", Path("x"), Path(os.fsdecode(b"\xff.jpg"))).is_in_part(1, 1)

    def test_a_part_depends_on_the_path_of_a_file_that_is_named(self, tree):
        def part(name):
            (source,) = find_sources([name], include=["b.png"])
            return next(i for i in range(1, 1001) if source.is_in_part(i, 1000))

        assert part("photos/b.png") == part("./photos//b.png") == part("photo[s]/b.png")
        assert part("photos") == part("photos/") == part(str(Path("photos").absolute())) != part("photos/b.png")

    def test_odd_names_are_found_and_opened(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        odd = ["-dash.jpg", "a b.jpg", "line\nbreak.jpg", "snö-雪.jpg", os.fsdecode(b"latin\xe9.jpg"), "UPPER.JPEG"]
        data = pictures.encoded(pictures.photo(40, 30))
        for name in odd:
            Path(name).write_bytes(data)
        found = find_sources(["."])
        assert sorted(names(found)) == sorted(odd)
        assert all(Picture.open(source.path).width == 40 for source in found)
        assert names(find_sources(["-dash.jpg"])) == ["-dash.jpg"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_folder_that_cannot_be_listed_becomes_an_error(self, tree):
        (tree / "sub").chmod(0)
        try:
            locked = next(s for s in find_sources(["photos"], recursive=True) if s.relative.name == "sub")
            with pytest.raises(InputError):
                Picture.open(locked.path)
        finally:
            (tree / "sub").chmod(0o755)

    def test_file_list(self):
        assert read_file_list(io.BytesIO(b"a.jpg\nb c.jpg\r\n\n-d.jpg"), False) == ["a.jpg", "b c.jpg", "-d.jpg"]
        for text in ("caf\u00e9.jpg\n\u753b\u50cf.jpg", "caf\u00e9.jpg\r\n\u753b\u50cf.jpg\r\n"):
            for mark, encoding in (
                ("\ufeff", "utf-8"),
                ("\ufeff", "utf-16-le"),
                ("\ufeff", "utf-16-be"),
                ("", "utf-8"),
                ("", "utf-16-le"),
            ):
                names = read_file_list(io.BytesIO((mark + text).encode(encoding)), False)
                assert names == ["caf\u00e9.jpg", "\u753b\u50cf.jpg"]
        with pytest.raises(InputError, match="begins like UTF-16"):
            read_file_list(io.BytesIO(b"\xff\xfea\0b"), False)
        assert read_file_list(io.BytesIO(b"a\nb.jpg\0\xe9.jpg\0"), True) == ["a\nb.jpg", os.fsdecode(b"\xe9.jpg")]
        with pytest.raises(InputError, match="null_separated"):
            read_file_list(io.BytesIO(b"a.jpg\0b.jpg\0"), False)


class TestOrientation:
    @pytest.mark.parametrize("fmt", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_orientation_gives_one_upright_picture(self, fmt, orientation):
        # Lossy coding is not the same for a turned picture: 3 of 255 on average is far less than any turn makes.
        tolerance = 0 if fmt in ("PNG", "TIFF") else 3
        options = {"lossless": True} if fmt == "WEBP" else {}
        picture = Picture.open(pictures.encoded(UPRIGHT, fmt, orientation=orientation, **options))
        assert (picture.width, picture.height) == UPRIGHT.size
        box = (20, 30, 300, 150)
        assert difference(picture.crop(box), UPRIGHT.crop(box)) <= tolerance
        assert difference(picture.reduced(200), UPRIGHT) <= tolerance
        # Resampling goes across, then down, and rounds after each.
        assert difference(picture.reduced(50), UPRIGHT.reduce(4)) <= tolerance + 1
        small = UPRIGHT.resize((40, 17), Image.Resampling.LANCZOS, box)
        assert difference(picture.crop(box, (40, 17)), small) <= tolerance + 1

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_smaller_jpeg_decode_cuts_the_same_place(self, orientation):
        # Sides that no reduction divides, so that the last blocks are partial ones.
        upright = pictures.photo(1003, 613)
        picture = Picture.open(pictures.encoded(upright, orientation=orientation))
        box = (9, 3, 1001, 611)
        small = picture.crop(box, (62, 38))
        assert picture.decoded_scale == 8
        # The box is cut from pixels of eight, and so up to four off at each edge.
        moves = itertools.product((-4, -2, 0, 2), (-3, -1, 0, 2))
        at = [(box[0] + x, box[1] + y, box[2] + x, box[3] + y) for x, y in moves]
        assert min(difference(small, upright.resize((62, 38), Image.Resampling.LANCZOS, place)) for place in at) < 1.5
        assert difference(picture.reduced(153), upright.resize((251, 153), Image.Resampling.BOX)) < 1.5

    def test_orientation_behind_the_pixels_of_a_png(self):
        picture = Picture.open(pictures.png_with_late_exif(UPRIGHT, 6))
        assert (picture.width, picture.height) == UPRIGHT.size
        assert difference(picture.reduced(200), UPRIGHT) == 0

    def test_compressed_tiff(self):
        picture = Picture.open(pictures.encoded(UPRIGHT, "TIFF", orientation=8, compression="tiff_lzw"))
        assert difference(picture.reduced(200), UPRIGHT) == 0

    @pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b""])
    def test_damaged_exif_leaves_the_picture_as_stored(self, exif):
        assert Picture.open(pictures.encoded(UPRIGHT, exif=exif)).width == 320

    @pytest.mark.parametrize("value", [0, 9, 65535])
    def test_senseless_orientation_is_ignored(self, value):
        exif = Image.Exif()
        exif[0x0112] = value
        assert Picture.open(pictures.encoded(UPRIGHT, exif=exif)).width == 320

    def test_image_opened_by_the_caller_is_turned_and_left_alone(self):
        image = Image.open(io.BytesIO(pictures.encoded(pictures.photo(640, 400), orientation=6)))
        picture = Picture.open(image)
        assert (picture.width, picture.height, image.size) == (640, 400, (400, 640))
        assert picture.reduced(50).shape == (50, 80, 3)
        assert image.size == (400, 640) and image.getexif()[0x0112] == 6


class TestReducing:
    @pytest.mark.slow
    def test_jpeg_is_decoded_at_reduced_size(self, monkeypatch):
        decoded_sizes = []
        load = ImageFile.ImageFile.load

        def watched(image):
            decoded_sizes.append(image.size)
            return load(image)

        monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
        reduced = Picture.open(pictures.encoded(pictures.photo(2400, 1600))).reduced(256)
        assert max(decoded_sizes) == (1200, 800)
        assert reduced.shape == (400, 600, 3)

    @pytest.mark.parametrize("fmt", ["JPEG", "PNG"])
    @pytest.mark.parametrize("size", [(640, 400), (257, 999), (1021, 509), (100, 90), (1, 1), (1, 4000), (8000, 40)])
    def test_short_side_is_reached_and_at_most_doubled(self, fmt, size):
        picture = Picture.open(pictures.encoded(pictures.photo(*size), fmt))
        for wanted in (1, 64, 256):
            height, width, _ = picture.reduced(wanted).shape
            assert min(wanted, *size) <= min(height, width) <= 2 * wanted or min(size) < wanted
            assert abs(width / size[0] - height / size[1]) <= max(0.5 / size[0], 0.5 / size[1]) * 2 + 1e-9

    def test_result_is_a_writable_array_of_its_own(self):
        reduced = Picture.open(np.zeros((20, 30, 3), np.uint8)).reduced(20)
        reduced[:] = 1
        assert reduced.dtype == np.uint8 and reduced.flags.c_contiguous


class TestModes:
    def test_arrays(self):
        picture = Picture.open(np.asarray(UPRIGHT))
        assert picture.format is None and picture.frames == 1
        assert difference(picture.reduced(200), UPRIGHT) == 0
        assert difference(picture.crop((5, 6, 50, 60)), UPRIGHT.crop((5, 6, 50, 60))) == 0

    @pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
    def test_other_arrays_are_a_callers_mistake(self, array):
        with pytest.raises(ValueError, match="uint8 array"):
            Picture.open(array)

    @pytest.mark.parametrize(
        "stored, fmt, mode",
        [("L", "PNG", "L"), ("LA", "PNG", "LA"), ("RGB", "PNG", "RGB"), ("RGBA", "PNG", "RGBA"), ("1", "PNG", "L"),
         ("P", "PNG", "RGB"), ("P", "GIF", "RGB"), ("L", "JPEG", "L"), ("CMYK", "JPEG", "CMYK"),
         ("CMYK", "TIFF", "CMYK"), ("YCbCr", "JPEG", "RGB"), ("RGB", "BMP", "RGB"), ("RGB", "PPM", "RGB"),
         ("RGB", "JPEG2000", "RGB"), ("RGBA", "QOI", "RGBA"), ("LAB", "TIFF", "RGB"), ("RGBA", "AVIF", "RGBA")],
    )  # fmt: skip
    def test_crop_keeps_the_natural_mode(self, stored, fmt, mode):
        image = pictures.photo(60, 40)
        if stored == "LAB":
            image = Image.merge("LAB", image.split())
        elif stored == "RGBA":
            image.putalpha(200)
        picture = Picture.open(pictures.encoded(image.convert(stored), fmt))
        assert picture.crop((0, 0, 30, 30)).mode == mode
        assert picture.crop((0, 0, 30, 30), (7, 7)).mode == mode
        reduced = picture.reduced(20)
        assert reduced.shape == (20, 30, 3) and reduced.std() > 10

    def test_transparency_lies_on_white_for_scoring(self):
        clear = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
        half = Image.new("LA", (8, 8), (0, 128))
        assert (Picture.open(pictures.encoded(clear, "PNG")).reduced(8) == 255).all()
        assert (Picture.open(pictures.encoded(half, "PNG")).reduced(8) == 127).all()

    @pytest.mark.parametrize("mode, mode_out", [("P", "RGBA"), ("RGB", "RGBA"), ("L", "LA"), ("1", "LA")])
    def test_one_transparent_colour_becomes_alpha(self, mode, mode_out):
        image = Image.new(mode, (8, 8), 0)
        image.paste(1, (4, 0, 8, 8))
        key = (0, 0, 0) if mode == "RGB" else 0
        if mode == "P":
            image.putpalette([0, 0, 0, 255, 0, 0])
        crop = Picture.open(pictures.encoded(image, "PNG", transparency=key)).crop((0, 0, 8, 8))
        assert crop.mode == mode_out
        assert crop.getpixel((0, 0))[-1] == 0 and crop.getpixel((7, 0))[-1] == 255
        assert "transparency" not in crop.info

    def test_16_bit_grey_is_kept_and_scaled(self):
        values = np.linspace(0, 65535, 64 * 40).astype(np.uint16).reshape(40, 64)
        for fmt in ("PNG", "TIFF"):
            picture = Picture.open(pictures.encoded(Image.fromarray(values), fmt))
            crop = picture.crop((10, 0, 60, 40))
            assert crop.mode == "I;16" and (np.asarray(crop) == values[:, 10:60]).all()
            assert (picture.reduced(40)[..., 1] == np.rint(values / 257)).all()
            assert picture.reduced(5).shape == (5, 8, 3)

    def test_16_bit_does_not_wrap_where_lanczos_overshoots(self):
        edge = np.zeros((60, 60), np.uint16)
        edge[:, 30:] = 65535
        small = np.asarray(Picture.open(Image.fromarray(edge)).crop((0, 0, 60, 60), (25, 25))).astype(int)
        assert (small[:, :10] < 2000).all() and (small[:, -10:] > 63000).all()

    def test_16_bit_colour(self):
        values = np.linspace(0, 65535, 8 * 6 * 3).astype(np.uint16).reshape(6, 8, 3)
        reduced = Picture.open(pictures.png_16_bit_colour(values)).reduced(6)
        assert np.abs(reduced.astype(int) - values / 257).max() <= 1

    @pytest.mark.parametrize("scale, expected", [(1.0, 255), (255.0, 255), (65535.0, 255), (1e6, 255)])
    def test_floats_are_scaled_to_the_range_that_they_mean(self, scale, expected):
        ramp = np.linspace(0, scale, 100, dtype=np.float32).reshape(10, 10)
        ramp[0, 0] = np.nan
        reduced = Picture.open(pictures.encoded(Image.fromarray(ramp), "TIFF")).reduced(10)
        assert reduced.max() == expected and reduced[0, 0, 0] == 0 and abs(reduced[5, 0, 0] - 129) <= 1

    def test_32_bit_integers(self):
        assert Picture.open(Image.new("I", (4, 4), 65535)).reduced(4).max() == 255
        assert Picture.open(Image.new("I", (4, 4), -5)).reduced(4).max() == 0
        dark = Image.fromarray(np.array([[0, 2**31 - 1]], dtype=np.int32))
        assert Picture.open(dark).reduced(1).max() == 255

    def test_cmyk_is_seen_through_its_profile(self):
        first_ink = Image.new("CMYK", (64, 64), (255, 0, 0, 0))
        plain = Picture.open(pictures.encoded(first_ink, "TIFF")).reduced(8)[0, 0]
        assert plain[0] < 60 and plain[2] > 200  # cyan
        profile = pictures.cmyk_profile()
        for fmt in ("TIFF", "JPEG"):
            picture = Picture.open(pictures.encoded(first_ink, fmt, icc_profile=profile))
            red, green, blue = picture.reduced(8)[0, 0]
            assert red > 200 and green < 60 and blue < 60, "the profile calls this ink red"
            crop = picture.crop((0, 0, 8, 8))
            assert crop.mode == "CMYK" and crop.info["icc_profile"] == profile

    @pytest.mark.parametrize("profile", [b"nonsense", pictures.srgb_profile(), pictures.cmyk_profile()[:300]])
    def test_profile_that_does_not_fit_is_passed_over(self, profile):
        image = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
        image.info["icc_profile"] = profile
        assert to_srgb(image).getpixel((0, 0)) == (255, 255, 255)

    def test_profile_goes_along_byte_for_byte(self):
        profile = pictures.p3_profile()
        picture = Picture.open(pictures.encoded(UPRIGHT, orientation=6, icc_profile=profile))
        for size_wh in (None, (20, 20)):
            assert picture.crop((10, 10, 90, 90), size_wh).info == {"icc_profile": profile}

    @pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
    def test_animations_give_their_first_frame(self, fmt):
        picture = Picture.open(pictures.animation(fmt))
        assert picture.frames == 3
        for pixel in (picture.reduced(30)[15, 20], np.array(picture.crop((0, 0, 9, 9)))[4, 4]):
            assert pixel[0] > 230 and max(pixel[1:3]) < 30

    def test_first_picture_of_several_in_a_jpeg(self):
        data = pictures.encoded(UPRIGHT, "MPO", save_all=True, append_images=[Image.new("RGB", (320, 200))])
        picture = Picture.open(data)
        assert (picture.format, picture.frames) == ("JPEG", 2)
        assert difference(picture.reduced(200), UPRIGHT) < 3
        assert picture.crop((0, 0, 320, 200), (40, 25)).size == (40, 25)


class TestCropping:
    def test_crop_has_exactly_the_size_asked_for(self):
        picture = Picture.open(pictures.encoded(pictures.photo(640, 400), orientation=6))
        for size_wh in ((1, 1), (37, 111), (640, 1), (1000, 999)):
            assert picture.crop((3, 5, 400, 390), size_wh).size == size_wh
        assert picture.crop((3, 5, 400, 390)).size == (397, 385)

    def test_decoder_shrinks_only_where_nothing_is_lost(self):
        upright = pictures.photo(1600, 1200, noise=8)
        data = pictures.encoded(upright)
        picture = Picture.open(data)
        whole = (0, 0, 1600, 1200)
        sizes = ((100, 75), 8), ((200, 150), 4), ((300, 225), 2), ((500, 375), 2), ((600, 450), 1), ((100, 75), 1)
        for size_wh, scale in sizes:
            small = picture.crop(whole, size_wh)
            assert picture.decoded_scale == scale
            full = pictures.decoded(data).resize(size_wh, Image.Resampling.LANCZOS)
            assert difference(small, full) < 1.5

    def test_one_decode_serves_scoring_and_crops(self, monkeypatch):
        decodes = []
        decode = Picture._decode
        monkeypatch.setattr(Picture, "_decode", lambda picture, scale: decodes.append(scale) or decode(picture, scale))
        upright = pictures.photo(2048, 1600)
        picture = Picture.open(pictures.encoded(upright))
        seen_alone = picture.reduced(200)
        assert decodes == [2] and picture.decoded_bytes == 0
        seen = picture.reduced(200, keep=True)
        assert difference(seen, seen_alone) == 0
        assert decodes == [2, 2] and picture.decoded_bytes == 1024 * 800 * 4
        for box, size_wh in ((0, 0, 2048, 1600), (256, 200)), ((100, 100, 1300, 1300 - 400), (150, 100)):
            assert difference(picture.crop(box, size_wh), upright.resize(size_wh, Image.Resampling.LANCZOS, box)) < 1.5
        assert difference(picture.reduced(400, keep=True), upright.reduce(4)) < 1.5
        assert decodes == [2, 2], "what was kept serves"
        picture.crop((0, 0, 400, 300), (200, 150))
        assert decodes == [2, 2, 1], "a small crop takes a finer decode"
        assert difference(picture.reduced(200), seen) == 0 and decodes == [2, 2, 1, 2], (
            "scoring sees what it always does"
        )
        picture.close()
        assert picture.decoded_bytes == 0

    @pytest.mark.parametrize(
        "size, scale", [((1100, 767), 1), ((1535, 1535), 1), ((2100, 1536), 2), ((3072, 4000), 4), ((6144, 6200), 8)]
    )
    def test_the_scale_for_scoring_depends_on_the_picture_alone(self, size, scale):
        picture = Picture.open(pictures.encoded(Image.new("L", size)))
        for short_side in (100, 150):
            picture.reduced(short_side, keep=True)
            assert picture.decoded_scale == scale

    def test_scoring_never_sees_less_than_it_asked_for(self):
        picture = Picture.open(pictures.encoded(pictures.photo(2048, 1600)))
        assert picture.reduced(1200, keep=True).shape == (1600, 2048, 3)

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
    def test_one_filter_resizes_small_pictures_whatever_else_is_loaded(self, mode):
        image = pictures.photo(320, 200).convert(mode)
        made = Picture.open(image).crop((0, 0, 320, 200), (80, 50))
        assert difference(made, image.resize((80, 50), Image.Resampling.LANCZOS, reducing_gap=3.0)) == 0

    def test_torch_makes_large_crops_of_photos_as_pillow_does(self, monkeypatch):
        data = pictures.encoded(pictures.photo(2600, 2000))  # decoded at half of that
        cases = [
            ((0, 0, 2600, 2000), (500, 400)),
            ((200, 100, 2500, 2000), (460, 380)),
            ((3, 1, 2598, 1999), (519, 400)),
        ]
        monkeypatch.setattr(resize, "_by_torch", None)
        by_pillow = [Picture.open(data).crop(*case) for case in cases]
        resize.use_torch()
        if resize._by_torch is None:
            pytest.skip("this torch has no fast Lanczos filter")
        made = []
        monkeypatch.setattr(
            resize, "_by_torch", lambda *given, filter=resize._by_torch: made.append(1) or filter(*given)
        )
        with Picture.open(data) as picture:
            for case, wanted in zip(cases, by_pillow, strict=True):
                crop = picture.crop(*case)
                assert (crop.size, crop.mode) == (wanted.size, "RGB")
                assert difference(crop, wanted) < 0.5
        assert len(made) == 3
        for case in (
            ((0, 0, 2600, 300), (500, 60)),
            ((0, 0, 2600, 2000), (260, 200)),
            ((0, 0, 2600, 2000), (1300, 2000)),
        ):
            Picture.open(data).crop(*case)  # small, made much smaller, made no smaller
        Picture.open(pictures.photo(2000, 1400).convert("RGBA")).crop((0, 0, 2000, 1400), (900, 630))
        assert len(made) == 3

    def test_a_torch_without_the_filter_leaves_pictures_to_pillow(self, monkeypatch):
        def refuse(*given, **options):
            raise NotImplementedError("lanczos")

        monkeypatch.setattr(resize, "_by_torch", None)
        monkeypatch.setattr("torch.nn.functional.interpolate", refuse)
        resize.use_torch()
        assert resize._by_torch is None

    def test_decoded_picture_is_kept_until_close(self, tmp_path):
        file = tmp_path / "a.png"
        file.write_bytes(pictures.encoded(UPRIGHT, "PNG"))
        with Picture.open(file) as picture:
            picture.crop((0, 0, 9, 9))
            file.unlink()
            assert difference(picture.crop((9, 9, 20, 20)), UPRIGHT.crop((9, 9, 20, 20))) == 0
        with pytest.raises(InputError, match="no such file"):
            picture.crop((0, 0, 9, 9))

    @pytest.mark.parametrize("box", [(0, 0, 321, 9), (-1, 0, 9, 9), (5, 5, 5, 9), (0, 9, 9, 4)])
    def test_box_outside_the_picture_is_a_callers_mistake(self, box):
        with pytest.raises(ValueError, match="not inside 320x200"):
            Picture.open(UPRIGHT).crop(box)

    def test_file_that_changes_meanwhile(self, tmp_path):
        file = tmp_path / "a.png"
        file.write_bytes(pictures.encoded(UPRIGHT, "PNG"))
        picture = Picture.open(file)
        file.write_bytes(pictures.encoded(pictures.photo(30, 20), "PNG"))
        with pytest.raises(InputError, match="changed"):
            picture.crop((0, 0, 9, 9))

    def test_no_file_stays_open(self, tmp_path):
        file = tmp_path / "a.webp"
        file.write_bytes(pictures.animation("WEBP"))
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            picture = Picture.open(file)
            picture.reduced(10)
            picture.crop((0, 0, 9, 9))
        if Path("/proc/self/fd").exists():
            assert str(file) not in [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]


class TestRefusals:
    def refused(self, source, **options) -> str:
        with pytest.raises(InputError) as error:
            Picture.open(source, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    def test_what_is_no_picture(self, tmp_path):
        text = tmp_path / "text.jpg"
        text.write_text("These are only words.\n")
        assert self.refused(text) == "not an image"
        assert self.refused(str(text)) == "not an image"
        assert self.refused(b"\x89PNG\r\n\x1a\n") == "not an image"
        assert self.refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "not an image"
        assert self.refused(b"") == "empty file"
        (tmp_path / "empty.png").touch()
        assert self.refused(tmp_path / "empty.png") == "empty file"

    def test_what_is_no_file(self, tmp_path):
        assert self.refused(tmp_path / "none.jpg") == "no such file"
        assert self.refused(tmp_path / "none.mp4") == "no such file"
        (tmp_path / "x.jpg").mkdir()
        assert "directory" in self.refused(tmp_path / "x.jpg")
        assert self.refused("a\0b.jpg")
        os.mkfifo(tmp_path / "pipe.jpg")
        assert self.refused(tmp_path / "pipe.jpg") == "not a regular file"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_unreadable_file(self, tmp_path):
        file = tmp_path / "a.jpg"
        file.write_bytes(pictures.encoded(UPRIGHT))
        file.chmod(0)
        assert self.refused(file) == "permission denied"

    def test_unreadable_file_as_any_user(self, tmp_path, monkeypatch):
        file = tmp_path / "a.jpg"
        file.write_bytes(pictures.encoded(UPRIGHT))

        def denied(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(picture_module, "open", denied, raising=False)
        assert self.refused(file) == "permission denied"

    @pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.txt", "a", "a.MP4", "a.heic", "a.NEF"])
    def test_contents_count_not_the_suffix(self, tmp_path, name):
        file = tmp_path / name
        file.write_bytes(pictures.encoded(UPRIGHT, "WEBP"))
        assert Picture.open(file).format == "WEBP"

    @pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000"])
    @pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.97])
    def test_truncated_picture_is_an_error_not_a_grey_half(self, fmt, part):
        data = pictures.encoded(pictures.photo(300, 200, noise=20), fmt)
        data = data[: int(len(data) * part)]
        for use in (lambda p: p.reduced(50), lambda p: p.reduced(200), lambda p: p.crop((0, 0, 9, 9))):
            with pytest.raises(InputError) as error:
                use(Picture.open(data))
            assert "\n" not in str(error.value)

    @pytest.mark.parametrize("options", [{}, {"progressive": True}])
    def test_truncated_jpeg_is_called_so(self, options):
        data = pictures.encoded(UPRIGHT, **options)
        with pytest.raises(InputError, match="truncated JPEG"):
            Picture.open(data[: len(data) * 2 // 3]).reduced(100)

    def test_noise_in_place_of_a_picture_is_never_a_crash(self):
        rng, opened = np.random.default_rng(0), []
        for fmt in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP", "JPEG2000", "QOI", "PPM"):
            clean = pictures.encoded(pictures.photo(60, 40), fmt)
            for _ in range(25):
                data = np.frombuffer(clean, np.uint8).copy()
                data[rng.integers(0, len(data), 12)] = rng.integers(0, 256, 12)
                try:
                    picture = Picture.open(data.tobytes(), max_pixels=10**6)
                    picture.reduced(20)
                    picture.crop((0, 0, 1, 1))
                    opened.append(True)
                except InputError:
                    opened.append(False)
        assert 50 < sum(opened) < 200

    def test_bomb_is_refused_before_it_is_decoded(self, monkeypatch):
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
        assert self.refused(pictures.png_bomb()) == "60000x60000 is over 200000000 pixels (max_pixels)"
        picture = Picture.open(pictures.png_bomb(), max_pixels=10**10)
        assert (picture.width, picture.height) == (60000, 60000)

    def test_limit_is_exact(self):
        data = pictures.encoded(UPRIGHT, "PNG")
        assert Picture.open(data, max_pixels=320 * 200)
        assert self.refused(data, max_pixels=320 * 200 - 1) == "320x200 is over 63999 pixels (max_pixels)"

    def test_pillows_own_limit_is_the_hosts(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        assert "PIL.Image.MAX_IMAGE_PIXELS" in self.refused(pictures.encoded(UPRIGHT, "GIF"))
        assert Image.MAX_IMAGE_PIXELS == 1000
        lift_pillow_limits()
        picture = Picture.open(pictures.encoded(UPRIGHT, "GIF"))
        assert picture.reduced(200).shape == (200, 320, 3)
        assert picture.crop((0, 0, 320, 200)).size == (320, 200)

    def test_nothing_changes_for_a_host_at_import(self):
        script = (
            "import warnings, torch, torchvision, imageio_ffmpeg, numpy; from PIL import Image, PngImagePlugin;"
            "state = lambda: (list(warnings.filters), Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK,"
            " torch.get_num_threads());"
            "before = state(); import s2crop; s2crop.Cropper; s2crop.covers; assert state() == before"
        )
        subprocess.run([sys.executable, "-c", script], check=True)

    def test_an_error_of_our_own_keeps_its_traceback(self, monkeypatch):
        picture = Picture.open(pictures.encoded(UPRIGHT))
        monkeypatch.setattr(pixels, "natural", lambda image: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            picture.reduced(20)
        monkeypatch.setattr(picture_module, "_orientation", lambda image: None + 1)
        with pytest.raises(TypeError):
            Picture.open(pictures.encoded(UPRIGHT))

    def test_warnings_of_pillow_stay_away_from_users(self, tmp_path):
        exif = Image.Exif()
        exif[0x010E] = "a description that is longer than the space it has"
        data = pictures.encoded(UPRIGHT, exif=exif.tobytes()[:-30])
        (tmp_path / "a.jpg").write_bytes(data)
        script = (
            "import sys; from s2crop.files.picture import Picture, lift_pillow_limits; lift_pillow_limits();"
            "Picture.open(sys.argv[1]).crop((0, 0, 300, 200))"
        )
        run = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "a.jpg")], capture_output=True, text=True, check=True
        )
        assert run.stderr == "" and run.stdout == ""
