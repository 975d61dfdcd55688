"""An agent's conversation on a local model: what was read from the cache rises with every turn.

    python examples/agent_loop.py

Each turn sends everything said so far once more. The server keeps what it has read, so only what is new is read anew,
as a provider's prompt cache does for a fee. On Anthropic's and OpenAI's own hosts ``PromptCache``, which is part of the
default mode, sets the marks for that where they pay.

    turn 1:  199 tokens in,    0 read from the cache
    turn 2:  240 tokens in,  223 read from the cache
    turn 3:  288 tokens in,  269 read from the cache
    turn 4:  334 tokens in,  317 read from the cache
"""

from llmsaver import Client

RULES = "You keep the log of a small museum. " + "Answer with the exhibit's name and its room, in one sentence. " * 12
QUESTIONS = (
    "Where does the sundial stand?",
    "And the astrolabe?",
    "Which of the two is older?",
    "Write down both rooms.",
)

messages = [{"role": "system", "content": RULES}]
with Client() as client:
    for turn, question in enumerate(QUESTIONS, 1):
        messages.append({"role": "user", "content": question})
        answer = client.chat.completions.create(
            model="local/smollm2-135m", messages=messages, max_completion_tokens=30, temperature=0
        )
        messages.append({"role": "assistant", "content": answer.choices[0].message.content})
        details = answer.usage.prompt_tokens_details
        read = (details.cached_tokens if details else 0) or 0
        print(f"turn {turn}: {answer.usage.prompt_tokens:4} tokens in, {read:4} read from the cache")
