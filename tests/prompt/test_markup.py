"""Pages as a reader sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.markup import as_text, is_html

PAGE = """<!DOCTYPE html><html><head><title>x</title><style>p { color: red }</style></head>
<body><nav><a href="/">Home</a></nav><h1>Prices</h1>
<p>All prices in <b>euros</b>,
   see <a href="https://example.org/vat">the rules</a> or <a href="#top">the top</a>.</p>
<ul><li>tea<ul><li>green</li></ul></li><li>coffee</li></ul><ol><li>one</li><li>two</li></ol>
<table><tr><th>Name</th><th>Price</th></tr><tr><td>tea</td><td>2&nbsp;&euro;</td></tr></table>
<img alt="a cup" src="c.png"><br>line
<pre>def f():
    return 1</pre><script>alert("<p>no</p>")</script><svg><svg></svg>no</svg></body></html>"""


def test_a_page_is_what_it_says() -> None:
    assert as_text(PAGE) == (
        "# Prices\n\nAll prices in euros, see [the rules](https://example.org/vat) or the top.\n\n"
        "- tea\n  - green\n- coffee\n\n1. one\n2. two\n\nName | Price\ntea | 2\u00a0\u20ac\n\n"
        "[image: a cup]\nline\n\n```\ndef f():\n    return 1\n```"
    )


@pytest.mark.parametrize(
    ("text", "whether"),
    [
        (PAGE, True),
        ("<div class='a'><p>hello</p></div>", True),
        ("a < b and c > d", False),
        ("Use <p> for paragraphs.", False),
        ("```html\n<html></html>\n```", False),
        ("no markup", False),
    ],
)
def test_what_is_a_page(text: str, whether: bool) -> None:
    assert is_html(text) is whether


@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from(["<a href=x>", "</a>", "<li>", "</ul>", "</pre>", "t", "<tr>"])).map("".join)
)
def test_any_text_can_be_read(text: str) -> None:
    assert isinstance(as_text(text), str)
