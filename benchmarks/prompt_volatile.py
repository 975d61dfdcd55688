"""How well volatile lines of prompts are told from stable ones, on forms written without a look at the detector.

    python benchmarks/prompt_volatile.py [--json] [--rows 2400] [--seed 7] [--half a|b|c|all] [--data FOLDER]

`prompt_volatile_forms.txt` holds lines as applications write them, in many languages and styles; their dates, ids and
counters are drawn here. Part a is for mending the detector, part b for the score, and part c has what public
repositories write, looked up afterwards. Stable lines are drawn from their own forms and, where the folder of data is
there, taken from real prompts and passages.

found: the share of volatile lines that are suspected in a prompt seen once; of the two requests, the share whose line
is blamed when the next request has another value. false: the share of stable lines suspected.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import re
import string
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmsaver.prompt.volatile import changed, suspects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMS = Path(__file__).with_name("prompt_volatile_forms.txt")
FIELD = re.compile(r"\{([a-z]+\w*)\}", re.IGNORECASE)
COMPANIES = ("Acme", "Northwind", "Kestrel Bank", "Ubu Travel", "Hanseatic Freight")
MODELS = ("gpt-4o-2024-08-06", "claude-sonnet-4-20250514", "gemini-2.5-pro", "llama-3.1-70b-instruct", "o3-2025-04-16")
ZONES = ("UTC", "GMT+2", "CET", "America/New_York", "Asia/Tokyo")
# Names of Monday to Sunday and of January to December, by language.
DAYS = {
    "": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "de_": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
    "fr_": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "es_": "lunes martes miércoles jueves viernes sábado domingo",
    "it_": "lunedì martedì mercoledì giovedì venerdì sabato domenica",
    "pt_": "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
    "zh_": "星期一 星期二 星期三 星期四 星期五 星期六 星期日",
}
MONTHS = {
    "": "January February March April May June July August September October November December",
    "de_": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr_": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es_": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it_": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "pt_": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "nl_": "januari februari maart april mei juni juli augustus september oktober november december",
    "pl_": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "sv_": "januari februari mars april maj juni juli augusti september oktober november december",
    "ru_": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "tr_": "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık",  # noqa: RUF001 - Turkish
}
LONG = {"de_": "{d}. {m} {y}", "es_": "{d} de {m} de {y}", "pt_": "{d} de {m} de {y}", "ru_": "{d} {m} {y} г."}  # noqa: RUF001 - Russian


def dates(rng: random.Random, when: datetime) -> dict[str, str]:
    """Return a moment in every form the lines use."""
    day, month, year = when.day, when.month, when.year
    told = {
        "iso": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "isoms": when.isoformat(),
        "day": when.strftime("%Y-%m-%d"),
        "month": when.strftime("%Y-%m"),
        "month_long": f"{MONTHS[''].split()[month - 1]} {year}",
        "stamp": when.strftime("%Y-%m-%d %H:%M:%S"),
        "clock": when.strftime("%H:%M"),
        "secs": when.strftime("%H:%M:%S"),
        "clock12": when.strftime("%I:%M %p").lstrip("0"),
        "us": f"{month}/{day}/{year}",
        "slashes": when.strftime("%d/%m/%Y"),
        "dashes": when.strftime("%d-%m-%Y"),
        "tostring": when.strftime("%a %b %d %Y"),
        "dots": when.strftime("%d.%m.%Y"),
        "compact": when.strftime("%Y%m%d"),
        "compacttime": when.strftime("%Y%m%dT%H%M%SZ"),
        "epoch": str(int(when.timestamp())),
        "epochms": str(int(when.timestamp() * 1000)),
        "rfc": when.strftime("%a, %d %b %Y %H:%M:%S +0000"),
        "ctime": when.strftime("%a %b %d %H:%M:%S %Y"),
        "longuk": f"{day} {MONTHS[''].split()[month - 1]} {year}",
        "long": f"{MONTHS[''].split()[month - 1]} {day}, {year}",
        "ja": f"{year}年{month}月{day}日",
        "ko": f"{year}년 {month}월 {day}일",
        "year": str(year),
        "week": str(when.isocalendar().week),
        "tz": rng.choice(ZONES),
    }
    told |= {f"{name}weekday": words.split()[when.weekday()] for name, words in DAYS.items()}
    told |= {
        f"{name}long": LONG.get(name, "{d} {m} {y}").format(d=day, m=words.split()[month - 1], y=year)
        for name, words in MONTHS.items()
        if name
    }
    return told


def values(rng: random.Random, now: datetime) -> dict[str, str]:
    """Return one draw of every field: the moment, ids and numbers of this request, dates that are not of it."""
    letters = string.ascii_letters + string.digits

    def code(count: int, alphabet: str = "0123456789abcdef") -> str:
        return "".join(rng.choices(alphabet, k=count))

    def one_uuid() -> str:
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))

    told = dates(rng, now)
    past = now - timedelta(days=rng.uniform(0, 365 * 12), seconds=rng.uniform(0, 86_400))
    told |= {f"past_{name}": value for name, value in dates(rng, past).items()}
    told |= {f"event_{name}": value for name, value in dates(rng, now + timedelta(days=rng.uniform(5, 300))).items()}
    told |= {"past_year2": str(past.year + rng.randrange(1, 4))}
    told |= {
        "uuid": one_uuid(),
        "UUID": one_uuid().upper(),
        "fixed_uuid": one_uuid(),
        "hex16b": code(16),
        "hex6b": code(6),
        "ulid": "01" + code(24, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"),
        "b62": code(24, letters),
        "b64": code(22, letters + "+/") + "==",
        "nano": code(21, letters + "_-"),
        "snowflake": str(rng.randrange(10**17, 10**19)),
        "traceparent": f"00-{code(32)}-{code(16)}-01",
        "n": str(rng.randrange(1, 60)),
        "m": str(rng.randrange(2, 10)),
        "N": str(rng.randrange(61, 9_000)),
        "M": str(rng.choice((10_000, 50_000, 128_000))),
        "usd": f"{rng.uniform(1, 90):.2f}",
        "usd2": f"{rng.uniform(100, 990):.2f}",
        "version": f"{rng.randrange(0, 9)}.{rng.randrange(0, 30)}.{rng.randrange(0, 9)}",
        "company": rng.choice(COMPANIES),
        "model": rng.choice(MODELS),
        "phone": f"+{rng.randrange(1, 99)} {rng.randrange(100, 999)} 555 {rng.randrange(1000, 9999)}",
        "section": f"{rng.randrange(1, 20)}.{rng.randrange(1, 9)}",
        "zip": str(rng.randrange(10_000, 99_999)),
        "http": rng.choice(("404", "409", "429", "500", "503")),
        "port": str(rng.randrange(1024, 65_000)),
    }
    told |= {f"hex{count}": code(count) for count in (4, 6, 8, 12, 16, 24, 32)}
    told |= {f"fixed_hex{count}": code(count) for count in (16, 32, 40, 64)}
    return told | {f"num{count}": str(rng.randrange(10 ** (count - 1), 10**count)) for count in (3, 4, 5, 6)}


def forms(half: str) -> Iterator[tuple[str, str]]:
    """Yield (what, template) of one half of the file, or of both."""
    for line in FORMS.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            of, what, template = line.split("|", 2)
            if half in (of, "all"):
                yield what, template


def filled(template: str, drawn: dict[str, str]) -> str:
    """Return the template with its fields filled; what is no field stays as it is."""
    return FIELD.sub(lambda match: drawn.get(match[1], match[0]), template)


def moment(rng: random.Random) -> datetime:
    """Return a moment of these years."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.uniform(0, 3 * 365 * 86_400))


def real_lines(folder: Path) -> list[str]:
    """Return lines of real prompts, passages and questions; none where the folder is not there."""
    found: list[str] = []
    for path in sorted(folder.glob("agent_trajectory_*.json.gz")):
        told = json.loads(gzip.decompress(path.read_bytes()))
        turns = told.get("history") or told["trajectory"][0].get("messages", [])
        first = [turn["content"] for turn in turns if turn["role"] in ("system", "user")][:2]
        found += [line for text in first if isinstance(text, str) for line in text.splitlines()]
    for path in sorted(folder.glob("compress_hotpotqa.json.gz")):
        rows = json.loads(gzip.decompress(path.read_bytes()))
        found += [sentence.strip() for row in rows for _, sentences in row["context"] for sentence in sentences]
    for path in sorted(folder.glob("router_mmlu.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            found += [line for row in csv.DictReader(file) for line in row["prompt"].splitlines()]
    for path in sorted(folder.glob("tools_bfcl_live_multiple.json.gz")):
        found += re.findall(r'"description": "([^"]{20,300})"', gzip.decompress(path.read_bytes()).decode())
    return sorted({line for line in found if line.strip()})


def in_prompt(rng: random.Random, line: str, around: Sequence[str]) -> tuple[str, int]:
    """Return a prompt with the line among others, and the line's number from 1."""
    others = rng.sample(around, k=min(6, len(around)))
    at = rng.randrange(len(others) + 1)
    return "\n".join([*others[:at], line, *others[at:]]), at + 1


def volatile_rows(rng: random.Random, half: str, count: int, around: Sequence[str]) -> dict[str, Any]:
    """Return what was found of `count` volatile lines, seen once and seen twice, and the forms missed."""
    templates = [(what, template) for what, template in forms(half) if what != "stable"]
    once = twice = 0
    missed: Counter[str] = Counter()
    for index in range(count):
        what, template = templates[index % len(templates)]
        now = moment(rng)
        line = next_line = filled(template, values(rng, now))
        while next_line == line:
            next_line = filled(template, values(rng, now + timedelta(seconds=rng.uniform(90_000, 4_000_000))))
        prompt, number = in_prompt(rng, line, around)
        one = any(place.line == number for place in suspects(prompt, now))
        once += one
        blamed = changed(prompt, prompt.replace(line, next_line))
        twice += blamed is not None and blamed.line == number
        if not one:
            missed[f"{what}: {template}"] += 1
    return {"rows": count, "forms": len(templates), "once": once, "twice": twice, "missed": missed}


def stable_rows(rng: random.Random, half: str, count: int, real: Sequence[str]) -> dict[str, Any]:
    """Return how many of `count` stable lines are suspected, half of them real where there are any."""
    templates = [template for what, template in forms(half) if what == "stable"]
    wrong: Counter[str] = Counter()
    from_real = (count // 2 if templates else count) if real else 0
    rows = count if templates else from_real
    for index in range(rows):
        template = "" if index < from_real else templates[index % len(templates)]
        now = moment(rng)
        line = filled(template, values(rng, now)) if template else rng.choice(real)
        if suspects(line, now):
            wrong[template or f"real: {line[:160]}"] += 1
    return {"rows": max(1, rows), "real": from_real, "forms": len(templates), "false": wrong.total(), "wrong": wrong}


def measured(half: str, rows: int, seed: int, folder: Path) -> dict[str, Any]:
    """Return the figures of one half; twice as many stable lines as volatile ones, and 5,000 at least with 2,400."""
    rng = random.Random(seed)  # noqa: S311 - a fixed row of lines, not a secret
    real = real_lines(folder)
    plain = [template for _, template in forms("all") if not FIELD.search(template)]
    found = volatile_rows(rng, half, rows, plain)
    wrong = stable_rows(rng, half, rows * 25 // 12 + 100, real)
    return {
        "half": half,
        "volatile_lines": found["rows"],
        "volatile_forms": found["forms"],
        "found_once": round(found["once"] / found["rows"], 4),
        "found_twice": round(found["twice"] / found["rows"], 4),
        "stable_lines": wrong["rows"],
        "stable_forms": wrong["forms"],
        "stable_real": wrong["real"],
        "false": round(wrong["false"] / wrong["rows"], 4),
        "missed": dict(found["missed"].most_common(30)),
        "wrong": dict(wrong["wrong"].most_common(40)),
    }


def main() -> None:
    """Print the figures of the halves asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rows", type=int, default=2_400, help="volatile lines of each half")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--half", choices=("a", "b", "c", "all"), default="b", help="b is the score")
    parser.add_argument("--data", type=Path, help="a folder with the data (default: LLMSAVER_DATA)")
    given = parser.parse_args()
    folder = given.data or Path(os.environ.get("LLMSAVER_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
    told = measured(given.half, given.rows, given.seed, folder)
    if given.json:
        print(json.dumps(told, ensure_ascii=False))
        return
    for name, value in told.items():
        print(f"{name:16}", json.dumps(value, ensure_ascii=False, indent=2) if isinstance(value, dict) else value)


if __name__ == "__main__":
    main()
