"""What can be set from outside, and which values make sense? Every AGENT_* variable is in this file.

`AGENT_PART_<NAME>=<variant>` overrides one part of the profile; which names and variants exist is known to
`compose.py`, which finds the parts.
"""

from __future__ import annotations

import difflib
import functools
import ipaddress
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from reference_agent.caller import LANGUAGES, Language, Network

PART_PREFIX = "AGENT_PART_"
_SMALLEST, _LARGEST = 1e-9, 1e9
"""Of a figure with a fraction: the largest is 30 years of seconds, which every clock and timer still counts with."""
_MOST = 10**12
"""Of a figure without: more than anybody has, and few enough for every store to count with."""
_BYTES_PER_CHAR = 4
"""The longest way in which UTF-8 writes a code point."""
BREAKER_LOOKS_AT: Final = 200
"""Calls to one upstream that the breaker looks back at, at most."""
_TURN_SHARE = 0.85
"""Of the time after which callers give up: what is left is the way to them."""


class BadSetting(Exception):
    """A setting makes no sense. Its text is the whole story for whoever set it: what, what was expected, what to do."""


class Settings(BaseSettings):
    """Everything that can be set. Times in seconds, lengths in code points unless they say otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="AGENT_", extra="ignore", frozen=True, populate_by_name=True, allow_inf_nan=False
    )

    profile: str = Field("documented", description="which variant of every part: documented, proposed or hardened")
    engine: str | None = Field(
        None,
        description="how the model is reached: assistants, responses or chat; not set: responses for the hardened"
        " profile, assistants for the others",
    )

    openai_base_url: str = Field(
        "https://api.openai.com/v1", validation_alias="OPENAI_BASE_URL", description="where the model is"
    )
    openai_api_key: str = Field("", validation_alias="OPENAI_API_KEY", description="key for the model")
    tts_url: str = Field("http://127.0.0.1:8001", validation_alias="TTS_URL", description="speech server (POST /speak)")
    emotion_url: str = Field(
        "http://127.0.0.1:8002", validation_alias="EMOTION_URL", description="emotion server (POST /analyze)"
    )
    weather_url: str = Field(
        "https://api.openweathermap.org", validation_alias="WEATHER_URL", description="weather, as OpenWeatherMap"
    )
    news_url: str = Field("https://newsapi.org", validation_alias="NEWS_URL", description="news, as NewsAPI")
    time_url: str = Field("http://worldtimeapi.org", validation_alias="TIME_URL", description="time, as worldtimeapi")
    fortune_url: str = Field("http://127.0.0.1:8003", validation_alias="FORTUNE_URL", description="fortune teller")
    weather_api_key: str = Field("none", validation_alias="WEATHER_API_KEY", description="key for the weather")
    news_api_key: str = Field("none", validation_alias="NEWS_API_KEY", description="key for the news")

    model: str = Field("gpt-4o", description="the model")
    assistant_name: str = Field("cat-agent", min_length=1, description="name of the assistant at the upstream")

    answer_within_s: float = Field(5.0, gt=0, le=600, description="when callers give up")
    turn_deadline_s: float | None = Field(
        None, gt=0, le=600, description="when a turn ends at the latest; not set: 85 %% of AGENT_ANSWER_WITHIN_S"
    )
    speech_reserve_s: float = Field(0.6, ge=0, description="time of the turn that is kept free for the speech")
    openai_call_s: float = Field(2.0, gt=0, description="one call to the model's API is given up after")
    tool_deadline_s: float = Field(4.0, gt=0, description="one tool is given up after")
    emotion_deadline_s: float = Field(1.5, gt=0, description="one emotion analysis is given up after")
    tts_first_byte_s: float = Field(2.0, gt=0, description="speech that has not begun is given up after")
    speech_stall_s: float = Field(30.0, gt=0, description="speech that its caller does not take is abandoned after")
    warm_up_s: float = Field(5.0, ge=0, description="how long readiness may wait for the assistant")

    session_store: str = Field(
        "sqlite:~/.local/state/reference-agent/sessions.sqlite",
        description="where sessions are written down: memory, sqlite:PATH (shared by replicas on one machine), or"
        " redis://HOST:PORT/DATABASE (shared by machines)",
    )
    redis_url: str = Field(
        "",
        validation_alias="REDIS_URL",
        description="Redis for cache, jobs and the limits of all replicas together, as redis://host:port/database;"
        " without it there are no jobs",
    )
    cache_database: str = Field(
        "",
        description="where answers are kept for good: none, or sqlite:PATH; not set: beside the sessions",
    )
    cache_memory_s: float = Field(300.0, gt=0, description="an answer is kept in memory for")
    cache_redis_s: float = Field(3600.0, gt=0, description="an answer is kept in Redis for")
    cache_database_s: float = Field(86400.0, gt=0, description="an answer is kept in the database for")
    cache_entries: int = Field(2000, ge=1, description="answers kept in memory, at most")
    cache_rows: int = Field(100_000, ge=1, description="answers kept in the database, at most")
    max_conversations: int = Field(1000, ge=2, description="conversations alive at the model's upstream, at most")
    probation_s: float = Field(600.0, gt=0, description="a user seen once is forgotten after")
    session_s: float = Field(86400.0, gt=0, description="a known user is forgotten after, counted from the last turn")
    max_turns: int = Field(100, ge=2, description="turns under way at once")
    newcomer_turns: int = Field(24, ge=1, description="turns under way at once of users never seen before")
    newcomers_per_s: float = Field(15.0, gt=0, description="users never seen before")
    newcomer_burst: int = Field(30, ge=1, description="users never seen before, at once")
    user_turns_per_s: float = Field(3.0, gt=0, description="turns of one user")
    user_burst: int = Field(20, ge=1, description="turns of one user, at once")
    address_turns_per_s: float = Field(10.0, gt=0, description="turns from one network address")
    address_burst: int = Field(100, ge=1, description="turns from one network address, at once")
    address_newcomers_per_s: float = Field(1.0, gt=0, description="users never seen before from one address")
    address_newcomer_burst: int = Field(15, ge=1, description="users never seen before from one address, at once")
    turns_per_s: float = Field(1000.0, gt=0, description="turns of everybody")
    turn_burst: int = Field(1000, ge=1, description="turns of everybody, at once")
    waiting_turns: int = Field(3, ge=0, description="turns of one user that may wait for the one under way")

    job_s: float = Field(20.0, ge=1, le=600, description="one attempt at a job, its speech included, is given up after")
    job_attempts: int = Field(3, ge=1, description="attempts at a job whose workers die; then it has failed")
    job_wait_s: float = Field(600.0, gt=0, description="a job that was not answered has failed after")
    job_result_s: float = Field(600.0, gt=0, description="what came of a job can be asked for")
    job_audio_bytes: int = Field(4_000_000, ge=0, description="speech of one job that is kept, at most; longer: none")
    jobs_audio_bytes: int = Field(256_000_000, ge=0, description="speech of all jobs that is kept, at most")
    jobs_open: int = Field(1000, ge=1, description="jobs that have not ended, at most; newcomers may take half of them")
    user_jobs: int = Field(10, ge=1, description="jobs of one user that have not ended, at most")

    user_budget_usd: float = Field(5.0, gt=0, description="spend of one user a day")
    budget_usd: float = Field(500.0, gt=0, description="spend of everybody a day")
    usd_per_1k_tokens: float = Field(0.03, ge=0, description="price of 1,000 tokens")
    prices: str = Field(
        "",
        description="other prices of 1,000 tokens, as MODEL=PRICE or MODEL=PROMPT/COMPLETION, with commas",
    )
    usd_per_1k_spoken: float = Field(0.015, ge=0, description="price of 1,000 spoken characters")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is logged, at least")
    log_texts: bool = Field(False, description="whether what users say and hear is logged, redacted")

    shutdown_s: float = Field(8.0, ge=0, le=600, description="turns under way may finish, told to end, within")
    heartbeat_s: float = Field(10.0, gt=0, description="a stream that has nothing to tell says so every")
    body_bytes: int = Field(65536, ge=256, description="size of a request, at most")
    body_s: float = Field(10.0, gt=0, description="a request that is not all there is given up after")
    message_chars: int = Field(2000, ge=1, description="length of a message, at most")
    user_id_chars: int = Field(200, ge=1, description="length of a user id, at most")
    emotion_chars: int = Field(500, ge=1, description="length of a text that the emotion server is given, at most")
    emotion_keeps_s: float = Field(300.0, ge=0, description="a text is not analysed again for")
    reply_chars: int = Field(40, ge=8, description="length of a reply")
    reply_ending: str = Field("にゃん", min_length=1, max_length=8, description="how a reply ends")
    speech_chars: int = Field(40, ge=8, description="length of a text that the speech server is given, at most")
    speech_pieces: int = Field(10, ge=1, description="pieces of speech in one answer, at most")

    languages: str = Field(
        ",".join(LANGUAGES), description=f"languages that are spoken ({', '.join(LANGUAGES)}), the usual one first"
    )
    trusted_proxies: str = Field(
        "127.0.0.0/8,::1/128", description="networks of proxies whose X-Forwarded-For is believed, with commas"
    )

    tool_rounds: int = Field(5, ge=1, description="how often the model may ask for tools within a turn")
    tool_calls: int = Field(8, ge=1, description="tool calls within a turn, at most")
    tool_repeats: int = Field(3, ge=1, description="how often the model may ask for the same tool in a row")
    tools_at_once: int = Field(
        32, ge=1, description="tool calls under way at once, in all turns; of one tool, half of them"
    )

    retry_attempts: int = Field(3, ge=1, le=10, description="attempts at one call that may be repeated")
    retry_share: float = Field(0.1, ge=0, le=1, description="repeats for each call to an upstream, in the long run")
    retry_reserve: float = Field(5.0, ge=1, description="repeats that may be saved up for bad times")
    retries_per_s: float = Field(0.2, gt=0, description="repeats that are saved up however few calls there are")
    breaker_window_s: float = Field(10.0, gt=0, description="the breaker looks back")
    breaker_calls: int = Field(
        5, ge=1, le=BREAKER_LOOKS_AT, description="fewer calls than this within the window never open the breaker"
    )
    breaker_failures: float = Field(0.5, gt=0, le=1, description="share of failures that opens the breaker")
    breaker_in_a_row: int = Field(
        10, ge=1, le=BREAKER_LOOKS_AT, description="failures without a success between them that open the breaker"
    )
    breaker_open_s: float = Field(0.5, gt=0, description="an open breaker lets a probe through after")
    breaker_probes: int = Field(4, ge=1, description="probes under way at once, per upstream")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing but what `read_settings` hands over: it names what is wrong in the words of the environment."""
        return (init_settings,)

    @property
    def shared_redis(self) -> str:
        """The Redis that all replicas share; empty: there is none."""
        return self.session_store if "://" in self.session_store else self.redis_url

    def beside_sessions(self, name: str) -> Path | None:
        """Return the file of that name in the directory where the sessions are; None: they are in no file."""
        kind, _, sessions = self.session_store.partition(":")
        return Path(sessions).expanduser().with_name(name) if kind == "sqlite" else None

    def cache_path(self) -> Path | None:
        """Return the file in which answers are kept; None: in no file."""
        if not self.cache_database:
            return self.beside_sessions("cache.sqlite")
        kind, _, path = self.cache_database.partition(":")
        return Path(path).expanduser() if kind == "sqlite" else None

    @field_validator("*")
    @classmethod
    def _can_be_reckoned_with(cls, given: Any) -> Any:
        if isinstance(given, float) and given and not _SMALLEST <= abs(given) <= _LARGEST:
            msg = f"expected 0, or {_SMALLEST:g} to {_LARGEST:g}"
            raise ValueError(msg)
        if isinstance(given, int) and given > _MOST:
            msg = f"expected {_MOST} at most"
            raise ValueError(msg)
        return given

    @field_validator("model", "assistant_name", "reply_ending")
    @classmethod
    def _says_something(cls, written: str) -> str:
        if not written.strip():
            msg = "expected some text"
            raise ValueError(msg)
        return written

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for makes_sense, sentence in self._combinations():
            if not makes_sense:
                raise ValueError(sentence)
        for whole, turn_s in (("turn", self.turn_s), ("job", _TURN_SHARE * self.job_s)):
            if self.speech_reserve_s >= turn_s:
                msg = (
                    f"AGENT_SPEECH_RESERVE_S={self.speech_reserve_s:g} leaves nothing of a {whole}, which ends after"
                    f" {turn_s:g} s: expected less than that."
                )
                raise ValueError(msg)
        return self

    def _combinations(self) -> Iterator[tuple[bool, str]]:
        """Yield what has to be true of several settings together, and what is said where it is not."""
        yield (
            self.turn_s <= self.answer_within_s,
            f"AGENT_TURN_DEADLINE_S={self.turn_s:g} is later than callers give up: expected at most"
            f" AGENT_ANSWER_WITHIN_S, which is {self.answer_within_s:g}.",
        )
        yield (
            self.probation_s <= self.session_s,
            f"AGENT_PROBATION_S={self.probation_s:g} keeps who was seen once for longer than who came back: expected"
            f" at most AGENT_SESSION_S, which is {self.session_s:g}.",
        )
        needed_bytes = _BYTES_PER_CHAR * (self.message_chars + self.user_id_chars)
        yield (
            needed_bytes <= self.body_bytes,
            f"AGENT_BODY_BYTES={self.body_bytes} has no room for a message of AGENT_MESSAGE_CHARS={self.message_chars}"
            f" and an id of AGENT_USER_ID_CHARS={self.user_id_chars}: expected {needed_bytes} or more.",
        )
        yield (
            2 * len(self.reply_ending) <= self.reply_chars,
            f"AGENT_REPLY_ENDING={self.reply_ending!r} takes more than half of a reply:"
            f" expected AGENT_REPLY_CHARS to be {2 * len(self.reply_ending)} or more, not {self.reply_chars}.",
        )
        yield (
            self.speech_pieces * self.speech_chars >= self.reply_chars,
            f"AGENT_SPEECH_PIECES={self.speech_pieces} of AGENT_SPEECH_CHARS={self.speech_chars} do not speak a whole"
            f" reply: expected them to make AGENT_REPLY_CHARS together, which is {self.reply_chars}.",
        )
        yield (
            self.job_audio_bytes <= self.jobs_audio_bytes,
            f"AGENT_JOB_AUDIO_BYTES={self.job_audio_bytes} of one job is more than is kept of all jobs: expected at"
            f" most AGENT_JOBS_AUDIO_BYTES, which is {self.jobs_audio_bytes}.",
        )
        files = self._files()
        yield (
            len(set(files)) == len(files),
            f"AGENT_SESSION_STORE={self.session_store!r} is the file of the cache or of what is still to be deleted as"
            f" well, which are {', '.join(map(str, files[1:]))}: expected a file of its own.",
        )

    def _files(self) -> list[Path]:
        """Return the files that are written to: of the sessions (if they are in one), and those beside them."""
        sessions = self.beside_sessions("leftovers.sqlite") and Path(self.session_store.partition(":")[2]).expanduser()
        files = [sessions, self.cache_path(), self.beside_sessions("leftovers.sqlite")]
        return [file.resolve() for file in files if file is not None]

    @field_validator("session_store")
    @classmethod
    def _is_a_store(cls, written: str) -> str:
        kind, _, where = written.partition(":")
        if kind in ("redis", "rediss", "unix") and where.startswith("//"):
            _expect_an_address(written)
        elif kind == "sqlite" and where:
            _expect_a_file(where)
        elif written != "memory":
            msg = "expected memory, sqlite:PATH, or redis://HOST:PORT/DATABASE"
            raise ValueError(msg)
        return written

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis(cls, written: str) -> str:
        if written and not written.startswith(("redis://", "rediss://")):
            msg = "expected redis://HOST:PORT/DATABASE"
            raise ValueError(msg)
        _expect_an_address(written)
        return written

    @field_validator("cache_database")
    @classmethod
    def _is_a_database(cls, written: str) -> str:
        kind, _, where = written.partition(":")
        if kind == "sqlite" and where:
            _expect_a_file(where)
        elif written not in ("", "none"):
            msg = "expected none, or sqlite:PATH"
            raise ValueError(msg)
        return written

    @field_validator("prices")
    @classmethod
    def _are_prices(cls, written: str) -> str:
        _price_table(written)
        return written

    @field_validator("languages")
    @classmethod
    def _are_spoken(cls, written: str) -> str:
        unknown = [one for one in _listed(written) if one not in LANGUAGES]
        if unknown or not _listed(written):
            msg = f"expected some of {', '.join(LANGUAGES)}, with commas"
            raise ValueError(msg)
        return written

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, written: str) -> str:
        _networks(written)
        return written

    @functools.cached_property
    def spoken_languages(self) -> tuple[Language, ...]:
        """The languages that are spoken, the usual one first."""
        return tuple(one for name in _listed(self.languages) for one in LANGUAGES if one == name)

    @functools.cached_property
    def proxies(self) -> tuple[Network, ...]:
        """The networks of proxies that are believed."""
        return _networks(self.trusted_proxies)

    @functools.cached_property
    def price_table(self) -> Mapping[str, tuple[float, float]]:
        """US dollars for 1,000 prompt and 1,000 completion tokens, by model."""
        return _price_table(self.prices)

    @property
    def turn_s(self) -> float:
        """Seconds that a turn may take."""
        return self.turn_deadline_s if self.turn_deadline_s is not None else _TURN_SHARE * self.answer_within_s


def _is_http_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, an address in brackets that is none
        return False


def _expect_an_address(url: str) -> None:
    try:
        _ = urlsplit(url).port
    except ValueError as wrong:
        msg = f"{wrong}; expected redis://HOST:PORT/DATABASE"
        raise ValueError(msg) from None


def _expect_a_file(written: str) -> None:
    """Raise when there can be no such file; it is made when it is first used."""
    path = Path(written).expanduser()
    nearest = next(one for one in (path, *path.absolute().parents) if os.access(one, os.F_OK))
    if path.is_dir():
        msg = f"{path} is a directory; expected a file in it"
    elif nearest != path and not nearest.is_dir():
        msg = f"{nearest} is no directory"
    elif not os.access(nearest, os.W_OK):
        msg = f"{nearest} must not be written to; name a file that may be"
    else:
        return
    raise ValueError(msg)


def _listed(written: str) -> list[str]:
    return [one.strip() for one in written.split(",") if one.strip()]


def _price_table(written: str) -> dict[str, tuple[float, float]]:
    table = {}
    for one in _listed(written):
        model, _, price = one.partition("=")
        try:
            of_prompt, *of_completion = (float(figure) for figure in price.split("/", 1))
            if not model.strip() or not all(0 <= usd < math.inf for usd in (of_prompt, *of_completion)):
                raise ValueError
        except ValueError:
            msg = f"{one!r} is no price; expected MODEL=PRICE or MODEL=PROMPT/COMPLETION"
            raise ValueError(msg) from None
        table[model.strip()] = (of_prompt, of_completion[0] if of_completion else of_prompt)
    return table


def _networks(written: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(one, strict=False) for one in _listed(written))


_KEY = re.compile(r"[!-~]+")


def environment_name(field: str) -> str:
    """Return the environment variable that sets `field`."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"AGENT_{field.upper()}"


_UNITS = {"_per_s": "a second", "_s": "seconds", "_bytes": "bytes", "_chars": "characters"}
"""By the first of these with which the name of a setting ends."""


def unit(field: str) -> str:
    """Return what a setting is counted in; empty: in what its description names, or it is no figure."""
    money = "US dollars" if "usd" in field else ""
    return next((unit for ending, unit in _UNITS.items() if field.endswith(ending)), money)


def known_variables() -> dict[str, str]:
    """Return every environment variable that is read (part overrides aside), with a line that says what it does."""
    lines = {}
    for field, info in Settings.model_fields.items():
        default = "not set" if info.default in (None, "") else info.default
        in_units = f"{unit(field)}, " if unit(field) else ""
        lines[environment_name(field)] = f"{(info.description or '').replace('%%', '%')} ({in_units}default {default})"
    return lines


def read_settings(environ: Mapping[str, str], **given: Any) -> tuple[Settings, dict[str, str]]:
    """Read the settings and the overrides of parts.

    Args:
        environ: the environment.
        given: settings from the command line; they go before the environment.

    Returns:
        The settings, and variant by part for every `AGENT_PART_*`.

    Raises:
        BadSetting: a value makes no sense, or an AGENT_* variable exists that nothing reads.
    """
    names = known_variables()
    values: dict[str, Any] = {}
    overrides: dict[str, str] = {}
    fields = {environment_name(field): field for field in Settings.model_fields}
    for name, value in environ.items():
        if name.startswith(PART_PREFIX):
            overrides[name.removeprefix(PART_PREFIX).lower()] = value.strip()
        elif name in fields:
            values[fields[name]] = value
        elif name.startswith("AGENT_"):
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
            hint = f"did you mean {close[0]}?" if close else "`python -m reference_agent --help` lists what is read."
            msg = f"{name} is set, but nothing reads it: {hint}"
            raise BadSetting(msg)
    values.update({field: value for field, value in given.items() if value is not None})
    try:
        # The environment is read above (and only there), so that a test can pass its own.
        settings = Settings.model_validate(values)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        why = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # no single one of them
            raise BadSetting(why) from None
        field = str(first["loc"][0])
        variable = field if field in names else environment_name(field)
        msg = f"{variable}={values.get(fields.get(variable, field))!r} makes no sense: {why}."
        raise BadSetting(msg) from None
    if not settings.openai_api_key:
        msg = "OPENAI_API_KEY is not set: set it to the key of the account (any text will do for a local stand-in)."
        raise BadSetting(msg)
    if not _KEY.fullmatch(settings.openai_api_key):
        msg = (
            "OPENAI_API_KEY makes no sense: expected printable ASCII without blanks and line ends (perhaps there is one"
            " at its end, from the file that it was read from)."
        )
        raise BadSetting(msg)
    for field in ("openai_base_url", "tts_url", "emotion_url", "weather_url", "news_url", "time_url", "fortune_url"):
        url = getattr(settings, field)
        if not _is_http_address(url):
            msg = f"{environment_name(field)}={url!r} is no address: expected http://HOST[:PORT] or https://HOST[:PORT]"
            raise BadSetting(msg)
    return settings, overrides
