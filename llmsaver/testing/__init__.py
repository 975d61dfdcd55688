"""A fake of both vendors for tests: real wire format, errors and chunking, no network, its own books.

    from llmsaver.testing import Answer, FakeProvider, Fault

    fake = FakeProvider(answer="hello")
    client = openai.OpenAI(api_key="sk-test", http_client=httpx2.Client(transport=fake.transport()))
    fake.script([Fault(429, retry_after=0.01), Answer("ok")])

It shares no code with llmsaver's own parsers, and imports neither an SDK nor an HTTP library before it is asked for a
transport.
"""

from llmsaver.testing.answer import Answer, Delivery, Fault, ToolCall
from llmsaver.testing.batch_troubles import BatchTroubles
from llmsaver.testing.books import Bill, Received
from llmsaver.testing.provider import FakeProvider
from llmsaver.testing.variants import usage_variants

__all__ = [
    "Answer",
    "BatchTroubles",
    "Bill",
    "Delivery",
    "FakeProvider",
    "Fault",
    "Received",
    "ToolCall",
    "usage_variants",
]
