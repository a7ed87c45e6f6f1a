"""An estimate in lines for a task's log."""

from __future__ import annotations

from collections.abc import Iterator

from sqltune.estimate.model import Estimate, Rate, Tokens

_TOKENS = {
    "counted": "counted",
    "other_commit": "by the average row of another commit",
    "characters": "estimated from its characters",
}


def lines(estimate: Estimate) -> Iterator[str]:
    """What is known, one line each."""
    if estimate.tokens:
        yield f"rows: {_tokens(estimate.tokens)}"
    if estimate.iterations:
        yield (
            f"{estimate.iterations:,} iterations, {estimate.optimizer_steps:,} optimizer steps"
            + (
                f", {estimate.tokens_per_iteration:,} tokens each on one rank"
                if estimate.tokens_per_iteration
                else ""
            )
        )
    yield _time(estimate)
    for needed in estimate.memory:
        verdict = {True: "fits", False: "does not fit", None: "the card is not known"}[needed.fits]
        mark = " (this plan's)" if needed.strategy == estimate.strategy else ""
        yield f"memory on a GPU, {needed.strategy}{mark}: {needed.total:.1f} GiB, {verdict}"
    if estimate.advice:
        yield advice(estimate)


def advice(estimate: Estimate) -> str:
    """The faster strategy, with the factor and where it is from."""
    faster = estimate.advice
    if faster is None:
        return ""
    factor = f"{faster.low:.1f}" if faster.low == faster.high else f"{faster.low:.1f} to {faster.high:.1f}"
    source = "measured on this cluster" if faster.measured else f"published: {', '.join(faster.sources)}"
    return (
        f"{estimate.strategy} is {factor} times slower than {faster.strategy}, which fits ({source}): set "
        f"deepspeed to {faster.strategy} in the form"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _tokens(tokens: Tokens) -> str:
    longest = f", the longest has {tokens.longest:,}" if tokens.longest else ""
    return f"{tokens.rows:,} with {tokens.total:,} tokens ({_TOKENS[tokens.basis]}){longest}"


def _time(estimate: Estimate) -> str:
    if estimate.seconds is None or not estimate.rate:
        return "time: not known before a run was made here"
    between = f"{duration(estimate.seconds_low or 0)} to {duration(estimate.seconds_high or 0)}"
    cost = "" if estimate.gpu_hours is None else f", {estimate.gpu_hours:.1f} GPU-hours"
    if estimate.price is not None:
        cost += f", {estimate.price:.2f} in the cluster's currency"
    return f"time: {duration(estimate.seconds)} ({between}){cost}; {_rate(estimate.rate)}"


def _rate(rate: Rate) -> str:
    each = f"{rate.seconds:.2f} s an iteration"
    match rate.basis:
        case "recipe":
            return f"{each}, as in earlier runs of this recipe here ({rate.runs})"
        case "probe":
            return f"{each}, as measured here to compare strategies"
        case "cluster":
            return f"{each}, by the tokens a second of other runs here ({rate.runs})"
        case _:
            return f"{each}, by published figures ({', '.join(rate.sources)})"
