"""One local model under the openai and the anthropic surface: a forced tool, a schema, its price by the hour.

    python examples/local_tier.py

The tool's arguments and the JSON always fit their schemas, whatever the model: a grammar sees to it, and what does not
fit is an error. What they say is the model's own, and this one is a tiny model for trying things out.

    openai    book_table {"city": "Paris", "guests": 15, "evening": false}
    anthropic {"city": "Rome", "stars": 3}
    cost      $0.000267 of machine time for 2 calls
"""

import json

from llmsaver import Client, LocalModel, Saver
from llmsaver.local import find

BOOK_TABLE = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "guests": {"type": "integer"}, "evening": {"type": "boolean"}},
    "required": ["city", "guests", "evening"],
    "additionalProperties": False,
}
HOTEL = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "stars": {"enum": [1, 2, 3, 4, 5]}},
    "required": ["city", "stars"],
    "additionalProperties": False,
}
# Any GGUF file under a name of one's own; hourly_usd is what its machine costs.
MODEL = LocalModel("mine", path=find("smollm2-135m"), context=2048, parallel=1, hourly_usd="0.40")

with Saver(local_models=[MODEL]) as saver, Client(saver=saver) as client:
    asked = client.chat.completions.create(
        model="local/mine",
        messages=[{"role": "user", "content": "A table for two in Paris tonight."}],
        tools=[{"type": "function", "function": {"name": "book_table", "parameters": BOOK_TABLE}}],
        tool_choice={"type": "function", "function": {"name": "book_table"}},
    )
    for call in asked.choices[0].message.tool_calls or []:
        if call.type == "function":
            print("openai   ", call.function.name, json.dumps(json.loads(call.function.arguments)))

    told = client.messages.create(
        model="local/mine",
        max_tokens=100,
        messages=[{"role": "user", "content": "Name a hotel's city and stars: three stars in Rome."}],
        output_config={"format": {"type": "json_schema", "schema": HOTEL}},
    )
    hotel = next(block.text for block in told.content if block.type == "text")
    print("anthropic", json.dumps(json.loads(hotel)))

    spent = sum(entry.cost_nano or 0 for entry in saver.recent())
    print(f"cost      ${spent / 1e9:.6f} of machine time for {len(saver.recent())} calls")
