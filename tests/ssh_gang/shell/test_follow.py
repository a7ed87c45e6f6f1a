"""Following a gang: its output from the acknowledged byte, and its state."""

from __future__ import annotations

import pytest

from ssh_gang import commands
from ssh_gang.protocol import (
    Acknowledged,
    Clock,
    GpuSamples,
    OutputStart,
    RankReports,
    StateReport,
    Stopped,
    acknowledge,
    request_time,
)
from ssh_gang.ranks import RankReport
from tests.ssh_gang.local_host import gang, launch, session, state, stop, until_ended, until_file


def test_output_arrives_whole_and_continues_where_it_was_acknowledged(tmp_path):
    g = gang(tmp_path, ["python3", "-c", "print('x' * 9_000_000)"])
    launch(g)
    with session(commands.follow_command(g, g.members[0])) as followed:
        assert followed.stderr_message() == OutputStart(0)
        output = b""
        while len(output) < 9_000_001:
            output += followed.process.stdout.read(1 << 20)
        assert output == b"x" * 9_000_000 + b"\n"
        while not (report := followed.until_stderr_message(StateReport)).state.is_terminal:
            pass
        assert report.state.output_size == 9_000_001
        followed.send(acknowledge(9_000_000) + request_time())
        assert followed.until_stderr_message(Acknowledged) == Acknowledged(9_000_000)
    with session(commands.follow_command(g, g.members[0])) as followed:
        assert followed.stderr_message() == OutputStart(9_000_000)
        assert followed.process.stdout.read(10) == b"\n"


def test_absent_gang_is_reported_and_ends_the_session(tmp_path):
    g = gang(tmp_path, ["true"])
    with session(commands.follow_command(g, g.members[0])) as followed:
        report = followed.stderr_message()
        assert isinstance(report, StateReport)
        assert report.state.presence == "absent"
        assert followed.process.wait(10) == 0


@pytest.mark.parametrize("content", ["", "\n", "0000"])
def test_output_is_sent_from_the_start_where_the_last_acknowledgement_was_cut_short(tmp_path, content):
    """As on a full disk."""
    g = gang(tmp_path, ["echo", "one"])
    launch(g)
    until_ended(g)
    (tmp_path / "gangs" / g.name / "acknowledged").write_text(content)
    with session(commands.follow_command(g, g.members[0])) as followed:
        assert followed.stderr_message() == OutputStart(0)
        assert followed.process.stdout.read(4) == b"one\n"


def test_a_gang_that_another_attempt_owns_is_reported_and_not_followed(tmp_path):
    g = gang(tmp_path, ["echo", "one"])
    launch(g)
    until_ended(g)
    other = g.model_copy(update={"attempt": "try0"})
    with session(commands.follow_command(other, g.members[0])) as followed:
        report = followed.stderr_message()
        assert isinstance(report, StateReport)
        assert report.state.attempt == "try1"
        assert followed.process.wait(10) == 0
        assert followed.process.stdout.read() == b""


def test_an_attempt_that_was_overtaken_acknowledges_nothing(tmp_path):
    """What it has read is the output of another attempt than the one whose folder this is by now."""
    g = gang(tmp_path, ["sleep", "30"])
    launch(g)
    folder = tmp_path / "gangs" / g.name
    with session(commands.follow_command(g, g.members[0])) as followed:
        followed.until_stderr_message(OutputStart)
        (folder / "claim").write_text("try2 9 1 -\n")
        followed.send(acknowledge(7) + request_time())
        followed.until_stderr_message(Clock)
    assert not (folder / "acknowledged").exists()
    (folder / "claim").write_text("try1 0 0 -\n")
    assert stop(g) == Stopped(0)


def test_gpu_samples_arrive_on_one_line(tmp_path):
    header = "index, utilization.gpu [%], memory.used [MiB], memory.total [MiB]"
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.write_text(
        f"#!/bin/sh\ncat <<'END'\n{header}\n0, 7 %, 806 MiB, 49140 MiB\n1, 8 %, 9 MiB, 49140 MiB\nEND\n"
    )
    tool.chmod(0o755)
    g = gang(tmp_path, ["true"])
    launch(g)
    watched = g.members[0].model_copy(update={"accelerator": "cuda"})
    script = f"PATH={tmp_path}/bin:$PATH\n" + commands.follow_command(g, watched)
    with session(script) as followed:
        samples = followed.until_stderr_message(GpuSamples)
    assert [str(gpu) for gpu in samples.gpus] == ["gpu0 7 % 806/49140 MiB", "gpu1 8 % 9/49140 MiB"]


def test_refused_result_is_no_success(tmp_path):
    g = gang(tmp_path, ["true"])
    launch(g)
    assert until_ended(g)[0].succeeded
    with session(commands.mark_refused_command(g)) as marking:
        marking.process.wait(10)
    refused = state(g)
    assert refused.exit_status == "refused"
    assert refused.has_failed


def test_the_newest_report_of_each_rank_arrives_with_the_heartbeat(tmp_path):
    report = 'for rank in 0 1; do echo "step=1$rank at=5.5" >"$SSH_GANG_REPORTS/$rank"; done; sleep 60'
    g = gang(tmp_path, ["bash", "-c", report], ranks=2)
    launch(g)
    try:
        until_file(tmp_path / "gangs" / g.name / "reports" / "1", b"step=11")
        with session(commands.follow_command(g, g.members[0], heartbeat=1)) as followed:
            reports = followed.until_stderr_message(RankReports).reports
        assert reports == (RankReport(rank=0, step=10, at=5.5), RankReport(rank=1, step=11, at=5.5))
    finally:
        stop(g)


def test_a_report_whose_name_is_no_rank_begins_no_line_of_the_protocol(tmp_path):
    report = (
        "echo x >$SSH_GANG_REPORTS/$'0\\nstopped=7'; echo step=1 at=5.5 >$SSH_GANG_REPORTS/1; exec sleep 30"
    )
    g = gang(tmp_path, ["bash", "-c", report], ranks=2)
    launch(g)
    try:
        until_file(tmp_path / "gangs" / g.name / "reports" / "1", b"step=1")
        with session(commands.follow_command(g, g.members[0], heartbeat=1)) as followed:
            reports = followed.until_stderr_message(RankReports).reports
        assert reports == (RankReport(rank=1, step=1, at=5.5),)
    finally:
        stop(g)
