"""Shares of a list: every file once, shards that resume by themselves, and the sum over them."""

import json

import pytest
import yaml

from dual_core.cli.main import main
from dual_core.errors import DualError
from dual_core.tasks.batch import BatchRecord, plan_jobs, run_jobs
from dual_core.tasks.shards import Shard, ShardStatus, batches_in, sum_up
from dual_core.tasks.simulation.training_set import COLUMNS, TABLE, join_tables, update_table


def run_shard(folder, sources, text, work, resume=True, settings=None):
    """What a command does for ``--shard``."""
    shard = Shard.parse(text)
    jobs = shard.of(plan_jobs(sources, folder, "_done"))
    record = BatchRecord(folder / shard.name("denoise.jsonl"), settings or {"a": 1})
    status = ShardStatus(record, shard, jobs)
    summary = run_jobs(jobs, work, record, resume, status.write)
    status.write(summary)
    return summary


@pytest.fixture()
def sources(tmp_path):
    found = [tmp_path / f"t{number:02d}.mrc" for number in range(11)]
    for path in found:
        path.write_text(path.name)
    return found


@pytest.fixture()
def output(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def copy(job):
    job.output.write_text(job.source.read_text())
    return {}


@pytest.fixture()
def dual(capsys):
    """Run ``dual`` in this process: status, stdout, stderr."""

    def call(*arguments):
        status = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
def test_every_item_is_in_one_shard(count):
    items = list(range(11))
    shares = [Shard(index, count).of(items) for index in range(1, count + 1)]
    assert sorted(sum(shares, [])) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len({Shard(i, count).name("denoise.jsonl") for i in range(1, count + 1)}) == count


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", ""])
def test_impossible_shards_are_refused(text):
    with pytest.raises(DualError, match="1/8"):
        Shard.parse(text)


def test_one_of_one_is_the_whole(output, sources):
    assert Shard.parse(None) == Shard.parse("1/1")
    run_shard(output, sources, None, copy)
    status = json.loads((output / "denoise.status.json").read_text())
    assert (len(status["planned"]), status["failed"]) == (11, {})
    assert (output / "denoise.jsonl").is_file()
    told = sum_up(output, "denoise")
    assert told == {"command": "denoise", "done": 11, "failed": 0, "missing": 0}


def test_shards_that_stop_or_fail_are_run_again(output, sources):
    def stops(job):
        if job.source.name == "t04.mrc":
            raise KeyboardInterrupt
        return copy(job)

    def fails(job):
        if job.source.name == "t05.mrc":
            raise DualError("no")
        return copy(job)

    with pytest.raises(KeyboardInterrupt):
        run_shard(output, sources, "2/3", stops)
    told = sum_up(output, "denoise")
    assert (told["done"], told["failed"], told["missing"]) == (1, 0, 3)
    assert told["not_begun"] == ["1/3", "3/3"]
    run_shard(output, sources, "3/3", fails)
    run_shard(output, sources, "1/3", copy)
    told = sum_up(output, "denoise")
    assert (told["done"], told["failed"], told["missing"]) == (7, 1, 3)
    assert list(told["failures"]) == ["t05_done.mrc"]
    again = [run_shard(output, sources, f"{i}/3", copy) for i in (1, 2, 3)]
    assert [len(one.done) for one in again] == [0, 3, 1]
    told = sum_up(output, "denoise")
    assert (told["done"], told["failed"], told["missing"]) == (11, 0, 0)
    assert all((output / f"{p.stem}_done.mrc").read_text() == p.name for p in sources)
    (output / "t00_done.mrc").unlink()
    assert sum_up(output, "denoise")["missing_outputs"] == ["t00_done.mrc"]


def test_no_two_shards_write_one_file(output, sources):
    written = []
    for index in (1, 2, 3):
        before = {p: p.stat().st_mtime_ns for p in output.iterdir()}
        run_shard(output, sources, f"{index}/3", copy)
        after = {p: p.stat().st_mtime_ns for p in output.iterdir()}
        assert all(after[path] == when for path, when in before.items())
        written.append(set(after) - set(before))
    assert not set.intersection(*written)


def test_another_number_of_shards_finds_what_is_done(output, sources):
    for index in (1, 2, 3):
        run_shard(output, sources, f"{index}/3", copy)
    assert len(run_shard(output, sources, None, copy).skipped) == 11
    # The latest counts, in whichever record: with other settings nothing is done any more.
    run_shard(output, sources, None, copy, settings={"a": 2})
    assert len(run_shard(output, sources, "1/3", copy).done) == 4


def test_tables_of_shards_are_joined(tmp_path):
    for number in range(4):
        name = f"t{number}.mrc"
        (tmp_path / name).touch()
        row = {**dict.fromkeys(COLUMNS, "x"), "tomogram": name}
        update_table(tmp_path, [row], Shard(number % 2 + 1, 2).name(TABLE))
        join_tables(tmp_path)
    lines = (tmp_path / TABLE).read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["t0.mrc", "t1.mrc", "t2.mrc", "t3.mrc"]


def test_info_of_a_folder(output, sources, dual):
    run_shard(output, sources, "1/3", copy)
    assert batches_in(output) == ["denoise"]
    status, out, _ = dual("info", output)
    told = yaml.safe_load(out)
    assert status == 0 and told["done"] == 4 and told["not_begun"] == ["2/3", "3/3"]
    status = json.loads((output / "denoise.1of3.status.json").read_text())
    assert len(status["planned"]) == 4


@pytest.mark.parametrize("command", ["denoise", "simulate", "translate", "compensate", "pick"])
def test_commands_refuse_an_impossible_shard(command, tmp_path, dual, sources):
    arguments = ["--model", tmp_path / "m.safetensors"] if command != "pick" else []
    if command == "translate":
        arguments += ["--direction", "to-clean"]
    if command == "pick":
        arguments += ["--diameter", "100"]
    arguments += ["--output", tmp_path / "o", "--shard", "9/8"]
    status, _, err = dual(command, *sources, *arguments)
    assert status == 2 and "--shard 9/8" in err
