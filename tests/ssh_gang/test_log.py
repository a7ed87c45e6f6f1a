"""What ranks print: bytes to lines, lines to the task's log."""

from __future__ import annotations

import pytest

from ssh_gang.log import (
    LINES_PER_ENTRY,
    LONGEST_UNTERMINATED,
    SHOWN_CHARACTERS,
    LineBuffer,
    LogFilter,
    split_ranks,
)


def test_feed_never_cuts_a_character():
    lines = LineBuffer()
    data = "损失 0.5\n下一行\n".encode()
    out = [line for i in range(len(data)) for line in lines.feed(data[i : i + 1])]
    assert out == ["损失 0.5", "下一行"]


def test_feed_replaces_broken_utf8():
    assert LineBuffer().feed(b"a\xffb\nrest") == ["a\ufffdb"]


def test_feed_with_final_returns_the_last_line_without_an_end():
    lines = LineBuffer()
    lines.feed(b"whole\nrest")
    assert lines.feed(b" of it", final=True) == ["rest of it"]


def test_feed_keeps_the_last_state_of_a_progress_bar():
    assert LineBuffer().feed(b"Map: 1%\rMap: 50%\rMap: 100%\r\n") == ["Map: 100%"]


def test_feed_does_not_keep_bytes_without_an_end_for_ever():
    lines = LineBuffer()
    assert lines.feed(b"x" * (LONGEST_UNTERMINATED + 1)) == ["x" * SHOWN_CHARACTERS]
    assert lines.held_bytes == 0


def test_feed_returns_no_escape_sequences():
    lines = LineBuffer()
    assert lines.feed(b"\x1b[32mloss\x1b[0m 0.5\nprotocol\x1b[1A\x1b[2K\n\x1b[3") == ["loss 0.5", "protocol"]
    assert lines.feed(b"1mred", final=True) == ["red"]


def test_feed_keeps_the_last_state_of_a_line_that_comes_in_parts():
    lines = LineBuffer()
    lines.feed(b"Map: 1%\rMap: 5")
    assert lines.feed(b"0%\n") == ["Map: 50%"]


def test_held_bytes_counts_bytes_not_characters():
    lines = LineBuffer()
    lines.feed("whole\n半".encode())
    assert lines.held_bytes == 3


def test_split_ranks_reads_the_rank_in_front():
    assert split_ranks("[rank 12]: loss") == [(12, " loss")]


def test_split_ranks_of_a_line_of_torchrun_has_no_rank():
    assert split_ranks("plain") == [(None, "plain")]


def test_split_ranks_joins_a_line_that_torchrun_found_half_written():
    assert split_ranks("[rank 0]:half [rank 0]:a line") == [(0, "half a line")]


def test_split_ranks_drops_an_empty_other_half():
    assert split_ranks("[rank 0]:whole[rank 0]:") == [(0, "whole")]


def test_split_ranks_keeps_another_ranks_line_apart():
    assert split_ranks("[rank 0]:half [rank 1]:whole") == [(0, "half "), (1, "whole")]


def test_filter_puts_host_and_rank_in_front():
    assert list(LogFilter("host-a").filter(["[rank 1]:loss 0.5", "W1123 torchrun says", ""])) == [
        "[host-a rank 1] loss 0.5",
        "[host-a] W1123 torchrun says",
    ]


def test_filter_shows_a_progress_bar_when_it_is_done():
    bar = "Map:  {:3d}%|###  | 472/1462 [00:00<00:00, 4682.90 examples/s]"
    lines = [f"[rank 0]:{bar.format(n)}" for n in (0, 32, 100)]
    assert list(LogFilter("a").filter(lines)) == [f"[a rank 0] {bar.format(100)}"]


def test_filter_counts_nccl_details_and_shows_its_warnings():
    log_filter = LogFilter("host-a")
    shown = list(
        log_filter.filter(
            [
                "[rank 0]:host-a:711:711 [0] NCCL INFO Bootstrap : Using eth0:10.0.0.1<0>",
                "[rank 0]:host-a:711:729 [0] NCCL INFO Using network Socket",
                *(f"[rank 0]:host-a:711:729 [0] NCCL INFO Channel {n:02d}/04 : 0 1" for n in range(40)),
                "[rank 0]:host-a:711:729 [0] misc/socket.cc:484 NCCL WARN socketStartConnect: Connect failed",
            ]
        )
    )
    assert len(shown) == 2
    assert "Using network Socket" in shown[0]
    assert "NCCL WARN" in shown[1]
    assert list(log_filter.summary()) == ["[host-a] 41 lines of NCCL details not shown"]
    assert log_filter.first_error is not None
    assert "NCCL WARN" in log_filter.first_error


@pytest.mark.parametrize(
    ("lines", "first"),
    [
        pytest.param(
            [
                "[rank 3]:loss: 0.3",
                "[rank 3]:Traceback (most recent call last):",
                '[rank 3]:  File "train.py", line 1, in <module>',
                "[rank 2]:KeyError: 'of another rank'",
                "[rank 3]:ValueError: no",
                "[rank 3]:The above exception was the direct cause of the following exception:",
                "[rank 3]:Traceback (most recent call last):",
                "[rank 3]:RuntimeError: a consequence",
            ],
            "[b rank 3] ValueError: no",
            id="what the first traceback ends with",
        ),
        pytest.param(
            [
                "[rank 0]:[rank0]: Traceback (most recent call last):",
                '[rank 0]:[rank0]:   File "engine.py", line 2358, in forward',
                "[rank 0]:[rank0]: RuntimeError: Connection closed by peer [10.0.0.2]:4242",
            ],
            "[b rank 0] RuntimeError: Connection closed by peer [10.0.0.2]:4242",
            id="with the rank that PyTorch adds",
        ),
        pytest.param(
            [
                "[rank 3]:Traceback (most recent call last):",
                '[rank 3]:  File "train.py", line 1, in <module>',
                "[rank 3]:queue.Empty",
                "[rank 3]:RuntimeError: a consequence",
            ],
            "[b rank 3] queue.Empty",
            id="whatever its exception is called",
        ),
        pytest.param(
            ["[rank 3]:Traceback (most recent call last):", '[rank 3]:  File "train.py", line 1'],
            "[b rank 3] Traceback (most recent call last):",
            id="its first line, where the last never came",
        ),
        pytest.param(
            [
                "Traceback (most recent call last):",
                '  File "torchrun", line 10, in <module>',
                "torch.distributed.elastic.multiprocessing.api.SignalException: Process 11 got signal: 15",
            ],
            None,
            id="not torchrun's own when it is told to stop",
        ),
    ],
)
def test_first_error(lines, first):
    log_filter = LogFilter("b")
    list(log_filter.filter(lines))
    assert log_filter.first_error == first


def test_filter_beyond_its_limit_shows_errors_and_progress():
    log_filter = LogFilter("a", limit=1000)
    lines = [f"[rank 0]:line {n}" for n in range(1000)]
    lines += ["[rank 0]:torch.OutOfMemoryError: CUDA out of memory", "step"]
    shown = "\n".join(log_filter.filter(lines, progress={1001}))
    assert "more than" in shown
    assert "line 999" not in shown
    assert "out of memory" in shown
    assert shown.endswith("step")
    assert list(log_filter.summary()) == [f"[a] {1000 - shown.count('line ')} lines not shown"]


def test_filter_joins_many_lines_in_one_entry():
    assert len(list(LogFilter("a").filter(["x"] * 1000))) == 1000 / LINES_PER_ENTRY


def test_filter_gives_a_few_lines_an_entry_each():
    assert len(list(LogFilter("a").filter(["x"] * 20))) == 20
