"""The rank that failed first, from torchrun's output."""

from __future__ import annotations

from ssh_gang.rank_failure import rank_failure

# As torchrun 2.13.0 ended when the first of two ranks on its host was killed.
SUMMARY = """\
[rank 1]:Traceback (most recent call last):
[rank 1]:RuntimeError: Connection reset by peer
E1123 08:10:11.250000 4711 api.py:882] failed (exitcode: -9) local_rank: 0 (pid: 4720) of binary: /bin/python
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


def test_rank_failure_takes_rank_and_exit_code_from_the_summary():
    failure = rank_failure(SUMMARY, ENDED)
    assert failure.rank == 2
    assert str(failure) == "rank 2: killed by signal 9"


def test_rank_failure_takes_the_time_from_the_first_report():
    assert rank_failure(SUMMARY, ENDED).at == ENDED - 0.75


def test_rank_failure_on_a_host_in_another_time_zone_has_the_same_time():
    # The same on a host eight hours east, whose clock writes the same time differently.
    assert rank_failure(SUMMARY.replace("E1123 08", "E1123 16"), ENDED).at == ENDED - 0.75


def test_rank_failure_without_a_report_is_none():
    assert rank_failure("Terminated\n", ENDED) is None
