"""Every line of the protocol, and lines that are cut short."""

from __future__ import annotations

import pytest

from ssh_gang.gpus import Gpu
from ssh_gang.protocol import (
    Acknowledged,
    Busy,
    Claimed,
    Clock,
    Fenced,
    Free,
    FreeSpace,
    GpuSamples,
    OutputStart,
    Prepared,
    RankReports,
    Refused,
    RunningGang,
    Started,
    StateReport,
    Stopped,
    Unrecognised,
    acknowledge,
    parse_line,
    parse_lines,
    request_time,
    start_signal,
    still_watching,
)
from ssh_gang.ranks import RankReport
from ssh_gang.state import JobState

STATE = (
    "state=present attempt=try1 fencing_token=7 generation=3 spec_hash=abc alive=yes boot=same "
    "started=10.5 ranks=4 exit= ended= size= now=12.25"
)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("prepared", Prepared()),
        ("claimed=try1", Claimed("try1")),
        ("busy=dag.train.run@try1", Busy("dag.train.run@try1")),
        ("refused=port 1 is taken: x=y", Refused("port 1 is taken: x=y")),
        ("started", Started()),
        ("free", Free()),
        ("from=0", OutputStart(0)),
        ("acknowledged=9000000", Acknowledged(9_000_000)),
        ("clock=1732406400.25", Clock(1732406400.25)),
        ("stopped=0", Stopped(0)),
        ("fenced=try2", Fenced("try2")),
        ("space=512 /home/a b", FreeSpace(512, "/home/a b")),
        ("state=absent", StateReport(JobState(presence="absent"), None)),
        ("bash: warning: setlocale: LC_ALL: cannot change locale", Unrecognised),
        ("free memory", Unrecognised),
        ("busy", Unrecognised),
        ("", Unrecognised),
    ],
)
def test_line_is_parsed(line, message):
    parsed = parse_line(f"{line}\n".encode())
    assert parsed == (Unrecognised(line) if message is Unrecognised else message)


def test_state_of_a_running_gang():
    assert parse_line(STATE) == StateReport(
        JobState(
            presence="present",
            attempt="try1",
            fencing_token=7,
            generation=3,
            spec_hash="abc",
            alive=True,
            started_at=10.5,
            ranks_started=4,
        ),
        host_time=12.25,
    )


def test_state_of_an_ended_gang():
    line = STATE.replace("alive=yes boot=same", "alive=no boot=other")
    report = parse_line(line.replace("exit= ended= size=", "exit=137 ended=11.5 size=9"))
    assert isinstance(report, StateReport)
    assert not report.state.alive
    assert report.state.rebooted
    assert report.state.exit_status == "137"
    assert report.state.ended_at == 11.5
    assert report.state.output_size == 9


def test_state_of_a_folder_without_claim():
    line = (
        STATE.replace("try1", "")
        .replace("fencing_token=7", "fencing_token=")
        .replace("generation=3", "generation=")
    )
    report = parse_line(line)
    assert isinstance(report, StateReport)
    assert report.state.fencing_token == 0
    assert report.state.generation == 0


@pytest.mark.parametrize(
    "line", ["state=present attempt=try1", "state=pres", "from=", "acknowledged=x", "clock=", "running=name"]
)
def test_line_that_is_cut_short_is_an_error(line):
    with pytest.raises(ValueError, match="malformed line from the host"):
        parse_line(line)


def test_gpu_samples_are_parsed():
    line = "gpu=index, utilization.gpu [%], memory.used [MiB], memory.total [MiB]|0, 7 %, 806 MiB, 49140 MiB"
    assert parse_line(line) == GpuSamples((Gpu(index=0, use=7.0, memory_used=806, memory_total=49140),))


def test_error_of_the_gpu_tool_gives_no_samples():
    assert parse_line("gpu=NVIDIA-SMI has failed") == GpuSamples(())


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        ("dag_id=dag run_id='a run'", {"dag_id": "dag", "run_id": "a run"}),
        ("", {}),
        # A file that was cut short.
        ("dag_id=dag run_id='a r", {}),
    ],
)
def test_owner_of_a_running_gang(owner, expected):
    assert parse_line(f"running=dag.train try1 {owner}") == RunningGang("dag.train", "try1", expected)


def test_output_of_a_command_has_a_message_a_line():
    assert list(parse_lines(b"space=1 /a\nspace=2 /b\n")) == [FreeSpace(1, "/a"), FreeSpace(2, "/b")]


def test_requests_are_lines():
    requests = [request_time(), start_signal(), acknowledge(12), still_watching()]
    assert requests == [b"time\n", b"start\n", b"acknowledge 12\n", b"alive\n"]


def test_reports_of_ranks_are_parsed():
    message = parse_line("ranks=0 step=12 at=5.5|1 step=11 at=5.0")
    assert message == RankReports((RankReport(rank=0, step=12, at=5.5), RankReport(rank=1, step=11, at=5.0)))


def test_what_a_program_wrote_in_place_of_a_report_is_left_out():
    assert parse_line("ranks=0 hello|1 step=11 at=5.0") == RankReports((RankReport(rank=1, step=11, at=5.0),))
