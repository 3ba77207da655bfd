"""Looking through long clips by their I-frames: the same scenes as a full scan, for a fraction of the decoding."""

import numpy as np
import pytest

import clips
from fake_cropper import FakeCropper
from s2crop.cropping.request import CropRequest
from s2crop.errors import VideoError
from s2crop.geometry.ratio import parse_ratio
from s2crop.video import covers, keyframes, scan, shots
from s2crop.video.reader import Video
from test_covers import shot
from test_shots import BLACK, between, scene

SIZE = 90, 160
FPS = 12.5
SCENE_S = 16
REQUEST = CropRequest(ratios=(parse_ratio("1:1"),))
GOP = (*clips.H264, "-g", "50", "-keyint_min", "1")  # an I-frame every 4 s and at cuts


def film(path, scenes=9, codec=GOP, faded=False, lengths_s=None):
    """Scenes of 16 s, cut hard or faded in from black: 2.4 minutes of nine."""
    frames = []
    for seed, length_s in enumerate(lengths_s or [SCENE_S] * scenes):
        part = list(shot(seed, length_s * FPS / 25, SIZE))
        if faded:
            part = [*between(np.zeros((*SIZE, 3), np.uint8), part[0], 12), *part[12:]]
        frames += part
    return clips.write_clip(path, frames, fps=FPS, codec=codec)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory):
    return film(tmp_path_factory.mktemp("film") / "a.mp4")


def scenes_of(times_s):
    return {int(time_s // SCENE_S) for time_s in times_s}


def test_i_frames_give_the_scenes_of_a_full_scan(long_film):
    video = Video.open(long_film)
    quick, full = (scan.scan(video, 4, how=how) for how in (scan.AUTO, scan.FULL))
    assert (quick.how, full.how) == (scan.KEY_FRAMES, scan.FULL)
    assert full.looked_at == 9 * SCENE_S * FPS and quick.looked_at < full.looked_at / 20
    assert scenes_of(w.time_s for w in quick.winners) == scenes_of(w.time_s for w in full.winners)
    assert len(scenes_of(w.time_s for w in full.winners)) >= 7
    assert all(winner.good for winner in quick.winners)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_i_frames_have_the_times_that_they_have_among_all_frames(tmp_path, name):
    video = Video.open(film(tmp_path / name, scenes=2, codec=(*GOP, "-bf", "3")))
    whole = dict(video.frames())
    keys = dict(video.frames(keys_only=True))
    assert 8 <= len(keys) < 12
    for time_s, frame in keys.items():
        assert np.abs(frame.astype(int) - whole[time_s]).mean() < 0.5


def test_covers_are_of_the_same_scenes(tmp_path):
    lengths_s = [8, 40, 8, 8, 32, 8, 8, 36, 12]
    path, starts_s = film(tmp_path / "a.mp4", lengths_s=lengths_s), np.cumsum([0, *lengths_s])
    chosen = {}
    for how in (scan.KEY_FRAMES, scan.FULL):
        video = Video.open(path)
        cropper = FakeCropper()
        shown = list(covers.show(video, covers.find_winners(video, 3, how=how), cropper))
        found = covers.rank(cropper, shown, REQUEST, 3)
        chosen[how] = {int(np.searchsorted(starts_s, cover.time_s, "right")) - 1 for cover in found}
        for _, frame in covers.frames_of(video, found):  # the picture is of the time that is told
            distances = [np.abs(frame.astype(int) - next(shot(seed, 1, SIZE))).mean() for seed in range(9)]
            assert np.argmin(distances) in chosen[how]
    assert chosen[scan.KEY_FRAMES] == chosen[scan.FULL] == {1, 4, 7}


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_other_containers_are_scanned_alike(tmp_path, name):
    video = Video.open(film(tmp_path / name))
    found = scan.scan(video, 4)
    assert found.how == scan.KEY_FRAMES and len(scenes_of(w.time_s for w in found.winners)) >= 7
    times = [winner.time_s for winner in found.winners]
    for time_s, frame in zip(times, video.frames_at(times), strict=True):
        distances = [np.abs(frame.astype(int) - next(shot(seed, 1, SIZE))).mean() for seed in range(9)]
        assert np.argmin(distances) == int(time_s // SCENE_S)


def test_no_cover_is_of_a_fade(tmp_path):
    video = Video.open(film(tmp_path / "a.mp4", faded=True))
    found = scan.scan(video, 4)
    assert found.how == scan.KEY_FRAMES and len(found.winners) >= 7
    for winner in found.winners:
        assert winner.good and winner.time_s % SCENE_S > 0.8


def test_short_clips_are_decoded_whole(tmp_path):
    path = film(tmp_path / "a.mp4", scenes=3)
    assert scan.scan(Video.open(path), 3).how == scan.FULL
    found = scan.scan(Video.open(path), 3, how=scan.KEY_FRAMES)
    assert found.how == scan.KEY_FRAMES and scenes_of(w.time_s for w in found.winners) == {0, 1, 2}


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("rare.mp4", (*clips.H264, "-x264-params", "keyint=infinite:scenecut=0")),
        ("all.avi", ("-c:v", "mjpeg", "-q:v", "4")),
        ("unsought.h264", GOP),
        ("no_times.avi", GOP),
    ],
)
def test_clips_whose_i_frames_tell_too_little_or_too_much_are_decoded_whole(tmp_path, name, codec):
    found = scan.scan(Video.open(film(tmp_path / name, codec=codec)), 3)
    assert found.how == scan.FULL and len(scenes_of(w.time_s for w in found.winners)) >= 3


def test_a_span_holds_for_i_frames_too(long_film):
    found = scan.scan(Video.open(long_film), 3, start_s=17, end_s=140, how=scan.KEY_FRAMES)
    assert found.how == scan.KEY_FRAMES and all(17 <= w.time_s <= 140 for w in found.winners)
    with pytest.raises(VideoError, match="no frames in the span"):
        scan.scan(Video.open(long_film), 3, start_s=500, how=scan.KEY_FRAMES)


def test_a_stop_comes_through(long_film):
    class Stop(Exception):
        pass

    def stop(time_s):
        raise Stop

    with pytest.raises(Stop):
        scan.scan(Video.open(long_film), 3, on_time=stop)


def test_every_key_frame_passes_the_network_once_and_is_read_once(long_film, monkeypatch):
    video = Video.open(long_film)
    read, proposed = [], []
    frames_at = Video.frames_at
    monkeypatch.setattr(Video, "frames_at", lambda self, times: read.extend(times) or frames_at(self, times))

    class Cropper(FakeCropper):
        def proposals_prepared(self, prepared):
            proposed.append(prepared)
            return super().proposals_prepared(prepared)

        def rank_and_propose(self, prepared, request):
            return self.rank(prepared, request), [[] for _ in prepared]

    cropper = Cropper()
    shown = list(covers.show(video, covers.find_winners(video, 3), cropper))
    chosen = covers.rank(cropper, shown, REQUEST, 3)
    assert len(list(covers.frames_of(video, chosen))) == len(chosen)
    assert sorted(read) == sorted(one.winner.time_s for one in shown) and len(set(read)) == len(read)
    assert proposed == [] and cropper.batches == [len(shown)]


def test_frames_that_there_is_no_room_for_are_read_again(long_film, monkeypatch):
    monkeypatch.setattr(covers, "KEPT_BYTES", 2 * SIZE[0] * SIZE[1] * 3)
    video = Video.open(long_film)
    cropper = FakeCropper()
    shown = list(covers.show(video, covers.find_winners(video, 3), cropper))
    assert [one.frame is not None for one in shown].count(True) == 2
    chosen = covers.rank(cropper, shown, REQUEST, 3)
    for cover, frame in covers.frames_of(video, chosen):
        assert np.array_equal(frame, video.frames_at([cover.time_s])[0])


def test_what_is_kept_of_a_frame_is_a_hundred_bytes():
    measures, _ = keyframes.watch((i / 25, scene(i // 50, SIZE)) for i in range(200))
    assert sum(values.nbytes for values in vars(measures).values()) / len(measures) < 120


def test_fades_are_found_alike_however_few_thumbnails_are_kept(monkeypatch):
    frames = []
    for seed in range(5):
        frames += [scene(seed)] * 40 + between(scene(seed), scene(seed + 1), 20)
    frames += between(scene(5), BLACK, 30)
    whole = shots.measure(np.arange(len(frames)) / 25, np.stack(frames), None)
    monkeypatch.setattr(keyframes, "THUMBNAILS_KEPT", 100)
    measures, _ = keyframes.watch((i / 25, frame) for i, frame in enumerate(frames))
    expected = shots.near(whole.time_s, whole.time_s[shots.blend_centres(whole)])
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(measures.blended, expected)
