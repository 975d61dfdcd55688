"""The forms that ids and counters have in prompts, and the words, in several languages, that say what changes."""

from __future__ import annotations

import itertools
import re

__all__ = ["COUNTER", "EXAMPLE", "FIXED", "IDS", "LABELLED_ID", "LASTING", "LIMITED", "LIST_NUMBER", "NOW", "is_random"]


def _any(words: str) -> str:
    """Return a pattern for any of some words or phrases, which stand apart by bars."""
    return "(?:" + "|".join(word.strip().replace(" ", r"[\s_-]+") for word in words.split("|")) + ")"


def _words(words: str, unspaced: str = "(?!)") -> str:
    """Return a pattern for whole words; ``unspaced``: of languages that write no space between them."""
    return rf"(?:(?<![^\W\d_]){_any(words)}(?![^\W\d_])|{_any(unspaced)})"


# Before a time: that it is now, or that it is one for ever.
_NOW_WORDS = _words(
    "now | today(?:'s)? | current(?:ly)? | present | local | server | system | utc | at the moment | right now"
    "| it is | it's | generated | time(?:stamp)? | date(?: and time)? | datetime | current\\w*"
    "| last (?:updated?|refreshed|synced|seen|login) | updated | started | retrieved | rendered | captured | sent"
    "| received | asked | logged in"
    "| heute | jetzt | aktuell\\w* | uhrzeit | es ist | derzeit | datum"
    "| aujourd'hui | actuel\\w* | nous sommes | il est | date du jour | heure"
    "| hoy | ahora | actual | fecha | hora | es el | oggi | adesso | attuale | ora | ore | hoje | agora | atual"
    "| vandaag | nu | huidige | het is | idag | dagens | aktuellt | klockan | i dag"
    "| dziś | dzisiaj | dzisiejsza | teraz | obecn\\w* | dnes | nyní"
    "| сегодня | сейчас | текущ\\w+ | время | bugün\\w* | şu an(?:ki)? | şimdi",
    "今天|今日|现在|現在|当前|当前时间|時刻|本日|오늘|지금|현재",
)
_FIXED_WORDS = _words(
    "cut-?off | released? | since | born | founded | effective | version | published | copyright | until | before"
    "| after | between | from | examples? | sample | e\\.g\\. | such as | for instance | like | format | every | each"
    "| daily | weekly | opens? | closes? | hours? | schedule | in force | valid | enacted | dated | deadline | due"
    "| expires? | ends on | revision | z\\.\\s?b\\. | beispiel\\w* | seit | gültig | ab dem | bis zum | exemple"
    "| depuis | ejemplo | desde | esempio | exemplo | voorbeeld | przykład\\w* | например | örnek",
    "例えば|例如|以来",
)
NOW = re.compile(rf"{_NOW_WORDS}[^\n]{{0,30}}$", re.IGNORECASE)
FIXED = re.compile(rf"{_FIXED_WORDS}[^\n]{{0,40}}$", re.IGNORECASE)
# In a line that begins as an example does, all of it is one.
EXAMPLE = re.compile(
    r"\W*(?:examples?|samples?|input|output|q|beispiel|exemple|ejemplo|esempio|exemplo)\b[^\n:]{0,20}:", re.IGNORECASE
)
# Before an id: that it names a thing which stays the same, however random it looks.
LASTING = re.compile(
    rf"{_words('tenant | workspace | project | organi[sz]ation | team | account | assistant | agent | model | index')}"
    rf"[^\n]{{0,40}}$"
    rf"|{_words('collection | template | catalog | database | bucket | resource | tool | folder | file | document')}"
    rf"[^\n]{{0,40}}$"
    r"|(?:sha\d*|md5|digest|checksum|commit|revision|rev|hash|uses)\b[^\n]{0,60}$|@$",
    re.IGNORECASE,
)

_PREFIXES = (
    "req|sess|session|trace|span|run|msg|conv|thread|call|chat|txn|job|nonce|corr|cid|sid|rid|usr|user|ticket|order"
)
IDS = (
    re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"),
    # A W3C traceparent.
    re.compile(r"\b[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\b"),
    re.compile(rf"\b(?:{_PREFIXES}|inv)[_-](?=[A-Za-z0-9]*\d)[A-Za-z0-9]{{6,}}\b"),
    re.compile(
        r"(?<![\w/.+-])(?=[a-z]*\d)(?=\d*[a-z])(?:[0-9a-f]{16,64})(?![\w/.+-])|\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b",
        re.ASCII,
    ),
    re.compile(r"(?<![\w/.+@#-])(?=\S*\d)(?=\S*[A-Z])(?=\S*[a-z])[\w-]{16,64}={0,2}(?![\w/.+-])", re.ASCII),
)
_RANDOM = 4  # The last of the forms is one of chance, which ``is_random`` decides.
_ID_WORDS = _words(
    "request | session | trace | correlation | conversation | thread | run | user | customer | visitor | device"
    "| message | transaction | job | build | nonce | seed | salt | token | ticket | order | chat | call | instance"
    "| span | csrf | ref(?:erence)? | interaction | turn | query | event | exchange | parent | cache buster"
    "| anfrage | sitzung\\w* | gespräch\\w* | vorgang\\w* | requête | demande | solicitud | petición | sesión"
    "| richiesta | sessione | conversazione | conversation | requisição | sessão | conversa | verzoek | sessie"
    "| zapytani\\w+ | sesj\\w+ | запрос\\w* | сесси\\w+ | диалог\\w* | istek | oturum | begäran",
    "会话|對話|会話|请求|請求|リクエスト|セッション|요청|세션|대화",
)
_OPAQUE = r"(?=[\w.+/=-]*\d)[\w.+/=-]{4,}"
LABELLED_ID = re.compile(
    rf"{_ID_WORDS}[\s_-]*(?:id|no|number|key|token|code|hash|nonce|handle|kennung|nummer)?"
    r"(?:\s+(?:for|of)\s+(?:this|the\s+current)\s+\w+)?\s*"
    rf"(?:(?:[\"']?\s*[:=#]|\bis\b)\s*[\"'`#]?(?P<id>{_OPAQUE})"
    # Without a sign between them only what no word looks like.
    r"|\s+(?P<bare>(?=[\w-]*\d[\w-]*\d)(?=[\w-]*[a-z])[0-9a-f]{6,}(?:-[0-9a-f]{4,})*)(?![\w-]))",
    re.IGNORECASE,
)

_COUNTED = _words(
    "turn | attempt | iteration | retry | round | message | request | query | call | visit | sequence | seq | counter"
    "| count | tick | uptime | step | page view | invocation | nachricht | anfrage | versuch | runde | schritt"
    "| tour | essai | requête | mensaje | solicitud | intento | turno | messaggio | richiesta | tentativo | mensagem"
    "| tentativa | bericht | poging | beurt | wiadomość | próba | сообщение | запрос | попытка | ход | mesaj | deneme"
)
_THINGS = _words(
    "messages? | turns? | requests? | tokens? | credits? | calls? | queries | questions? | answers? | attempts? | tries"
    "| seconds? | minutes? | hours? | items? | users? | people | iterations? | steps?"
    "| notifications? | tasks? | tickets? | emails? | alerts?"
    "| nachrichten | anfragen | versuche | fragen | messages | requêtes | essais | mensajes | solicitudes | intentos"
    "| messaggi | richieste | tentativi | mensagens | tentativas | berichten | verzoeken | wiadomości | zapytań | prób"
    "| сообщени\\w+ | запрос\\w+ | попыт\\w+ | mesaj | istek | hak"
)
_LEFT = _words(
    "left | remaining | so far | used | ago | online | waiting | elapsed | until now | in the queue | already | unread"
    "| today | this session | this conversation | since the last \\w+ | übrig | verbleibend\\w* | bisher | heute"
    "| ungelesen\\w* | restant\\w* | restent | non lus? | déjà | restantes? | quedan | sin leer | hasta ahora"
    "| rimanent\\w* | rimast\\w* | non lett\\w | restantes | resterende | over | pozostał\\w* | осталось | оставши\\w+"
    "| kalan | återstående"
)
_UNDONE = _words(
    "unread | pending | open(?! source) | queued | unanswered | unresolved | overdue | active | ungelesene"
    "| offene | sin leer"
)
_GAUGES = _words(
    "remaining | left | used | elapsed | online | balance | queue length | queue position | position in the queue"
    "| load | cpu | memory | budget left | remaining budget | budget remaining | retry count"
    "| seconds since(?: \\w+){1,4} | minutes since(?: \\w+){1,4} | guthaben | solde | saldo | restant"
)
_HERE = (
    r"(?:this|current|now|present|dies|diesem?|aktuelle|ceci|ce|cet|cette|actuel|este|esta|actual|questo|questa|attuale"
    r"|deze|dit|huidige|to|это|текущ\w+|bu)"
)
_NUMBER = r"#?\d[\d,.\u202f ]*\d|#?\d+"
COUNTER = re.compile(
    rf"{_COUNTED}(?:s?\s+(?:number|count|counter|no\.?|id|nr\.?|numéro))?\s*(?:[:=#]|\bis\b|\bnumber\b)\s*[\"'#]?\d+\b"
    r"(?!\s*[-.)]\s|\s*%)"
    r"|\b(?:turn|attempt|iteration|retry|round|message|step|request|call)\s+\d+\s*(?:of|/)\s*\d+"
    # "This is message 7 of the conversation", "C'est votre 7e tour", "Número de mensaje: 7".
    rf"|\b{_HERE}\s+(?:\w+\s+){{0,2}}{_COUNTED}\s+(?:number|no\.?|nr\.?|#|n[º°o]\.?)?\s*\d+\b"
    rf"|\b{_HERE}\s+(?:\w+\s+){{0,2}}\d+(?:st|nd|rd|th|e|ème|º|ª|\.)?\s+{_COUNTED}"
    rf"|{_COUNTED}\s+\d+\s+(?:of|in)\s+(?:this|the)(?:\s+current)?\s+(?:conversation|session|run|chat|dialogue|loop)"
    rf"|\b(?:number|n[úu]mero|nummer|numéro|numer|номер)\s+(?:of\s+|de\s+|del\s+|di\s+)?{_COUNTED}\w*\s*[:=]\s*\d+"
    r"|第\s*\d+\s*(?:轮|輪|回|条|條|次|ターン)"
    r"|^\W*(?:turn|attempt|iteration|retry)\s+\d+\b"
    # "12 requests left", "12 unread messages", "Requests remaining today: 12", "Verbleibende Anfragen: 12".
    rf"|\b\d[\d,]*\s+(?:of\s+\d[\d,]*\s+)?(?:\w+\s+){{0,2}}{_THINGS}(?:\(s\))?\s+{_LEFT}|\b\d[\d,]*\s+{_UNDONE}\s+\w+"
    rf"|{_THINGS}(?:\s+\w+){{0,2}}\s+{_LEFT}(?:\s+\w+){{0,2}}\s*[:=]\s*\d[\d,.]*"
    rf"|{_LEFT}\s+(?:\w+\s+)?{_THINGS}\s*[:=]\s*\d[\d,.]*|{_THINGS}\s+{_LEFT}(?:\s+\w+){{0,3}}\s*[:=]\s*\d[\d,.]*"
    rf"|{_GAUGES}\s*[:=]\s*\$?\d[\d.,]*|\b(?:elapsed|remaining)\s+\d[\d.,]*\s?(?:m|min|s|sec|h|hours?|ms)\b"
    rf"|\byou(?:\s+are|'re)\s+(?:now\s+)?(?:on|at|in)\s+{_COUNTED}\s+\d+",
    re.IGNORECASE,
)
# Words by which a number is a rule and no count: of each, at most, if there are so many.
LIMITED = re.compile(
    _words(
        "at most | at least | max(?:imum)? | up to | per | may | must | should | can | each | every | if | when | once"
        "| whenever | limits? | allowed | never | höchstens | maximal | pro | wenn | darf | maximum | si | máximo"
    ),
    re.IGNORECASE,
)
LIST_NUMBER = re.compile(r"^\s*(?:[-*#]\s*)?(?:step|rule|example|part|section|phase)\s+\d+\b(?!\s+of\b)", re.IGNORECASE)
_FEWEST_SWITCHES, _FEWEST_DIGITS = 6, 3


def is_random(form: int, token: str) -> bool:
    """Return whether what has one of the forms of ``IDS``, by its number, is chance: so many changes no word has."""
    if form != _RANDOM:
        return True
    kinds = ["d" if sign.isdigit() else "u" if sign.isupper() else "l" for sign in token if sign.isalnum()]
    switches = sum(one != other for one, other in itertools.pairwise(kinds))
    return (
        kinds.count("d") >= _FEWEST_DIGITS - 1 and "u" in kinds and switches >= max(_FEWEST_SWITCHES, len(kinds) // 3)
    )
