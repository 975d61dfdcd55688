"""The small words of a question by what they do in it: who, when, whether, how many, what goes with what."""

from __future__ import annotations

__all__ = [
    "ACTIONS",
    "ARRANGED",
    "ARTICLES",
    "AUXILIARY",
    "BE",
    "CONJUNCTIONS",
    "DROPPED",
    "FILLERS",
    "FIRST",
    "FREE",
    "LIGHT",
    "MARK",
    "NEGATORS",
    "OTHERS",
    "PERFECT_IS_PAST",
    "POSSESSIVES",
    "PRESENT",
    "QUANTIFIERS",
    "REFERENCES",
    "SECOND",
    "SOFT",
    "STRONG",
    "THIRD",
    "TIMES",
    "UNITS",
    "WEAK",
    "words_of",
]


def words_of(words: str) -> frozenset[str]:
    """Return the words of a list that is written to be read."""
    return frozenset(words.split())


ARTICLES = words_of("a an the")
FIRST, SECOND, THIRD = words_of("my our mine ours i me we us"), words_of("your yours you"), words_of("his her their")
OTHERS = words_of("he she him they them hers theirs")
POSSESSIVES = words_of("my our your his her their its 's")
BE = words_of("is are am was were be been being")
AUXILIARY = {
    word: tense
    for tense, words in {
        "past": "was were did had", "future": "will shall", "can": "can could", "should": "should ought",
        "must": "must", "would": "would", "may": "may might",
    }.items()
    for word in words.split()
}  # fmt: skip
PRESENT = words_of("is are am do does has have")
NEGATORS = words_of(
    "not never no without none nobody nothing nowhere neither nor unable fail fails failed failing hardly barely"
)
STRONG = words_of(
    "from to into onto before after with without by until till since than over under above below against between during"
    " through via within out off up down beyond except besides instead like as across toward towards away per versus vs"
    " if while because unless although though whether back"
)
WEAK = words_of("of for in on at about regarding concerning")
MARK = {"via": "with", "through": "with", "till": "until", "towards": "toward", "onto": "to", "into": "to"}
SOFT = words_of("any some")
FILLERS = words_of(
    "please kindly really very quite actually basically simply exactly properly correctly successfully usually normally"
    " typically generally also then there so hey hi hello thanks oh um even possibly personally"
)
REFERENCES = words_of("it this that these those they them he she him one ones same another such its thing")
CONJUNCTIONS = {"but": "but", "and": "and", "&": "and", "or": "or", "vs": "or", "versus": "or"}
FREE = frozenset({"how to", "can", "must", "should", "cost", "long", "needed", "payable", "offer", "hours"})
LIGHT = words_of("get request do perform place issue initiate process have create carry execute conduct receive")
PERFECT_IS_PAST = frozenset({"why", "yes"})
DROPPED = {
    "long": words_of("take last"),
    "cost": words_of("cost"),
    "count": words_of("have contain"),
    "what": words_of("have"),
}
ARRANGED = words_of("create book schedule set_up get arrange")
ACTIONS = words_of(
    "refund reset order return exchange upgrade transfer withdraw deposit pay cancel refill replace install back_up"
    " copy search change reschedule renew verify download upload payment refinance extension quote book track"
    " screenshot purchase translate buy check calculate convert"
)
QUANTIFIERS = words_of(
    "all every each none most least fewest few several both either neither only half more less fewer everyone"
    " everything nothing nobody never"
)
TIMES = words_of("today yesterday tomorrow now tonight already yet again still ago later soon currently recently")
UNITS = words_of(
    "km mile meter cm mm inch foot yard kg gram mg lb ounce oz ton liter gallon hour minute second day week month year"
    " celsius fahrenheit kb mb gb tb mbps mph kmh dollar euro gbp yen rupee percent am pm degree calorie watt volt"
)
