"""What do people ask tools for? Rules for Japanese, Korean and English; whoever only talks asks for nothing.

Some words are a question by themselves (「何時」, "will it rain"). Others name what is talked about just as often as
what is wished for (「天気」, "the news"): they count in a sentence that asks or wishes, or says hardly anything else.
"""

from __future__ import annotations

import re
from typing import Literal

from harness.upstreams.exchange import without_marks
from harness.upstreams.phrase import Phrase, kept_for_short_texts
from harness.upstreams.tool_arguments import text_given

Kind = Literal["emotion", "calculate", "weather", "fortune", "news", "time"]
_TAKES_TEXT: tuple[Kind, ...] = ("emotion", "calculate")
_TAKES_NONE: tuple[Kind, ...] = ("weather", "fortune", "news", "time")

# Whatever people send is looked at in a time that grows with its length: nothing can be read in several ways.
_FIGURE = r"\d[\d.]{0,40}+"
_SUM = (
    rf"(?<![\d.]){_FIGURE}\s*+(?:[-+*/^x×÷]|더하기|빼기|곱하기|나누기|足す|たす|引く|ひく|掛ける|かける|割る|わる"
    rf"|plus|minus|times|multiplied by|divided by|over)\s*+[-(]?{_FIGURE}"
)
_CALCULABLE = re.compile(r"[\d(（\[:：「『“\"]")
"""Whoever has something calculated says what: a figure, or something in brackets, in quotes, behind a colon."""

_REQUEST: dict[Kind, Phrase] = {
    "emotion": Phrase(
        ("感情", "気持ち", "감정", "emotion", "sentiment", "feeling"),
        r"(?:感情|気持ち)(?:を|の)?(?:分析|解析|判定|調べ)|감정(?:을|를|\s)*(?:분석|판단)"
        r"|[」』].{0,12}(?:感情|気持ち)(?:は|って|を).{0,8}(?:[?？]|何|なに|教え|知り)"
        r"|[」』”\"].{0,12}감정(?:은|이|을)?\s*.{0,6}(?:뭐|어떤|알려|[?？])"
        r"|\b(?:analy[sz]e|detect|classify)\s.{0,40}(?:emotion|sentiment|feeling)"
        r"|\b(?:emotion|sentiment) analysis\b|\b(?:what|which) (?:emotion|sentiment|feeling)\b(?=.*[:“\"?])",
    ),
    "calculate": Phrase(
        ("計算", "いくつ", "いくら", "は", "계산", "은", "는", "calculate", "compute", "evaluate", "what", "how much"),
        r"計算(?:して|し|を|は|お願い|[:：])|はいく[つら]|계산(?![원대서기])|[은는]\s*(?:얼마|몇)"
        rf"|{_SUM}\s*[は은는]\s*(?:[?？]|何|なに|뭐)"
        rf"|\b(?:calculate|compute|evaluate)\b|\b(?:what|how much)(?:'s| is)\s+[-(]?{_SUM}",
    ),
    "weather": Phrase(
        (
            *("傘", "上着", "コート", "雨", "雪", "晴れ", "曇", "寒", "暑", "涼し", "暖か"),
            *("우산", "외투", "비", "눈", "추", "춥", "더", "덥", "쌀쌀", "따뜻"),
            *("umbrella", "coat", "jacket", "rain", "snow", "is it", "will it"),
        ),
        r"(?:傘|上着|コート)(?:は|が|を)?(?:いる|いります|要る|要ります|必要|持って(?:行|い)(?:った|く)(?:方|ほう))"
        r"|(?:雨|雪)(?:が|は)?(?:降る|降ります|降りそう|降って(?:る|います))(?:です)?(?:か(?!も)|の|[?？])"
        r"|(?:雨|雪)(?:です)?か?[?？]"
        r"|(?:晴れ|曇)(?:る|れる|ります|ます|れます|れそう|りそう)?(?:です)?(?:か(?!も)|の|[?？])"
        r"|(?:外|今日|明日|今夜|そっち|そちら|こっち).{0,6}(?:寒|暑|涼し|暖か)(?:い|く(?:なる|なります))"
        r"(?:です)?(?:か(?!も)|の|[?？])"
        r"|(?:우산|외투)(?:이|을|은|도)?\s*(?:필요[^.]{0,4}[?？]|필요할까|(?:가져|챙겨)\S{0,2}야|(?:가져갈|챙길)까)"
        r"|(?<![가-힣])(?:비|눈)(?:가|이)?\s*(?:올까|오나|오니|옵니까|와요?\s*[?？])"
        r"|(?:밖|오늘|내일|지금|거기).{0,6}(?:추워|추울|더워|더울|춥|덥|쌀쌀|따뜻)[^.]{0,4}[?？]"
        r"|\b(?:do|will|would|should|shall) (?:i|we) (?:need|take|bring|wear|pack)"
        r" (?:an?|my|the) (?:umbrella|coat|jacket)"
        r"|\bneed an? (?:umbrella|coat|jacket)[^.!]{0,20}[?]"
        r"|\b(?:will|is|does) it (?:be |going to |gonna )?(?:rain|snow)(?:ing|y)?\b"
        r"|\b(?:will|is) it (?:be |get |going to be )?(?:cold|hot|warm|chilly|sunny|cloudy|windy|freezing)\b"
        r"|\bhow (?:cold|hot|warm) (?:is|will) it\b",
    ),
    "fortune": Phrase(
        ("占", "the stars"),
        r"占って(?!もら(?:った|いました)|い[たま])|占い(?:を|も)?して(?!い|る|た|も)"
        r"|\bwhat do the stars (?:say|hold|tell)\b",
    ),
    "news": Phrase(("what",), r"\bwhat(?:'s| is) (?:new|happening|going on) in\b"),
    "time": Phrase(
        ("何時", "なんじ", "몇", "time"),
        # Not when something begins or ends, how long it takes, nor "at any time".
        r"何時(?!間|でも|も|から|まで|頃?に(?!な))|なんじ(?![ゃゅょら]|かん|でも|から|まで|に(?!な))"
        r"|몇\s*시(?!간|에|부터|까지)"
        r"|\bwhat(?:'s| is) the (?:current |local |exact )?time\b(?! of)|\bwhat time (?:is it|it is|now|in)\b"
        r"|\btime is it\b|\b(?:have|got) the time\s*[?]",
    ),
}
"""What is asked for by these words alone, whatever is said around them."""

_TOPIC: dict[Kind, Phrase] = {
    "weather": Phrase(
        ("天気", "気温", "날씨", "기온", "일기예보", "weather", "forecast", "temperature"),
        r"天気|気温|날씨|기온|일기예보|\b(?:weather|forecast|temperature)\b",
    ),
    "fortune": Phrase(
        ("運", "占い", "운세", "운은", "fortune", "horoscope", "luck"),
        r"運勢|運気|占い(?!師)|(?<=の)運(?=[はをと、?？]|$)|운세|운은"
        r"|\b(?:fortune|horoscope)\b|\b(?:my|today's) luck\b",
    ),
    "news": Phrase(
        ("ニュース", "ヘッドライン", "뉴스", "헤드라인", "news", "headlines"),
        r"ニュース|ヘッドライン|뉴스|헤드라인|\b(?:news|headlines)\b",
    ),
    "time": Phrase(
        ("時間", "時刻", "시간", "시각", "time"),
        # Time is also what one has, spends and needs: it is the clock's where it stands by itself or beside "now".
        r"(?:今|現在)の?時間|時刻"
        r"|(?:^|[とやもで、，,\s]|あと|ついでに|それから)時間(?=[とやもを、，,]|は?[?？]|教え|わか|分か|$)"
        r"|(?:지금|현재)\s*(?:시간|시각)"
        r"|(?:^|랑|하고|[과와,\s])\s{0,3}(?:시간|시각)(?=이랑|하고|[과와을도,]|\s*(?:좀|알려|말해|가르)|[?？]|$)"
        r"|\b(?:the|current|local|exact) time(?= now| right now| please| in\b|[,.?!]| and\b|$)"
        r"|(?:^|\band |[,:] ?)time(?= now| please|,| and\b|[.?!]?$)",
    ),
}
"""What is asked for where it is named in a question or a wish, or where hardly anything else is said."""

_WISH = Phrase(
    (),
    r"[?？]"
    r"|教え|おしえ|知りた|お願い|おねがい|くださ|下さ|ちょうだい|頼[むみ]|調べ|[見み]せて|聞かせ|聞きた|読んで(?!い|る|た|み)|読み上げ"
    r"|確認|(?:計算|分析|解析|判定)して|どう(?!も|し|や|せ|ぞ|い)|気にな|チェック|言って|っけ|かな|[まで]すか|何か.{0,6}ある"
    r"|알려|가르쳐|궁금|어때|어떤|어떻|뭐|무엇|부탁|(?:확인|계산|분석)해|줘|주세요|주실|줄래"
    r"|\b(?:please|pls|wondering|curious)\b|\b(?:can|could|would|will) you\b"
    r"|\b(?:know|hear|see) (?:the|what|how|my|today|about)\b|\bi(?:'d like| want| need) (?:the|my|today|tomorrow)"
    r"|(?:^|[,;:]\s*|\b(?:and|then|now|just|also|so|hey|ok|okay|me) )"
    r"(?:tell|give|show|check|read|get|find|look up|bring|fetch|what(?! an?\b)|how|any)\b",
)
"""How a sentence tells that it asks or wishes for something."""

_BARE = Phrase(
    (),
    r"\A(?:[\w ]{1,12}:)?\W*+(?:(?>"
    r"天気(?:予報)?|気温|運勢|運気|占い|ニュース|ヘッドライン|時間|時刻|[^\sがをにではもといな、。]{1,8}の|今日|明日|今夜|今|最新"
    r"|ついでに|あと|それから|それと|お|と|や|は|も|、"
    r"|날씨|기온|일기예보|운세|뉴스|헤드라인|시간|시각|오늘의?|내일의?|지금|현재|최신|그리고|이랑|랑|하고|[과와은는도]"
    # A place; what describes ends otherwise.
    r"|[가-힣]{1,6}(?<![은는운던한인른])(?=\s)"
    r"|weather|forecast|temperature|news|headlines|time|horoscope|fortune|report|the|my|latest|current|today'?s?"
    r"|tomorrow'?s?|tonight'?s?|now|right|here|(?:in|for|at|from) [\w' ]{2,30}|and|plus|with"
    r")[\s,、&+・]*+)++\W*+\Z",
)
"""A sentence of nothing but what is wished for, when, and where."""

_SENTENCE = re.compile(r"[^。．！？!?\n]+?(?:[。．！？!?\n]+|\.(?=\s|$)|$)")

ABOUT_A_TOOL = Phrase(
    ("関数", "ツール", "機能", "함수", "function"),
    r"(?:という|って)(?:いう)?(?:関数|ツール|機能)|함수|\bfunction called\b|\bthe function\b",
)
"""Somebody who asks what a tool is does not ask for its work: 「analyze_emotionという関数について教えて」."""

_SENTENCES_HEARD = 100
"""At the beginning of a message, and as many at its end: who pastes a book asks before or behind it."""


def kinds_asked(message: str) -> tuple[Kind, ...]:
    """Return what a message asks tools for, in the order in which it names them."""
    return _kinds_asked(without_marks(message).strip())


# A message comes again with every turn of the model, and people say the same things.
@kept_for_short_texts
def _kinds_asked(plain: str) -> tuple[Kind, ...]:
    if ABOUT_A_TOOL.search(plain):
        return ()
    asked: dict[Kind, int] = {}
    for kind in _TAKES_TEXT:
        if kind == "calculate" and not _CALCULABLE.search(plain):
            continue
        found = _REQUEST[kind].search(plain)
        if found:
            asked[kind] = found.start()
            # What is to be analysed is not itself a request: a text about the weather asks for no weather.
            given = text_given(plain)
            if given != plain:
                plain = plain.replace(given, "\0" * len(given))
    lowered = plain.lower()
    near = [kind for kind in _TAKES_NONE if _REQUEST[kind].is_near(lowered) or _TOPIC[kind].is_near(lowered)]
    sentences = list(_SENTENCE.finditer(plain)) if near else []
    if len(sentences) > 2 * _SENTENCES_HEARD:
        sentences = sentences[:_SENTENCES_HEARD] + sentences[-_SENTENCES_HEARD:]
    for sentence in sentences:
        for kind, at in _asked_in(sentence.group(), near):
            asked.setdefault(kind, sentence.start() + at)
    return tuple(sorted(asked, key=lambda kind: asked[kind]))


def _asked_in(sentence: str, kinds: list[Kind]) -> list[tuple[Kind, int]]:
    """Return which of the kinds a sentence asks for, and where."""
    asked = [(kind, found.start()) for kind in kinds if (found := _REQUEST[kind].search(sentence))]
    named = [(kind, found.start()) for kind in kinds if (found := _TOPIC[kind].search(sentence))]
    # Who asks for one thing in a sentence asks for what else is named there.
    if named and (asked or _WISH.search(sentence) or _BARE.search(sentence)):
        directly = dict(asked)
        asked += [(kind, at) for kind, at in named if kind not in directly]
    return asked
