"""What the batched engine does where a step fails, or a row is no number."""

from __future__ import annotations

from typing import Any

import torch
from engine_client import Client, alone, case
from small_model import HEAD, small_model


@case
def a_step_that_fails() -> dict[str, Any]:
    client = Client()
    lm_head = client.model.lm_head
    errors = {
        "memory": torch.OutOfMemoryError("injected"),
        "driver": torch.AcceleratorError("CUDA error: out of memory (injected)"),
        "other": RuntimeError("injected"),
    }
    found = {}
    for name, error in errors.items():

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        hook = lm_head.register_forward_pre_hook(fail)
        client.send(HEAD)
        client.send(HEAD)
        client.finish()
        hook.remove()
        found[name] = [client.chunks[-2][-1], client.chunks[-1][-1]]
    make_room = client.engine._store.make_room
    client.engine._store.make_room = lambda *_: fail(error=errors["memory"])  # type: ignore[method-assign]
    client.send(HEAD)
    client.engine.step()
    client.engine._store.make_room = make_room  # type: ignore[method-assign]
    found["allocation"] = [client.chunks[-1][-1]] * 2
    client.send(HEAD)
    client.finish()
    return found | {"afterwards": client.text() == alone(small_model(), HEAD)}


@case
def not_a_number() -> dict[str, Any]:
    """A row that becomes NaN, and one that takes its slot, in each of three ways, beside a longer one."""
    short, long = HEAD + "age", HEAD + "name age FROM head " * 10
    found = {}
    for way in ("shared", "scored", "moved"):
        client = Client()
        poisoned = _send_poisoned(client, "name age FROM head " * 8)
        if way != "moved":
            client.finish()
        client.send(short, **({"echo": True, "logprobs": 1} if way == "scored" else {}))
        client.engine.step()
        poisoned.is_gone = True
        client.send(long)
        client.finish()
        answers = [(1, short), (2, long)]
        found[way] = [client.text(i).endswith(alone(small_model(), prompt)) for i, prompt in answers]
    return found


@case
def nan_while_sampling() -> dict[str, Any]:
    """A row that becomes NaN and draws its tokens, beside another."""
    client = Client()
    client.send(HEAD)
    client.engine.step()
    _send_poisoned(client, "name age FROM head", beside=1, temperature=1.0)
    client.finish()
    return {
        "code": client.chunks[1][-1]["error_code"],
        "message": client.text(1),
        "right": client.text(0) == alone(small_model(), HEAD),
    }


def _send_poisoned(client: Client, prompt: str, *, beside: int = 0, **params: Any) -> Any:
    """A request whose prompt's keys and values are NaN, in all layers, beside so many rows."""

    def poison(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        output[:, beside:] = torch.nan

    attention = client.model.model.layers[0].self_attn
    hooks = [part.register_forward_hook(poison) for part in (attention.k_proj, attention.v_proj)]
    row = client.send(prompt, **params)
    client.engine.step()
    for hook in hooks:
        hook.remove()
    return row
