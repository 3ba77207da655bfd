"""Clips as phones, cameras and editors write them, and as they break: which stream, which frames,
in which shape and colours.
"""

import base64
import random
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clips
from commands import s2crop
from fake_cropper import FakeCropper
from s2crop.errors import InputError, VideoError
from s2crop.files.formats import Kind
from s2crop.files.picture import Picture
from s2crop.files.sniff import CLIP, HEAD_BYTES, sniff
from s2crop.files.sound import has_picture
from s2crop.files.sources import find_sources
from s2crop.video import covers, ffmpeg, interlacing, scan, tags
from s2crop.video.reader import Video
from test_covers import FPS, REQUEST, flat, shot
from test_shots import scene

RED, BLUE = (200, 30, 40), (20, 40, 200)


def plain(colour, size_wh=(160, 96), count=20):
    """Frames of one colour with a disc in the middle, so that they are no blank."""
    width, height = size_wh
    y, x = np.mgrid[0:height, 0:width]
    frame = np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()
    frame[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(size_wh) / 4) ** 2] = 240
    return [frame] * count


def colour_of(frame):
    return np.asarray(frame, int)[4, 4]


def chosen(path, count=2, **given):
    return covers.covers(path, count, cropper=FakeCropper(), **given)


def close(found, wanted, by=12):
    return np.abs(np.asarray(found, int) - wanted).max() <= by


# Which stream


def joined(path, *arguments):
    clips.run_ffmpeg(*arguments, path)
    return path


def test_a_poster_as_a_track_is_not_the_clip(tmp_path):
    poster = clips.write_clip(tmp_path / "a.mkv", plain(RED, (320, 320), 1), codec=("-c:v", "mjpeg", "-q:v", "2"))
    clip = clips.write_clip(tmp_path / "b.mkv", shot(1, 2))
    for options in (["-disposition:v:0", "0", "-disposition:v:1", "default"], ["-disposition:v", "0"]):
        path = joined(
            tmp_path / "c.mkv", "-i", poster, "-i", clip, "-map", "0:v", "-map", "1:v", "-c", "copy", *options
        )
        video = Video.open(path)
        assert (video.width, video.height) == (256, 144)
        assert len(list(video.frames())) == 50


@pytest.mark.parametrize(
    ("dispositions", "wanted"), [(("0", "0"), BLUE), (("default", "0"), RED), (("0", "default"), BLUE)]
)
def test_of_two_streams_the_default_one_is_the_clip_and_else_the_larger(tmp_path, dispositions, wanted):
    small = clips.write_clip(tmp_path / "a.mp4", plain(RED, (160, 96)))
    large = clips.write_clip(tmp_path / "b.mp4", plain(BLUE, (320, 192)))
    flags = [part for i, flag in enumerate(dispositions) for part in (f"-disposition:v:{i}", flag)]
    path = joined(tmp_path / "c.mkv", "-i", small, "-i", large, "-map", "0:v", "-map", "1:v", "-c", "copy", *flags)
    video = Video.open(path)
    times = [time_s for time_s, _ in video.frames()]
    assert close(colour_of(video.frames_at(times[5:6])[0]), wanted)


# Attached pictures


def with_art(tmp_path, clip_path, name):
    cover = tmp_path / "cover.jpg"
    Image.fromarray(scene(7, (300, 300))).save(cover, quality=95)
    flags = ["-c", "copy", "-disposition:v:1" if clip_path.suffix != ".wav" else "-disposition:v", "attached_pic"]
    return joined(tmp_path / name, "-i", clip_path, "-i", cover, "-map", "0", "-map", "1", *flags)


def test_the_art_of_a_clip_is_one_more_candidate(tmp_path):
    path = with_art(tmp_path, clips.write_clip(tmp_path / "a.mp4", shot(1, 2)), "b.mp4")
    video = Video.open(path)
    assert (video.width, video.height) == (256, 144)  # of the clip
    winners = covers.find_winners(video, 2)
    assert [winner.art for winner in winners].count(0) == 1 and winners[0].art is None
    found = chosen(path, 4)
    art = [frame for frame in found if frame.time_s is None]
    assert len(art) == 1 and art[0].image.size == (300, 300)
    assert np.abs(np.asarray(art[0].image, int) - scene(7, (300, 300))).mean() < 6
    assert all(frame.image.size == (256, 144) for frame in found if frame.time_s is not None) and len(found) > 1
    assert all(frame.time_s is not None for frame in chosen(path, 4, start_s=0.2))  # it is in no span


def test_the_cover_of_a_sound_file_is_taken(tmp_path):
    sound = tmp_path / "a.mp3"
    clips.run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", sound)
    cover, path = tmp_path / "cover.jpg", tmp_path / "b.mp3"
    Image.fromarray(scene(7, (200, 300))).save(cover, quality=95)
    joined(path, "-i", sound, "-i", cover, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic")
    (frame,) = chosen(path, 3)
    assert frame.time_s is None and frame.image.size == (300, 200)
    with pytest.raises(VideoError, match="^no video in it, only sound$"):
        chosen(sound)


def music(folder, name, with_picture):
    """A sound file of a second, by its suffix, in a folder."""
    cover, path = folder.parent / "cover.jpg", folder / name
    folder.mkdir(exist_ok=True)
    Image.fromarray(scene(7, (200, 300))).save(cover, quality=95)
    tone = ["-f", "lavfi", "-i", "sine=duration=1"]
    if not with_picture:
        options = []
    elif path.suffix in (".ogg", ".opus"):  # which have it among their texts, as FLAC has it in a block
        kind, picture = b"image/jpeg", cover.read_bytes()
        block = struct.pack(">II", 3, len(kind)) + kind + bytes(20) + struct.pack(">I", len(picture)) + picture
        options = ["-metadata", f"METADATA_BLOCK_PICTURE={base64.b64encode(block).decode()}"]
    else:
        options = ["-i", cover, "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"]
    codecs = {".m4a": "aac", ".opus": "libopus", ".ogg": "libvorbis"}
    codec = ["-c:a", codecs[path.suffix]] if path.suffix in codecs else []
    clips.run_ffmpeg(*tone, *options, *codec, path)
    return path


SOUNDS = ["a.mp3", "a.m4a", "a.flac", "a.ogg", "a.opus"]


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("with_picture", [True, False])
def test_in_folders_sound_with_a_picture_is_looked_at_where_covers_are_asked_for(tmp_path, name, with_picture):
    path = music(tmp_path / "in", name, with_picture)
    for covers_asked in (True, False):
        passed_over = Counter()
        found = find_sources([str(path.parent)], covers=covers_asked, passed_over=passed_over)
        taken = with_picture and covers_asked
        assert [(one.path, one.kind) for one in found] == ([(path, Kind.CLIP)] if taken else [])
        assert dict(passed_over) == ({} if taken else {path.suffix: 1})
    if with_picture:
        (frame,) = chosen(path)
        assert np.abs(np.asarray(frame.image, int) - scene(7, (200, 300))).mean() < 6


def test_damaged_sound_has_no_picture_or_is_one_clear_error(tmp_path):
    for name in SOUNDS:
        data = music(tmp_path / "in", name, True).read_bytes()
        for part in (3, 12, 60, 400):
            cut = tmp_path / name
            cut.write_bytes(data[:part])
            if has_picture(cut):
                with pytest.raises(VideoError):
                    chosen(cut)


# Fields


def moving_bar(size_wh=(160, 96), step=8):
    width, height = size_wh
    fields = [np.full((height, width, 3), 40, np.uint8) for _ in range(24)]
    for i, field in enumerate(fields):
        field[:, step * i % width : step * i % width + 24] = 220
    return fields


def comb_of(frame):
    grey = np.asarray(frame, float).mean(axis=2)
    return np.abs(2 * grey[2:-2] - grey[1:-3] - grey[3:-1]).mean()


MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ildct+ilme", "-pix_fmt", "yuv420p")
AVC = (*clips.H264, "-flags", "+ildct+ilme")
DV = ("-c:v", "dvvideo", "-pix_fmt", "yuv420p")
UNTAGGED = ("-c:v", "libx264", "-crf", "8", "-pix_fmt", "yuv420p")


@pytest.mark.parametrize(
    ("name", "codec", "chain"),
    [
        ("a.mpg", MPEG2, "interlace=lowpass=0"),
        ("a.mts", AVC, "interlace=lowpass=0"),
        ("a.dv", DV, "interlace=lowpass=0:scan=bff,scale=720:576:flags=neighbor:interl=1,setsar=16/15"),
        ("a.mp4", UNTAGGED, "interlace=lowpass=0,setfield=prog"),
    ],
    ids=["MPEG-2", "AVCHD", "DV", "untagged"],
)
def test_fields_are_not_mixed(tmp_path, name, codec, chain):
    size_wh = (720, 576) if name == "a.dv" else (160, 96)
    path = clips.write_clip(
        tmp_path / name, moving_bar(size_wh, step=size_wh[0] // 20), fps=50, filters=chain, codec=codec
    )
    container = ["-f", "mpegts"] if name == "a.mts" else []
    assert container == [] or path.stat().st_size
    video = Video.open(path)
    frames = list(video.frames(None))
    assert comb_of(frames[4][1]) > 8  # as stored
    assert comb_of(video.frames_at([frames[4][0]])[0]) < 3


def test_combs_are_told_from_pictures():
    sharp = scene(3, (360, 640))
    combed = sharp.copy()
    combed[1::2] = np.roll(sharp, 24, axis=1)[1::2]
    assert interlacing.is_combed(combed)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, sharp.shape).astype(np.uint8)
    dots = (255 * (np.indices((360, 640)).sum(axis=0) % 2)).astype(np.uint8)[..., None].repeat(3, axis=2)
    columns = np.ascontiguousarray(np.moveaxis(combed, 0, 1))
    for frame in (sharp, noise, dots, columns, np.zeros((3, 3, 3), np.uint8)):
        assert not interlacing.is_combed(frame)


# Shapes


def test_frames_that_change_size_midway_keep_their_own_shape(tmp_path):
    wide = clips.write_clip(tmp_path / "a.ts", plain(RED, (320, 180), 50))
    tall = clips.write_clip(tmp_path / "b.ts", plain(BLUE, (180, 320), 50), options=["-output_ts_offset", 2])
    path = tmp_path / "c.ts"
    path.write_bytes(wide.read_bytes() + tall.read_bytes())
    video = Video.open(path)
    frames = list(video.frames(160))
    assert {frame.shape for _, frame in frames} == {(90, 160, 3)} and len(frames) == 100
    narrow = frames[80][1]
    assert narrow[:, :50].max() < 20 < narrow[45, 60].max()  # black bars, and not stretched
    again = video.frames_at([frames[20][0], frames[80][0]])
    assert [frame.shape for frame in again] == [(180, 320, 3), (320, 180, 3)]
    for frame, colour in zip(again, (RED, BLUE), strict=True):
        assert close(colour_of(frame), colour)
        disc = frame.min(axis=2) > 200
        height, width = np.ptp(np.argwhere(disc), axis=0)
        assert abs(int(height) - int(width)) <= 4  # round
    shown = list(covers.show(video, covers.find_winners(video, 2), FakeCropper()))
    assert {one.size_wh for one in shown} == {(320, 180), (180, 320)}
    for one in shown:
        assert one.inside == (0, 0, *one.size_wh)


def test_a_change_of_resolution_is_no_change_of_shape(tmp_path):
    parts = [clips.write_clip(tmp_path / f"{w}.ts", plain(RED, (w, w // 2), 30)) for w in (320, 160)]
    path = tmp_path / "c.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    video = Video.open(path)
    times = [time_s for time_s, frame in video.frames() if frame[:, :4].min() > 20]
    assert len(times) == 60
    assert [frame.shape for frame in video.frames_at([times[5], times[50]])] == [(160, 320, 3), (80, 160, 3)]


# Transparency and colours


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_hidden_colours_of_transparent_clips_stay_hidden(tmp_path, codec):
    frames = [np.concatenate([frame, np.full((96, 160, 1), 255, np.uint8)], axis=2) for frame in plain(RED)]
    for frame in frames[:1]:  # they are one and the same array
        frame[:, :40, 3] = 0
    data = [frames[0].tobytes()] * 20
    path = tmp_path / "a.webm"
    source = ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", "160x96", "-r", 25, "-i", "pipe:0"]
    clips.run_ffmpeg(*source, "-c:v", codec, "-pix_fmt", "yuva420p", "-auto-alt-ref", 0, "-b:v", "2M", path, data=data)
    video = Video.open(path)
    times = [time_s for time_s, frame in video.frames()]
    (frame,) = video.frames_at(times[8:9])
    assert close(frame[48, 10], (255, 255, 255)) and close(frame[4, 150], RED, 25)
    assert video.warnings == []


def test_transparency_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    data = [np.full((96, 160, 4), 120, np.uint8).tobytes()] * 5
    source = ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", "160x96", "-r", 25, "-i", "pipe:0"]
    path = tmp_path / "a.webm"
    clips.run_ffmpeg(*source, "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", path, data=data)
    monkeypatch.setattr(ffmpeg, "decoders", lambda: frozenset({"vp9"}))
    video = Video.open(path)
    assert len(list(video.frames())) == 5 and "lacks libvpx" in video.warnings[0]


def test_wide_colours_without_hdr_are_not_dull(tmp_path):
    chain = (
        "format=gbrp,setparams=range=pc:color_trc=iec61966-2-1:color_primaries=bt709:colorspace=gbr,"
        "zscale=t=linear,format=gbrpf32le,zscale=p=bt2020:t=bt709,format=gbrp12le,"
        "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le"
    )
    tags = ("-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "bt709")
    codec = ("-c:v", "libx264", "-crf", "4", *tags)
    path = clips.write_clip(tmp_path / "a.mp4", plain(RED, count=3), filters=chain, codec=codec)
    video = Video.open(path)
    times = [time_s for time_s, _ in video.frames()]
    assert close(colour_of(video.frames_at(times[1:2])[0]), RED, 8)


def boxed(kind: bytes, data: bytes) -> bytes:
    return (8 + len(data)).to_bytes(4, "big") + kind + data


def test_a_view_all_around_is_cropped_flat_and_told(tmp_path):
    path = clips.numbered_clip(tmp_path / "a.mp4", 10)
    data = path.read_bytes()
    view = boxed(b"proj", boxed(b"prhd", bytes(16)) + boxed(b"equi", bytes(20)))
    added = boxed(b"sv3d", boxed(b"svhd", bytes(4) + b"test\0") + view)
    start = data.index(b"avc1", data.index(b"stsd")) - 4
    end = start + int.from_bytes(data[start : start + 4], "big")
    data = bytearray(data[:end] + added + data[end:])
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):  # around it; the samples lie before
        at = data.index(kind, data.index(b"moov")) - 4
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + len(added)).to_bytes(4, "big")
    path.write_bytes(data)
    video = Video.open(path)
    assert len(list(video.frames())) == 10
    assert video.warnings == ["a view all around (360 degrees): cropped flat, as it is stored"]


# Animations


def encoded_animation(path: Path, frames) -> Path:
    images = [Image.fromarray(frame) for frame in frames]
    if path.suffix == ".heics":
        plain_clip = clips.write_clip(
            path.with_suffix(".mp4"), frames, fps=5, codec=("-c:v", "libx265", "-x265-params", "log-level=none")
        )
        data = bytearray(plain_clip.read_bytes())
        data[8:12], data[16:20] = b"msf1", b"hevc"
        at = data.index(b"vide", data.index(b"hdlr"))
        data[at : at + 4] = b"pict"
        path.write_bytes(data)
    else:
        images[0].save(path, save_all=True, append_images=images[1:], duration=200)
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.apng", "a.avif", "a.heics"])
def test_animations_are_clips(tmp_path, name):
    if name == "a.avif" and not Image.registered_extensions().get(".avif"):
        pytest.skip("this Pillow writes no AVIF")
    size = 96, 160
    frames = [np.zeros((*size, 3), np.uint8), *list(shot(1, 1, size))[:8], *list(shot(2, 1, size))[:8]]
    path = tmp_path / name
    if name == "a.apng":
        encoded_animation(tmp_path / "a.png", frames).rename(path)
    else:
        encoded_animation(path, frames)
    found = chosen(path, 2)
    assert len(found) == 2 and all(frame.time_s > 0.1 for frame in found)
    for frame in found:  # no black one
        image = np.asarray(frame.image.resize((160, 96)), int)
        assert min(np.abs(image - next(shot(seed, 1, size))).mean() for seed in (1, 2)) < 25


def test_a_sequence_without_a_still_picture_is_a_clip(tmp_path):
    path = encoded_animation(tmp_path / "a.heics", list(shot(1, 1))[:9])
    assert sniff(path.read_bytes()[:HEAD_BYTES]) == CLIP
    with pytest.raises(InputError, match="^is a video"):
        Picture.open(path)


@pytest.mark.parametrize("degrees, size_wh", [(45, (256, 144)), (30, (256, 144)), (90, (144, 256)), (180, (256, 144))])
def test_only_quarter_turns_are_made(tmp_path, degrees, size_wh):
    plain_clip = clips.write_clip(tmp_path / "a.mp4", list(shot(1, 1))[:9])
    path = tmp_path / "b.mp4"
    clips.run_ffmpeg("-display_rotation", degrees, "-i", plain_clip, "-c", "copy", path)
    video, as_stored = Video.open(path), Video.open(plain_clip)
    (time_s, frame), *_ = video.frames()
    (first_s, _), *_ = as_stored.frames()
    (whole,), (stored,) = video.frames_at([time_s]), as_stored.frames_at([first_s])
    assert np.asarray(whole).shape[1::-1] == size_wh and (frame.shape[1] > frame.shape[0]) == (size_wh[0] > size_wh[1])
    if degrees in (30, 45):
        assert np.array_equal(np.asarray(whole), np.asarray(stored))


# Ends and middles


def test_ten_black_seconds_at_the_start(tmp_path):
    path = clips.write_clip(tmp_path / "a.mp4", [*flat(0, 10), *shot(1, 2), *shot(2, 2)])
    found = chosen(path, 2)
    assert len(found) == 2 and all(10 <= frame.time_s < 14 for frame in found)


def damaged(path: Path, first: float, last: float) -> Path:
    data = bytearray(path.read_bytes())
    start, end = int(len(data) * first), int(len(data) * last)
    data[start:end] = random.Random(1).randbytes(end - start)
    path.write_bytes(data)
    return path


def test_covers_come_from_both_sides_of_a_damage_and_are_the_same_on_every_run(tmp_path):
    frames = [*shot(1, 3), *shot(2, 3)]
    path = clips.write_clip(tmp_path / "a.mp4", frames, codec=(*clips.H264, "-g", "12"))
    damaged(path, 0.45, 0.5)
    runs = []
    for _ in range(4):
        video = Video.open(path)
        times = [time_s for time_s, _ in video.frames()]
        runs.append((times, video.warnings))
    assert all(run == runs[0] for run in runs)
    (warning,) = runs[0][1]
    assert warning.startswith("damaged between ") and runs[0][0][-1] > 5.9
    assert {frame.time_s < 3 for frame in chosen(path, 2)} == {True, False}


def test_behind_a_damage_that_no_whole_picture_follows_traces_are_put_up_with(tmp_path):
    """A clip of one whole picture, the first: without what comes behind nearly all would be lost."""
    frames = [frame for seed in range(4) for frame in shot(seed, 2)]
    codec = (*clips.H264, "-x264-params", "keyint=infinite:scenecut=0:bframes=0")
    path = damaged(clips.write_clip(tmp_path / "a.ts", frames, codec=codec), 0.2, 0.3)
    video = Video.open(path)
    strict = [time_s for time_s, _ in video.frames()]
    assert strict[-1] < 3
    found = chosen(path, 3)
    assert max(frame.time_s for frame in found) > strict[-1] + 2
    assert Video.open(path).warnings == []


def test_the_end_of_a_short_clip_behind_a_damage_is_taken(tmp_path):
    frames = [frame for seed in range(4) for frame in shot(seed, 1)]
    codec = (*clips.H264, "-x264-params", "keyint=infinite:scenecut=0:bframes=0")
    path = damaged(clips.write_clip(tmp_path / "a.mp4", frames, codec=codec), 0.5, 0.51)
    scanned = scan.scan(video := Video.open(path), 2, how="full")
    assert scanned.winners and len([line for line in video.warnings if line.startswith("damaged")]) == 1
    assert "everything behind" not in " ".join(video.warnings)


def test_slides_on_white_are_no_reason_for_a_note(tmp_path):
    def slide(seed):
        rng = np.random.default_rng(seed)
        frame = np.full((144, 256, 3), 255, np.uint8)
        for row in range(30, 120, 24):
            for column in range(30, 30 + 8 * int(rng.integers(6, 20)), 8):
                frame[row : row + 8, column : column + 4] = 20
        return frame

    def told(name, frames):
        video = Video.open(clips.write_clip(tmp_path / name, frames, fps=FPS))
        cropper = FakeCropper()
        shown = list(covers.show(video, covers.find_winners(video, 2), cropper))
        return covers.notes(covers.rank(cropper, shown, REQUEST, 1), 1)

    assert told("a.mp4", [slide(seed) for seed in range(4) for _ in range(25)]) == []
    assert "bright, sharp" in told("b.mp4", flat(255, 2))[0]
    assert "bright, sharp" in told("c.mp4", flat(0, 2))[0]


# Dolby Vision


def with_dolby_vision(path, profile):
    """An MP4 whose picture track is said to be Dolby Vision of a profile: a dvcC box in its sample entry."""
    data = clips.write_clip(path, plain(RED)).read_bytes()
    compatibility = 0 if profile == 5 else 4
    record = bytes([1, 0, profile << 1, 5 << 3 | 0b101, compatibility << 4]) + bytes(19)
    box = (8 + len(record)).to_bytes(4, "big") + b"dvcC" + record
    at = 0
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        at = data.index(kind, at)  # each holds the next; the pictures stand before them all, and stay where they are
        length = int.from_bytes(data[at - 4 : at], "big")
        data = data[: at - 4] + (length + len(box)).to_bytes(4, "big") + data[at:]
        end = at - 4 + length
    path.write_bytes(data[:end] + box + data[end:])
    return path


@pytest.mark.parametrize(("profile", "warned"), [(5, True), (8, False)])
def test_dolby_vision_with_colours_of_its_own_is_told_of(tmp_path, profile, warned):
    video = Video.open(with_dolby_vision(tmp_path / "a.mp4", profile))
    assert len(list(video.frames())) == 20
    assert [line for line in video.warnings if "Dolby Vision of profile 5" in line] == video.warnings
    assert bool(video.warnings) == warned


# What the container says of who made it


def exif_of(path, policy):
    """What the cover of a clip says under a policy: EXIF, what stands in its own directory, and the place."""
    out = path.with_name(f"out-{policy}")
    code, _, err = s2crop("--cover", "-n", 1, path, "-o", out, "--metadata", policy, "--keep-frames")
    assert code == 0, err
    crop, frame = sorted(out.glob("*.jpg"), key=lambda one: len(one.name), reverse=True)
    said = [Image.open(one).getexif() for one in (crop, frame)]
    assert {tag: value for tag, value in said[0].items() if tag in (ARTIST, COPYRIGHT, TITLE)} == {
        tag: value for tag, value in said[1].items() if tag in (ARTIST, COPYRIGHT, TITLE)
    }
    return said[0], said[0].get_ifd(34665), said[0].get_ifd(34853)


ARTIST, COPYRIGHT, TITLE, TAKEN = 315, 33432, 270, 36867


def test_covers_say_who_made_the_clip_and_where_only_if_asked(tmp_path):
    said = {
        "title": "Two at home: a film", "artist": "Ada Example", "copyright": "(c) Ada",
        "creation_time": "2024-05-06T07:08:09Z", "location": "+48.7758-009.1829/",
    }  # fmt: skip
    options = [part for name, value in said.items() for part in ("-metadata", f"{name}={value}")]
    path = clips.write_clip(tmp_path / "a.mp4", shot(1, 2), options=options)
    exif, more, place = exif_of(path, "rights")
    assert (exif[ARTIST], exif[COPYRIGHT], more[TAKEN]) == ("Ada Example", "(c) Ada", "2024:05:06 07:08:09")
    assert TITLE not in exif and not place
    exif, more, place = exif_of(path, "all")
    assert (exif[ARTIST], exif[TITLE], more[TAKEN]) == ("Ada Example", said["title"], "2024:05:06 07:08:09")
    assert place[1] == "N" and place[3] == "W"
    assert [float(part) for part in place[2]] == pytest.approx([48, 46, 32.88])
    exif, more, place = exif_of(path, "none")
    assert not (exif.keys() & {ARTIST, COPYRIGHT, TITLE}) and TAKEN not in more and not place


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"creation_time": "1904-01-01T00:00:00Z"}, None),  # a clock that was never set
        ({"date": "2024"}, None),
        ({"creation_time": "2024-05-06T07:08:09Z", "com.apple.quicktime.creationdate": "2024-05-06T09:08:09+0200"},
         "2024:05:06 09:08:09"),
        ({"location": "+948.7758-009.1829/"}, None),
        ({"location": "somewhere"}, None),
    ],
)  # fmt: skip
def test_dates_of_clocks_that_were_set_and_places_on_earth_are_taken(said, found):
    data = tags.exif_of(said)
    if found is None:
        assert data is None
    else:
        exif = Image.Exif()
        exif.load(data)
        assert exif.get_ifd(34665)[TAKEN] == found
