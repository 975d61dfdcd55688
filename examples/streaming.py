"""Streams: headers come first, tokens as they are made, and the entry is complete when the stream is.

    python examples/streaming.py

Three ways to stream, of a small local model that makes something up:

    chat stream
      x-llmsaver-entry: edbb251ed60b8d424fd510f4e
      x-llmsaver-model: local/smollm2-135m
      x-llmsaver-tier: local
      The image of a towering robot with glowing green eyes ...
      entry: 40 tokens in, 32 out, first byte after 1.2 s, all after 1.6 s
    stream helper
      ...
    messages stream
      ...
"""

from llmsaver import Client, Entry, Saver

MODEL = "local/smollm2-135m"
MESSAGES = [{"role": "user", "content": "Tell me a very short story about a robot."}]


def show_entry(entry: Entry | None) -> None:
    """Print what is known about a call; while its answer is on the way, there is no usage yet."""
    if entry is None or entry.usage is None:
        print("\n  entry: incomplete", entry)
        return
    tokens = f"{entry.usage.input_tokens} tokens in, {entry.usage.output_tokens} out"
    print(f"\n  entry: {tokens}, first byte after {entry.first_byte_s:.1f} s, all after {entry.latency_s:.1f} s")


with Saver() as saver, Client(saver=saver) as client:
    print("chat stream")
    chunks = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_completion_tokens=32, stream=True)
    for name in ("x-llmsaver-entry", "x-llmsaver-model", "x-llmsaver-tier"):
        print(f"  {name}: {chunks.response.headers[name]}")
    print("  ", end="")
    for chunk in chunks:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    show_entry(saver.entry(chunks.response.headers["x-llmsaver-entry"]))

    print("stream helper\n  ", end="")
    with client.chat.completions.stream(model=MODEL, messages=MESSAGES, max_completion_tokens=32) as events:
        for event in events:
            if event.type == "content.delta":
                print(event.delta, end="", flush=True)
    show_entry(saver.last)  # this helper shows no headers: the latest call of this thread

    print("messages stream\n  ", end="")
    with client.messages.stream(model=MODEL, messages=MESSAGES, max_tokens=32) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    show_entry(saver.entry(stream.response.headers["x-llmsaver-entry"]))
