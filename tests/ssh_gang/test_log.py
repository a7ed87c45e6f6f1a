"""What ranks print: bytes to lines, lines to the task's log, and whose rank failed first."""

from __future__ import annotations

from ssh_gang.log import Lines, Teller, rank_failure, split_ranks

# As torchrun 2.13.0 ended when the first of two ranks on its host was killed.
SUMMARY = """\
[rank 1]:Traceback (most recent call last):
[rank 1]:RuntimeError: Connection reset by peer
E1123 08:10:11.250000 4711 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: -9) local_rank: 0 (pid: 4720) of binary: /node-env/bin/python
Traceback (most recent call last):
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
xtuner.tools.train FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-23_08:10:12
  host      : host-b
  rank      : 3 (local_rank: 1)
  exitcode  : 1 (pid: 4721)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-23_08:10:11
  host      : host-b
  rank      : 2 (local_rank: 0)
  exitcode  : -9 (pid: 4720)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 4720
============================================================
"""
ENDED = 1795421412.0
"""2026-11-23 08:10:12 UTC"""


def test_characters_are_never_cut():
    lines = Lines()
    data = "损失 0.5\n下一行\n".encode()
    out = [line for i in range(len(data)) for line in lines.feed(data[i : i + 1])]
    assert out == ["损失 0.5", "下一行"]


def test_broken_utf8_and_the_last_line_without_an_end():
    lines = Lines()
    assert lines.feed(b"a\xffb\nrest") == ["a\ufffdb"]
    assert lines.feed(b" of it", final=True) == ["rest of it"]


def test_a_progress_bar_keeps_its_last_state():
    assert Lines().feed(b"Map: 1%\rMap: 50%\rMap: 100%\r\n") == ["Map: 100%"]


def test_bytes_without_an_end_are_not_kept_for_ever():
    lines = Lines()
    assert lines.feed(b"x" * (Lines.ENDLESS + 1)) == ["x" * Lines.LONGEST] and lines.held == 0


def test_what_is_held_back_is_counted_in_bytes():
    lines = Lines()
    lines.feed("whole\n半".encode())
    assert lines.held == 3


def test_ranks_and_hosts_stand_in_front():
    assert split_ranks("[rank 12]: loss") == [(12, " loss")] and split_ranks("plain") == [(None, "plain")]
    assert list(Teller("host-a").tell(["[rank 1]:loss 0.5", "W1123 torchrun says", ""])) == [
        "[host-a rank 1] loss 0.5",
        "[host-a] W1123 torchrun says",
    ]


def test_a_line_that_torchrun_found_half_written():
    assert split_ranks("[rank 0]:half [rank 0]:a line") == [(0, "half a line")] and split_ranks(
        "[rank 0]:whole[rank 0]:"
    ) == [(0, "whole")]
    assert split_ranks("[rank 0]:half [rank 1]:whole") == [(0, "half "), (1, "whole")]


def test_a_progress_bar_speaks_when_it_is_done():
    bar = "Map:  {:3d}%|###  | 472/1462 [00:00<00:00, 4682.90 examples/s]"
    assert list(Teller("a").tell([f"[rank 0]:{bar.format(n)}" for n in (0, 32, 100)])) == [
        f"[a rank 0] {bar.format(100)}"
    ]


def test_nccl_is_folded_and_its_warnings_are_not():
    teller = Teller("host-a")
    told = list(
        teller.tell(
            [
                "[rank 0]:host-a:711:711 [0] NCCL INFO Bootstrap : Using eth0:10.0.0.1<0>",
                "[rank 0]:host-a:711:729 [0] NCCL INFO Using network Socket",
                *(f"[rank 0]:host-a:711:729 [0] NCCL INFO Channel {n:02d}/04 : 0 1" for n in range(40)),
                "[rank 0]:host-a:711:729 [0] misc/socket.cc:484 NCCL WARN socketStartConnect: Connect to 10.0.0.2<41217> failed",
            ]
        )
    )
    assert len(told) == 2 and "Using network Socket" in told[0] and "NCCL WARN" in told[1]
    assert list(teller.last_words()) == ["[host-a] 41 lines of NCCL's information folded"]
    assert teller.first_error and "NCCL WARN" in teller.first_error


def test_the_first_error_is_kept():
    teller = Teller("b")
    list(
        teller.tell(
            ["[rank 3]:loss: 0.3", "[rank 3]:Traceback (most recent call last):", "[rank 3]:ValueError: no"]
        )
    )
    assert teller.first_error == "[b rank 3] Traceback (most recent call last):"


def test_a_log_without_end_is_cut_and_errors_are_not():
    teller = Teller("a", limit=1000)
    told = "\n".join(
        teller.tell(
            [f"[rank 0]:line {n}" for n in range(1000)]
            + ["[rank 0]:torch.OutOfMemoryError: CUDA out of memory", "step"],
            progress={1001},
        )
    )
    assert (
        "more than" in told and "line 999" not in told and "out of memory" in told and told.endswith("step")
    )
    assert list(teller.last_words()) == [f"[a] {1000 - told.count('line ')} lines not shown"]


def test_many_lines_at_once_are_one_entry():
    assert (
        len(list(Teller("a").tell(["x"] * 1000))) == 1000 / Teller.TOGETHER
        and len(list(Teller("a").tell(["x"] * 20))) == 20
    )


def test_the_rank_that_failed_first_on_a_host_and_when():
    failure = rank_failure(SUMMARY, ENDED)
    assert (
        failure
        and failure.rank == 2
        and str(failure) == "rank 2: killed by signal 9"
        and failure.at == ENDED - 0.75
    )
    # The same by a host eight hours east, whose clock says the same moment in other words.
    east = rank_failure(SUMMARY.replace("E1123 08", "E1123 16"), ENDED)
    assert east and east.at == ENDED - 0.75
    assert rank_failure("Terminated\n", ENDED) is None
