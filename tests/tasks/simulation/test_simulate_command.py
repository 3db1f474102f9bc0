"""The command ``dual simulate``: a labelled training set, resumed runs, noise, errors."""

import csv
import json

import numpy as np
import pytest
from small_simulation import density, make_model, read, write


def table(folder):
    with open(folder / "training_set.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def volumes(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*_simulated_*.mrc")}


def test_a_labelled_training_set(tmp_path, model_file, cells, dual):
    one, two = cells / "grand_model_1.mrc", cells / "grand_model_2.mrc"
    base = ("simulate", "--model", model_file, "--device", "cpu", "--precision", "float32")
    output = tmp_path / "new" / "set"
    status, said = dual(*base, one, two, "--output", output, "--copies", 2)
    assert status == 0, said
    names = [f"grand_model_{k}_simulated_0{c}.mrc" for k in (1, 2) for c in (1, 2)]
    labels = ["class_mask_1.mrc", "instance_mask_1.mrc", "particles_1.csv", "particles_1.star"]
    others = ["training_set.csv", "simulate.jsonl", "simulate.yaml", "simulate.status.json"]
    assert sorted(p.name for p in output.iterdir()) == sorted(names + labels + others)
    for name in labels:
        assert (output / name).read_bytes() == (cells / name).read_bytes()
    rows = table(output)
    assert [row["tomogram"] for row in rows] == names
    assert [row["copy"] for row in rows] == ["1", "2", "1", "2"]
    assert {row["code_from"] for row in rows} == {"random"}
    first, last = rows[0], rows[-1]
    assert first["grand_model"] == str(one) and first["class_mask"] == "class_mask_1.mrc"
    assert first["instance_mask"] == labels[1] and first["particles"] == "particles_1.csv"
    assert last["class_mask"] == last["instance_mask"] == last["particles"] == ""
    made = volumes(output)
    assert len(set(made.values())) == 4
    # A tomogram with its density where the labels are, dark; and standardised by the model.
    tomogram, mask = read(output / names[0]), read(cells / labels[0]) > 0
    assert tomogram[mask].mean() != pytest.approx(tomogram[~mask].mean(), abs=0.05)

    # One by one, in another order, under another name: the same bytes.
    alone = tmp_path / "alone"
    renamed = write(tmp_path / "renamed.mrc", density(seed=1), origin=(1, 2, 3))
    assert dual(*base, two, one, renamed, "--output", alone, "--tile", 300)[0] == 0
    for name in (names[0], names[2]):
        assert (alone / name).read_bytes() == made[name]
    same = read(alone / "renamed_simulated_01.mrc")
    np.testing.assert_array_equal(same, read(output / names[0]))
    # Another seed is another tomogram.
    assert dual(*base, one, "--output", tmp_path / "seed", "--seed", 1)[0] == 0
    assert volumes(tmp_path / "seed")[names[0]] != made[names[0]]


def test_resume_makes_only_what_is_missing(tmp_path, model_file, cells, dual):
    one, two = cells / "grand_model_1.mrc", cells / "grand_model_2.mrc"
    base = ("simulate", "--model", model_file, "--device", "cpu", "--output", tmp_path / "o")
    assert dual(*base, one)[0] == 0
    stamp = (tmp_path / "o" / "grand_model_1_simulated_01.mrc").stat().st_mtime_ns
    status, said = dual(*base, one, "--copies", 2, "--resume")
    assert status == 0 and said.count("skipped") == 1
    assert (tmp_path / "o" / "grand_model_1_simulated_01.mrc").stat().st_mtime_ns == stamp
    # Others add to the table; the rows of what is gone go.
    (tmp_path / "o" / "grand_model_1_simulated_02.mrc").unlink()
    assert dual(*base, two)[0] == 0
    kept = ["grand_model_1_simulated_01.mrc", "grand_model_2_simulated_01.mrc"]
    assert [row["tomogram"] for row in table(tmp_path / "o")] == kept
    # A lost table comes back.
    (tmp_path / "o" / "training_set.csv").unlink()
    (tmp_path / "o" / "class_mask_1.mrc").unlink()
    status, said = dual(*base, one, two, "--resume")
    assert status == 0 and said.count("skipped") == 2
    assert [row["tomogram"] for row in table(tmp_path / "o")] == kept
    assert (tmp_path / "o" / "class_mask_1.mrc").exists()
    status, said = dual(*base, one, "--resume", "--seed", 4)
    assert status == 0 and "skipped" not in said
    # The dumped options repeat the run.
    status, said = dual("simulate", "--config", tmp_path / "o" / "simulate.yaml", "--resume")
    assert status == 0 and said.count("skipped") == 1
    record = (tmp_path / "o" / "simulate.jsonl").read_text().splitlines()
    assert json.loads(record[-1])["results"]["output_contrast"] == "dark"


def test_noise_from_tomograms_in_turn(tmp_path, model_file, cells, dual):
    random = np.random.default_rng(0)
    white = random.normal(size=(16, 24, 24)).astype(np.float32)
    one = write(tmp_path / "white.mrc", white)
    two = write(tmp_path / "smooth.mrc", white + np.roll(white, 1, 0) + np.roll(white, 1, 2))
    base = ("simulate", "--model", model_file, "--device", "cpu", cells / "grand_model_1.mrc",
            "--noise-contrast", "bright")
    assert dual(*base, "--output", tmp_path / "a", "--noise-from", one, two, "--copies", 3)[0] == 0
    rows = table(tmp_path / "a")
    assert [row["code_from"] for row in rows] == [str(one), str(two), str(one)]
    made = volumes(tmp_path / "a")
    assert len(set(made.values())) == 3
    assert dual(*base, "--output", tmp_path / "b", "--noise-from", two)[0] == 0
    assert dual(*base, "--output", tmp_path / "c", "--noise-from", one)[0] == 0
    name = rows[0]["tomogram"]
    assert volumes(tmp_path / "c")[name] == made[name] != volumes(tmp_path / "b")[name]


@pytest.mark.parametrize("change, words", [
    (["--model", "absent.safetensors"], "absent.safetensors"),
    (["--device", "cuda:77"], "cuda:77"),
    (["--copies", "0"], "--copies"),
    (["--seed", "-1"], "--seed"),
    (["--noise-from", "absent.mrc"], "absent.mrc"),
    (["absent.mrc"], "absent.mrc"),
])
def test_errors_are_one_line(tmp_path, model_file, cells, dual, change, words):
    sources = [] if change == ["absent.mrc"] else [cells / "grand_model_1.mrc"]
    status, said = dual("simulate", *sources, "--output", tmp_path / "o", "--model", model_file,
                        "-q", "--noise-contrast", "bright", *change)
    assert status == 2
    assert words in said and "error: " in said and said.count("\n") == 1
    assert not (tmp_path / "o" / "training_set.csv").exists()


def test_one_failure_does_not_stop_the_others(tmp_path, model_file, cells, dual):
    bad = tmp_path / "bad.mrc"
    bad.write_bytes((cells / "grand_model_1.mrc").read_bytes()[:3000])
    status, said = dual("simulate", bad, cells / "grand_model_2.mrc", "--output", tmp_path / "o",
                        "--model", model_file, "--device", "cpu")
    assert status == 1 and "1 of 2 grand models failed" in said.splitlines()[-1]
    assert [row["tomogram"] for row in table(tmp_path / "o")] == ["grand_model_2_simulated_01.mrc"]


def test_a_model_of_another_task_is_warned_of(tmp_path, cells, dual):
    path = tmp_path / "model.safetensors"
    make_model(task="translate").save(path)
    status, said = dual("simulate", cells / "grand_model_2.mrc", "--output", tmp_path / "o",
                        "--model", path, "-q", "--device", "cpu")
    assert status == 0 and said.count("\n") == 1 and "dual translate" in said
