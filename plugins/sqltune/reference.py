"""The hosted GLM as a reference: run by zhipuai's own small environment, which can't be Airflow's (their pyjwt pins exclude each other)."""

from __future__ import annotations


def ask_hosted(questions: list[dict[str, str]], api_key: str, base_url: str, model: str, label: str) -> dict[str, object]:
    """Answers of the hosted model by question id. Self-contained: the function's text is what travels to the other environment.

    A question it fails to answer is left out; a service that does not answer at all gives no answers and says why.
    """
    from zhipuai import ZhipuAI

    if not api_key:
        return {"model": model, "label": f"{model}: no key", "answers": {}}
    client = ZhipuAI(api_key=api_key, base_url=base_url or None, max_retries=1, timeout=30)
    answers = {}
    trouble = ""
    for question in questions:
        try:
            reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question["prompt"]}], temperature=0.01, max_tokens=256)
            answers[question["id"]] = reply.choices[0].message.content or ""
        except Exception as e:  # the reference is a courtesy: it never fails the run
            trouble = f"{type(e).__name__}: {e}"
            print(f"{model} did not answer {question['id']}: {trouble}")
            if not answers:
                break
    return {"model": model, "label": label if answers else f"{label}: {trouble[:80]}", "answers": answers}
