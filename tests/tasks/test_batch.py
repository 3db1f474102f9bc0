"""Several files in one run: how outputs are named, and what a resumed run leaves out."""

import json

import pytest

pytest.importorskip("torch")

from dual_core.errors import DualError  # noqa: E402
from dual_core.tasks.batch import BatchRecord, Job, plan_jobs, run_jobs  # noqa: E402


def test_outputs_are_named_and_clashes_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = tmp_path / "a" / "t.mrc", tmp_path / "b" / "t.rec"
    one.touch()
    two.touch()
    assert plan_jobs([one], tmp_path / "o", "_denoised") == [
        Job(one, tmp_path / "o" / "t_denoised.mrc")
    ]
    for sources in ([one, two], [one, one]):
        with pytest.raises(DualError, match="would all become"):
            plan_jobs(sources, tmp_path / "o", "_denoised")
    result = tmp_path / "a" / "t_denoised.mrc"
    result.touch()
    with pytest.raises(DualError, match="overwritten"):
        plan_jobs([one, result], tmp_path / "a", "_denoised")
    with pytest.raises(DualError, match="overwritten"):
        plan_jobs([result], tmp_path / "a", "")
    with pytest.raises(DualError, match="folder"):
        plan_jobs([one], two, "_denoised")


def test_resume_skips_only_what_would_come_out_the_same(tmp_path):
    calls = []

    def work(job):
        calls.append(job.source.name)
        if job.source.read_bytes() == b"bad":
            raise DualError("broken; copy it again")
        job.output.write_bytes(job.source.read_bytes())
        return {"seconds": 1.0}

    sources = [tmp_path / f"{name}.mrc" for name in "abc"]
    for path in sources:
        path.write_bytes(b"data")
    jobs = plan_jobs(sources, tmp_path, "_denoised")
    record_path = tmp_path / "denoise.jsonl"

    def go(settings, resume=True):
        calls.clear()
        return run_jobs(jobs, work, BatchRecord(record_path, settings), resume)

    sources[1].write_bytes(b"bad")
    summary = go({"model": "m"})
    assert calls == ["a.mrc", "b.mrc", "c.mrc"] and summary.status == 1
    assert list(summary.failed) == [sources[1]] and "b.mrc" in summary.failed[sources[1]]
    sources[1].write_bytes(b"good")
    # A line that a crash cut short does not matter.
    with open(record_path, "ab") as file:
        file.write(b'{"output": "a_den')
    summary = go({"model": "m"})
    assert calls == ["b.mrc"] and summary.status == 0 and len(summary.skipped) == 2
    assert go({"model": "m"}).skipped == sources and not calls
    jobs[0].output.write_bytes(b"cut")
    sources[2].write_bytes(b"new data")
    go({"model": "m"})
    assert calls == ["a.mrc", "c.mrc"]
    go({"model": "other"})
    assert calls == ["a.mrc", "b.mrc", "c.mrc"]
    go({"model": "other"}, resume=False)
    assert calls == ["a.mrc", "b.mrc", "c.mrc"]
    for path in sources:
        path.write_bytes(b"bad")
    assert go({"model": "other"}).status == 2
    assert json.loads(record_path.read_text().splitlines()[-1])["settings"] == {"model": "other"}
