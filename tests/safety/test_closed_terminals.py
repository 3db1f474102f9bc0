"""Commands whose reader has gone or whose terminal hung up: the work is done, or unwound."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from other_process import ENVIRONMENT, PROLOGUE, kill

WORK = """
from dual_core.cli import main as program
from dual_core.cli.main import main
import logging, types
def add_arguments(parser):
    parser.add_argument("--output")
def run(args):
    logging.getLogger("dual_core.x").info("at work \\x1b[31m")
    print("first \\udcff\\x1b", flush=True)
    time.sleep(float(os.environ.get("WAIT", "0.3")))
    for _ in range(3):
        print("more", flush=True); print("more", file=sys.stderr, flush=True)
        logging.getLogger("dual_core.x").info("more")
    Path(args.output).write_text("done")
    return 0
module = types.ModuleType("probe", "Probe.")
module.EXAMPLE, module.add_arguments, module.run = "dual probe", add_arguments, run
sys.modules["probe"] = module
program.COMMANDS["probe"] = ("probe", "a probe")
sys.exit(main(["probe", "--output", sys.argv[1]]))
"""


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "2>&1 | true", "| head -1"])
def test_nobody_who_reads_does_not_stop_work(tmp_path, closed):
    script = tmp_path / "probe.py"
    script.write_text(PROLOGUE + WORK)
    out = tmp_path / "out"
    done = subprocess.run(
        f'"{sys.executable}" "{script}" "{out}" {closed}', shell=True, env=ENVIRONMENT,
        capture_output=True, timeout=60,
    )
    assert out.read_text() == "done"
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(("number", "ignored"), [(signal.SIGHUP, False), (signal.SIGTERM, False),
                                                 (signal.SIGHUP, True)])
def test_hanging_up_unwinds_unless_it_is_ignored(tmp_path, number, ignored):
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" if ignored else ""
    script, out = tmp_path / "probe.py", tmp_path / "out"
    script.write_text(PROLOGUE + before + WORK)
    process = subprocess.Popen([sys.executable, str(script), str(out)], text=True,
                               env={**ENVIRONMENT, "WAIT": "1"}, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "first \\udcff\\x1b\n"
    assert kill(process, number) == (0 if ignored else 128 + number)
    assert out.exists() == ignored
