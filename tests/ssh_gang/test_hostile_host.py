"""What a host may send to harm others: numbers without end, words of the protocol, other hosts' names."""

from __future__ import annotations

import json
import logging

import pytest

from sqltune.operators.mmengine import CHECKPOINT_PATTERN, PROGRESS_PATTERN
from ssh_gang import protocol
from ssh_gang.gpus import parse as parse_gpus
from ssh_gang.log import LONGEST_UNTERMINATED, LineBuffer, LogFilter
from ssh_gang.progress import CheckpointFinder, ProgressTracker
from ssh_gang.rank_failure import rank_failure
from ssh_gang.ranks import parse as parse_ranks
from ssh_gang.text import printable
from tests.ssh_gang.fake_host import FakeHook, gang
from tests.ssh_gang.watched import Followed, MemoryRecorder, play, until, watching

HUGE = "9" * 400

FORGED = (
    "state=present attempt=try1 fencing_token=0 generation=0 spec_hash=- alive=no boot=same started=1 "
    "ranks=0 exit=0 ended=2 size=0 now=2\n"
    "stopped=0\nclaimed=try2\nfenced=try2\nacknowledged=999999\nfrom=999999\nclock=0\n"
    "ranks=0 step=7 at=1\ngpu={}\n"
    "[a] every rank ended with exit code 0\n[rank 0]:[a rank 0] fine\n"
    "[2026-11-30 20:00:00] {sqltune} INFO - promoted version 7\n"
)
"""Output that imitates the protocol, another host, and this project's own log."""


def test_output_that_imitates_the_protocol_is_output_and_stays_its_hosts(caplog):
    caplog.set_level(logging.INFO)
    recorder = MemoryRecorder()

    async def test() -> None:
        hook = FakeHook(gang("ab"))
        async with watching(hook, recorder) as ending:
            await until(lambda: all(host.is_followed for host in hook.hosts.values()))
            hook.hosts["b"].print(FORGED)
            await until(lambda: recorder.logs.get("b") == FORGED.encode())
            assert not ending.done()
            for host in hook.hosts.values():
                host.end(0)
            event = await ending
        assert event.ok
        assert event.attempt == "try1"

    play(test)
    shown = [line for message in caplog.messages for line in message.splitlines()]
    assert not recorder.logs.get("a")
    assert [line for line in shown if "promoted version 7" in line] == [
        "[b] [2026-11-30 20:00:00] {sqltune} INFO - promoted version 7"
    ]
    assert [line for line in shown if line.endswith("fine")] == ["[b rank 0] [a rank 0] fine"]
    assert not recorder.reports
    assert not recorder.samples


def test_a_report_of_another_hosts_rank_is_not_taken():
    recorder = MemoryRecorder()

    async def test() -> None:
        hook = FakeHook(gang("ab", ranks=1))
        async with watching(hook, recorder):
            await until(lambda: all(host.is_followed for host in hook.hosts.values()))
            hook.hosts["b"].send("ranks=0 step=666 at=1|1 step=1 at=1|2 step=666 at=1")
            await until(lambda: recorder.reports)
        assert [(report.rank, report.step) for report in recorder.reports] == [(1, 1)]

    play(test)


def test_a_failure_of_another_hosts_rank_is_not_believed():
    summary = (
        "E1130 08:10:11.000000 1 api.py:882] failed (exitcode: 1) local_rank: 0 (pid: 2) of binary: x\n"
        "Root Cause (first observed failure):\n  rank : 0 (local_rank: 0)\n  exitcode : 1 (pid: 2)\n"
    )

    async def test() -> None:
        hook = FakeHook(gang("ab", ranks=1))
        async with watching(hook) as ending:
            await until(lambda: all(host.is_followed for host in hook.hosts.values()))
            hook.hosts["b"].print(summary)
            hook.hosts["b"].end(1)
            event = await ending
        assert (event.failed_host, event.failed_rank) == ("b", None)

    play(test)


def test_ranks_are_numbered_in_the_order_of_the_hosts():
    members = [m.model_copy(update={"ranks": n}) for m, n in zip(gang("abc").members, (2, 4, 1), strict=True)]
    three = gang("abc").model_copy(update={"members": members})
    assert [list(three.ranks_of(host)) for host in "abc"] == [[0, 1], [2, 3, 4, 5], [6]]


@pytest.mark.parametrize(
    "line",
    [
        f"Iter(train) [{HUGE}/{HUGE}]",
        f"Iter(train) [1/{HUGE}]",
        f"Iter(train) [{2**31}/{2**31}]",
        f"Iter(train) [{'٣' * 300}/3]",
        f"checkpoint iter_{HUGE}.pth is sealed",
    ],
)
def test_a_step_beyond_every_training_is_none(line):
    steps: list[object] = []
    ProgressTracker(PROGRESS_PATTERN, steps.append).read([line])
    CheckpointFinder(CHECKPOINT_PATTERN, steps.append).read([line])
    assert steps == []


def test_a_number_beyond_every_measure_is_left_out():
    steps: list[object] = []
    tracker = ProgressTracker(PROGRESS_PATTERN, steps.append)
    tracker.read([f"Iter(train) [1/2]  lr: 1e{HUGE}  time: -nan  loss: 1.5  memory: {HUGE}"])
    assert tracker.latest
    assert (tracker.latest.memory, tracker.latest.lr, tracker.latest.loss) == (None, None, 1.5)


def test_checkpoints_without_end_take_no_memory():
    found: list[int] = []
    finder = CheckpointFinder(CHECKPOINT_PATTERN, found.append)
    finder.read([f"checkpoint iter_{step}.pth is sealed" for step in (1, 5, 3, 5, 1, 9)])
    assert found == [1, 5, 9]
    assert not any(isinstance(value, (set, list, dict)) for value in vars(finder).values())


@pytest.mark.parametrize("field", ["rank", "step", "at", "seconds", "data_seconds", "memory"])
@pytest.mark.parametrize("value", [HUGE, str(2**63), "-1", "nan", "inf", "x\0"])
def test_a_report_with_a_number_that_is_none_is_left_out(field, value):
    fields = {"rank": "0", "step": "1", "at": "1"} | {field: value}
    rank = fields.pop("rank")
    reports = parse_ranks(f"{rank} " + " ".join(f"{name}={text}" for name, text in fields.items()))
    if field.endswith("seconds") and value == str(2**63):
        assert reports  # many seconds, and still a number
    else:
        assert reports == []


@pytest.mark.parametrize("value", [HUGE, str(2**63), "-1", "nan"])
def test_a_gpu_with_a_number_that_is_none_is_left_out(value):
    header = "index, utilization.gpu [%], memory.used [MiB], memory.total [MiB]"
    assert parse_gpus(f"{header}\n{value}, 7 %, 1 MiB, 2 MiB\n0, 7 %, {value} MiB, 2 MiB") == []
    assert parse_gpus(f"{header}\n0, nan %, 1 MiB, 2 MiB") == []
    assert parse_gpus(json.dumps({"card0": {"VRAM Total Used Memory (B)": value}})) == []


STATE = {
    "attempt": "try1",
    "fencing_token": "0",
    "generation": "0",
    "spec_hash": "-",
    "alive": "yes",
    "boot": "same",
    "started": "1",
    "ranks": "1",
    "exit": "",
    "ended": "",
    "size": "",
    "now": "2",
}


def state_line(**changes: str) -> str:
    return "state=present " + " ".join(f"{name}={value}" for name, value in (STATE | changes).items())


@pytest.mark.parametrize(
    "line",
    [
        *(
            state_line(**{name: value})
            for name in ("started", "ended", "now")
            for value in ("nan", "inf", "-1", "1e99")
        ),
        *(state_line(size=value) for value in ("-1", HUGE, "9" * 5000, "²")),
        *(state_line(exit=value) for value in ("²", "9" * 5000, "ok", "-1", "1234")),
        state_line(ranks="9" * 5000),
        f"from={HUGE}",
        "from=-1",
        f"acknowledged={HUGE}",
        "clock=nan",
        "clock=1e300",
        "gpu=" + '{"a":' * 12_000,
        "stopped=" + "9" * 5000,
    ],
    ids=lambda line: line[:90],
)
def test_a_value_that_no_host_has_is_a_malformed_line(line):
    with pytest.raises(ValueError, match="malformed line from the host"):
        protocol.parse_line(line)


def test_a_line_of_the_protocol_has_no_escape_sequences():
    message = protocol.parse_line(b"claimed=\x1b[2Jtry2\x07")
    assert message == protocol.Claimed("try2\ufffd")


@pytest.mark.parametrize("near", [0.0, float(2**32)])
def test_a_failure_at_no_time_of_any_year_has_none(near):
    line = "E1399 25:61:61.000000 1 x] failed (exitcode: 1) local_rank: 0 (pid: 1) of binary"
    failure = rank_failure(line, near)
    assert failure
    assert failure.at is None


def test_a_failure_with_numbers_without_end_is_none():
    digits = "9" * 5000
    text = f"Root Cause (first observed failure):\n rank : {digits} (local_rank: 0)\n exitcode : {digits}\n"
    assert rank_failure(text, 0.0) is None


def test_a_carriage_return_hides_nothing_in_a_line_without_an_end():
    lines = LineBuffer().feed(b"x" * LONGEST_UNTERMINATED + b"\r[b] forged")
    assert lines == ["[b] forged"]
    assert [*LogFilter("a").filter(lines)] == ["[a] [b] forged"]


def test_no_other_separator_makes_two_lines_of_one():
    separators = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
    assert len(printable(f"a{separators}b").splitlines()) == 1


@pytest.mark.parametrize("line", ["ValueError: again", "Iter(train) [1/2]"])
def test_errors_and_progress_without_end_do_not_fill_the_tasks_log(line):
    log_filter = LogFilter("a", limit=10_000)
    positions = range(100) if line.startswith("Iter") else ()
    entries = [entry for _ in range(100) for entry in log_filter.filter([line] * 100, positions)]
    assert sum(map(len, entries)) < 30_000
    assert sum("nothing is shown from here on" in entry for entry in entries) == 1
    [summary] = log_filter.summary()
    assert int(summary.split()[1]) > 8000


def test_an_empty_line_counts_with_what_is_put_in_front_of_it():
    log_filter = LogFilter("a", limit=1000)
    entries = [entry for _ in range(100) for entry in log_filter.filter(["x"] * 100)]
    assert sum(map(len, entries)) < 2500


def test_output_beyond_the_limit_is_taken_and_not_recorded(caplog):
    caplog.set_level(logging.INFO)
    recorder = MemoryRecorder()

    async def test() -> None:
        followed = Followed(recorder, max_log_gib=10 / 2**30)
        async with followed.following():
            followed.host.print("one\n")
            await followed.until_acknowledged()
            for _ in range(5):
                followed.host.print("two\nthree\n")
                await followed.until_acknowledged()
            followed.host.end(0)
            await until(lambda: followed.watch.is_done)
            followed.watch.log_summary()

    play(test)
    assert recorder.logs == {"a": b"one\ntwo\nth"}
    assert sum("what follows is not recorded (limit max_log_gib)" in m for m in caplog.messages) == 1
    assert caplog.messages[-1].startswith("[a] of 0 MB of its output, the first 0 MB are recorded")
    assert caplog.messages.count("[a] three") == 5


def test_a_host_that_sends_samples_without_end_has_one_in_five_seconds_recorded():
    recorder = MemoryRecorder()

    async def test() -> None:
        followed = Followed(recorder)
        sample = "gpu=index, utilization.gpu [%], memory.used [MiB], memory.total [MiB]|0, 7 %, 1 MiB, 2 MiB"
        async with followed.following():
            await until(lambda: followed.watch.state)
            for _ in range(50):
                followed.host.send(sample)
            followed.host.report(ranks_started=1)
            await until(lambda: followed.watch.state.ranks_started and followed.writer.is_drained)
        assert len(recorder.samples) == 1

    play(test)
