"""What is measured of frames, and the shots that follow."""

import numpy as np
import pytest

from s2crop.video import letterbox, shots
from s2crop.video.shots import Measures, measure
from scenes import BLACK, SIZE, WHITE, between, blurred, scene


def measured(frames, fps=25.0):
    return measure(np.arange(len(frames)) / fps, np.stack(frames), None)


def made(count, fps=25.0, **given):
    """Measures of unremarkable still frames, with some of them given."""
    usual = {
        "time_s": np.arange(count) / fps, "luminance": np.full(count, 0.5), "gradient": np.full(count, 0.3),
        "focus": np.full(count, 1.8),
        "energy": np.ones(count), "uniformity": np.full(count, 0.2),
        "step": np.append(np.inf, np.full(count - 1, 0.01)),
        "edge_change": np.zeros(count), "bars": np.zeros((count, 4), np.float32),
        "small": np.zeros((count, 9, 16), np.uint8), "blended": np.zeros(count, bool),
    }  # fmt: skip
    return Measures(**usual | {name: np.asarray(values) for name, values in given.items()})


def blends(measures):
    """Which frames lie within a fade or dissolve."""
    return shots.near(measures.time_s, measures.time_s[shots.blend_centres(measures)])


# Measures


def test_measures_of_a_frame_against_loops():
    rng = np.random.default_rng(0)
    first, second = rng.integers(40, 256, (2, 12, 20, 3)).astype(np.uint8)
    found = measured([first, second])
    grey = second.astype(float) @ [0.2126, 0.7152, 0.0722] / 255
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    smooth = np.array([[(grey[y : y + 3, x : x + 3] * kernel).sum() for x in range(18)] for y in range(10)])
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    gradient = [
        np.hypot((smooth[y : y + 3, x : x + 3] * sobel).sum(), (smooth[y : y + 3, x : x + 3] * sobel.T).sum())
        for y in range(8) for x in range(16)
    ]  # fmt: skip
    near = [grey[y, x + 1] - grey[y, x] for y in range(12) for x in range(19)]
    near += [grey[y + 1, x] - grey[y, x] for y in range(11) for x in range(20)]
    far = [(grey[y, x + 2] - grey[y, x]) / 2 for y in range(12) for x in range(18)]
    far += [(grey[y + 2, x] - grey[y, x]) / 2 for y in range(10) for x in range(20)]
    counts = sorted(np.bincount((grey * 128).astype(int).ravel(), minlength=128))
    assert found.luminance[1] == pytest.approx(grey.mean(), abs=1e-5)
    assert found.gradient[1] == pytest.approx(np.mean(gradient), rel=1e-4)
    assert found.energy[1] == pytest.approx(np.mean(np.square(near)), rel=1e-4)
    middle = grey[1:11, 3:17]  # 0.16 of the sides are left out
    near, far = (
        sum(np.sum(np.square(np.subtract(*pair))) for pair in (
            (middle[:, n:], middle[:, :-n]), (middle[n:], middle[:-n])
        )) / n**2
        for n in (1, 2)
    )  # fmt: skip
    assert found.focus[1] == pytest.approx(near / far, rel=1e-4)
    assert found.uniformity[1] == pytest.approx(sum(counts[-6:]) / grey.size)
    assert found.step[1] == pytest.approx(np.sqrt(np.mean((second / 255 - first / 255) ** 2)), rel=1e-4)
    assert np.isinf(found.step[0])


def test_measures_do_not_depend_on_the_stretches():
    frames = np.stack([scene(i // 3) for i in range(7)])
    frames[4:, :12] = 0
    frames[4:, -12:] = 0
    whole = measure(np.arange(7.0), frames, None)
    parts = [measure(np.arange(a, b), frames[a:b], frames[a - 1] if a else None) for a, b in ((0, 1), (1, 3), (3, 7))]
    joined = Measures.joined(parts)
    for name, values in vars(whole).items():
        np.testing.assert_allclose(getattr(joined, name), values, rtol=1e-5, err_msg=name)


def test_letterbox_bars_are_found_and_left_out():
    inside = scene(1, (60, 160))
    framed = np.zeros((90, 160, 3), np.uint8)
    framed[14:74] = inside
    framed[:14] += np.random.default_rng(0).integers(0, 16, (14, 160, 3), dtype=np.uint8)  # what codecs leave
    open_, closed = measured([inside]), measured([framed])
    np.testing.assert_allclose(closed.bars[0], [0, 14 / 90, 0, 16 / 90], rtol=1e-6)
    assert not open_.bars.any()
    assert closed.luminance[0] == pytest.approx(open_.luminance[0], rel=0.01)
    assert closed.uniformity[0] == pytest.approx(open_.uniformity[0], abs=0.01)
    assert closed.gradient[0] == pytest.approx(open_.gradient[0], rel=0.1)
    assert closed.focus[0] == pytest.approx(open_.focus[0], rel=0.1)


def test_bars_at_the_sides_and_black_frames():
    frames = np.zeros((2, 90, 160, 3), np.uint8)
    frames[0, :, 50:110] = 200
    assert shots.find_bars(frames).tolist() == [[50, 0, 50, 0], [0, 0, 0, 0]]


def test_distance_is_that_of_what_is_shown_between_bars():
    frames = np.zeros((2, 90, 160, 3), np.uint8)
    frames[0, :, 60:100], frames[1, :, 60:100] = 100, 151
    assert measured(frames).step[1] == pytest.approx(0.2, rel=1e-5)


def test_focus_tells_blur_whatever_the_contrast():
    step = np.zeros((20, 20))
    step[:, 10:] = 1
    assert shots.focus(step) == pytest.approx(2)
    assert shots.focus(0.3 + step / 10) == pytest.approx(2)
    ramp = np.linspace(0, 1, 20)[None].repeat(20, axis=0)
    assert shots.focus(ramp) == pytest.approx(1, abs=0.1)
    assert shots.focus(np.ones((20, 20))) == 1
    sharp = scene(3)
    values = measured([sharp, blurred(sharp, 0.5), blurred(sharp, 1), blurred(sharp, 2), blurred(sharp, 4)]).focus
    assert (np.diff(values) < 0).all() and values[0] > 1.7 and values[3] < shots.MIN_FOCUS


def test_logos_and_subtitles_do_not_make_a_blurred_picture_sharp():
    soft = blurred(scene(3), 4)
    lettered = soft.copy()
    lettered[2:10, 130:156:2] = lettered[80:86, 40:120:2] = 255
    values = measured([scene(3), soft, lettered]).focus
    assert values[1] == pytest.approx(values[2]) and values[2] < shots.MIN_FOCUS < values[0]
    page = np.full((90, 160, 3), 250, np.uint8)
    page[4:10, 20:140:3] = 10  # all that there is to see on a slide
    assert measured([page]).focus[0] > 1.5


def test_a_few_bright_pixels_are_part_of_a_bar():
    frame = np.full((720, 1280, 3), 90, np.uint8)
    frame[:90] = frame[-90:] = 5
    frame[89, [3, 400, 401, 700, 1100, 1279]] = 60  # what a codec leaves beside an edge
    assert shots.find_bars(frame[None], shots.STRAY_FRAC).tolist() == [[0, 90, 0, 90]]
    assert letterbox.find_inside(frame, (0, 88 / 720, 0, 88 / 720)) == (0, 90, 1280, 630)
    frame[89, 600:620] = 60
    assert shots.find_bars(frame[None], shots.STRAY_FRAC).tolist() == [[0, 89, 0, 90]]
    sky = np.full((720, 1280, 3), 9, np.uint8)
    sky[300:], sky[1:300:9, 640] = 90, 255  # a star in every ninth row
    assert letterbox.find_inside(sky, (0, 0, 0, 0))[1] <= 1
    assert letterbox.find_inside(sky, (0.1, 0, 0.1, 0))[1] <= 1


def test_frames_of_any_shape_are_measured():
    for size in ((1, 1), (2, 160), (160, 3), (160, 90), (7, 7)):
        frames = np.random.default_rng(1).integers(0, 256, (3, *size, 3)).astype(np.uint8)
        found = measured(frames)
        assert all(np.isfinite(values[1:]).all() and len(values) == 3 for values in vars(found).values())


def test_edges_that_move_a_little_do_not_change():
    def drawn(x):
        frame = np.full((*SIZE, 3), 60, np.uint8)
        frame[30:60, x : x + 40] = 200
        return frame

    change = measured([drawn(40), drawn(45), drawn(65), np.full((*SIZE, 3), 60, np.uint8)]).edge_change
    assert change[0] == 0 and change[1] == 0
    assert 0.3 < change[2] < 0.7  # the upright edges are elsewhere, the level ones in part
    assert change[3] == 0  # no edges, nothing to say


def test_a_cut_changes_edges_and_colours():
    found = measured([scene(1)] * 3 + [scene(2)] * 3)
    assert found.edge_change[3] > 0.3 and found.step[3] > shots.MIN_STEP
    assert found.edge_change[[1, 2, 4, 5]].max() == 0 == found.step[[1, 2, 4, 5]].max()


def test_the_first_and_the_last_frame_are_never_still():
    black = np.zeros((*SIZE, 3), np.uint8)
    frames = [black] + [scene(1) + np.uint8(i % 2) for i in range(8)] + [black]
    still = shots.unstillness(measured(frames))
    assert np.isinf(still[[0, -1]]).all() and np.isfinite(still[1:-1]).all()
    assert still[3] == pytest.approx(1 / 255, rel=0.01)


# Blends


@pytest.mark.parametrize("length_s", [0.4, 1.0, 2.0])
@pytest.mark.parametrize(
    "ends", [(scene(1), scene(2)), (scene(3), BLACK), (BLACK, scene(4)), (WHITE, scene(5)), (scene(5), WHITE)]
)
def test_dissolves_and_fades_are_found(ends, length_s):
    count = int(length_s * 25)
    found = blends(measured([ends[0]] * 30 + between(*ends, count) + [ends[1]] * 30))
    margin = max(1, count // 8)
    assert found[30 + margin : 30 + count - margin].all()
    assert not found[:24].any() and not found[30 + count + 6 :].any()


def test_pans_cuts_flashes_and_stills_are_no_blends():
    wide = scene(7, (90, 400))
    pan = [wide[:, 2 * i : 2 * i + 160] for i in range(100)]
    soft = blurred(scene(8, (90, 400)), 3)
    slow = [soft[:, i // 2 : i // 2 + 160] for i in range(100)]
    cuts = [scene(i // 20) for i in range(100)]
    flash = [scene(9)] * 30 + [WHITE] * 2 + [scene(9)] * 30
    for frames in (pan, slow, cuts, flash):
        assert not blends(measured(frames)).any()


def test_blends_follow_the_clock_and_not_the_count_of_frames():
    frames = [scene(1)] * 30 + between(scene(1), scene(2), 25) + [scene(2)] * 30
    every_second = measured(frames[::2], fps=12.5)
    found = blends(every_second)
    assert found[(every_second.time_s > 1.35) & (every_second.time_s < 2.05)].all() and not found[:11].any()


# Choice of frames


def test_bad_frames():
    frames = [scene(1), BLACK, WHITE, blurred(scene(1), 5), np.full((*SIZE, 3), 128, np.uint8), scene(2)]
    assert shots.find_bad(measured(frames)).tolist() == [False, True, True, True, True, False]


def test_at_most_the_worst_15_percent_are_dropped_by_each_measure():
    dark = np.full(100, 0.5)
    dark[10:50] = np.linspace(0.07, 0.01, 40)
    flat = np.full(100, 0.3)
    flat[60:70] = 0.05
    found = shots.find_worst(made(100, luminance=dark, gradient=flat))
    assert np.flatnonzero(found).tolist() == [*range(35, 50), *range(60, 70)]


def test_frames_beside_a_cut_are_in_transition():
    step = np.append(np.inf, np.full(99, 0.01))
    step[50] = 0.5
    change = np.zeros(100)
    change[80:83] = 0.3
    assert np.flatnonzero(shots.find_transitions(made(100, step=step, edge_change=change))).tolist() == [
        49,
        50,
        80,
        81,
        82,
    ]
    assert shots.find_transitions(made(100, step=np.append(np.inf, np.full(99, 0.3)))).sum() == 10


def test_shots_are_the_runs_that_last():
    kept = np.ones(100, bool)
    kept[[20, 26, 33]] = False
    assert shots.find_shots(made(100), kept) == [(0, 20), (27, 33), (34, 100)]
    assert shots.find_shots(made(100), np.zeros(100, bool)) == []


def test_pictures_of_a_slide_show_are_shots():
    kept = np.array([True, False, True, True])
    assert shots.find_shots(made(4, fps=0.5), kept) == [(0, 1), (2, 4)]


def test_a_cut_ends_a_shot_though_no_frame_is_dropped():
    step = np.append(np.inf, np.full(99, 0.01))
    step[40] = 0.25
    assert shots.find_shots(made(100, step=step), np.ones(100, bool)) == [(0, 40), (40, 100)]


def test_short_runs_are_shots_where_nothing_better_is():
    kept = np.zeros(50, bool)
    kept[[10, 11, 30]] = True
    assert shots.find_shots(made(50), kept) == []
    assert shots.find_shots(made(50), kept, short_too=True) == [(10, 12), (30, 31)]


def test_long_shots_are_split_at_the_largest_steps_two_seconds_apart():
    step = np.append(np.inf, np.full(249, 0.01))
    step[100], step[110], step[160], step[240] = 0.09, 0.08, 0.07, 0.15  # 4.0, 4.4, 6.4, 9.6 s
    found = shots.find_shots(made(250, step=step), np.ones(250, bool))
    starts = [start for start, _ in found]
    assert {100, 160} <= set(starts) and not {110, 240} & set(starts)
    assert all((end - start) / 25 >= 2 for start, end in found)
    assert [found[0][0], found[-1][1]] == [0, 250] and all(a[1] == b[0] for a, b in zip(found, found[1:], strict=False))
    assert shots.find_shots(made(149, step=step[:149]), np.ones(149, bool)) == [(0, 149)]
