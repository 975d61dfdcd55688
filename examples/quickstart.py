"""Chat, responses and messages through one client, answered by a model on this machine: no key, no network.

    python examples/quickstart.py

The first call starts a llama.cpp server (a second or two), which stops with the program. Each answer says what happened
to its call. The model is a tiny one for trying things out: look at the shape of the answers, not at what they claim.

    chat: A cache is a type of memory that ...
    {'entry': 'e59d...', 'feature': 'default', 'model': 'local/smollm2-135m', 'tier': 'local', ..., 'layers': []}
    responses: A cache is ...
    {'entry': 'e20a...', ...}
    messages: A cache is ...
    {'entry': 'ef73...', ...}
"""

from llmsaver import Client

MODEL = "local/smollm2-135m"  # with a key in the environment: "gpt-6-luna" for chat, "claude-haiku-5-5" for messages
QUESTION = "What is a cache? Answer in one sentence."

with Client() as client:
    completion = client.chat.completions.create(
        model=MODEL, max_completion_tokens=40, messages=[{"role": "user", "content": QUESTION}]
    )
    print("chat:", completion.choices[0].message.content)
    print(completion.llmsaver)

    response = client.responses.create(model=MODEL, max_output_tokens=40, input=QUESTION)
    print("responses:", response.output_text)
    print(response.llmsaver)

    message = client.messages.create(model=MODEL, max_tokens=40, messages=[{"role": "user", "content": QUESTION}])
    print("messages:", message.content[0].text)
    print(message.llmsaver)
