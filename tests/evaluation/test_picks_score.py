"""Scores of picks, particle lists as files, and ``dual evaluate picks``."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.evaluation.picks import (
    mean_and_deviation,
    pair_picks,
    precision_recall_curve,
    score_picks,
)
from dual_core.particles import position_columns, read_particles, write_csv, write_star


def on_a_line(*positions):
    return np.array([(0.0, 0.0, x) for x in positions])


def test_a_greedy_matcher_would_lose_a_pair():
    """The nearest particle of the best pick is the only one of the second."""
    truth, picks = on_a_line(0, 10), on_a_line(6, 14)
    scores = score_picks(truth, picks, 7.0)
    assert (scores.hits, scores.precision, scores.recall, scores.f1) == (2, 1.0, 1.0, 1.0)
    assert pair_picks(truth, picks, 7.0).tolist() == [0, 1]


def test_long_chains_are_undone():
    """Every pick takes the particle on its right first; the last one moves them all."""
    truth = on_a_line(*range(0, 80, 10))
    picks = on_a_line(*(x + 5.5 for x in range(0, 70, 10)), 74.0)
    assert score_picks(truth, picks, 6.0).hits == 8
    assert sorted(pair_picks(truth, picks, 6.0)) == list(range(8))


def test_pairs_are_a_largest_matching():
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    for seed in range(10):
        rng = np.random.default_rng(seed)
        truth, picks = rng.uniform(0, 10, (25, 3)), rng.uniform(0, 10, (30, 3))
        near = np.linalg.norm(picks[:, None] - truth[None], axis=2) <= 2.5
        most = maximum_bipartite_matching(csr_matrix(near), perm_type="column")
        partner = pair_picks(truth, picks, 2.5)
        paired = partner[partner >= 0]
        assert len(paired) == len(set(paired)) == (most >= 0).sum()
        assert near[np.flatnonzero(partner >= 0), paired].all()
        assert score_picks(truth, picks, 2.5).hits == len(paired)


def test_counting_of_the_paper():
    """Two picks on one particle: one hit one to one, two overlaps."""
    truth, picks = on_a_line(0, 100, 200, 204), on_a_line(-2, 2, 202)
    assert score_picks(truth, picks, 5.0).precision == pytest.approx(2 / 3)
    assert score_picks(truth, picks, 5.0).recall == pytest.approx(2 / 4)
    overlap = score_picks(truth, picks, 5.0, "overlap")
    assert (overlap.hits, overlap.found) == (3, 3)
    assert (overlap.precision, overlap.recall) == (1.0, 0.75)
    assert overlap.f1 == pytest.approx(2 * 0.75 / 1.75)


def test_tolerance_is_a_largest_distance():
    truth = on_a_line(0)
    assert score_picks(truth, on_a_line(8), 8.0).hits == 1
    assert score_picks(truth, on_a_line(8.001), 8.0).hits == 0


def test_nothing_picked_and_nothing_there():
    none = score_picks(on_a_line(0), on_a_line(0)[:0], 8.0)
    assert (none.precision, none.recall, none.f1) == (0.0, 0.0, 0.0)
    with pytest.raises(DualError, match="no particles"):
        score_picks(on_a_line(0)[:0], on_a_line(0), 8.0)
    with pytest.raises(DualError, match="counting"):
        score_picks(on_a_line(0), on_a_line(0), 8.0, "twice")


def test_curve_is_the_score_of_the_first_picks():
    rng = np.random.default_rng(5)
    truth, picks = rng.uniform(0, 10, (20, 3)), rng.uniform(0, 10, (25, 3))
    precision, recall = precision_recall_curve(truth, picks, 3.0)
    for number in (1, 7, 25):
        scores = score_picks(truth, picks[:number], 3.0)
        assert precision[number - 1] == pytest.approx(scores.precision)
        assert recall[number - 1] == pytest.approx(scores.recall)


def test_deviation_is_that_of_a_sample():
    assert mean_and_deviation([1.0, 2.0, 3.0]) == pytest.approx((2.0, 1.0))
    assert mean_and_deviation([4.0]) == (4.0, 0.0)


# Files ----------------------------------------------------------------------------------------

VOXELS = np.array([(3.0, 4.0, 5.0), (10.0, 20.5, 30.25)])


def test_csv_round_trip(tmp_path):
    columns = {**position_columns(VOXELS, 7.5), "score_sigmas": ["5.5", "4.25"], "class": [1, 2]}
    write_csv(tmp_path / "p.csv", columns)
    read = read_particles(tmp_path / "p.csv")
    assert len(read) == 2
    assert np.allclose(read.voxels, VOXELS) and np.allclose(read.angstroms, VOXELS * 7.5, atol=1e-3)
    assert read.scores().tolist() == [5.5, 4.25]
    assert read.voxel_size_A == pytest.approx(7.5, rel=1e-4)
    assert np.allclose(read.of_class("2").voxels, VOXELS[1:])


def test_star_round_trip_and_its_middle(tmp_path):
    write_star(
        tmp_path / "p.star", "tomo 1", VOXELS, 7.5, (20, 41, 60),
        {"rlnAutopickFigureOfMerit": [5.5, 4.25], "rlnClassNumber": [1, 2]},
    )
    read = read_particles(tmp_path / "p.star")
    assert np.allclose(read.voxels, VOXELS) and np.allclose(read.angstroms, VOXELS * 7.5)
    assert read.scores().tolist() == [5.5, 4.25] and read.columns["class"] == ["1", "2"]
    first = {name: values[0] for name, values in read.columns.items()}
    assert first["rlnTomoName"] == first["rlnMicrographName"] == "tomo_1"
    # RELION 5 adds half of the size, 20.5 for 41.
    assert float(first["rlnCenteredCoordinateYAngst"]) == pytest.approx((4 - 20.5) * 7.5)
    assert float(first["rlnCenteredCoordinateXAngst"]) == pytest.approx((5 - 30) * 7.5)
    text = (tmp_path / "p.star").read_text()
    assert text.count("data_") == 1, "RELION reads coordinates from the first table"


def test_star_without_particles_can_be_read(tmp_path):
    write_star(tmp_path / "p.star", "t", VOXELS[:0], 7.5, (20, 41, 60))
    assert len(read_particles(tmp_path / "p.star")) == 0


def test_star_of_other_programs(tmp_path):
    """An optics table first, columns in another order, positions in voxels without a size."""
    (tmp_path / "p.star").write_text(
        "# version 30001\n\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n1\n\n"
        "data_particles\n\nloop_\n"
        "_rlnCoordinateZ #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n 3 5 4\n10 30.25 20.5 \n\n"
    )
    read = read_particles(tmp_path / "p.star")
    assert np.allclose(read.voxels, VOXELS) and read.angstroms is None
    assert np.allclose(read.positions_A(2.0), VOXELS * 2)
    with pytest.raises(DualError, match="--voxel-size"):
        read.positions_A()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "", "empty"),
        ("p.csv", "a,b\n1,2\n", "no positions"),
        ("p.csv", "z_A,y_A,x_A\n1,2\n", "row 2"),
        ("p.csv", "z_A,y_A,x_A\n1,2,x\n", "not all are numbers"),
        ("p.csv", "z_A,y_A,x_A\n1,2,nan\n", "NaN"),
        ("p.star", "data_\nloop_\n_rlnCoordinateX #1\n1\n", "no positions"),
        (
            "p.star",
            "data_\nloop_\n_rlnTomoName\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n"
            "a 1 2 3\nb 1 2 3\n",
            "several tomograms",
        ),
    ],
)
def test_bad_lists_are_told(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DualError, match=message):
        read_particles(tmp_path / name)


# dual evaluate picks --------------------------------------------------------------------------


@pytest.fixture
def lists(tmp_path, monkeypatch):
    """Two tomograms: particles in voxels only, picks as the command writes them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number, right in ((0, 6), (1, 9)):
        truth = rng.permutation(np.indices((5, 5, 5)).reshape(3, -1).T)[:12] * 20.0
        names = ["gold" if at < 2 else "4v4r" for at in range(12)]
        columns = {"class": [15 if one == "gold" else 1 for one in names], "name": names}
        columns.update((n, v) for n, v in position_columns(truth, 10).items() if "voxel" in n)
        write_csv(f"p{number}.csv", columns)
        picks = np.concatenate([truth[2 : 2 + right] + 3, truth[:1], [[500.0, 500.0, 500.0]]])
        scores = {"score_sigmas": list(range(len(picks)))}
        write_csv(f"a{number}.csv", {**position_columns(picks, 10), **scores})
    return tmp_path


def test_command_scores_pairs_in_their_order(lists, capsys):
    status = main(
        ["evaluate", "picks", "--truth", "p0.csv", "p1.csv", "--picks", "a0.csv", "a1.csv"]
        + ["--tolerance", "80", "--class", "4v4r", "--output", "out"]
    )
    assert status == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["p0.csv", "a0.csv", "10", "8", "6", "0.750", "0.600", "0.667"]
    assert lines[2].split()[:2] == ["p1.csv", "a1.csv"]
    content = json.loads((lists / "out" / "picks.json").read_text())
    recalls = [row["recall"] for row in content["scores"]]
    assert recalls == [0.6, 0.9]
    assert content["summary"]["recall"]["mean"] == pytest.approx(0.75)
    assert f"recall {np.mean(recalls):.3f} ± {np.std(recalls, ddof=1):.3f}" in lines[3]
    curve = (lists / "out" / "precision_recall.csv").read_text().splitlines()
    assert len(curve) == 1 + 8 + 11
    # The best scores come last in the file, and they are the wrong ones.
    assert curve[1] == "a0.csv,1,0.000000,0.000000"


def test_command_takes_classes_by_number_and_lists_at_the_end(lists, capsys):
    for arguments in (["--truth", "p0.csv", "a0.csv"], ["a0.csv", "--truth", "p0.csv"]):
        assert main(["evaluate", "picks", *arguments, "--tolerance", "80", "--class", "15"]) == 0
        assert capsys.readouterr().out.splitlines()[1].split()[2:5] == ["2", "8", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--truth", "p0.csv", "--picks", "a0.csv", "a1.csv"], "1 lists of particles and 2"),
        (["--truth", "p0.csv", "--picks", "nowhere.csv"], "nowhere.csv"),
        (["--truth", "p0.csv", "--picks", "a0.csv", "--class", "7"], "are: 1, 15, 4v4r, gold"),
        (["--truth", "p0.csv", "--picks", "p1.csv"], "--voxel-size"),
    ],
)
def test_command_tells_mistakes_in_one_line(lists, capsys, arguments, message):
    assert main(["evaluate", "picks", *arguments, "--tolerance", "80", "--output", "out"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert message in captured.err
    assert not (lists / "out").exists()
