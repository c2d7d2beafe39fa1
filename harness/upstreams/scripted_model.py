"""What does the stand-in for the model say? It asks for tools by what was said, reads results, talks in persona.

Pure and seeded: the same ask gives the same thought. It asks only for tools that are really offered.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from harness.upstreams.chance import choice
from harness.upstreams.exchange import decoded, without_marks
from harness.upstreams.language import Language, language_of
from harness.upstreams.phrase import Phrase, kept_for_instructions, kept_for_short_texts
from harness.upstreams.thought import Ask, Thought, ToolResult, WantedTool
from harness.upstreams.tool_arguments import arguments_for
from harness.upstreams.wishes import ABOUT_A_TOOL, Kind, kinds_asked

# How a tool is recognised, by its name first, then by its description; the order decides where two match.
_TOOL: dict[Kind, re.Pattern[str]] = {
    "emotion": re.compile(r"emotion|sentiment|feeling|感情|감정", re.I),
    "calculate": re.compile(r"calc|math|arithmetic|計算|계산", re.I),
    "weather": re.compile(r"weather|forecast|天気|날씨", re.I),
    "fortune": re.compile(r"fortune|horoscope|luck|占い|運勢|운세", re.I),
    "news": re.compile(r"news|headline|ニュース|뉴스", re.I),
    "time": re.compile(r"(?:^|_|\b)(?:time|clock|now)(?:$|_|\b)|datetime|時刻|時間|시간|시각", re.I),
}

_WHAT_DID_I_SAY = Phrase(
    ("さっき", "今", "前に", "방금", "what did i", "what i"),
    r"(?:さっき|今|前に|直前に).{0,6}(?:何|なん)(?:て|と)|(?:さっき|前に).{0,12}言った|방금.{0,8}(?:뭐라고|말)"
    r"|\bwhat did i (?:just )?(?:say|tell)|\bwhat i (?:just )?(?:said|told)",
)


# What people tell about themselves and ask for later: (how it is asked for, how it was told).
_FACTS: tuple[tuple[Phrase, Phrase], ...] = (
    (
        Phrase(
            ("名前", "이름", "my name"),
            r"(?:私|僕|俺)?の?名前(?:は何|は[?？]|を覚え|わかる|って何)|(?:내|제) 이름.{0,6}(?:뭐|기억)"
            r"|\bwhat(?:'s| is) my name",
        ),
        Phrase(
            ("名前は", "と申します", "といいます", "이름은", "my name is"),
            r"名前は([^、。！!\s]{1,20}?)(?:です|だよ|といいます|。|、|！|!|$)|([^、。！!\s]{1,20}?)(?:と申します|といいます)"
            r"|(?:제|내) 이름은 ([^\s.,!]{1,20}?)(?:입니다|이에요|예요|야|[.,!]|$)"
            r"|\bmy name is ([^.,!?\n]{1,30}?)(?:[.,!?]| and\b|$)",
        ),
    ),
    (
        Phrase(
            ("合言葉", "암호", "password", "code word", "codeword"),
            r"合言葉(?:は何|を覚え|って何|は？)|암호.{0,6}(?:뭐|기억)"
            r"|\bwhat(?:'s| is| was) (?:the|my) (?:password|code ?word)",
        ),
        Phrase(
            ("合言葉は", "암호는", "password is", "code word is", "codeword is"),
            r"合言葉は「?([^、。！!」\s]{1,20}?)」?(?:です|だよ|ね|。|、|！|!|$)"
            r"|암호는 ([^\s.,!]{1,20}?)(?:입니다|이에요|예요|[.,!]|$)"
            r"|\b(?:password|code ?word) is ([^.,!?\n]{1,30}?)(?:[.,!?]|$)",
        ),
    ),
)


def kind_of(tool: dict[str, Any]) -> Kind | None:
    """Return what an offered tool is for, None where the model does not know its like."""
    return _kind_in(str(tool.get("name", ""))) or _kind_in(str(tool.get("description") or ""))


# The same few tools and instructions come with every call.
@kept_for_instructions
def _kind_in(source: str) -> Kind | None:
    return next((kind for kind, pattern in _TOOL.items() if pattern.search(source)), None)


def think(ask: Ask) -> Thought:
    """Return what the model comes up with: tools as long as what was asked for has no result, then words."""
    wanted = _tools_wanted(ask) if ask.tools else ()
    if wanted:
        return Thought(tool_calls=wanted)
    return Thought(text=in_persona(_words(ask), ask.instructions))


def _tools_wanted(ask: Ask) -> tuple[WantedTool, ...]:
    if not ask.tools or ask.tool_choice == "none" or ask.results:
        return ()
    if ask.tool_choice not in ("auto", "required"):
        return (ask.call_of(ask.tool_choice),) if ask.tool_choice in ask.tool_names else ()
    offered: dict[Kind, dict[str, Any]] = {}
    for tool in ask.tools:
        kind = kind_of(tool)
        if kind is not None:
            offered.setdefault(kind, tool)
    asked = [offered[kind] for kind in kinds_asked(ask.said) if kind in offered]
    if not asked:
        asked = [
            tool
            for tool in ask.tools
            if kind_of(tool) is None and not ABOUT_A_TOOL.search(ask.said) and _is_named(tool["name"], ask.said)
        ]
    if not asked and ask.tool_choice == "required":
        asked = [ask.tools[0]]
    return tuple(WantedTool(tool["name"], arguments_for(tool, ask)) for tool in asked)


@kept_for_short_texts
def _words_of(name: str) -> tuple[str, ...]:
    """Return the words of a tool's name: `lookupOrder` and `lookup_order` have two."""
    return tuple(word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_A-Za-z]+", name))


def _is_named(name: str, message: str) -> bool:
    """Return whether a message asks for a team's own tool: "please use book_table", or "book me a table".

    By words it has to have all of them, and at least two.
    """
    if re.search(rf"\b{re.escape(name)}\b", message):
        return True
    words, said = _words_of(name), " ".join(re.findall(r"\w+", message.casefold()))
    return len(words) > 1 and all(re.search(rf"\b{re.escape(word)}s?\b", said) for word in words)


# --- words ---------------------------------------------------------------------------------------------------------

_LANGUAGE_ORDERED: tuple[tuple[Language | None, re.Pattern[str]], ...] = (
    (
        None,
        re.compile(
            r"(?:ユーザー?|相手|話しかけられた|同じ)の?(?:使う)?(?:言語|言葉)|사용자의? 언어|같은 언어"
            r"|(?:same language|user'?s (?:own )?language|language of the user)",
            re.I,
        ),
    ),
    ("ja", re.compile(r"日本語で|日本語のみ|일본어로|\bin japanese\b|\bjapanese only\b", re.I)),
    ("ko", re.compile(r"韓国語で|한국어로|\bin korean\b", re.I)),
    ("en", re.compile(r"英語で|영어로|\bin english\b", re.I)),
)
_LIMIT = re.compile(r"(\d{1,4})\s*(?:文字|字|자\s|글자|characters?)")
_ENDING = re.compile(
    r"(?:語尾|文末)(?:は|に|を|には)?(?:必ず|いつも)?[「『\"]([^」』\"]{1,12})[」』\"]"
    r"|\bend (?:every|each|all)(?: of)?(?: your)? (?:sentence|answer|reply|message)s? with ['\"“]([^'\"”]{1,12})['\"”]"
    r"|(?:말|문장)\s?끝(?:마다|에|에는)?\s?['\"“‘「]([^'\"”’」]{1,12})['\"”’」]",
    re.I,
)
_SPEAKABLE = re.compile(r"[^\w\s、。！？!?,.'’ー〜~：:%°+\-*/=()「」]")


_LANGUAGE_NAMES: tuple[tuple[Language, str, str, str], ...] = (
    ("ja", "日本語", "일본어", "japanese"),
    ("ko", "韓国語", "한국어", "korean"),
    ("en", "英語", "영어", "english"),
)
# How somebody who is talking asks for another language; to be about a language is not to ask for it.
_LANGUAGE_WISHED: tuple[tuple[Language, Phrase], ...] = tuple(
    (
        language,
        Phrase(
            (ja, ko, en),
            rf"{ja}で(?:話|しゃべ|答え|返事|お願い)|{ko}로\s*(?:말|대답|답|얘기|이야기)"
            rf"|\b(?:speak|talk|answer|reply|respond|write)(?: to me)?(?: only)?(?: in)? {en}\b|\bin {en},? please\b",
        ),
    )
    for language, ja, ko, en in _LANGUAGE_NAMES
)


def language_of_reply(message: str, instructions: str, earlier: tuple[str, ...] = ()) -> Language:
    """Return the language to answer in.

    Args:
        message: the latest of the user.
        instructions: what they say last about the language counts before all else.
        earlier: what the user said before; the latest wish for a language counts, else the message's own.
    """
    return _language_of_reply(_said(without_marks(message).strip()), instructions, earlier)


def _language_of_reply(said: _Said, instructions: str, earlier: tuple[str, ...]) -> Language:
    language = _language_ordered(instructions) or said.language_wished
    for text in reversed(earlier):
        language = language or _said(without_marks(text).strip()).language_wished
    return language or said.language


def _language_wished(plain: str) -> Language | None:
    return next((language for language, phrase in _LANGUAGE_WISHED if phrase.search(plain)), None)


@kept_for_instructions
def _language_ordered(instructions: str) -> Language | None:
    last: tuple[int, Language | None] = (-1, None)
    for language, pattern in _LANGUAGE_ORDERED:
        for found in pattern.finditer(instructions):
            if found.start() > last[0]:
                last = (found.start(), language)
    return last[1]


def in_persona(words: str, instructions: str) -> str:
    """Return words as the persona of the instructions says them: shortened to its limit, ending as it ends.

    Args:
        words: a sentence or more.
        instructions: what the assistant was told; a limit is read as "40文字" or "40 characters", an ending as
            語尾は「だワン」, 'End every sentence with "Arr"', 말끝에 "냥"을; the cat as にゃん, wherever that stands.
    """
    ending, limit = _persona(instructions)
    body = words.rstrip("。.!！ ") if ending else words
    if body.endswith(ending):
        ending = ""
    if limit is not None and len(body) + len(ending) > limit:
        body = body[: max(limit - len(ending), 0)].rstrip("、。,. ")
    return body + ending


@kept_for_instructions
def _persona(instructions: str) -> tuple[str, int | None]:
    """Return how answers end, and how many characters they may have."""
    limit = _LIMIT.search(instructions)
    told = _ENDING.search(instructions)
    ending = next((group for group in told.groups() if group), "") if told else ""
    if "にゃん" in instructions:
        ending = "にゃん"
    elif ending[:1].isascii() and ending:
        ending = f", {ending}"
    return ending, int(limit.group(1)) if limit else None


def _words(ask: Ask) -> str:
    said = _said(without_marks(ask.said).strip())
    earlier: tuple[str, ...] = ()
    if len(ask.messages) > 1:
        earlier = tuple([message.text for message in ask.messages if message.role == "user"])[:-1]
    language = _language_of_reply(said, ask.instructions, earlier)
    if ask.results:
        return _SENTENCE_END[language].join(_of_result(result, language) for result in ask.results)
    remembered = _remembered(ask, said) if said.facts_asked else None
    if remembered is not None:
        return _YOUR_WORD[language].format(remembered)
    if said.asks_what_was_said:
        if not earlier:
            return _NOTHING_SAID[language]
        return _YOU_SAID[language].format(_excerpt(earlier[-1], 60))
    return choice(_TALK[language], ask.seed, ask.subject, ask.ordinal).format(said.spoken[:14] or "…")


class _Said(msgspec.Struct, frozen=True):
    """What a message of the user comes to by itself."""

    language: Language
    language_wished: Language | None
    """The one that it asks for."""
    facts_asked: tuple[Phrase, ...]
    """How what is asked for was told, for each of the facts that it asks for."""
    asks_what_was_said: bool
    spoken: str
    """The letters of it that can be spoken."""


# A message comes again with every later turn of its conversation, and people say the same things.
@kept_for_short_texts
def _said(plain: str) -> _Said:
    return _Said(
        language=language_of(plain, otherwise="ja"),
        language_wished=_language_wished(plain),
        facts_asked=tuple(told for question, told in _FACTS if question.search(plain)),
        asks_what_was_said=_WHAT_DID_I_SAY.search(plain) is not None,
        spoken=_spoken(plain),
    )


def _remembered(ask: Ask, said: _Said) -> str | None:
    """Return what the user once said of their name or their password, where that is asked for and was said."""
    for told in said.facts_asked:
        for message in reversed(ask.messages[:-1]):
            found = told.search(without_marks(message.text)) if message.role == "user" else None
            if found:
                return next(group for group in found.groups() if group).strip()
    return None


def _spoken(plain: str) -> str:
    """Return the letters of a text that can be spoken."""
    return " ".join(_SPEAKABLE.sub(" ", plain).split())


def _excerpt(text: str, length: int) -> str:
    """Return the beginning of a text in letters that can be spoken."""
    return _spoken(without_marks(text))[:length] or "…"


_SENTENCE_END: dict[Language, str] = {"ja": "、", "ko": ", ", "en": "; "}
_TALK: dict[Language, tuple[str, ...]] = {
    "ja": (
        "「{}」なんだね、わかった",
        "「{}」か、それはいいね",
        "うんうん、「{}」だね",
        "「{}」って聞いてうれしい",
    ),
    "ko": ("“{}”라고요, 알겠어요", "“{}”, 그거 좋네요", "네, “{}” 잘 들었어요"),
    "en": ('You say "{}", I see', '"{}", that is good to hear', 'Yes, "{}", tell me more'),
}
_YOU_SAID: dict[Language, str] = {"ja": "「{}」と言ったよ", "ko": "“{}”라고 말했어요", "en": 'You said: "{}"'}
_YOUR_WORD: dict[Language, str] = {"ja": "{}だよね", "ko": "{}이라고 했죠", "en": "It is {}"}
_NOTHING_SAID: dict[Language, str] = {
    "ja": "まだ何も聞いていないよ",
    "ko": "아직 아무 말도 못 들었어요",
    "en": "You have not told me anything yet",
}
_KNOWN_RESULT: dict[Kind, dict[Language, str]] = {
    "time": {"ja": "今は{}", "ko": "지금은 {}", "en": "it is {}"},
    "weather": {"ja": "天気は{}", "ko": "날씨는 {}", "en": "the weather is {}"},
    "fortune": {"ja": "運勢は{}", "ko": "운세는 {}", "en": "your fortune is {}"},
    "news": {"ja": "ニュースは{}", "ko": "뉴스는 {}", "en": "the news: {}"},
    "emotion": {"ja": "感情は{}", "ko": "감정은 {}", "en": "the emotion is {}"},
    "calculate": {"ja": "答えは{}", "ko": "답은 {}", "en": "the answer is {}"},
}
_OTHER_RESULT: dict[Language, str] = {"ja": "結果は{}", "ko": "결과는 {}", "en": "the result is {}"}
_FAILED = re.compile(r"\berror\b|エラー|利用できません|失敗|오류|\bfailed\b|\bunavailable\b", re.I)
_UNKNOWN: dict[Language, str] = {"ja": "わからない", "ko": "알 수 없어요", "en": "not known right now"}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2})?")


def _of_result(result: ToolResult, language: Language) -> str:
    kind = kind_of({"name": result.name})
    frame = _KNOWN_RESULT[kind][language] if kind else _OTHER_RESULT[language]
    return frame.format(_gist(kind, result.output, language))


def _gist(kind: Kind | None, output: str, language: Language) -> str:
    """Return the few words of a tool's output that an answer repeats."""
    if _FAILED.search(output):
        return _UNKNOWN[language]
    clock = _CLOCK.search(output)
    if kind == "time" and clock:
        hour, minute = int(clock.group(1)), int(clock.group(2))
        return {"ja": f"{hour}時{minute}分", "ko": f"{hour}시 {minute}분", "en": f"{hour}:{minute:02}"}[language]
    try:
        document = decoded(output)
    except msgspec.DecodeError:
        return _excerpt(output, 18)
    return _excerpt(_leaf(kind, document), 18)


# Where the answers of the known upstreams, and what agents make of them, keep what is worth saying.
_TELLING = (
    "description",
    "weather",
    "summary",
    "rank",
    "text",
    "emotion",
    "title",
    "headlines",
    "articles",
    "result",
    "value",
    "answer",
    "temp",
    "name",
)


def _leaf(kind: Kind | None, document: Any) -> str:
    if isinstance(document, dict):
        if kind == "emotion" and isinstance(document.get("all_scores"), dict) and document["all_scores"]:
            return str(document.get("emotion") or max(document["all_scores"], key=document["all_scores"].get))
        for key in _TELLING:
            if document.get(key) not in (None, "", [], {}):
                return _leaf(kind, document[key])
        return _leaf(kind, next(iter(document.values()))) if document else ""
    if isinstance(document, list):
        return _leaf(kind, document[0]) if document else ""
    return str(document)
