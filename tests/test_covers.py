"""Key frames, and which of them become covers."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

import clips
from fake_cropper import FakeCropper
from s2crop.cropping.request import CropRequest, Thing, required
from s2crop.errors import InputError, VideoError
from s2crop.geometry.ratio import parse_ratio
from s2crop.video import covers, keyframes, letterbox, scan
from s2crop.video.covers import Shown
from s2crop.video.keyframes import Winner, find_winners, watch
from s2crop.video.reader import Video
from scenes import BLACK, WHITE, between, blurred, scene

FPS = 25


def watched(frames, fps=FPS):
    return watch((i / fps, frame) for i, frame in enumerate(frames))


def winners_of(frames, count=3, fps=FPS, **given):
    return find_winners(*watched(frames, fps), count, **given)


def shaken(frame, count, seed=0, most=8):
    """A shot that is not quite still: noise of a strength of its own for each frame."""
    rng = np.random.default_rng(seed)
    return [
        np.clip(frame + rng.normal(0, rng.uniform(1, most), frame.shape), 0, 255).astype(np.uint8) for _ in range(count)
    ]


# Features and clusters


def test_features_are_histograms_of_the_frame_and_its_quarters():
    frame = scene(1)
    found = keyframes.features(frame)
    assert found.shape == (2000,) and found.dtype == np.float32
    hue = found[: 5 * 128].reshape(5, 128)
    np.testing.assert_allclose(hue.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(hue[0], hue[1:].mean(axis=0), atol=1e-6)
    assert found.sum() == pytest.approx(keyframes.HISTOGRAMS, abs=1e-3)
    red = np.zeros((40, 60, 3), np.uint8)
    red[:20, 30:] = 255, 0, 0  # the upper right quarter: hue 0, full saturation and value
    saturation, value = keyframes.features(red)[5 * 128 : 15 * 128].reshape(2, 5, 128)
    assert saturation[2].argmax() == value[2].argmax() == 127 and saturation[1].argmax() == value[3].argmax() == 0
    assert value[0, 127] == pytest.approx(0.25)


def test_edge_orientations_are_those_of_the_edges():
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:, 30:] = 200  # brighter to the right: direction 0
    orientation = keyframes.features(upright)[15 * 128 : 15 * 128 + 8]
    assert orientation[0] == pytest.approx(1)
    level = np.zeros((40, 60, 3), np.uint8)
    level[20:] = 200  # brighter downwards: a quarter turn
    assert keyframes.features(level)[15 * 128 : 15 * 128 + 8][2] == pytest.approx(1)


def test_difference_of_looks():
    same, other = keyframes.features(scene(1)), keyframes.features(scene(2))
    noisy = keyframes.features(shaken(scene(1), 1, most=2)[0])
    distance = keyframes.difference(np.stack([same, noisy, other]), same)
    assert distance[0] == 0 < distance[1] < 0.03 and 0.2 < distance[2] < 1
    assert keyframes.difference(keyframes.features(BLACK)[None], keyframes.features(WHITE))[0] == pytest.approx(
        0.2
    )  # value alone


def test_kmeans_finds_clusters_and_is_the_same_on_every_run():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 0], [0, 10]])
    rows = np.concatenate([centre + rng.normal(0, 0.5, (20, 2)) for centre in centres])
    labels = keyframes.kmeans(rows, 3)
    assert [len(set(part)) for part in np.split(labels, 3)] == [1, 1, 1] and len(set(labels)) == 3
    np.testing.assert_array_equal(labels, keyframes.kmeans(rows, 3))


def test_kmeans_with_fewer_rows_than_clusters():
    assert len(set(keyframes.kmeans(np.ones((5, 3)), 3))) == 1
    assert len(set(keyframes.kmeans(np.array([[0.0], [1.0], [1.0]]), 9))) == 2
    assert keyframes.kmeans(np.zeros((1, 4)), 3).tolist() == [0]


# Samples


def test_each_slot_gives_its_stillest_frame_and_a_cut_begins_a_new_one():
    noisy = [np.clip(scene(1).astype(int) + 3 * (i % 2), 0, 255).astype(np.uint8) for i in range(12)]
    noisy[3] = noisy[4] = noisy[2]  # 3 is like both its neighbours
    measures, samples = watched(noisy + [scene(2)] * 4)
    assert [sample.frame for sample in samples][0] == 3
    starts = [0, 7, 12]  # of the slots: 0.28 s is the first time that is 0.25 s on, 12 is the cut
    for sample, start, end in zip(samples, starts, [7, 12, 16], strict=True):
        assert start <= sample.frame < end
    np.testing.assert_allclose(samples[0].features, keyframes.features(noisy[3]))
    assert len(measures) == 16


def test_a_good_frame_goes_before_a_still_one():
    frames = [BLACK] * 5 + [scene(1)] + [BLACK] * 5
    _, samples = watch(((i / FPS, frame) for i, frame in enumerate(frames)), slot_s=10)
    assert 5 in [sample.frame for sample in samples]


def test_watching_tells_the_time_and_takes_any_number_of_frames():
    for count in (1, keyframes.STRETCH, keyframes.STRETCH + 1, 50):
        times = []
        measures, samples = watch(((i / FPS, scene(1)) for i in range(count)), on_time=times.append)
        assert len(measures) == count and times[-1] == (count - 1) / FPS
        assert samples[0].frame < count
    assert watch([]) is None


# Winners


def test_every_shot_has_a_winner_and_longer_ones_go_first():
    frames = shaken(scene(1), 30) + shaken(scene(2), 60, 1) + shaken(scene(3), 45, 2)
    winners = winners_of(frames, head=False, tail=False)
    order = [0 if w.time_s < 1.2 else 1 if w.time_s < 3.6 else 2 for w in winners]
    assert set(order) == {0, 1, 2} and all(winner.good for winner in winners)
    lengths = [winner.length_s for winner in winners]
    assert lengths == sorted(lengths, reverse=True) and sum(lengths) == pytest.approx(5.4, abs=0.6)
    assert [w.time_s for w in winners] == [w.time_s for w in winners_of(frames, head=False, tail=False)]


def test_the_winner_is_the_stillest_frame():
    frames = shaken(scene(1), 40)
    frames[20] = frames[19] = frames[21]
    assert 20 / FPS in [winner.time_s for winner in winners_of(frames)]


def test_black_white_blurred_and_blended_stretches_have_no_winner():
    good, other = shaken(scene(1), 30), shaken(scene(4), 30, 1)
    frames = [BLACK] * 60 + good + between(good[-1], other[0], 25) + other + [WHITE] * 60
    frames += [blurred(frame, 5) for frame in shaken(scene(5), 80, 2)]
    allowed = [(60, 90), (115, 145)]
    for count in (1, 3, 8):
        for winner in winners_of(frames, count):
            frame = round(winner.time_s * FPS)
            assert any(start <= frame < end for start, end in allowed), frame


def test_titles_and_credits_are_left_out_unless_the_span_was_given():
    frames = shaken(scene(1), 10) + shaken(scene(2), 160, 1) + shaken(scene(3), 30, 2)  # 8 s: head 0.4 s, tail 0.8 s
    times = [winner.time_s for winner in winners_of(frames)]
    assert min(times) >= 0.39 and max(times) <= 7.2
    whole = [winner.time_s for winner in winners_of(frames, head=False, tail=False)]
    assert min(whole) < 0.4 and max(whole) > 7.2


def test_a_black_first_frame_is_no_winner():
    frames = [BLACK] + shaken(scene(1), 60)
    assert all(winner.time_s > 0 and winner.good for winner in winners_of(frames, head=False))


def test_a_clip_that_is_bad_throughout_gives_its_least_bad():
    dim = [np.full_like(BLACK, i % 3) for i in range(50)]
    (winner,) = winners_of(dim)[:1]
    assert not winner.good
    night = [(frame * 0.08).astype(np.uint8) for frame in shaken(scene(1), 40) + shaken(scene(2), 40)]
    winners = winners_of(night)
    assert not any(winner.good for winner in winners)
    assert {winner.time_s < 1.6 for winner in winners} == {True, False}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_clips_of_a_few_frames(count):
    for frames in ([scene(i) for i in range(count)], [BLACK] * (count - 1) + [scene(1)]):
        (winner,) = winners_of(frames)[:1]
        assert 0 <= winner.time_s < count / FPS
    if count > 2:
        assert winners_of([BLACK] + [scene(1)] * (count - 1))[0].time_s > 0


def test_a_picture_as_a_clip_gives_one_winner():
    assert len(winners_of([scene(1)] * 75)) == 1


def test_pictures_of_a_slide_show_all_win():
    winners = winners_of([scene(i) for i in range(6)], count=3, fps=0.5, head=False, tail=False)
    assert sorted(winner.time_s for winner in winners) == [0, 2, 4, 6, 8, 10]


def test_pictures_that_follow_quickly_are_as_many_as_are_asked_for():
    slides = [scene(i) for i in range(16)]
    for fps in (1, 4, 10):
        winners = winners_of(slides, count=6, fps=fps)
        assert len({round(winner.time_s * fps) for winner in winners}) >= 6 and all(w.good for w in winners)
    assert all(w.good for w in winners_of([BLACK] * 8 + slides[:3] + [BLACK] * 8, count=6, fps=4))
    for count in (1, 4):  # of a few pictures none are titles and credits
        assert {0, 4} <= {round(winner.time_s * 10) for winner in winners_of(slides[:5], count=count, fps=10)}


@pytest.mark.parametrize("turned", [False, True])
def test_a_bar_that_subtitles_come_and_go_on_is_one(turned):
    def seen(lower):  # of 10 frames
        frames = np.zeros((10, *BLACK.shape), np.uint8)
        frames[:, 11:79] = scene(1, (68, 160))
        for frame, has_some in zip(frames, lower, strict=True):
            frame[83:86, 40:120:2] = 255 * has_some
        return keyframes.bars(watched(frames[:, ::-1] if turned else frames)[0], (0, 10))

    assert seen([0] * 10) == seen([1, 1, 1, 0, 1, 1, 1, 1, 0, 1]) == pytest.approx((0, 11 / 90, 0, 11 / 90))
    assert seen([1] * 10)[1] == pytest.approx(4 / 90)
    frames = np.zeros((20, *BLACK.shape), np.uint8)  # a subtitle for all of a shot, and none in the next
    frames[:10, 11:79], frames[10:, 11:79] = scene(1, (68, 160)), scene(2, (68, 160))
    frames[:10, 83:86, 40:120:2] = 255
    measures = watched(frames)[0]
    assert (
        keyframes.bars(measures, (0, 10))
        == keyframes.bars(measures, (10, 20))
        == pytest.approx((0, 11 / 90, 0, 11 / 90))
    )
    alone = watched(frames[:10])[0]
    assert keyframes.bars(alone, (0, 10), keyframes.widest_bars(measures))[1] == pytest.approx(11 / 90)
    dark = np.zeros((10, *BLACK.shape), np.uint8)  # the lower part of a dark picture now and then
    dark[:, 11:] = scene(1, (79, 160))
    dark[3:5, 50:] = 0
    assert keyframes.bars(watched(dark)[0], (0, 10)) == (0, 0, 0, 0)


def test_a_shot_of_its_own_bars():
    framed = np.zeros_like(BLACK)
    framed[12:78] = scene(1, (66, 160))
    winners = winners_of(shaken(scene(2), 40) + [framed] * 40, head=False, tail=False)
    for winner in winners:
        expected = [0, 12 / 90, 0, 12 / 90] if winner.time_s >= 1.6 else [0, 0, 0, 0]
        assert winner.bars == pytest.approx(expected, abs=1e-6)


# Covers


def winner(time_s=1.0, seed=1, good=True, unstillness=0.0, bars=(0, 0, 0, 0), length_s=1.0, gradient=0.3):
    return Winner(time_s, length_s, keyframes.features(scene(seed)), unstillness, gradient, bars, good)


def test_the_edge_of_a_bar_is_found_to_the_pixel():
    frame = np.full((720, 1280, 3), 90, np.uint8)
    frame[:87] = frame[-93:] = 5
    thumbnail = (0, 10 / 90, 0, 10 / 90)  # 80 of 87 pixels
    assert letterbox.find_inside(frame, thumbnail) == (0, 87, 1280, 627)
    frame[40] = 255  # a line of writing in the bar
    assert letterbox.find_inside(frame, thumbnail) == (0, 80, 1280, 627)
    assert letterbox.find_inside(np.zeros((720, 1280, 3), np.uint8), thumbnail)[1] in range(80, 97)


def test_a_dark_edge_that_is_no_bar_is_kept():
    frame = np.full((720, 1280, 3), 90, np.uint8)
    frame[:300] = 5
    x1, y1, x2, y2 = letterbox.find_inside(frame, (0, 0, 0, 0))
    assert (x1, x2, y2) == (0, 1280, 720) and y1 <= 16


def shown(focus=1.5, **given):
    return Shown(winner(**given), (160, 90), (0, 0, 160, 90), focus, None)


def test_worth_goes_by_score_sharpness_stillness_faces_and_goodness():
    def worth(*frames, scores=(3.0, 3.0), faces=(0, 0), subtitles=(0, 0)):
        return covers.worth(frames, scores, faces, subtitles)

    first, second = worth(shown(), shown(), scores=(3.0, 3.2))
    assert second - first == pytest.approx(0.2)
    first, second = worth(shown(focus=1.1), shown(focus=1.5))
    assert second > first + 0.2
    assert np.ptp(worth(shown(focus=1.6), shown(focus=2.2))) == 0  # both sharp
    assert np.ptp(worth(shown(focus=1.1), shown(focus=1.1))) == 0  # as sharp as this clip gets
    first, second = worth(shown(unstillness=np.inf), shown(unstillness=0.01))
    assert 0.1 < second - first < 0.3
    first, second = worth(shown(), shown(), faces=(0.0, 0.5))
    assert second - first == pytest.approx(0.15)
    first, second = worth(shown(good=False), shown())
    assert second - first == pytest.approx(1)
    first, second, third = worth(
        shown(gradient=0.02), shown(gradient=0.08), shown(gradient=0.4),
        scores=[3] * 3, faces=[0] * 3, subtitles=[0] * 3,
    )  # fmt: skip
    assert second - first == pytest.approx(0.375) and second == third
    first, second = worth(shown(length_s=1), shown(length_s=9))
    assert second - first == pytest.approx(0.5 * (0.9**0.5 - 0.1**0.5))
    first, second = worth(shown(), shown(), subtitles=(1.0, 0.0))
    assert second - first == pytest.approx(1)
    assert np.ptp(worth(shown(), shown(), subtitles=(1.0, 1.0))) == 0  # there is nothing else
    slide = Shown(dataclasses.replace(winner(good=False), drawn=True), (160, 90), (0, 0, 160, 90), 1.5, None)
    assert np.ptp(worth(slide, slide, subtitles=(1.0, 0.0))) == 0  # it is written on the slide


def test_a_subtitle_that_the_crops_leave_out_does_not_count():
    class Subtitled(FakeCropper):  # the first of two frames; crops are squares in the middle
        def rank_and_propose(self, prepared, request):
            return self.rank(prepared, request), [[((self.x, 80, self.x + 20, 86), 0.9, "text")], []]

    frames = [
        Shown(winner(t, seed), (160, 90), (0, 0, 160, 90), 1.5, prepared(160, 90)) for t, seed in ((1, 1), (5, 2))
    ]
    request = CropRequest(ratios=(parse_ratio("1:1"),))
    scores = {}
    for x in (70, 10):
        cropper = Subtitled()
        cropper.x = x
        scores[x] = {cover.time_s: cover.score for cover in covers.rank(cropper, frames, request, 2)}
    assert scores[10][1.0] == pytest.approx(scores[10][5.0]) and scores[70][5.0] - scores[70][1.0] == pytest.approx(1)


def test_subtitles_lie_low_and_in_the_middle():
    def subtitle(*box, score=0.6, kind="text"):
        return covers.subtitle([(box, score, kind)], 400, 300)

    assert subtitle(100, 260, 300, 280) == 1 == subtitle(100, 260, 300, 280, score=0.9)
    assert subtitle(100, 260, 300, 280, score=0.3) == pytest.approx(0.5)
    assert subtitle(100, 100, 300, 120) == 0  # a sign
    assert subtitle(0, 260, 120, 280) == 0  # a label at the side
    assert subtitle(100, 200, 300, 290) == subtitle(100, 290, 300, 295) == 0  # far too large, too small
    assert subtitle(100, 260, 300, 280, kind="face") == 0 == covers.subtitle([], 400, 300)


def test_open_faces():
    def face(*box, score=1.0, kind="face"):
        return covers.open_face([(box, score, kind)], 400, 300)

    assert face(150, 100, 200, 150) == 1
    assert face(150, 100, 200, 150, score=0.4) == pytest.approx(0.4)
    assert face(150, 0, 200, 50) == face(350, 100, 400, 150) == 0  # at the edge
    assert 0 < face(150, 10, 200, 60) < 1
    assert 0 < face(150, 100, 165, 115) < 0.5  # small
    assert face(150, 100, 200, 150, kind="text") == 0 == covers.open_face([], 400, 300)


def test_covers_differ_in_looks_and_stand_apart():
    frames = [winner(t, seed) for t, seed in ((1, 1), (3, 1), (5, 2), (5.4, 3), (9, 3))]
    worth = np.array([3.0, 3.5, 3.2, 3.1, 2.0])
    assert list(covers.choose(frames, worth, 1)) == [1]
    # 0 is the same picture as 1; 3 is too near to 2
    assert list(covers.choose(frames, worth, 3)) == [1, 2, 4]
    assert list(covers.choose(frames, worth, 5)) == [1, 2, 4]
    near = [winner(0.0, 1), winner(0.4, 2), winner(0.8, 3)]  # a short clip asks for less
    assert list(covers.choose(near, np.array([3.0, 2.0, 1.0]), 3)) == [0, 1, 2]


def test_a_frame_that_looks_like_one_ahead_of_it_is_worth_less():
    frames = [winner(1, 1), winner(5, 1), winner(9, 2)]
    close = scene(1)
    close[20:60, 60:90] = scene(3)[20:60, 60:90]  # something has moved
    frames[1] = dataclasses.replace(frames[1], features=keyframes.features(close))
    assert covers.SAME_DISTANCE < keyframes.difference(frames[1].features[None], frames[0].features)[0] < 0.1
    assert list(covers.choose(frames, np.array([3.0, 2.9, 2.7]), 3)) == [0, 2, 1]
    assert list(covers.choose(frames, np.array([3.0, 2.9, 1.0]), 3)) == [0, 1, 2]
    distance = keyframes.difference(frames[1].features[None], frames[0].features)[0]
    left = 2.9 - covers.ALIKE_WEIGHT * (1 - distance / covers.ALIKE_DISTANCE)
    assert covers.choose(frames, np.array([3.0, 2.9, 2.7]), 3)[1] == pytest.approx(left, abs=1e-6)


def prepared(width, height):
    return FakeCropper(decode=False).prepare(SimpleNamespace(width=width, height=height))


REQUEST = CropRequest(ratios=(parse_ratio("1:1"), parse_ratio("16:9")), top=2, focus=None, keep=None, protect="all")


def test_boxes_are_in_pixels_of_the_whole_frame():
    one = Shown(winner(2.0), (160, 120), (0, 15, 160, 105), 1.5, prepared(160, 90))
    (cover,) = covers.rank(FakeCropper(), [one], REQUEST, 3)
    assert (cover.time_s, cover.good) == (2.0, True)
    best = {(crop.ratio, crop.rank): crop.box for crop in cover.crops}
    assert best["1:1", 1] == (35, 15, 125, 105) and best["16:9", 1] == (0, 15, 160, 105)
    assert len(best) == 4
    face = covers.open_face(FakeCropper().proposals_prepared(one.prepared), 160, 90)
    assert cover.score == pytest.approx(
        covers.worth([one], [4 - 1 / 7], [face], [0])[0]
    )  # mean of the best of each ratio


def test_what_crops_cut_and_where_their_subject_is_count_from_the_whole_frame():
    class Cutting(FakeCropper):
        def _crops(self, prepared, request):
            crops = super()._crops(prepared, request)
            crops[0].cut, crops[1].lost = [Thing("face", (1, 2, 11, 12))], [Thing("text", (0, 80, 90, 90))]
            crops[0].focus = (0.25, 1.0)
            return crops

    one = Shown(winner(2.0), (160, 120), (0, 15, 160, 105), 1.5, prepared(160, 90))
    (cover,) = covers.rank(Cutting(), [one], REQUEST, 3)
    first, second = cover.crops[:2]
    assert (first.cut, first.lost) == ([Thing("face", (1, 17, 11, 27))], [])
    assert (second.cut, second.lost) == ([], [Thing("text", (0, 95, 90, 105))])
    assert first.focus == pytest.approx((0.25, 105 / 120))


def test_what_covers_are_ranked_by_never_rises():
    frames = [winner(2.0 * i, i % 5) for i in range(20)]
    scores = list(covers.choose(frames, np.random.default_rng(3).uniform(2, 4, 20), 8).values())
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)


def test_focus_and_keep_are_pixels_or_fractions_of_the_whole_frame():
    place = (160, 120), (0, 20, 160, 100)
    half = dataclasses.replace(REQUEST, focus=(0.5, 0.5), keep=(0.25, 0.5, 0.5, 0.25))
    moved = letterbox.request_inside(half, *place)
    assert moved.focus == pytest.approx((0.5, 0.5)) and moved.keep == pytest.approx((0.25, 0.5, 0.5, 0.375))
    pixels = dataclasses.replace(REQUEST, focus=(80, 60), keep=(40, 60, 80, 60))  # the box ends in the lower bar
    moved = letterbox.request_inside(pixels, *place)
    assert moved.focus == pytest.approx((0.5, 0.5)) and moved.keep == pytest.approx((0.25, 0.5, 0.5, 0.5))
    assert letterbox.request_inside(half, (160, 120), (0, 0, 160, 120)) is half
    for x, y in ((0, 20), (159, 99), (160, 99.5), (37, 61)):  # from the first to the last pixel between the bars
        part = letterbox.request_inside(dataclasses.replace(REQUEST, focus=(x, y)), *place)
        pixel = min(x, 159), int(y) - 20
        assert required(part, (160, 80)).tolist() == [*pixel, pixel[0] + 1, pixel[1] + 1]
    for wrong in ({"focus": (80, 10)}, {"focus": (80, 100)}, {"focus": (200, 50)}, {"keep": (10, 102, 20, 10)}):
        with pytest.raises(InputError, match="black bars"):
            letterbox.request_inside(dataclasses.replace(REQUEST, **wrong), *place)


def test_frames_that_cannot_be_cropped_as_asked_are_passed_over():
    frames = [
        Shown(winner(1.0, 1), (160, 90), (0, 0, 160, 90), 1.5, prepared(160, 90)),
        Shown(winner(5.0, 2), (160, 90), (0, 20, 160, 70), 1.5, prepared(160, 50)),
    ]
    request = dataclasses.replace(REQUEST, focus=(80, 80))
    assert [cover.time_s for cover in covers.rank(FakeCropper(), frames, request, 3)] == [1.0]
    with pytest.raises(InputError, match="black bars"):
        covers.rank(FakeCropper(), frames[1:], request, 3)


def test_frames_that_can_be_cropped_to_the_most_ratios_are_taken():
    frames = [
        Shown(winner(1.0, 1), (160, 90), (0, 0, 160, 90), 1.5, prepared(160, 90)),
        Shown(winner(5.0, 2), (160, 90), (0, 20, 160, 70), 1.5, prepared(160, 50)),
    ]

    def ratios_of(shown, keep):
        chosen = covers.rank(FakeCropper(), shown, dataclasses.replace(REQUEST, keep=keep), 3)
        return [(cover.time_s, {crop.ratio for crop in cover.crops}) for cover in chosen]

    assert ratios_of(frames, (40, 25, 80, 10)) == [(1.0, {"1:1", "16:9"})]
    assert ratios_of(frames[1:], (40, 25, 80, 10)) == [(5.0, {"16:9"})]
    assert ratios_of(frames[1:], (0, 25, 160, 10)) == []


def test_all_frames_of_a_clip_are_scored_at_once():
    frames = [Shown(winner(i * 2.0, i), (160, 90), (0, 0, 160, 90), 1.5, prepared(160, 90)) for i in range(7)]
    cropper = FakeCropper()
    assert len(covers.rank(cropper, frames, REQUEST, 3)) == 3
    assert cropper.batches == [7]


# Clips, through ffmpeg


CLIP_SIZE = 144, 256


def shot(seed, seconds, size=CLIP_SIZE, fps=FPS):
    """A scene that drifts a little, so that no frame is quite still."""
    height, width = size
    wide = scene(seed, (height, width + 32))
    for i in range(round(seconds * fps)):
        x = int(16 + 15 * np.sin(i / 25))
        yield wide[:, x : x + width]


def flat(value, seconds, size=CLIP_SIZE):
    return [np.full((*size, 3), value, np.uint8)] * round(seconds * FPS)


def dissolve(first, second, seconds):
    return between(first, second, round(seconds * FPS))


def times(path, count=3, **given):
    return [frame.time_s for frame in covers.covers(path, count, cropper=FakeCropper(), **given)]


def which(time_s, ends_s):
    """The number of the stretch that a time lies in."""
    return int(np.searchsorted(ends_s, time_s, "right"))


def test_a_clip_that_begins_black(tmp_path):
    path = clips.write_clip(tmp_path / "a.mp4", [*flat(0, 0.8), *shot(1, 1.2), *shot(2, 1.2)])
    found = times(path)
    assert len(found) >= 2 and all(0.8 <= time_s < 3.2 for time_s in found)
    assert {which(time_s, [0.8, 2.0]) for time_s in found} == {1, 2}
    (only,) = times(clips.write_clip(tmp_path / "b.mp4", [*flat(0, 0.04), *shot(1, 1)]), 1)
    assert only > 0


def test_every_shot_between_cuts_gives_a_cover(tmp_path):
    path = clips.write_clip(tmp_path / "a.mkv", [*shot(1, 1), *shot(2, 2), *shot(3, 1.4)])
    assert sorted(which(time_s, [1, 3]) for time_s in times(path)) == [0, 1, 2]


def test_no_cover_lies_in_a_fade_or_a_dissolve(tmp_path):
    first, second = list(shot(1, 1.6)), list(shot(2, 1.6))
    black = flat(0, 0.2)
    frames = [*black, *dissolve(black[0], first[0], 0.8), *first, *dissolve(first[-1], second[0], 0.8), *second]
    frames += [*dissolve(second[-1], black[0], 0.8), *black]
    found = times(clips.write_clip(tmp_path / "a.mp4", frames), 4, start_s=0, end_s=9)
    assert len(found) >= 2 and {which(time_s, [1.0, 2.6, 3.4, 5.0]) for time_s in found} == {1, 3}


def test_no_cover_is_blurred(tmp_path):
    soft = [blurred(frame, 8) for frame in shot(2, 3)]
    assert all(time_s >= 3 for time_s in times(clips.write_clip(tmp_path / "a.mp4", [*soft, *shot(1, 1.2)]), end_s=9))


def test_a_letterboxed_clip_is_cropped_between_its_bars(tmp_path):
    framed = [np.pad(frame, [(18, 18), (0, 0), (0, 0)]) for frame in shot(1, 1.2, (108, 256))]
    path = clips.write_clip(tmp_path / "a.mp4", framed)
    video = Video.open(path)
    cropper = FakeCropper()
    shown = list(covers.show(video, covers.find_winners(video, 2), cropper))
    assert {one.inside for one in shown} == {(0, 18, 256, 126)} and {one.size_wh for one in shown} == {(256, 144)}
    for cover in covers.rank(cropper, shown, REQUEST, 2):
        for x1, y1, x2, y2 in (crop.box for crop in cover.crops):
            assert 0 <= x1 < x2 <= 256 and 18 <= y1 < y2 <= 126
    (frame,) = covers.covers(path, 1, cropper=cropper)
    assert frame.image.size == (256, 144)  # whole


@pytest.mark.parametrize(
    ("options", "size_wh"),
    [
        ({"codec": ("-c:v", "libx264", "-pix_fmt", "yuv420p10le")}, (256, 144)),
        ({"codec": ("-c:v", "libx264", "-pix_fmt", "yuv444p"), "filters": "scale=251:143"}, (251, 143)),
        ({"filters": "setsar=4/3"}, (341, 144)),
        ({"times_s": [i / FPS if i < 25 else 1 + (i - 25) * 0.2 for i in range(50)]}, (256, 144)),
        ({"fps": 60}, (256, 144)),
    ],
    ids=["10 bits", "odd sides", "wide pixels", "variable rate", "60 Hz"],
)
def test_unusual_clips(tmp_path, options, size_wh):
    frames = [*shot(1, 1), *shot(2, 1)]
    cut_s = 25 / options.get("fps", FPS)
    path = clips.write_clip(tmp_path / "a.mp4", frames, **options)
    found = covers.covers(path, 2, cropper=FakeCropper())
    assert {frame.image.size for frame in found} == {size_wh}
    assert {frame.time_s < cut_s for frame in found} == {True, False}
    for frame in found:  # its picture is of the shot that its time says
        image = np.asarray(frame.image.resize((256, 144)), float)
        distances = [np.abs(image - next(shot(seed, 1))).mean() for seed in (1, 2)]
        assert np.argmin(distances) == (frame.time_s >= cut_s)


def test_a_rotated_clip_is_upright(tmp_path):
    upright = clips.write_clip(tmp_path / "a.mp4", shot(1, 1))
    clips.run_ffmpeg("-display_rotation", 90, "-i", upright, "-c", "copy", tmp_path / "b.mp4")
    (frame,) = covers.covers(tmp_path / "b.mp4", 1, cropper=FakeCropper())
    assert frame.image.size == (144, 256)


def test_a_span(tmp_path):
    path = clips.write_clip(tmp_path / "a.mp4", [*shot(1, 1), *shot(2, 1), *shot(3, 1)])
    assert all(1 <= time_s <= 2 for time_s in times(path, start_s=1, end_s=1.99))
    with pytest.raises(VideoError, match="no frames in the span"):
        times(path, start_s=7)


def test_clips_that_have_little_to_choose_from(tmp_path):
    few = clips.write_clip(tmp_path / "few.mp4", list(shot(1, 0.2)))
    still = clips.write_clip(tmp_path / "still.mp4", [scene(1, CLIP_SIZE)] * 50)
    black = clips.write_clip(tmp_path / "black.mp4", flat(0, 2))
    assert [len(times(path)) for path in (few, still, black)] == [1, 1, 1]
    video = Video.open(black)
    (cover,) = covers.rank(
        FakeCropper(), list(covers.show(video, covers.find_winners(video, 3), FakeCropper())), REQUEST, 3
    )
    assert not cover.good


def test_sound_alone_is_no_clip(tmp_path):
    clips.run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", tmp_path / "a.m4a")
    with pytest.raises(VideoError, match="video"):
        covers.covers(tmp_path / "a.m4a", cropper=FakeCropper())


def test_a_clip_that_is_mostly_lost_is_an_error(tmp_path):
    path = clips.write_clip(tmp_path / "a.mkv", shot(1, 4), options=["-g", 10])
    data = bytearray(path.read_bytes())
    data[len(data) // 4 :] = bytes(len(data) - len(data) // 4)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"damaged: nothing can be decoded behind [01]\."):
        times(path)


def test_an_hour_leaves_only_small_numbers_behind():
    """What is kept of a frame, times 108,000, and of the slots is far below a gigabyte."""
    measures, samples = watched([scene(i % 3, (90, 160)) for i in range(100)])
    kept = sum(values.nbytes for values in vars(measures).values()) / len(measures)
    assert 108_000 * kept + scan.MAX_SLOTS * samples[0].features.nbytes < 80e6
    assert samples[0].features.base is None or samples[0].features.base.nbytes < 20_000


@pytest.mark.parametrize(
    "given", [{"top": 0}, {"top": 1.5}, {"top": "2"}, {"start_s": float("nan")}, {"end_s": -1.0}, {"start_s": "1"},
              {"start_s": 2.0, "end_s": 2.0}, {"ratios": ["wide"]}]
)  # fmt: skip
def test_arguments_that_make_no_sense(given):
    with pytest.raises(ValueError):
        covers.covers("none.mp4", cropper=FakeCropper(), **given)
