"""The small upstreams: what they answer, and what they refuse."""

from __future__ import annotations

import io
import wave
from typing import Any

import pytest

from harness.upstreams.epoch import Epoch, EpochSettings
from harness.upstreams.sound import seconds_to_speak


def audio(answer: Any) -> wave.Wave_read:
    return wave.open(io.BytesIO(answer.body))


@pytest.mark.parametrize(
    ("text", "seconds"), [("にゃん", 0.65), ("こんにちは、元気ですか？にゃん" * 3, 7.05), ("hello there", 0.92)]
)
def test_speech_is_as_long_as_the_text_takes_to_speak(caller: Any, text: str, seconds: float) -> None:
    answer = caller.call("tts", "POST", "/speak", {"text": text, "language": "ja", "emotions": [0.0] * 8})
    assert answer.headers["content-type"] == "audio/wav"
    with audio(answer) as wav:
        assert wav.getnframes() / wav.getframerate() == pytest.approx(seconds, abs=0.02)
        assert any(wav.readframes(2000))
    call = caller.epoch.ledger.calls[-1]
    assert (call.text, call.characters) == (text[:500], len(text))
    assert call.cost_usd == pytest.approx(len(text) * 0.015 / 1000)


def test_faster_speech_is_shorter(caller: Any) -> None:
    slow, fast = (
        caller.call("tts", "POST", "/speak", {"text": "こんにちは", "speaking_rate": rate}) for rate in (15, 30)
    )
    with audio(slow) as slow_wav, audio(fast) as fast_wav:
        assert slow_wav.getnframes() == pytest.approx(2 * fast_wav.getnframes(), abs=2)


@pytest.mark.parametrize(
    "body", [{}, {"text": 1}, b"{", {"text": "x", "emotions": [1.0]}, {"text": "x", "speaking_rate": "fast"}]
)
def test_speech_refuses_what_it_cannot_read(caller: Any, body: Any) -> None:
    assert caller.call("tts", "POST", "/speak", body).status == 422


def test_speech_refuses_empty_text(caller: Any) -> None:
    assert caller.call("tts", "POST", "/speak", {"text": " "}).status == 400


def test_speaking_time_counts_what_is_spoken() -> None:
    assert seconds_to_speak("あ" * 75) == pytest.approx(10.25)
    assert seconds_to_speak("") == 0.25


@pytest.mark.parametrize(
    ("language", "text", "label"),
    [
        ("ja", "とても悲しい", "悲しみ"),
        ("ja", "今日は水曜日", "中立"),
        ("ko", "정말 행복해요", "기쁨"),
        ("ko", "책상", "중립"),
        ("en", "I am furious", "anger"),
    ],
)
def test_emotions_are_labelled_in_the_language_that_is_set(language: Any, text: str, label: str) -> None:
    from tests.unit.upstreams.conftest import Caller

    caller = Caller(Epoch(EpochSettings(emotion_labels=language)))
    found = caller.call("emotion", "POST", "/analyze", {"text": text}).json
    assert found["emotion"] == label
    assert len(found["all_scores"]) == 8
    assert sum(found["all_scores"].values()) == pytest.approx(1.0)
    assert max(found["all_scores"], key=found["all_scores"].get) == label


def test_a_neutral_text_is_wholly_neutral_as_documented(caller: Any) -> None:
    assert caller.call("emotion", "POST", "/analyze", {"text": "机"}).json["all_scores"]["中立"] == 1.0


def test_long_texts_keep_the_emotion_server_from_others(caller: Any) -> None:
    from harness.upstreams.wire import Request

    usual = caller.call("emotion", "POST", "/analyze", {"text": "x"}).waited_s
    body = ('{"text": "' + "あ" * 10_000 + '"}').encode()
    for _ in range(5):
        caller.epoch.begin("emotion", Request("POST", "/analyze", body=body), caller.now_ns)
    assert caller.call("emotion", "POST", "/analyze", {"text": "x"}).waited_s > usual + 0.9


@pytest.mark.parametrize("city", ["Tokyo,JP", "Tokyo", "東京", "도쿄", "tokyo"])
def test_weather_of_a_city_by_any_of_its_names(caller: Any, city: str) -> None:
    from urllib.parse import quote

    query = f"q={quote(city)}&appid=k&units=metric&lang=ja"
    found = caller.call("weather", "GET", "/data/2.5/weather", query=query).json
    assert (found["name"], found["cod"], found["timezone"]) == ("Tokyo", 200, 32400)
    assert -6 <= found["main"]["temp"] <= 30
    assert found["weather"][0]["description"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("q=Atlantis&appid=k", 404),
        ("appid=k", 400),
        ("q=Tokyo&appid=invalid", 401),
        ("q=Tokyo&appid=", 401),
        ("q=Tokyo", 401),
        ("", 401),
        ("lat=35.7&appid=k", 400),
        ("lat=x&lon=1&appid=k", 400),
        ("lat=91&lon=1&appid=k", 400),
        ("lat=nan&lon=1&appid=k", 400),
    ],
)
def test_weather_refuses(caller: Any, query: str, status: int) -> None:
    answer = caller.call("weather", "GET", "/data/2.5/weather", query=query)
    assert answer.status == status
    assert set(answer.json) == {"cod", "message"}
    assert int(answer.json["cod"]) == status


@pytest.mark.parametrize(
    ("latitude", "longitude", "city"), [(35.6, 139.9, "Tokyo"), (-40, 170, "Sydney"), (35.1, -179, "Sapporo")]
)
def test_weather_of_the_nearest_city(caller: Any, latitude: float, longitude: float, city: str) -> None:
    found = caller.call("weather", "GET", "/data/2.5/weather", query=f"lat={latitude}&lon={longitude}&appid=k").json
    named = caller.call("weather", "GET", "/data/2.5/weather", query=f"q={city}&appid=k").json
    assert found == named
    assert (found["name"], found["cod"]) == (city, 200)


def test_news(caller: Any) -> None:
    found = caller.call("news", "GET", "/v2/top-headlines", query="country=jp&apiKey=k").json
    assert found["status"] == "ok"
    assert found["totalResults"] == len(found["articles"])
    assert set(found["articles"][0]) >= {"source", "title", "description", "url", "publishedAt"}
    assert caller.call("news", "GET", "/v2/top-headlines", query="apiKey=k").json["code"] == "parametersMissing"


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("country=jp", {}, "apiKeyMissing"),
        ("country=jp&apiKey=", {}, "apiKeyMissing"),
        ("country=jp&apiKey=invalid", {}, "apiKeyInvalid"),
        ("country=jp", {"x-api-key": "invalid"}, "apiKeyInvalid"),
        ("country=jp", {"x-api-key": "k"}, None),
        ("country=jp", {"authorization": "Bearer k"}, None),
    ],
)
def test_news_wants_a_key(caller: Any, query: str, headers: dict[str, str], code: str | None) -> None:
    answer = caller.call("news", "GET", "/v2/top-headlines", query=query, headers=headers)
    assert answer.status == (401 if code else 200)
    assert answer.json.get("code") == code
    assert set(answer.json) == ({"status", "code", "message"} if code else {"status", "totalResults", "articles"})


def test_time_of_a_zone(caller: Any) -> None:
    found = caller.call("time", "GET", "/api/timezone/Asia/Tokyo").json
    assert (found["timezone"], found["utc_offset"], found["abbreviation"]) == ("Asia/Tokyo", "+09:00", "JST")
    assert caller.call("time", "GET", "/api/timezone/Europe/Berlin").json["utc_offset"] == "+01:00"
    assert caller.call("time", "GET", "/api/timezone/Mars/Base").status == 404


def test_fortune(caller: Any) -> None:
    query = "sign=leo&date=2026-01-02"
    found = caller.call("fortune", "GET", "/fortune", query=query).json
    assert set(found) == {"sign", "date", "rank", "text", "lucky_item"}
    assert caller.call("fortune", "GET", "/fortune", query=query).json == found
    assert caller.call("fortune", "GET", "/fortune", query="date=tomorrow").status == 400


@pytest.mark.parametrize(
    ("upstream", "method", "path", "query", "body", "documented_s"),
    [
        ("time", "GET", "/api/timezone/Asia/Tokyo", "", None, 1.2),
        ("weather", "GET", "/data/2.5/weather", "q=Tokyo&appid=k", None, 3.5),
        ("fortune", "GET", "/fortune", "", None, 0.8),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_documented_latencies(
    upstream: str, method: str, path: str, query: str, body: Any, documented_s: float, scale: float
) -> None:
    from tests.unit.upstreams.conftest import Caller

    caller = Caller(Epoch(EpochSettings(latency="documented", latency_scale=scale)))
    answer = caller.call(upstream, method, path, body, query=query)
    assert answer.waited_s == pytest.approx(documented_s * scale)


def test_an_assistant_takes_five_to_ten_seconds_as_documented() -> None:
    from tests.unit.upstreams.conftest import Caller

    caller = Caller(Epoch(EpochSettings(latency="documented")))
    assert 5 <= caller.call("openai", "POST", "/v1/assistants", {"model": "gpt-4o"}).waited_s <= 10


# --- VOICEVOX --------------------------------------------------------------------------------------------------------


def voicevox(caller: Any, path: str, query: str, body: Any = None) -> Any:
    return caller.call("voicevox", "POST", path, body, query=query)


def test_voicevox_speaks_what_it_was_asked(caller: Any) -> None:
    from urllib.parse import quote

    query = voicevox(caller, "/audio_query", f"text={quote('こんにちは')}&speaker=3").json
    assert (query["outputSamplingRate"], query["kana"], len(query["accent_phrases"][0]["moras"])) == (
        24000,
        "こんにちは",
        5,
    )
    answer = voicevox(caller, "/synthesis", "speaker=3", query)
    with audio(answer) as spoken:
        assert spoken.getframerate() == 24000
        assert spoken.getnframes() / 24000 == pytest.approx(1.02, abs=0.02)
    assert caller.epoch.ledger.calls[-1].text == "こんにちは"
    with audio(voicevox(caller, "/synthesis", "speaker=3", query | {"outputStereo": True})) as stereo:
        assert (stereo.getnchannels(), stereo.getnframes()) == (2, spoken.getnframes())


def test_voicevox_does_one_synthesis_at_a_time() -> None:
    from harness.upstreams.wire import Request
    from tests.unit.upstreams.conftest import Caller

    caller = Caller(Epoch(EpochSettings(latency="documented")))
    query = voicevox(caller, "/audio_query", "text=x&speaker=3").body
    exchange = caller.epoch.begin("voicevox", Request("POST", "/synthesis", "speaker=3", body=query), caller.now_ns)
    assert exchange.reply is not None
    assert exchange.reply.after_s == pytest.approx(2.153)
    assert voicevox(caller, "/synthesis", "speaker=3", query).waited_s == pytest.approx(4.306)


@pytest.mark.parametrize(
    ("path", "query", "body", "status"),
    [
        ("/audio_query", "text=x", None, 422),
        ("/audio_query", "speaker=3", None, 422),
        ("/audio_query", "text=x&speaker=99", None, 404),
        ("/synthesis", "speaker=3", {}, 422),
        ("/synthesis", "speaker=3", b"{", 422),
    ],
)
def test_voicevox_refuses(caller: Any, path: str, query: str, body: Any, status: int) -> None:
    assert voicevox(caller, path, query, body).status == status
