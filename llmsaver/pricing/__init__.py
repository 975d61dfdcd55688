"""Usage to money, exact to the nano-dollar: what a call cost, and what it can cost at most.

::

    book = PriceBook({"my-model": {"input": "0.15", "output": "0.60"}})
    cost = book.cost(Billed("chat", "gpt-5-mini", usage, host="https://api.openai.com/v1"))
    cost.nano_usd, cost.usd, cost.flags, cost.explain()
    bound = book.upper_bound(body, dialect="chat", host="https://api.openai.com/v1")

List prices are genai-prices' (``PriceBook.as_of`` says of which day); they load at the first price asked for.
"""

from __future__ import annotations

from llmsaver.pricing.book import PriceBook
from llmsaver.pricing.money import plain
from llmsaver.pricing.values import Billed, Bound, Cost, Line, Rates

__all__ = ["Billed", "Bound", "Cost", "Line", "PriceBook", "Rates", "plain"]
