"""The hosted GLM as a reference: run by zhipuai's own small environment, which can't be Airflow's (their pyjwt pins exclude each other)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sqltune.config.base import digest
from sqltune.records.files import home, read_json, write_json
from ssh_gang.model import Model

CONNECTION = "sqltune_glm"
"""Airflow Connection: the key as password, the address as host (empty: zhipuai's own), `Budget` as extra."""


class Budget(Model):
    """What one run may ask of the hosted model."""

    model: str = Field("glm-4", description="Its name at the service; the form's wins.")
    label: str = Field("", description="How its column is called; empty: the model's name.")
    max_calls: int = Field(200, ge=0, description="Questions one run may ask.")
    max_cost: float = Field(5.0, ge=0, description="What one run may spend, in the currency of the price.")
    price: float = Field(0.1, ge=0, description="Of a thousand tokens, question and answer together.")


def _cache(model: str, url: str) -> Any:
    return home() / "answers" / f"hosted-{digest([model, url])}.json"


def known(model: str, url: str, prompts: dict[str, str]) -> dict[str, str]:
    """Answers that were given to these prompts before, by question id."""
    answers = read_json(_cache(model, url), {})
    return {name: answers[key] for name, prompt in prompts.items() if (key := digest(prompt)) in answers}


def remember(model: str, url: str, prompts: dict[str, str], answers: dict[str, str]) -> None:
    """Keep answers, so that no prompt is paid for twice."""
    path = _cache(model, url)
    write_json(
        path, read_json(path, {}) | {digest(prompts[name]): answer for name, answer in answers.items()}
    )


def ask_hosted(wanted: dict, api_key: str) -> dict:
    """Answers of the hosted model by question id, and what they cost. Self-contained, its annotations too: the function's text is what travels to the other environment.

    A question it fails to answer is left out; a service that does not answer at all gives no answers and says why. Ends at the budget.
    """
    from concurrent.futures import ThreadPoolExecutor

    questions = wanted["questions"][: wanted["max_calls"]]
    result = {"answers": {}, "calls": 0, "tokens": 0, "cost": 0.0, "trouble": ""}
    if not questions:
        return result
    if not api_key:
        return result | {"trouble": "no key"}
    from zhipuai import ZhipuAI

    client = ZhipuAI(api_key=api_key, base_url=wanted["url"] or None, max_retries=2, timeout=60)

    def ask(question: dict[str, str]) -> None:
        if result["cost"] >= wanted["max_cost"] or (result["trouble"] and not result["answers"]):
            return
        result["calls"] += 1
        try:
            reply = client.chat.completions.create(
                model=wanted["model"],
                messages=[{"role": "user", "content": question["prompt"]}],
                temperature=0.01,
                max_tokens=256,
            )
            result["tokens"] += reply.usage.total_tokens
            result["cost"] += reply.usage.total_tokens * wanted["price"] / 1000
            result["answers"][question["id"]] = reply.choices[0].message.content or ""
        except Exception as e:  # the reference is a courtesy: it never fails the run
            result["trouble"] = f"{type(e).__name__}: {e}"[:300]
            print(f"{wanted['model']} did not answer {question['id']}: {result['trouble']}")

    # The first one alone: a wrong key is wrong for all.
    ask(questions[0])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, questions[1:]))
    if result["cost"] >= wanted["max_cost"]:
        result["trouble"] = f"the budget of {wanted['max_cost']:g} is spent"
    print(
        f"{wanted['model']}: {len(result['answers'])} of {len(questions)} answered, {result['calls']} calls, {result['tokens']} tokens, {result['cost']:.4f} spent; {result['trouble'] or 'no trouble'}"
    )
    return result
