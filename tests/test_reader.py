"""Reading clips: which frames, when, which way up, in which colours; and what happens with files that are wrong."""

import io
import os
import random
import stat
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

import clips
import pictures
from s2crop.errors import VideoError
from s2crop.files.formats import VIDEO_SUFFIXES
from s2crop.video import ffmpeg, moments, nut
from s2crop.video.reader import Video

GOP = ("-g", "12", "-bf", "3", "-sc_threshold", "0")
X264 = (*clips.H264, *GOP)
X264_OPEN = (*clips.H264, "-x264-params", "keyint=12:bframes=3:open-gop=1:scenecut=0")
X264_REFRESH = (*clips.H264, "-x264-params", "intra-refresh=1:keyint=24")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-crf", "12", "-pix_fmt", "yuv420p10le")
X265 = (*X265, "-x265-params", "keyint=12:bframes=3:open-gop=1:log-level=none:pools=1")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "12", "-bf", "2")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "12")
LOSSLESS_MKV = {"codec": clips.LOSSLESS}

# name: (codec, frames each second). One frame a second makes seeking go over many whole pictures.
CONTAINERS = {
    "b_frames.mp4": (X264, 1),
    "open_gop.mkv": (X264_OPEN, 1),
    "open_gop.mp4": (X264_OPEN, 1),
    "b_frames.ts": (X264, 1),
    "intra_refresh.mp4": (X264_REFRESH, 1),
    "b_frames.flv": (X264, 1),
    "no_presentation_times.avi": (X264, 1),
    "no_times.h264": (X264, 1),
    "ten_bits.mp4": (X265, 1),
    "ten_bits.ts": (X265, 1),
    "two.mpg": (MPEG2, 25),
    "vp9.webm": (VP9, 1),
    "motion_jpeg.avi": (("-c:v", "mjpeg", "-q:v", "2"), 1),
    "twelve_bits.mov": (("-c:v", "prores_ks", "-profile:v", "4", "-pix_fmt", "yuva444p10le"), 1),
    "still.gif": ((), 1),
}


def read(path: Path, **options) -> tuple[Video, list[float], list[np.ndarray]]:
    video = Video.open(path)
    frames = list(video.frames(**options))
    return video, [time_s for time_s, _ in frames], [frame for _, frame in frames]


def numbers(frames) -> list[int]:
    return [clips.number_of(frame) for frame in frames]


# Which frames, and when


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_frame_read_again_is_the_frame_that_was_chosen(tmp_path, name):
    codec, fps = CONTAINERS[name]
    count = 40 if fps == 1 else 300
    path = clips.numbered_clip(tmp_path / name, count, fps=fps, codec=codec)
    video, times, frames = read(path)
    assert numbers(frames) == list(range(count))
    assert times == pytest.approx([times[0] + i / fps for i in range(count)], abs=1e-3)
    chosen = random.Random(name).sample(range(count), 4) + [0, count - 1]
    again = video.frames_at([times[i] for i in chosen])
    assert numbers(again) == chosen
    whole = dict(video.frames(None))
    for i, frame in zip(chosen, again, strict=True):
        assert frame.shape == (video.height, video.width, 3)
        assert np.array_equal(frame, whole[times[i]])
    assert video.warnings == []


def test_lossless_frames_come_back_to_the_bit(tmp_path):
    drawn = [clips.numbered(i, (62, 50)) for i in range(30)]
    path = clips.write_clip(tmp_path / "a.mkv", drawn, **LOSSLESS_MKV)
    video, times, frames = read(path, long_side=None)
    assert np.array_equal(frames, drawn)
    assert times == [i / 25 for i in range(30)]
    assert np.array_equal(video.frames_at(times[::-7]), drawn[::-7])


@pytest.mark.parametrize("size_wh", [(2, 2), (16, 4), (21, 65), (300, 200)])  # NUT writes short packets in other ways
def test_frames_of_any_size_come_through_the_pipe(tmp_path, size_wh):
    noise = np.random.default_rng(0).integers(0, 256, (12, *size_wh[::-1], 3), dtype=np.uint8)
    noise[3:6] = 0
    _, _, frames = read(clips.write_clip(tmp_path / "a.mkv", noise, **LOSSLESS_MKV), long_side=None)
    assert np.array_equal(frames, noise)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.flv"])
def test_variable_rates_keep_their_true_times(tmp_path, name):
    true = [0, 0.1, 0.15, 0.5, 0.9, 1, 1.01, 1.5, 2, 5, 30, 31]
    path = clips.numbered_clip(tmp_path / name, len(true), times_s=true, codec=X264)
    video, times, frames = read(path)
    assert times == pytest.approx(true, abs=1e-6)
    assert numbers(frames) == list(range(len(true)))
    assert numbers(video.frames_at([times[10], times[2], times[6]])) == [10, 2, 6]


def test_times_are_told_to_the_microsecond(tmp_path):
    path = clips.numbered_clip(tmp_path / "a.mp4", 90, fps="30000/1001")
    _, times, _ = read(path)
    assert times == [round(i * 1001 / 30000, 6) for i in range(90)]


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4"])
def test_times_count_from_the_start_of_the_clip(tmp_path, name):
    path = clips.numbered_clip(tmp_path / name, 30, options=["-output_ts_offset", 500], codec=X264)
    video, times, frames = read(path)
    assert times == pytest.approx([i / 25 for i in range(30)], abs=1e-3)
    assert numbers(video.frames_at([times[20]])) == [20]


def test_a_picture_that_begins_after_the_sound_has_later_times(tmp_path):
    whole, path = clips.numbered_clip(tmp_path / "a.mkv", 20), tmp_path / "b.mkv"
    sound = ["-f", "lavfi", "-i", "sine=duration=2"]
    clips.run_ffmpeg(*sound, "-itsoffset", 0.5, "-i", whole, "-map", "1:v", "-map", "0:a", "-c:v", "copy", path)
    video, times, _ = read(path)
    assert times[:2] == pytest.approx([0.5, 0.54], abs=2e-3)
    assert numbers(video.frames_at([times[3]])) == [3]


def test_frames_cut_away_by_an_edit_list_are_not_shown(tmp_path):
    whole, path = clips.numbered_clip(tmp_path / "a.mp4", 60, codec=X264), tmp_path / "b.mp4"
    clips.run_ffmpeg("-ss", 1.2, "-i", whole, "-c", "copy", path)
    video, times, frames = read(path)
    assert times[0] == 0
    assert numbers(frames) == list(range(30, 60))
    assert numbers(video.frames_at([times[0], times[5]])) == [30, 35]


def test_clips_joined_with_their_times_run_on(tmp_path):
    first = clips.numbered_clip(tmp_path / "a.ts", 50, codec=X264)
    second = clips.write_clip(tmp_path / "b.ts", (clips.numbered(i) for i in range(50, 100)), codec=X264)
    path = tmp_path / "c.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    video, times, frames = read(path)
    assert numbers(frames) == list(range(100))
    assert (np.diff(times) > 0).all()
    assert numbers(video.frames_at([times[80], times[20]])) == [80, 20]


def test_times_that_jump_are_even_wherever_a_pass_begins(tmp_path):
    parts = []
    for name, start, offset in (("a.ts", 0, 0), ("b.ts", 50, 300), ("c.ts", 100, 10)):
        frames = (clips.numbered(i) for i in range(start, start + 50))
        options = ["-output_ts_offset", offset]
        parts.append(clips.write_clip(tmp_path / name, frames, codec=X264, options=options).read_bytes())
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    video, times, frames = read(path)
    shown = dict(zip(numbers(frames), times, strict=True))  # where parts meet some frames may count as damaged
    assert set(shown) >= {*range(25), *range(70, 80), *range(125, 150)} and times[-1] == pytest.approx(5.96, abs=0.2)
    assert (np.diff(times) > 0).all() and list(shown) == sorted(shown)
    assert video.duration_s is None and not video.has_times
    later = dict(video.frames(None, start_s=shown[130]))
    assert list(later) == [shown[i] for i in range(130, 150)] and numbers(later.values()) == list(range(130, 150))
    assert numbers([moments.frame_at(Video.open(path), round(shown[75], 3))]) == [75]
    even = clips.numbered_clip(tmp_path / "even.ts", 50, codec=X264)
    assert Video.open(even).has_times and Video.open(even).duration_s == pytest.approx(2, abs=0.1)


def test_a_recording_that_begins_late_is_as_long_as_it_is(tmp_path):
    path = clips.numbered_clip(tmp_path / "a.mkv", 50, filters="setpts=PTS+1000/TB", codec=X264)
    assert Video.open(path).duration_s == pytest.approx(2, abs=0.1)
    assert Video.open(clips.numbered_clip(tmp_path / "b.mkv", 50, codec=X264)).duration_s == pytest.approx(2, abs=0.1)


def test_frames_whose_time_is_not_later_are_left_out(tmp_path):
    pairs = ["-bsf:v", r"setts=ts='if(eq(mod(N\,2)\,1)\,PTS-40\,PTS)'"]  # 0, 0, 80, 80, 160, ... ms
    path = clips.numbered_clip(tmp_path / "a.mkv", 20, codec=("-c:v", "mjpeg", "-q:v", "2"), options=pairs)
    video, times, frames = read(path)
    assert times == [i * 0.08 for i in range(10)]
    assert numbers(frames) == list(range(0, 20, 2))
    assert numbers(video.frames_at(times[3:5])) == [6, 8]


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.h264"])
def test_a_span_holds_its_frames_and_no_others(tmp_path, name):
    path = clips.numbered_clip(tmp_path / name, 40, fps=1, codec=X264)
    video = Video.open(path)
    span = dict(video.frames(start_s=25.5, end_s=31))
    assert list(span) == [26, 27, 28, 29, 30, 31]
    assert numbers(span.values()) == [26, 27, 28, 29, 30, 31]
    assert numbers(video.frames_at([31.0, 26.0])) == [31, 26]
    assert list(video.frames(start_s=1000)) == []
    assert numbers(frame for _, frame in video.frames(end_s=0)) == [0]


@pytest.mark.parametrize("count", [1, 5])
def test_very_short_clips_are_read_like_others(tmp_path, count):
    video, times, frames = read(clips.numbered_clip(tmp_path / "a.mp4", count))
    assert numbers(frames) == list(range(count))
    assert numbers(video.frames_at(times)) == list(range(count))
    assert video.duration_s == pytest.approx(count / 25)


def test_frames_at_gives_back_the_order_that_was_asked_for(tmp_path):
    path = clips.numbered_clip(tmp_path / "a.mp4", 60, fps=1, codec=X264)
    video, times, _ = read(path)
    assert numbers(video.frames_at([50.0, 3.0, 50.0, 20.0])) == [50, 3, 50, 20]
    assert video.frames_at([]) == []


@pytest.mark.slow
def test_reading_again_ends_behind_the_last_frame_asked_for(tmp_path, monkeypatch):
    path = clips.numbered_clip(tmp_path / "a.mp4", 900, codec=clips.H264, size_wh=(320, 180))
    video, times, _ = read(path)
    seen = []
    packets = ffmpeg.Decoder.packets

    def spy(self):
        for packet in packets(self):
            seen.append(packet.time_s)
            yield packet

    monkeypatch.setattr(ffmpeg.Decoder, "packets", spy)
    assert numbers(video.frames_at([times[100], times[90]])) == [100, 90]
    assert max(seen) < 24


def test_a_time_that_no_frame_has_is_an_error(tmp_path):
    video, _, _ = read(clips.numbered_clip(tmp_path / "a.mp4", 10))
    with pytest.raises(VideoError, match="the frame at 0.033 s could not be read again"):
        video.frames_at([0.033])


def test_a_clip_that_changed_meanwhile_is_noticed(tmp_path):
    path = clips.numbered_clip(tmp_path / "a.mp4", 40, fps=1)
    video, times, _ = read(path)
    clips.write_clip(path, (clips.numbered(i) for i in range(100, 140)), fps=1)
    with pytest.raises(VideoError, match="could not be read again"):
        video.frames_at([times[30]])


# How they look


@pytest.mark.parametrize(("long_side", "shape"), [(None, (90, 160)), (80, (45, 80)), (500, (90, 160)), (3, (2, 3))])
def test_frames_are_made_smaller_and_never_larger(tmp_path, long_side, shape):
    _, _, frames = read(clips.numbered_clip(tmp_path / "a.mp4", 2, size_wh=(160, 90)), long_side=long_side)
    assert frames[0].shape == (*shape, 3)
    assert frames[0].dtype == np.uint8


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_clips_with_a_rotation_tag_are_upright(tmp_path, angle):
    upright = np.array(pictures.photo(192, 128))
    stored = np.ascontiguousarray(np.rot90(upright, -angle // 90))  # players turn it back, counterclockwise
    plain = clips.write_clip(tmp_path / "a.mov", [stored] * 3)
    path = tmp_path / "b.mov"
    clips.run_ffmpeg("-display_rotation", angle, "-i", plain, "-c", "copy", path)
    video, times, frames = read(path, long_side=None)
    assert (video.width, video.height) == (192, 128)
    assert np.abs(frames[0].astype(int) - upright).mean() < 6
    assert np.array_equal(video.frames_at(times[:1])[0], frames[0])


@pytest.mark.parametrize(
    ("aspect", "angle", "size_wh"),
    [("4/3", 0, (213, 96)), ("8/9", 0, (160, 108)), ("4/3", 90, (96, 213)), ("1/1", 0, (160, 96))],
)
def test_pixels_are_made_square(tmp_path, aspect, angle, size_wh):
    plain = clips.numbered_clip(tmp_path / "a.mp4", 2, filters=f"setsar={aspect}")
    path = tmp_path / "b.mp4"
    clips.run_ffmpeg("-display_rotation", angle, "-i", plain, "-c", "copy", path)
    video, times, frames = read(path, long_side=None)
    assert (video.width, video.height) == size_wh
    assert frames[0].shape == (*size_wh[::-1], 3)
    small = next(iter(video.frames(48)))[1]
    assert max(small.shape) == 48
    assert small.shape[0] / small.shape[1] == pytest.approx(size_wh[1] / size_wh[0], rel=0.03)


PATCHES = np.array(
    [
        (0, 0, 0),
        (255, 255, 255),
        (128, 128, 128),
        (200, 30, 40),
        (30, 160, 50),
        (20, 40, 200),
        (230, 200, 40),
        (90, 60, 40),
    ],
    np.uint8,
)


def patches(width: int = 256, height: int = 64) -> np.ndarray:
    return np.broadcast_to(np.repeat(PATCHES, width // 8, axis=0), (height, width, 3))


def patch_colours(frame: np.ndarray) -> np.ndarray:
    height, width, _ = frame.shape
    return frame[height // 2, width // 16 :: width // 8].astype(int)


@pytest.mark.parametrize(
    ("matrix", "range_", "tags", "size_wh"),
    [
        ("bt601", "tv", ["-colorspace", "smpte170m"], (256, 64)),
        ("bt709", "tv", ["-colorspace", "bt709"], (256, 64)),
        ("bt709", "pc", ["-colorspace", "bt709", "-color_range", "pc"], (256, 64)),
        ("bt2020", "tv", ["-colorspace", "bt2020nc"], (256, 64)),
        ("bt601", "tv", [], (256, 64)),  # untagged: by size, as players do
        ("bt709", "tv", [], (1280, 64)),
    ],
)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p10le"])
def test_colours_are_those_that_were_encoded(tmp_path, matrix, range_, tags, size_wh, pixel_format):
    codec = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "1", "-pix_fmt", pixel_format, *tags)
    convert = (
        f"scale=out_color_matrix={matrix}:out_range={range_}:flags=accurate_rnd+full_chroma_int,format={pixel_format}"
    )
    if not tags:
        convert += ",setparams=colorspace=unknown"
    path = clips.write_clip(tmp_path / "a.mp4", [patches(*size_wh)] * 2, codec=codec, filters=convert)
    video, _, small = read(path)
    assert video._stream.matrix == ("unknown" if not tags else tags[1])
    (full,) = video.frames_at([0.0])
    assert np.abs(patch_colours(full) - PATCHES).max() <= 4
    assert np.abs(patch_colours(small[0]) - PATCHES).max() <= 4


def hdr_clip(path: Path, transfer: str) -> Path:
    """A photo with its white at 203 cd/m2, where ITU-R BT.2408 puts it, as PQ or HLG."""
    chain = (
        "format=gbrp,setparams=range=pc:color_trc=iec61966-2-1:color_primaries=bt709:colorspace=gbr,"
        f"zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt2020:t={transfer}:npl=203,format=gbrp12le,"
        "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le"
    )
    codec = (
        "-c:v",
        "libx264",
        "-crf",
        "4",
        "-colorspace",
        "bt2020nc",
        "-color_primaries",
        "bt2020",
        "-color_trc",
        transfer,
    )
    return clips.write_clip(path, [np.array(pictures.photo(256, 160))] * 2, filters=chain, codec=codec)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_tone_mapped(tmp_path, transfer):
    video, times, _ = read(hdr_clip(tmp_path / "a.mp4", transfer))
    assert video.warnings == []
    (frame,) = video.frames_at(times[:1])
    assert np.abs(frame.astype(int) - np.array(pictures.photo(256, 160))).mean() < 12


def test_hdr_without_the_filters_is_said_plainly(tmp_path, monkeypatch):
    monkeypatch.setattr(ffmpeg, "filters", lambda: frozenset({"scale"}))
    video, times, frames = read(hdr_clip(tmp_path / "a.mp4", "smpte2084"))
    assert video.warnings == ["HDR, and not tone-mapped: this ffmpeg lacks zscale or tonemap, so colours are pale"]
    assert len(frames) == 2
    assert video.frames_at(times[:1])[0].shape == (160, 256, 3)


def test_the_filters_of_this_ffmpeg_are_known():
    assert {"scale", "select", "showinfo"} <= ffmpeg.filters()


def test_fields_of_interlaced_clips_are_not_mixed(tmp_path):
    height, width = 96, 160
    fields = [np.zeros((height, width, 3), np.uint8) for _ in range(16)]
    for i, field in enumerate(fields):
        field[:, 8 * i : 8 * i + 24] = 255  # a bar that moves with every field
    codec = ("-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ildct+ilme", "-pix_fmt", "yuv420p")
    path = clips.write_clip(tmp_path / "a.mpg", fields, fps=50, filters="interlace=lowpass=0", codec=codec)
    video, times, _ = read(path)
    (frame,) = video.frames_at([times[3]])
    grey = frame.mean(axis=2)
    combed = np.abs(2 * grey[2:-2] - grey[1:-3] - grey[3:-1]).mean()
    assert combed < 3  # some 20 as stored


def gif(frames) -> bytes:
    file = io.BytesIO()
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=[100, 300, 50], disposal=2)
    return file.getvalue()


def test_animated_gif_is_read_with_its_own_times_and_on_white(tmp_path):
    frames = [np.zeros((20, 30, 4), np.uint8) for _ in range(3)]
    for i, frame in enumerate(frames):
        frame[5:15, 5 * i : 5 * i + 8] = (200, 30, 40, 255)
    (tmp_path / "a.gif").write_bytes(gif(frames))
    video, times, got = read(tmp_path / "a.gif")
    assert times == [0, 0.1, 0.4]
    for i, frame in enumerate(got):
        assert frame[0, 0].tolist() == [255, 255, 255]
        assert frame[10, 5 * i + 4].tolist() == [200, 30, 40]
    assert np.array_equal(video.frames_at([0.4])[0], got[2])


def test_animated_webp_is_read_with_its_own_times(tmp_path):
    frames = [Image.fromarray(clips.numbered(i, (64, 48))) for i in range(6)]
    path = tmp_path / "a.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[100, 40, 300, 20, 20, 20], lossless=True)
    video, times, got = read(path, long_side=32)
    assert (video.width, video.height) == (64, 48)
    assert times == [0, 0.1, 0.14, 0.44, 0.46, 0.48]
    assert [frame.shape for frame in got] == [(24, 32, 3)] * 6
    assert numbers(video.frames_at([0.44, 0.1])) == [3, 1]
    assert [time_s for time_s, _ in video.frames(start_s=0.1, end_s=0.44)] == [0.1, 0.14, 0.44]
    with pytest.raises(VideoError, match="could not be read again"):
        video.frames_at([0.2])


# Files that are wrong


@pytest.fixture
def clip(tmp_path) -> Path:
    return clips.numbered_clip(tmp_path / "clip.mp4", 5)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{clip}\n#EXT-X-ENDLIST\n", "a.m3u8"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{clip}\n#EXT-X-ENDLIST\n", "a.mp4"),
        ("ffconcat version 1.0\nfile '{clip}'\n", "a.mp4"),
        ("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "a.sdp"),
        ("<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>", "a.mpd"),
    ],
)
def test_playlists_and_scripts_are_refused(tmp_path, clip, text, name, monkeypatch):
    path = tmp_path / name
    path.write_text(text.format(clip=clip))
    with pytest.raises(VideoError, match="^a playlist or script that names other files"):
        Video.open(path)
    monkeypatch.setattr(ffmpeg, "check_file", lambda path: None)  # the list of containers is enough
    with pytest.raises(VideoError, match="cannot be decoded|not a video of a kind that is read"):
        Video.open(path)


def test_playlists_are_refused_by_ffmpeg_whatever_they_begin_with(tmp_path, clip):
    path = tmp_path / "a.mp4"
    path.write_text(f"# a comment first\nffconcat version 1.0\nfile '{clip}'\n")
    with pytest.raises(VideoError):
        Video.open(path)


@pytest.mark.parametrize("name", ["http://127.0.0.1/a.mp4", "concat:a.mp4|b.mp4", "tcp://127.0.0.1:1", "data:,x", "-"])
def test_addresses_are_file_names_and_nothing_else(name):
    with pytest.raises(VideoError, match="^no such file$"):
        Video.open(name)


@pytest.mark.parametrize(
    "name", ["%03d.mp4", "-i.mp4", "a:b.mp4", "pipe:0.mp4", "a b'c\".mp4", "*.mp4", "file,x,y:z.mp4"]
)
def test_odd_names_are_read_like_others(tmp_path, clip, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(clip.read_bytes())
    _, _, frames = read(Path(name))
    assert numbers(frames) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.mp4", b"", "^empty file$"),
        ("text.mp4", b"hello\n" * 50, "^cannot be decoded: "),
        ("still.mp4", pictures.encoded(pictures.photo(), "PNG"), "^not a video of a kind that is read"),
        ("still.png", pictures.encoded(pictures.photo(), "PNG"), "^not a video of a kind that is read"),
        ("still%03d.jpg", pictures.encoded(pictures.photo()), "^not a video of a kind that is read"),
        ("still.webp", pictures.encoded(pictures.photo(), "WEBP"), "^a single picture, not a video$"),
        ("cut.webp", pictures.animation("WEBP")[:40], "^cannot be decoded: "),
    ],
)
def test_what_is_no_video_is_one_clear_line(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(VideoError, match=message) as error:
        Video.open(tmp_path / name)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_one_clear_line(tmp_path):
    with pytest.raises(VideoError, match="^no such file$"):
        Video.open(tmp_path / "missing.mp4")
    with pytest.raises(VideoError, match="^is a directory$"):
        Video.open(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match="^not a regular file$"):
        Video.open(tmp_path / "pipe.mp4")


def test_sound_is_no_video(tmp_path):
    sound, cover, both = tmp_path / "a.mp3", tmp_path / "a.jpg", tmp_path / "b.mp3"
    clips.run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", sound)
    pictures.photo().save(cover)
    clips.run_ffmpeg(
        "-i", sound, "-i", cover, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic", both
    )
    with pytest.raises(VideoError, match="^no video in it, only sound$"):
        Video.open(sound)
    with pytest.raises(VideoError, match="^no video in it, only sound with a cover picture$"):
        Video.open(both)


def test_too_many_pixels_are_refused(clip):
    with pytest.raises(VideoError, match="max_pixels"):
        Video.open(clip, max_pixels=160 * 96 - 1)
    assert Video.open(clip, max_pixels=160 * 96).width == 160


def test_square_pixels_count_for_the_limit(tmp_path):
    path = clips.numbered_clip(tmp_path / "a.mp4", 2, filters="setsar=10/1")
    with pytest.raises(VideoError, match="^1600x96 is over 100000 pixels"):
        Video.open(path, max_pixels=100_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv", "a.avi", "a.flv", "a.mpg"])
def test_frames_damaged_in_the_middle_are_left_out_and_told(tmp_path, name):
    path = tmp_path / name
    clips.numbered_clip(path, 300, size_wh=(320, 180), codec=MPEG2 if name == "a.mpg" else X264)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = random.Random(0).randbytes(4000)
    path.write_bytes(data)
    video, times, frames = read(path)
    got = numbers(frames)
    assert got[:100] == list(range(100))
    assert got[-60:] == list(range(240, 300))
    assert got == sorted(set(got))
    (warning,) = video.warnings
    assert warning.startswith("damaged between ") and warning.endswith(" s: frames there were left out")
    chosen = [0, 90, len(got) - 20]
    assert numbers(video.frames_at([times[i] for i in chosen])) == [got[i] for i in chosen]


@pytest.fixture
def cut_short(tmp_path) -> Path:
    """The first five of ten seconds."""
    path = clips.numbered_clip(tmp_path / "a.mkv", 250, codec=X264)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def test_a_clip_that_is_cut_short_says_where_it_ends(cut_short):
    video, times, frames = read(cut_short)
    assert numbers(frames)[:100] == list(range(100))
    (warning,) = video.warnings
    assert warning == f"ends at {times[-1]:.1f} s instead of 10.0 s: damaged or cut short"


def test_a_clip_without_its_index_is_one_clear_line(tmp_path, clip):
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match="^cannot be decoded: moov atom not found$"):
        Video.open(clip)


def test_a_clip_of_nothing_but_damage_is_an_error(tmp_path):
    path = clips.numbered_clip(tmp_path / "a.avi", 20, codec=X264)
    data = bytearray(path.read_bytes())
    start = data.index(b"movi")
    data[start + 12 :] = random.Random(0).randbytes(len(data) - start - 12)
    path.write_bytes(data)
    with pytest.raises(VideoError, match="^cannot be decoded: "):
        Video.open(path)


# ffmpeg itself


@pytest.fixture
def decoders(monkeypatch) -> list[ffmpeg.Decoder]:
    """Those that were started."""
    started = []
    start = ffmpeg.Decoder.__init__

    def spy(self, *arguments):
        started.append(self)
        start(self, *arguments)

    monkeypatch.setattr(ffmpeg.Decoder, "__init__", spy)
    return started


@pytest.mark.slow
def test_ffmpeg_is_ended_when_its_reader_stops(tmp_path, decoders):
    path = clips.lavfi_clip(tmp_path / "a.mp4", "testsrc2=size=640x360:rate=25:duration=40")
    frames = Video.open(path).frames(None)
    next(frames)
    process = decoders[-1]._process
    assert process.poll() is None
    frames.close()
    assert process.returncode is not None


def test_ffmpeg_has_ended_after_each_call(clip, decoders):
    video, times, _ = read(clip)
    video.frames_at(times)
    assert len(decoders) >= 3
    assert all(decoder._process.returncode is not None for decoder in decoders)


def fake_ffmpeg(tmp_path: Path, monkeypatch, body: str) -> None:
    """Let a script be ffmpeg; $FFMPEG is the real one."""
    script = tmp_path / "ffmpeg"
    script.write_text(f"#!/bin/sh\nFFMPEG='{imageio_ffmpeg.get_ffmpeg_exe()}'\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for ffmpeg")
class TestWhatFfmpegSaysInPieces:
    """Its threads share a line where one of them says it in pieces: what comes in between has no level of its own."""

    def mixed(self, tmp_path, monkeypatch, mix):
        """Let the lines of what it says be mixed: `mix`, in Python, changes `line`, which is then passed on."""
        (tmp_path / "mix.py").write_text(
            f"import re, sys\nlate = None\nfor line in sys.stdin:\n{mix}\n    print(line, end='', flush=True)"
        )
        said = f"""{{ "$FFMPEG" "$@" 2>&1 >&3 | '{sys.executable}' '{tmp_path}/mix.py' >&2; }} 3>&1"""
        fake_ffmpeg(tmp_path, monkeypatch, f'case "$*" in *"-f nut"*) {said}; exit;; esac; exec "$FFMPEG" "$@"')

    @pytest.mark.parametrize("piece", ["type:. ", "color_range:tv", "color_primaries:unknown"])
    def test_an_error_among_what_is_told_of_a_frame_counts(self, tmp_path, monkeypatch, cut_short, piece):
        _, whole, _ = read(cut_short)
        mix = f"""
    if "File ended" in line:
        late = line.rpartition("] ")[2]
        continue
    if late and (found := re.match("(.*info. )(.*{piece})(.*)", line, re.DOTALL)):
        line, late = found[1] + found[2] + late + found[1] + found[3], None"""
        self.mixed(tmp_path, monkeypatch, mix)
        video, times, frames = read(cut_short)
        assert times == whole and numbers(frames)[:100] == list(range(100))
        assert video.warnings == [f"ends at {times[-1]:.1f} s instead of 10.0 s: damaged or cut short"]

    @pytest.mark.parametrize("passes", ["the first", "all"])
    def test_a_damage_told_of_among_frames_counts(self, tmp_path, monkeypatch, passes):
        path = clips.numbered_clip(tmp_path / "a.mkv", 300, size_wh=(320, 180), codec=X264)
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 4000] = random.Random(0).randbytes(4000)
        path.write_bytes(data)
        _, whole, _ = read(path)
        mix = """
    if "exceeds" in line:
        late = line.rpartition("] ")[2]
        continue
    if late and (found := re.match("(.*info. )(.*color_range:tv)(.*)", line, re.DOTALL)):
        line, late = found[1] + found[2] + late + found[1] + found[3], None"""
        self.mixed(tmp_path, monkeypatch, mix)
        if passes == "the first":
            monkeypatch.setattr(Video, "_decoder", self.mixed_at_first(Video._decoder, monkeypatch))
        video, times, _ = read(path)
        (warning,) = video.warnings
        assert warning.startswith("damaged between ")
        if passes == "the first":  # its decoder's threads do not always agree on which frame of those is damaged
            assert times == sorted(set(times)) and len(set(times) ^ set(whole)) <= 2
        else:  # the line was held back till the next frame was told of, so it tells of a later place
            assert len(times) < 300

    @staticmethod
    def mixed_at_first(decoder, monkeypatch):
        """Lines are mixed until a pass asks where damages are."""

        def made(video, seek_s, outputs, exact=False, *more):
            if exact:
                monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
            return decoder(video, seek_s, outputs, exact, *more)

        return made

    def test_a_frame_told_of_in_the_list_of_what_is_written_counts(self, tmp_path, monkeypatch):
        path = clips.numbered_clip(tmp_path / "a.mkv", 30, codec=X264, options=["-metadata", f"title={FRAME_TOLD}"])
        mix = """
    if "Output #0" in line:
        late = ""
    elif late == "" and "Stream #0:0" in line:
        late = line
        continue
    elif late and "iskey:" in line:
        line, late = late[:20] + line.rpartition("[info] ")[2] + late[20:], None"""
        video = Video.open(path)
        told = []
        for mixed in (False, True):
            if mixed:
                self.mixed(tmp_path, monkeypatch, mix)
            with video._decoder(None, video._outputs(video._passes[0])) as decoder:
                told.append([packet.told for packet in decoder.packets()])
        assert told[0] == told[1] and [one.is_whole for one in told[0]] == [i % 12 == 0 for i in range(30)]


FRAME_TOLD = "n:   0 pts:      0 pts_time:0 fmt:yuv420p sar:1/1 s:8x8 i:P iskey:1 type:I "


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for ffmpeg")
class TestWhenFfmpegFails:
    def test_a_decoder_that_never_begins_is_ended(self, tmp_path, clip, monkeypatch):
        fake_ffmpeg(tmp_path, monkeypatch, "exec sleep 60")
        monkeypatch.setattr(ffmpeg, "STALL_S", 0.3)
        start = time.monotonic()
        with pytest.raises(VideoError, match="nothing could be decoded for"):
            Video.open(clip)
        assert time.monotonic() - start < 30

    @pytest.mark.slow
    def test_a_decoder_that_stops_in_the_middle_is_ended(self, tmp_path, monkeypatch):
        path = clips.numbered_clip(tmp_path / "a.mp4", 40)
        fake_ffmpeg(
            tmp_path,
            monkeypatch,
            'case "$*" in *"-f nut"*) "$FFMPEG" "$@" | head -c 400000; exec sleep 60;; esac; exec "$FFMPEG" "$@"',
        )
        video = Video.open(path)
        monkeypatch.setattr(ffmpeg, "STALL_S", 2.0)
        frames = [frame for _, frame in video.frames()]
        assert numbers(frames) == list(range(len(frames)))
        assert 5 <= len(frames) < 40
        (warning,) = video.warnings
        assert warning.startswith("damaged after ") and warning.endswith("everything behind were left out")

    @pytest.mark.slow
    def test_a_slow_reader_is_no_stall(self, clip, monkeypatch):
        video = Video.open(clip)
        monkeypatch.setattr(ffmpeg, "STALL_S", 2.0)
        frames = video.frames()
        got = [next(frames)[1]]
        monkeypatch.setattr(ffmpeg, "STALL_S", 0.2)
        time.sleep(2.5)
        monkeypatch.setattr(ffmpeg, "STALL_S", 30.0)
        got += [frame for _, frame in frames]
        assert numbers(got) == [0, 1, 2, 3, 4]

    def test_a_decoder_that_crashes_is_one_clear_line(self, tmp_path, clip, monkeypatch):
        fake_ffmpeg(tmp_path, monkeypatch, "exit 9")
        with pytest.raises(VideoError, match="^cannot be decoded: ffmpeg ended with status 9$"):
            Video.open(clip)

    def test_an_ffmpeg_that_is_too_old_is_named(self, tmp_path, clip, monkeypatch):
        fake_ffmpeg(tmp_path, monkeypatch, "echo \"[fatal] Unrecognized option 'fps_mode'.\" >&2; exit 1")
        with pytest.raises(VideoError, match="too old .* 5.1 or newer is needed"):
            Video.open(clip)

    def test_an_ffmpeg_that_is_not_there_is_named(self, clip, monkeypatch):
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
        with pytest.raises(VideoError, match="^ffmpeg cannot be started: "):
            Video.open(clip)


def test_what_is_not_nut_is_refused():
    with pytest.raises(ValueError, match="not a NUT stream"):
        list(nut.packets(io.BytesIO(b"RIFF" * 20)))
    with pytest.raises(EOFError):
        list(nut.packets(io.BytesIO(b"nut/multimedia container\0N")))


def test_suffixes_are_lower_case_and_dotted():
    assert {".mp4", ".mov", ".mkv", ".webm", ".ts"} <= VIDEO_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in VIDEO_SUFFIXES)
    assert not VIDEO_SUFFIXES & {".gif", ".webp", ".png", ".jpg"}
