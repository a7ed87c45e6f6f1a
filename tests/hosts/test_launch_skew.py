"""The time between the first and the last host's start, also where the clocks differ."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import time

import pytest

from ssh_gang import commands
from ssh_gang.hook import GangHook
from ssh_gang.protocol import parse_line
from ssh_gang.watch import Watch
from tests.hosts.gangs import bash, gang, gang_folder, run
from tests.waiting import until

LOG = logging.getLogger("test")


async def _watched_too_late(g):
    """Watch only when every member has ended, as on a machine that is busy."""
    async with GangHook(g) as hook:
        await hook.launch()
        for m in g.members:
            await until((gang_folder(m, g) / "exit").exists)
        return await Watch(hook, LOG, None).until_the_end()


def test_a_gang_that_ended_before_it_was_watched_has_its_launch_skew(sshds):
    """The first state report has all of it, except for the hosts' clocks."""
    assert asyncio.run(_watched_too_late(gang(sshds, bash("true")))).launch_skew < 2


def _an_hour_off(sshd, folder):
    """Restart the host's sshd with a library that shifts the clock of every process under it."""
    shift = folder / "shift.so"
    (folder / "shift.c").write_text(
        """\
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int gettimeofday(struct timeval *t, void *z) {
  int r = syscall(SYS_gettimeofday, t, z);
  t->tv_sec -= 3600;
  return r;
}
int clock_gettime(clockid_t c, struct timespec *t) {
  int r = syscall(SYS_clock_gettime, c, t);
  if (c == CLOCK_REALTIME) t->tv_sec -= 3600;
  return r;
}
time_t time(time_t *t) {
  struct timespec s;
  clock_gettime(CLOCK_REALTIME, &s);
  if (t) *t = s.tv_sec;
  return s.tv_sec;
}
"""
    )
    subprocess.run(
        ["g++", "-x", "c", "-shared", "-fPIC", "-o", str(shift), str(folder / "shift.c")], check=True
    )
    config = sshd.folder / "sshd_config"
    sshd.stop()
    config.write_text(config.read_text().replace("SetEnv ", f"SetEnv LD_PRELOAD={shift} "))
    sshd.start()


@pytest.mark.parametrize("late", [False, True])
def test_a_clock_an_hour_off_changes_neither_the_skew_nor_the_blame(sshds, tmp_path, late):
    _an_hour_off(sshds[1], tmp_path)
    # By the clocks as they are, b failed an hour before a.
    g = gang(sshds, [bash("sleep 1; exit 3"), bash("sleep 1.5; exit 4")])
    event = asyncio.run(_watched_too_late(g)) if late else asyncio.run(run(g))[1]
    assert event.failed_host == "a", event
    assert "exit code 3" in event.reason, event
    assert event.launch_skew < 2, event
    state = parse_line(asyncio.run(_look(g, 1))).state
    assert abs(time.time() - state.started_at - 3600) < 60, "the clock was not shifted"


async def _look(g, number):
    async with GangHook(g) as hook:
        return (await hook.run(g.members[number], commands.query_state_command(g))).decode()
