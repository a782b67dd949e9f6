"""The speed benchmark: what it measures is on record, is not measured again, and names nobody's machine."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).parent.parent / "benchmarks" / "speed"


def run(out):
    command = [sys.executable, str(SPEED), "--quick", "--groups", "rows", "--competitors", "smotenc", "--repeats", "1"]
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_measurements_are_taken_once_and_summed_up(tmp_path):
    assert run(tmp_path).count("rebalance") > 2
    lines = [json.loads(line) for line in (tmp_path / "measurements.jsonl").read_text().splitlines()]
    assert [line["key"]["workload"]["rows"] for line in lines] == [1000, 10_000]
    for line in lines:
        (phase,) = line["phases"]
        assert phase["phase"] == "rebalance" and phase["n_rows"] == 0.9 * line["key"]["workload"]["rows"]
        assert 0 < phase["cpu_s"] and 0 < phase["wall_s"] and 0 < phase["peak_mb"] < 500 and line["error"] is None
    again = run(tmp_path)
    assert len((tmp_path / "measurements.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "results.md").read_text() in again + "\n" and (tmp_path / "growth_rows.png").stat().st_size < 100_000
    told = again + (tmp_path / "machine.json").read_text()
    assert socket.gethostname() not in told and str(Path.home()) not in told and str(tmp_path) not in told
