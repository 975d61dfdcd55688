"""A real cascade on this machine: the small model answers, is judged, and the larger one is asked where it must be.

    python examples/cascade.py

SmolLM2 (135 million parameters) and Qwen2.5-Coder (1.5 billion) run on two local servers, as if they were gpt-5-nano
and gpt-5 at their list prices. Validators and the tokens' log-probabilities judge each answer. The threshold that the
library brings lets nothing of so tiny a model pass, so one was set by hand; with labels, ``min_quality=0.95`` finds it
(``llmsaver router calibrate``). Before a call the router can explain what it would do, and sends nothing.

    local/smollm2-135m is asked first: the cheapest that can answer
      its answer is served where its logprobs reaches 0.080 (fixed)
      cost: about $0.0013706 (40% go up), $0.003115 at local/qwen2.5-coder-1.5b
      ...

    Germany: Berlin
      by local/smollm2-135m, at once: logprobs 0.139 reaches 0.080
      cost $0.00000455; the last tier alone $0.00011375

    Kyrgyzstan: Bishkek
      by local/qwen2.5-coder-1.5b, after an escalation: logprobs 0.000 is below 0.080
      cost $0.00012915; the last tier alone $0.00012375

    ...
    spent $0.000531; the last tier alone $0.000729
"""

import tempfile
from pathlib import Path

from llmsaver import Cascade, Client, Saver

SMALL, LARGE = "local/smollm2-135m", "local/qwen2.5-coder-1.5b"
PRICES = {SMALL: {"input": "0.05", "output": "0.40"}, LARGE: {"input": "1.25", "output": "10.00"}}  # $ per million
SHOWN = [("Capital of Italy?", "Rome"), ("Capital of Spain?", "Madrid")]
COUNTRIES = ["Germany", "Japan", "Kyrgyzstan", "Australia", "Greece", "Burkina Faso"]


def asking(country: str) -> list[dict[str, str]]:
    """Return the messages that ask for a capital, after two that show how to answer."""
    roles = ("user", "assistant")
    shown = [{"role": role, "content": text} for pair in SHOWN for role, text in zip(roles, pair, strict=True)]
    return [*shown, {"role": "user", "content": f"Capital of {country}?"}]


with (
    tempfile.TemporaryDirectory() as folder,
    Saver(
        ledger=str(Path(folder) / "ledger.db"), prices=PRICES, stack=[..., Cascade([SMALL, LARGE], threshold=0.08)]
    ) as saver,
    Client(saver=saver) as client,
):
    print(saver.router.explain(messages=asking(COUNTRIES[0])))
    for country in COUNTRIES:
        answered = client.chat.completions.create(
            model="auto", max_completion_tokens=20, temperature=0, messages=asking(country)
        )
        way = answered.llmsaver["router"]
        print()
        print(f"{country}: {answered.choices[0].message.content}")
        print(f"  by {way['tier']}, {'after an escalation' if way['escalated'] else 'at once'}: {way['why']}")
        print(f"  cost ${answered.llmsaver['cost_usd']}; the last tier alone ${way['counterfactual_usd']}")
    recent = saver.recent(len(COUNTRIES))
    spent, written = (sum(getattr(entry, name) or 0 for entry in recent) for name in ("cost_nano", "baseline_nano"))
    print()
    print(f"spent ${spent / 1e9:.6f}; the last tier alone ${written / 1e9:.6f}")
