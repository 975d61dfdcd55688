"""Questions that one answer serves, and near ones that it doesn't."""

from __future__ import annotations

from itertools import combinations

import pytest

from llmsaver.cache.guards import equivalent, sketch

SAME = [
    [
        "How do I renew my passport?", "What's the way to renew a passport?", "passport renewal",
        "Could you tell me how to renew my passport please", "How can my passport be renewed?",
        "I want to renew my passport", "I need help renewing my passport",
        "I'd like to renew my passport, how do I do that?",
        "Hi there, can you please explain how I can renew my passport?",
    ],
    ["How much does a taxi cost?", "What is the price of a taxi?", "What does a taxi cost?", "taxi price"],
    [
        "How long does shipping to Norway take?", "What is the delivery time to Norway?",
        "How long will it take to ship to Norway?",
    ],
    [
        "Can I change my seat?", "Is it possible to change my seat?", "Can a seat be changed?", "May I change my seat?",
    ],
    # What can be done is not always allowed, so each is a rewording of "can", and neither of the other.
    ["Can I change my seat?", "Am I allowed to change my seat?", "May I change my seat?"],
    ["Do I need a visa for Peru?", "Is a visa required for Peru?", "Do I have to have a visa for Peru?"],
    ["How does tea differ from coffee?", "What is the difference between coffee and tea?", "tea vs coffee"],
    ["What is the capital of Chile?", "What's Chile's capital?", "Tell me the capital of Chile"],
    ["In Python, how do I reverse a string?", "How do I reverse a string in Python?"],
    ["How do I turn my alarm off?", "How do I switch off my alarm?", "How do I disable the alarm?"],
    ["Who painted Guernica?", "Who was Guernica painted by?", "By whom was Guernica painted?"],
    ["How high is the Matterhorn?", "What is the height of the Matterhorn?"],
    ["Do you take cheques?", "Are cheques accepted?", "Can I pay with cheques?"],
    ["What are your opening hours?", "When are you open?"],
    ["Does the fare include meals?", "Are meals included in the fare?"],
    ["Why wasn't my claim approved?", "Why was my claim not approved?"],
    ["Do you offer gift wrapping?", "Is gift wrapping available?", "Is there gift wrapping?"],
    ["Should I wash rice?", "Is it a good idea to wash rice?"],
    ["Which documents do I need to rent a car?", "What documents are required to rent a car?"],
    ["Is it safe to eat raw eggs?", "Is eating raw eggs safe?"],
    ["How do I book an appointment?", "How do I make an appointment?"],
    ["Why has my card been blocked?", "Why was my card blocked?"],
    ["What payment methods do you accept?", "Which payment methods are accepted?"],
    ["How do you clean your oven?", "How do I clean my oven?"],
    ["What is your refund policy?", "What is the refund policy?"],
    ["Can I pay in 3 instalments?", "Can I pay in three instalments?"],
    ["Is there a fee for 5k transfers?", "Do you have a fee for 5,000 transfers?"],
    ["What's a dogs' life?", "what is a dogs life"],
    ["How many seats does a bus have?", "How many seats are in a bus?"],
    ["How can I get my watch repaired?", "How do I fix my watch?"],
]  # fmt: skip
OTHER = [
    ("How do I sort ascending?", "How do I sort descending?"),
    ("Can I pay after delivery?", "Can I pay before delivery?"),
    ("What is the train from Bonn to Kiel?", "What is the train from Kiel to Bonn?"),
    ("Convert yards to feet", "Convert feet to yards"),
    ("Is Rust faster than Go?", "Is Go faster than Rust?"),
    ("Who follows Mia?", "Who does Mia follow?"),
    ("Can I sue my landlord?", "Can my landlord sue me?"),
    ("What is my number?", "What is your number?"),
    ("How do I close his account?", "How do I close my account?"),
    ("How do I renew a passport?", "Can I renew a passport?"),
    ("How did I lose my data?", "How do I lose my data?"),
    ("What was the fee for parking?", "What is the fee for parking?"),
    ("How much does it cost?", "How much did it cost?"),
    ("What does ? mean in SQL?", "What does ! mean in SQL?"),
    ("How do I use == in Java?", "How do I use = in Java?"),
    ("What is 2^3?", "What is 23?"),
    ("What is x\u00b2?", "What is x2?"),
    ("Who is the nurse of my sister?", "Who is my nurse's sister?"),
    ("What can I do in Rome but not in Oslo?", "What can I not do in Rome but in Oslo?"),
    ("How do I cook rice and beans?", "How do I cook rice or beans?"),
    ("What is a lease for?", "What is a lease?"),
    ("What does a clerk do?", "What is a clerk?"),
    ("How long is the trial?", "How much is the trial?"),
    ("How long should I boil rice?", "How long does it take to boil rice?"),
    ("How do I stop lying?", "How do I stop lying to myself?"),
    ("What's the biggest mistake of your life?", "What's the biggest mistake of life?"),
    ("Is the sun a star?", "Is the sun in a star?"),
    ("Do I need to pay?", "Do I want to pay?"),
    ("", "How do I pay?"),
    ("Do they have to pay?", "Do they pay?"),
    ("What do I tell you?", "What do you tell me?"),
    ("What did she say?", "What did he say?"),
    ("Has the train left?", "Is the train left?"),
    ("Does he have a car?", "Does he a car?"),
    ("reset password", "What can reset a password?"),
    ("What am I?", "What are you?"),
    ("Do you know me?", "Do they know me?"),
    ("a b c d e f g h " * 6, "h g f e d c b a " * 6),
    ("?", "!"),
]


@pytest.mark.parametrize(("one", "other"), [pair for group in SAME for pair in combinations(group, 2)])
def test_rewordings_are_equivalent(one: str, other: str) -> None:
    assert equivalent(sketch(one), sketch(other))


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_near_misses_are_not(one: str, other: str) -> None:
    assert not equivalent(sketch(one), sketch(other))
    assert not equivalent(sketch(other), sketch(one))
