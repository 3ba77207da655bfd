"""Rankings of crops by what was marked in photos."""

import json
import sys

import numpy as np
import pytest

from made_up_data import write_subject_data
from s2crop.datasets.rank_by_marks import APART, main, utilities
from s2crop.datasets.rankings import read_rankings

LEFT = {"main": [[0.0, 0.2, 0.4, 0.8], [0.9, 0.4, 1.0, 0.6]], "weight": [1, 0.5], "core": [0.1, 0.2, 0.3, 0.5]}


def test_what_is_marked_is_better_kept_whole():
    crops = np.array([[0, 0, 0.5, 1], [0.2, 0, 0.7, 1], [0.5, 0, 1, 1]])
    whole, half, lost = utilities(LEFT, crops, np.ones(3))
    assert whole > max(half, lost) + APART
    smaller = utilities(LEFT, np.array([[0, 0.1, 0.45, 1]]), np.array([0.9]))[0]
    assert smaller < whole


def test_without_a_core_the_whole_decides():
    crops = np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]])
    whole, lost = utilities(LEFT | {"core": None}, crops, np.ones(2))
    assert whole > lost


def test_a_file_of_rankings_is_written(tmp_path, monkeypatch, capsys):
    write_subject_data(tmp_path)
    names = sorted(path.stem for path in (tmp_path / "fcdb/photos").iterdir())
    everything = {"main": [[0, 0, 1, 1]], "weight": [1], "core": None}
    nothing = {"main": [], "weight": [], "core": None}
    marks = {names[0]: LEFT, names[1]: everything, names[2]: nothing}
    (tmp_path / "main_subjects.json").write_text(json.dumps(marks))
    monkeypatch.setattr(sys, "argv", ["rank_by_marks", str(tmp_path)])
    main()
    rankings = read_rankings(tmp_path / "mark_rankings.json")
    assert capsys.readouterr().out == f"{len(rankings)} rankings\n"
    assert {ranking.photo for ranking in rankings} <= {names[0], names[1]}
    narrow = next(ranking for ranking in rankings if (ranking.photo, ranking.ratio) == (names[0], "9:16"))
    best, worst = (narrow.candidates[group[0]] for group in (narrow.groups[0], narrow.groups[-1]))
    assert best[0] < 0.15 and worst[0] > 0.25
    assert all(len(ranking.groups) > 1 for ranking in rankings)
    shape = narrow.candidates[:, 2:] - narrow.candidates[:, :2]
    assert shape[:, 0] / shape[:, 1] == pytest.approx(np.full(len(shape), shape[0, 0] / shape[0, 1]), abs=0.01)
