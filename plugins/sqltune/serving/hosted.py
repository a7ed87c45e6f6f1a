"""The hosted reference: GLM through zhipuai, in a small environment of its own.

zhipuai cannot be installed beside Airflow: they pin pyjwt to ranges that exclude each other.
"""

from __future__ import annotations

from pydantic import Field

from sqltune.config.base import digest
from ssh_gang.model import Model

CONNECTION = "sqltune_glm"
"""Airflow Connection of the hosted model.

Password: the API key. Host: base address of the service; empty for zhipuai's own. Extra: a `Budget` as JSON.
"""


class Budget(Model):
    """The hosted model, and what one run may spend on it; the extra of the Connection."""

    model: str = Field("glm-4", description="The model's name at the service; the form may name another.")
    label: str = Field("", description="Heading of its column in the table; empty: the model's name.")
    max_calls: int = Field(200, ge=0, description="Questions that one run may send.")
    max_cost: float = Field(5.0, ge=0, description="What one run may spend, in the currency of the price.")
    price: float = Field(0.1, ge=0, description="Price of a thousand tokens, question and answer together.")


def answer_set(model: str, url: str) -> tuple[str, str]:
    """Return the model hash and the decoding under which a hosted model's answers are kept."""
    return f"hosted-{digest([model, url])}", "hosted"


def stored_answers(model: str, url: str, prompts: dict[str, str]) -> dict[str, str]:
    """Return the answers that this run or an earlier one has stored, by question id."""
    from sqltune.records import answers

    hashes = {name: digest(prompt) for name, prompt in prompts.items()}
    stored = answers.known(*answer_set(model, url), hashes.values())
    return {name: stored[key] for name, key in hashes.items() if key in stored}


def store_answers(model: str, url: str, prompts: dict[str, str], new: dict[str, str]) -> None:
    """Store answers, so that no prompt is paid for twice.

    Args:
        model: The model's name at the service.
        url: Address of the service.
        prompts: Prompts by question id.
        new: Answers by question id.
    """
    from sqltune.records import answers

    answers.put(*answer_set(model, url), {digest(prompts[name]): text for name, text in new.items()})


def ask_hosted(batch: dict, api_key: str) -> dict:  # type: ignore[type-arg]  # see the docstring
    """Send a `HostedBatch` to the hosted model, within its budget.

    Airflow sends the text of this function to the other environment: it imports what it needs itself, and
    uses nothing of this module, not even in its annotations.

    Args:
        batch: The batch as JSON.
        api_key: API key; without one no question is sent.

    Returns:
        `answers` by question id, without questions that the model failed to answer; `calls`, `tokens` and
        `cost`; `error`: why answers are missing, empty when none are.
    """
    from concurrent.futures import ThreadPoolExecutor

    threads, output_limit, excerpt = 4, 256, 300
    # Close to greedy: the service's range of temperatures does not include 0.
    nearly_greedy = 0.01
    questions = batch["questions"][: batch["max_calls"]]
    answers: dict[str, str] = {}
    used = {"calls": 0, "tokens": 0}
    error = ""

    def cost() -> float:
        return float(used["tokens"] * batch["price"] / 1000)

    def outcome() -> dict[str, object]:
        return {"answers": answers, **used, "cost": cost(), "error": error}

    if not questions:
        return outcome()
    if not api_key:
        error = "no key"
        return outcome()
    from zhipuai import ZhipuAI

    client = ZhipuAI(api_key=api_key, base_url=batch["url"] or None, max_retries=2, timeout=60)

    def ask(question: dict[str, str]) -> None:
        nonlocal error
        service_refuses = error and not answers
        if cost() >= batch["max_cost"] or service_refuses:
            return
        used["calls"] += 1
        try:
            reply = client.chat.completions.create(
                model=batch["model"],
                messages=[{"role": "user", "content": question["prompt"]}],
                temperature=nearly_greedy,
                max_tokens=output_limit,
            )
            used["tokens"] += reply.usage.total_tokens
            answers[question["id"]] = reply.choices[0].message.content or ""
        except Exception as e:  # Whatever the client raises: the reference never fails a run.
            error = f"{type(e).__name__}: {e}"[:excerpt]
            print(f"{batch['model']} did not answer {question['id']}: {error}")

    # The first question alone: a wrong key is wrong for all of them.
    ask(questions[0])
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, questions[1:]))
    if cost() >= batch["max_cost"]:
        error = f"the budget of {batch['max_cost']:g} is spent"
    print(
        f"{batch['model']}: {len(answers)} of {len(questions)} answered, {used['calls']} calls, "
        f"{used['tokens']} tokens, {cost():.4f} spent; {error or 'no error'}"
    )
    return outcome()
