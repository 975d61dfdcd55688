"""HTML as the text a reader sees: headings, lists, tables and links stay, scripts, styles and menus go."""

from __future__ import annotations

import re
from html.parser import HTMLParser

__all__ = ["as_text", "is_html"]

_SKIPPED = frozenset({"script", "style", "noscript", "template", "svg", "iframe", "head", "nav", "canvas", "object"})
_BLOCKS = frozenset(
    {
        "p",
        "div",
        "section",
        "article",
        "main",
        "header",
        "footer",
        "aside",
        "ul",
        "ol",
        "dl",
        "dt",
        "dd",
        "table",
        "form",
    }
    | {
        "blockquote",
        "figure",
        "figcaption",
        "details",
        "summary",
        "address",
        "fieldset",
        "body",
        "html",
        "thead",
        "tbody",
    }
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_ALIKE = {"th": "td"}
_SIGNS = re.compile(r"<!doctype html|<html[\s>]|<body[\s>]", re.IGNORECASE)
_TAGS = re.compile(r"</?(?:div|p|span|table|tr|td|ul|li|a|h[1-6]|section|article)\b[^>]*>", re.IGNORECASE)
_MOST_MARKUP = 0.2
_SPACES = re.compile(r"[ \t\r\f\v\n]+")
_BLANKS = re.compile(r"[ \t]*\n(?:[ \t]*\n)+[ \t]*")


def is_html(text: str) -> bool:
    """Return whether a text is a page, or mostly the markup of one."""
    if "<" not in text or "```" in text:
        return False
    if _SIGNS.search(text, 0, 2000):
        return True
    marked = sum(len(tag) for tag in _TAGS.findall(text))
    return text.lstrip()[:1] == "<" and marked > _MOST_MARKUP * len(text)


def as_text(text: str) -> str:
    """Return what a page says, in Markdown's signs; whatever is no proper HTML is read as browsers would."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return _BLANKS.sub("\n\n", "".join(reader.said)).strip()


class _Reader(HTMLParser):
    """Collects what is seen; inside of ``pre`` every space counts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self._skipping: list[str] = []
        self._pre = 0
        self._lists: list[int | None] = []
        self._links: list[tuple[str, int]] = []
        self._cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        if self._skipping:
            if tag == self._skipping[-1]:
                self._skipping.append(tag)
            return
        if tag in _SKIPPED:
            self._skipping.append(tag)
            return
        begin = getattr(self, f"_begin_{_ALIKE.get(tag, tag)}", None)
        if begin is not None:
            begin({name: value or "" for name, value in attrs})
        elif tag in _HEADINGS:
            self.said.append(f"\n\n{'#' * _HEADINGS[tag]} ")
        elif tag in _BLOCKS:
            self.said.append("\n\n")

    def _begin_br(self, _: object) -> None:
        self.said.append("\n")

    def _begin_pre(self, _: object) -> None:
        self._pre += 1
        self.said.append("\n\n```\n")

    def _begin_ul(self, _: object) -> None:
        self._lists.append(None)

    def _begin_ol(self, _: object) -> None:
        self._lists.append(0)

    def _begin_tr(self, _: object) -> None:
        self._cells = 0
        self.said.append("\n")

    def _begin_td(self, _: object) -> None:
        self.said.append(" | " if self._cells else "")
        self._cells += 1

    def _begin_a(self, given: dict[str, str]) -> None:
        self._links.append((given.get("href", ""), len(self.said)))

    def _begin_img(self, given: dict[str, str]) -> None:
        if given.get("alt"):
            self.said.append(f"[image: {given['alt']}]")

    def _begin_li(self, _: object) -> None:
        depth = "  " * (len(self._lists) - 1)
        if self._lists and self._lists[-1] is not None:
            self._lists[-1] += 1
            self.said.append(f"\n{depth}{self._lists[-1]}. ")
        else:
            self.said.append(f"\n{depth}- ")

    def handle_endtag(self, tag: str) -> None:
        """End an element."""
        if self._skipping:
            if tag == self._skipping[-1]:
                self._skipping.pop()
            return
        if tag == "pre" and self._pre:
            self._pre -= 1
            self.said.append("\n```\n\n")
        elif tag in {"ul", "ol"} and self._lists:
            self._lists.pop()
            self.said.append("" if self._lists else "\n\n")
        elif tag == "a" and self._links:
            self._link(*self._links.pop())
        elif tag in _HEADINGS or tag in _BLOCKS:
            self.said.append("\n\n")

    def handle_data(self, data: str) -> None:
        """Take text."""
        if self._skipping:
            return
        if self._pre:
            self.said.append(data)
            return
        words = _SPACES.sub(" ", data)
        if self.said and self.said[-1].endswith((" ", "\n")):
            words = words.lstrip(" ")
        if words:
            self.said.append(words)

    def _link(self, address: str, begins: int) -> None:
        """Turn what was said since a link began into its text and address."""
        text = "".join(self.said[begins:]).strip()
        if not text or not address or address.startswith(("#", "javascript:")):
            return
        lead = " " if self.said[begins][:1] == " " else ""
        self.said[begins:] = [f"{lead}[{text}]({address})"]
