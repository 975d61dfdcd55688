"""A question answered from a quarter of what was retrieved: the sentences it needs are chosen, the rest stays behind.

python examples/rag_compressed.py

Who is the mayor of Elm?
763 tokens in: The mayor of Elm is Ada Moss.
260 tokens in: The mayor of Elm is Ada Moss.
   compress 2,843 bytes of tools and documents to 778: passages 2,065
"""

from llmsaver import Client, Compress, Saver

TOWNS = {
    "Alder": ("a fishing town", 1203, "herring", "Mara Quill"),
    "Birch": ("a mining town", 1411, "tin", "Otto Venn"),
    "Cedar": ("a market town", 1388, "wool", "Ines Roth"),
    "Dogwood": ("a port", 1122, "salt", "Per Lund"),
    "Elm": ("a university town", 1477, "books", "Ada Moss"),
    "Fir": ("a border town", 1290, "timber", "Jan Kree"),
    "Gorse": ("a spa", 1533, "water", "Lia Brandt"),
    "Hazel": ("a mill town", 1366, "flour", "Tom Ashe"),
}
DOCUMENTS = "\n\n".join(
    f"Title: {name}\n{name} is {kind} in the north. It was founded in {year} and grew slowly. Its people lived on "
    f"{goods} for centuries. Visitors praise its quiet streets and the view from the old tower. The mayor of {name} is "
    f"{mayor}. In summer there is a fair with music, food and a race. The railway came late and left early. Winters "
    "are long and mild."
    for name, (kind, year, goods, mayor) in TOWNS.items()
)
QUESTION = "Who is the mayor of Elm?"


def ask(saver: Saver) -> None:
    """Ask with all documents in the prompt, and say what was sent of them."""
    with Client(saver=saver) as client:
        answer = client.chat.completions.create(
            model="local/smollm2-135m",
            messages=[{"role": "user", "content": f"<documents>\n{DOCUMENTS}\n</documents>\n{QUESTION}"}],
            max_completion_tokens=30,
            temperature=0,
        )
        print(f"{answer.usage.prompt_tokens} tokens in: {answer.choices[0].message.content}")
        for layer in answer.llmsaver["layers"]:
            print("  ", layer["name"], layer["why"])


print(QUESTION)
for saver in (Saver(), Saver(stack=[..., Compress("all", ratio=4)])):
    with saver:
        ask(saver)
