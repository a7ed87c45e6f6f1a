"""When a loss is bad, and what the watch of a gang does then."""

from __future__ import annotations

import pytest

from ssh_gang.loss import HISTORY, LossPolicy, LossWatch
from ssh_gang.progress import Progress
from tests.ssh_gang.fake_host import FakeHook, gang
from tests.ssh_gang.watched import play, until, watching

pytestmark = pytest.mark.usefixtures("short_pauses")
PATTERN = r"step (?P<step>\d+)/(?P<total>\d+) loss=(?P<loss>\S+)"
TOLD: list[tuple[dict[str, str], str, bool]] = []


async def note(owner: dict[str, str], problem: str, stops: bool) -> None:
    TOLD.append((owner, problem, stops))


async def fail(owner: dict[str, str], problem: str, stops: bool) -> None:
    raise RuntimeError("nobody can be told")


def found(*losses: float | None, jump: float = 3) -> list[str]:
    """What is said of losses, in their order."""
    look = LossWatch(jump).look
    steps = [
        Progress(step=at, total=99, loss=loss, loss_is_finite=loss is not None)
        for at, loss in enumerate(losses, start=1)
    ]
    return [problem for step in steps if (problem := look(step))]


def test_a_steady_loss_is_not_told():
    assert found(*[0.5, 0.4, 0.6] * 20) == []


def test_a_loss_that_is_not_finite_is_told_once():
    assert found(0.5, None, None) == ["the loss of iteration 2 is NaN or infinite"]


def test_a_jump_is_told_with_both_numbers():
    assert found(*[0.4] * HISTORY, 1.3) == [
        "the loss of iteration 21 is 1.3, more than 3 times the median of the 20 before it (0.4)"
    ]


def test_a_single_low_loss_before_makes_no_jump_of_the_next():
    assert found(*[0.4] * HISTORY, 0.01, 0.4) == []


def test_the_high_losses_of_the_start_are_no_jump():
    assert found(0.1, 5.0, 4.0) == []


def policy(stop: bool, told: str = "note") -> LossPolicy:
    return LossPolicy(jump=3, stop=stop, told=f"{__name__}.{told}")


def print_losses(hook: FakeHook, *losses: str) -> None:
    for step, loss in enumerate(losses, start=1):
        hook.hosts["a"].print(f"step {step}/9 loss={loss}\n")


def test_a_gang_is_stopped_at_a_bad_loss_where_its_policy_says_so():
    TOLD.clear()

    async def test() -> None:
        hook = FakeHook(
            gang("a", progress_pattern=PATTERN, loss=policy(stop=True), owner={"task_id": "train"})
        )
        async with watching(hook) as ending:
            print_losses(hook, "0.5", "nan")
            event = await ending
        assert not event.ok
        assert event.reason == "the loss of iteration 2 is NaN or infinite (on_loss: stop)"
        assert hook.stopped == ["try1"]

    play(test)
    assert TOLD == [({"task_id": "train"}, "the loss of iteration 2 is NaN or infinite", True)]


@pytest.mark.parametrize("told", ["note", "fail", "missing"])
def test_else_it_goes_on_whatever_becomes_of_the_telling(told, caplog):
    TOLD.clear()

    async def test() -> None:
        hook = FakeHook(gang("a", progress_pattern=PATTERN, loss=policy(stop=False, told=told)))
        async with watching(hook) as ending:
            print_losses(hook, "0.5", "nan", "0.4")
            await until(lambda: "NaN" in caplog.text)
            hook.hosts["a"].end(0)
            assert (await ending).ok

    play(test)
    assert len(TOLD) == (told == "note")
