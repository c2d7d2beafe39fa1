"""What does a `target.toml` say? Reads it into frozen records; every mistake is one sentence.

A sentence names the file, the key, what was found and what was expected.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from harness.model import Size, Verdict
from harness.target import parts as parts_of
from harness.target.parts import VARIABLE, Ablation, Part
from harness.target.template import did_you_mean, fill, placeholders

DEFAULT_ANSWER_WITHIN_S = 10.0
"""When a caller gives up on a target that declares nothing: about what people wait for a voice to answer."""
DEFAULT_MEMORY_LIMIT_MB = 2048.0
"""Resident memory of the target's process tree where its file names no limit: no target may take the machine down."""
MOST_REPLICAS = 32
"""Of a target on one machine: beyond that it is a typing mistake."""
UPSTREAMS = ("openai", "tts", "emotion", "weather", "news", "time", "fortune")
"""The stand-ins whose addresses a target can be given, by the names under which the ledger knows them."""

_START_FACTS = ("python", "port", "host", "home", "deadline_s", "redis", "replica", *UPSTREAMS)
_REQUEST_FACTS = ("user_id", "message")
_WITHOUT_BODY = ("GET", "HEAD", "DELETE")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PROXY_NAME = re.compile(r"[A-Za-z0-9_-]+")
_JSON_PATH = re.compile(r"[^.]+(\.[^.]+)*")


class TargetError(Exception):
    """A target's description cannot be used; the message says which file and key, and what was expected."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parent of every table of the file."""


class Ready(_Table, frozen=True, kw_only=True):
    """When a started target may be sent traffic: a 2xx from `path`, or, without one, an open port."""

    path: str | None = None
    within_s: float = 20.0


class Start(_Table, frozen=True, kw_only=True):
    """How the target is started. The environment is scrubbed: what it needs is named in `env`."""

    command: tuple[str, ...]
    directory: str | None = None
    """Where it runs, relative to the file; without it, where the harness runs."""
    replicas: int = 1
    """How many processes of it there are, behind a balancer where there are several. They share their home."""
    ready: Ready = Ready()
    memory_limit_mb: float = DEFAULT_MEMORY_LIMIT_MB
    """Resident memory of its process tree, beyond which it is killed."""
    env: dict[str, str] = {}


class OwnRedis(_Table, frozen=True, kw_only=True):
    """How the Redis is run that a started target is given, fresh for every scenario, when it names `{redis}`."""

    appendonly: bool = False
    """Whether every write is on disk before it is answered, so that killing it loses nothing; as Redis calls it."""


class Proxied(_Table, frozen=True, kw_only=True):
    """A line to an upstream that leads through a fault proxy."""

    to: str
    """The name of an upstream, whose placeholder then leads through the proxy; `redis`; or HOST:PORT."""
    port: int | None = None
    """Where the proxy listens on 127.0.0.1, for a target that has its upstream's address built in."""


class Observe(_Table, frozen=True, kw_only=True):
    """Where a target that somebody else started can be watched: its process, or its metrics; and its log file."""

    pid: int | None = None
    """Process id, on the machine of the harness."""
    log_file: str | None = None
    """What it logs to, relative to the file."""
    metrics_url: str | None = None
    """Where it gives its metrics in Prometheus's text format."""

    def options(self) -> list[str]:
        """Return this as options of the command that watches (see `harness.observe`)."""
        given = (("--pid", self.pid), ("--log-file", self.log_file), ("--metrics-url", self.metrics_url))
        return [word for option, value in given if value is not None for word in (option, str(value))]


class Request(_Table, frozen=True, kw_only=True):
    """What the load sends for one message."""

    method: str = "POST"
    path: str = "/chat-agent"
    json: Any = msgspec.UNSET
    """Any JSON; absent: `{user_id, message}`, and no body at all for a GET, HEAD or DELETE."""
    headers: dict[str, str] = {}

    @property
    def content(self) -> Any:
        """The JSON body with its placeholders, None for no body."""
        if self.json is not msgspec.UNSET:
            return self.json
        return None if self.method in _WITHOUT_BODY else _CONTRACT_JSON


_CONTRACT_JSON = {"user_id": "{user_id}", "message": "{message}"}


class JsonField(_Table, frozen=True, kw_only=True):
    """A place in a JSON body: keys and list positions joined by dots, e.g. `choices.0.message.content`."""

    json: str


class ReplyText(_Table, frozen=True, kw_only=True):
    """Where the reply text is: in a header, or in a JSON body."""

    header: str | None = None
    encoding: Literal["url", "plain"] = "url"
    json: str | None = None


class Reply(_Table, frozen=True, kw_only=True):
    """How an answer is read."""

    text: ReplyText | Literal["body", "none"] = ReplyText(header="X-GPT-Reply")
    audio: Literal["body", "none"] = "body"
    error: JsonField = JsonField(json="error")
    """A 200 with this key in a JSON body is a handled failure."""
    text_only: JsonField | None = None
    """Where a JSON body carries the reply while there is no audio to be had; without it, such a body is a failure."""


class BySize(_Table, frozen=True, kw_only=True):
    """A declared limit that differs between the quick and the documented size."""

    quick: float
    full: float


class Variant(_Table, frozen=True, kw_only=True):
    """One way in which the target can be run, and what is then to be expected of it."""

    env: dict[str, str] = {}
    expect: Verdict | None = None
    expect_scenarios: dict[str, Verdict] = {}
    """Exceptions to `expect`, by scenario."""


class Target(_Table, frozen=True, kw_only=True):
    """What is under test."""

    name: str = "target"
    host: str | None = None
    """Where it already runs; only without `start`."""
    start: Start | None = None
    redis: OwnRedis | None = None
    observe: Observe | None = None
    proxy: dict[str, Proxied] = {}
    """The lines that can be broken, by name; `{proxy.NAME}` is the HOST:PORT of one."""
    request: Request = Request()
    reply: Reply = Reply()
    declares: dict[str, float | BySize] = {}
    """What it declares of itself: the limits that checks may refer to by name."""
    variants: dict[str, Variant] = {}
    ablation: Ablation | None = None
    parts: dict[str, Part] = {}
    """Its parts that can be turned back one by one, and what each of them is there for."""
    file: str = ""
    """The file it was read from, empty for a bare URL."""

    def declared(self, size: Size) -> dict[str, float]:
        """Return what the target declares of itself at this size, `answer_within_s` always among it."""
        limits = {
            name: float(limit if not isinstance(limit, BySize) else getattr(limit, size))
            for name, limit in self.declares.items()
        }
        return {"answer_within_s": DEFAULT_ANSWER_WITHIN_S, **limits}

    def deadline_s(self, size: Size) -> float:
        """Return after how many seconds a caller gives up."""
        return self.declared(size)["answer_within_s"]

    def variant(self, name: str | None) -> Variant:
        """Return the variant called `name`, an empty one for None.

        Raises:
            TargetError: there is no such variant.
        """
        if name is None:
            return Variant()
        if name in self.variants:
            return self.variants[name]
        has = f"it has {', '.join(sorted(self.variants))}" if self.variants else "it has none"
        msg = f"{self.file or self.name} has no variant {name!r}: {has}.{did_you_mean(name, self.variants)}"
        raise TargetError(msg)

    def facts(self, size: Size) -> dict[str, str]:
        """Return what the placeholders `{declared.NAME}` and `{deadline_s}` stand for."""
        declared = {f"declared.{name}": _number(limit) for name, limit in self.declared(size).items()}
        return {**declared, "deadline_s": _number(self.deadline_s(size))}

    def observed(self, pid: int | None, log_file: str | None, metrics_url: str | None) -> Observe:
        """Return where the target can be watched: what is given, and for the rest what its file says.

        Raises:
            TargetError: what is given makes no sense.
        """
        said = self.observe or Observe()
        if said.log_file is not None:
            said = msgspec.structs.replace(said, log_file=str(Path(self.file).parent / said.log_file))
        if pid is not None or metrics_url is not None:
            said = msgspec.structs.replace(said, pid=pid, metrics_url=metrics_url)
        if log_file is not None:
            said = msgspec.structs.replace(said, log_file=log_file)
        problem = next(_observe_problems(said), None) if said != Observe() else None
        if problem is not None:
            for name in ("pid", "log_file", "metrics_url"):
                problem = problem.replace(f"observe.{name}", f"--{name.replace('_', '-')}")
            raise TargetError(problem)
        return said

    def uses(self, fact: str, variant: str | None) -> bool:
        """Return whether the command, the environment that it has under this variant, or a proxy names `fact`.

        Raises:
            TargetError: there is no such variant.
        """
        if self.start is None:
            return False
        if any(proxied.to == fact for proxied in self.proxy.values()):
            return True
        return any(fact in placeholders(text) for text in (*self.start.command, *self._templates(variant).values()))

    def check_names(self, scenarios: Collection[str], checks: Collection[str]) -> None:
        """Make sure that every scenario and every check that the file names is one that there is.

        Raises:
            TargetError: the first one that is not.
        """
        for name, variant in self.variants.items():
            for scenario in variant.expect_scenarios:
                if scenario not in scenarios:
                    hint = did_you_mean(scenario, scenarios)
                    msg = f"{self.file}: variants.{name}.expect_scenarios: there is no scenario {scenario!r}.{hint}"
                    raise TargetError(msg)
        for problem in parts_of.strangers(self.parts, scenarios, checks):
            raise TargetError(f"{self.file}: {problem}")

    def command(self, facts: Mapping[str, str]) -> list[str]:
        """Return the command that starts it; `facts` holds every placeholder (see `facts` and `UPSTREAMS`).

        Raises:
            TargetError: there is no [start], or a placeholder has no fact here.
        """
        return [self._fill(part, facts, "start.command") for part in self._start().command]

    def environment(self, variant: str | None, facts: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that it is started with: those of [start] and over them those of the variant.

        Raises:
            TargetError: there is no [start] or no such variant, or a placeholder has no fact here.
        """
        templates = self._templates(variant)
        return {name: self._fill(value, facts, f"start.env.{name}") for name, value in templates.items()}

    def _templates(self, variant: str | None) -> dict[str, str]:
        return {**self._start().env, **self.variant(variant).env}

    def _start(self) -> Start:
        if self.start is None:
            raise TargetError(f"{self.file or self.name} has no [start]: the harness cannot start this target.")
        return self.start

    def _fill(self, template: str, facts: Mapping[str, str], key: str) -> str:
        try:
            return fill(template, facts)
        except KeyError as error:
            msg = f"{self.file or self.name}: {key}: there is no {{{error.args[0]}}} in this run."
            raise TargetError(msg) from error


def bare_target(host: str | None = None) -> Target:
    """Return the target that a bare URL stands for: the contract of the documented agent, nothing declared.

    Raises:
        TargetError: `host` is no http(s) URL.
    """
    return parse_target({} if host is None else {"host": host}, "--host" if host else "")


def read_target(path: Path) -> Target:
    """Read a target file.

    Raises:
        TargetError: it is missing, no TOML, or says something that is not understood.
    """
    try:
        tables = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError as error:
        raise TargetError(f"{path} does not exist: expected a target file, usually called target.toml.") from error
    except IsADirectoryError as error:
        raise TargetError(f"{path} is a directory: expected a target file; is it {path / 'target.toml'}?") from error
    except UnicodeDecodeError as error:
        raise TargetError(f"{path}: byte {error.start} is no UTF-8: expected a TOML file in UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"{path} is no valid TOML: {str(error)[:1].lower()}{str(error)[1:]}.") from error
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror or error}.") from error
    return parse_target(tables, str(path))


def parse_target(tables: Mapping[str, Any], file: str) -> Target:
    """Make a target of what a TOML file holds.

    Args:
        tables: the parsed TOML.
        file: how error messages name it.

    Raises:
        TargetError: the first mistake.
    """
    problem = next(_shape_problems(dict(tables), Target, ""), None)
    if problem is None:
        target: Target = msgspec.convert({**tables, "file": file}, Target)
        problem = next(_sense_problems(target), None)
        if problem is None:
            return target
    raise TargetError(f"{file}: {problem}" if file else problem)


# --- shape: are the keys known and of the right kind? ---------------------------------------------------------------


def _shape_problems(found: Any, expected: Any, key: str) -> Iterator[str]:
    """Yield what does not fit the type `expected`, with the exact key."""
    if isinstance(found, dict):
        table = _member(expected, lambda kind: isinstance(kind, type) and issubclass(kind, msgspec.Struct))
        if table is not None:
            yield from _table_problems(found, table, key)
            return
        mapping = _member(expected, lambda kind: _origin(kind) is dict)
        if mapping is not None:
            for name, value in found.items():
                yield from _shape_problems(value, get_args(mapping)[1], _join(key, name))
            return
    if isinstance(found, list):
        sequence = _member(expected, lambda kind: _origin(kind) is tuple)
        if sequence is not None:
            for position, value in enumerate(found):
                yield from _shape_problems(value, get_args(sequence)[0], f"{key}[{position}]")
            return
    try:
        msgspec.convert(found, expected)
    except msgspec.ValidationError:
        choices = _choices(expected)
        hint = did_you_mean(found, choices) if isinstance(found, str) else ""
        yield f"{key} is {_show(found)}: expected {_describe(expected)}.{hint}"


def _table_problems(found: Mapping[str, Any], table: type[msgspec.Struct], key: str) -> Iterator[str]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(table)}
    if table is Target:
        del fields["file"]
    for name in found:
        if name not in fields:
            where = f"in [{key}]" if key else "at the top"
            yield (
                f"unknown key {_join(key, name)!r}: expected one of {', '.join(fields)} {where}."
                f"{did_you_mean(name, fields)}"
            )
    for name, field in fields.items():
        if name in found:
            yield from _shape_problems(found[name], field.type, _join(key, name))
        elif field.required:
            yield f"{_join(key, name)} is missing: expected {_describe(field.type)}."


def _member(expected: Any, fits: Any) -> Any:
    members = get_args(expected) if get_origin(expected) in (Union, UnionType) else (expected,)
    return next((member for member in members if fits(member)), None)


def _origin(kind: Any) -> Any:
    return get_origin(kind)


def _choices(expected: Any) -> tuple[str, ...]:
    if get_origin(expected) is Literal:
        return get_args(expected)
    if get_origin(expected) in (Union, UnionType):
        return tuple(choice for member in get_args(expected) for choice in _choices(member))
    if isinstance(expected, type) and issubclass(expected, Verdict):
        return tuple(verdict.value for verdict in Verdict)
    return ()


def _describe(expected: Any) -> str:
    if get_origin(expected) in (Union, UnionType):
        return " or ".join(_describe(member) for member in get_args(expected) if member is not type(None))
    choices = _choices(expected)
    if choices:
        return " or ".join(f'"{choice}"' for choice in choices)
    if get_origin(expected) is tuple:
        return 'a list of texts, e.g. ["a", "b"]'
    if get_origin(expected) is dict:
        return "a table"
    if expected is bool:
        return "true or false"
    if expected is float:
        return "a number"
    if expected is int:
        return "a whole number"
    if expected is int:
        return "a whole number"
    if expected is str:
        return 'a text in quotes, e.g. "..."'
    names = [field.encode_name for field in msgspec.structs.fields(expected)]
    return f"a table with {', '.join(name for name in names if name != 'file')}"


def _show(found: Any) -> str:
    if isinstance(found, dict):
        return "a table"
    if isinstance(found, list):
        return "a list"
    if isinstance(found, bool):
        return "true" if found else "false"
    shown = f'"{found}"' if isinstance(found, str) else str(found)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


# --- sense: does what fits also mean something? ---------------------------------------------------------------------


def _sense_problems(target: Target) -> Iterator[str]:
    if target.host is not None:
        yield from _host_problems(target.host)
        if target.start is not None:
            yield "host and [start] are both there: a target is either started by the harness or already running."
    yield from _declared_problems(target.declares)
    if target.start is not None:
        yield from _start_problems(target.start, target)
    if target.observe is not None:
        if target.start is not None:
            yield "[observe] and [start] are both there: a target that the harness starts is watched anyway."
        yield from _observe_problems(target.observe)
    if target.redis is not None and not any(target.uses("redis", name) for name in (None, *target.variants)):
        yield "[redis] has no effect: expected {redis} in start.command, start.env or a variant's env."
    yield from _proxy_problems(target)
    for name, variant in target.variants.items():
        key = f"variants.{name}.env"
        if variant.env and target.start is None:
            yield f"{key} has no effect without [start]: the harness does not start this target."
        yield from _environment_problems(variant.env, key, _start_facts(target))
    if target.parts and target.start is None:
        yield "[parts] has no effect without [start]: the harness does not start this target."
    yield from parts_of.problems(target.ablation, target.parts, target.variants)
    yield from _request_problems(target.request)
    yield from _reply_problems(target.reply)


def _host_problems(host: str) -> Iterator[str]:
    if not _is_url(host):
        yield f'host is "{host}": expected a URL such as "http://127.0.0.1:8000".'


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _declared_problems(declares: Mapping[str, float | BySize]) -> Iterator[str]:
    for name, limit in declares.items():
        limits = {"": limit} if not isinstance(limit, BySize) else {".quick": limit.quick, ".full": limit.full}
        for suffix, value in limits.items():
            least = "a number above 0" if name == "answer_within_s" else "a number from 0 up"
            if not math.isfinite(value) or value < 0 or (name == "answer_within_s" and value == 0):
                yield f"declares.{name}{suffix} is {value:g}: expected {least}."


def _proxy_problems(target: Target) -> Iterator[str]:
    taken: dict[object, str] = {}
    for name, proxied in target.proxy.items():
        key = f"proxy.{name}"
        if not _PROXY_NAME.fullmatch(name):
            yield f'{key}: expected a name of letters, digits, "_" and "-".'
        if proxied.to not in ("redis", *UPSTREAMS) and not _is_address(proxied.to):
            yield (
                f'{key}.to is "{proxied.to}": expected HOST:PORT, or one of {", ".join(("redis", *UPSTREAMS))}.'
                f"{did_you_mean(proxied.to, ('redis', *UPSTREAMS))}"
            )
        if proxied.port is not None and not 0 < proxied.port < 65536:
            yield f"{key}.port is {proxied.port}: expected 1 to 65535."
        if target.start is None and proxied.to == "redis":
            yield f"{key}.to is redis: only a target that the harness starts is given one."
        if target.start is None and proxied.port is None:
            yield f"{key} has no port: expected one, since this target already runs and cannot be told it."
        for what, of in ((proxied.port, "port"), (proxied.to, "to")):
            if what is not None and (of, what) in taken:
                yield f"{key}.{of} is that of proxy.{taken[of, what]} too: expected one of its own."
            taken[of, what] = name


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and "/" not in host and port.isdigit() and 0 < int(port) < 65536


def _start_problems(start: Start, target: Target) -> Iterator[str]:
    if not start.command or not start.command[0].strip():
        yield 'start.command is empty: expected a list of texts, e.g. ["{python}", "-m", "my_agent"].'
    known = _start_facts(target)
    for position, part in enumerate(start.command):
        yield from _placeholder_problems(part, f"start.command[{position}]", known)
    yield from _environment_problems(start.env, "start.env", known)
    if start.ready.path is not None:
        yield from _path_problems(start.ready.path, "start.ready.path")
    if not 1 <= start.replicas <= MOST_REPLICAS:
        yield f"start.replicas is {start.replicas}: expected 1 to {MOST_REPLICAS}."
    if not math.isfinite(start.ready.within_s) or start.ready.within_s <= 0:
        yield f"start.ready.within_s is {start.ready.within_s:g}: expected a number of seconds above 0."
    if not math.isfinite(start.memory_limit_mb) or start.memory_limit_mb <= 0:
        yield f"start.memory_limit_mb is {start.memory_limit_mb:g}: expected a number of megabytes above 0."


def _observe_problems(observe: Observe) -> Iterator[str]:
    if observe.pid is None and observe.metrics_url is None and observe.log_file is None:
        yield "[observe] is empty: expected pid, metrics_url or log_file."
    if observe.pid is not None and observe.metrics_url is not None:
        yield "observe.pid and observe.metrics_url both tell how much memory the target takes: expected one of them."
    if observe.pid is not None and observe.pid < 1:
        yield f"observe.pid is {observe.pid}: expected the id of a process, 1 or more."
    if observe.metrics_url is not None and not _is_url(observe.metrics_url):
        yield f'observe.metrics_url is "{observe.metrics_url}": expected a URL such as "http://127.0.0.1:8000/metrics".'


def _environment_problems(env: Mapping[str, str], key: str, known: Collection[str]) -> Iterator[str]:
    for name, value in env.items():
        if not VARIABLE.fullmatch(name):
            yield f"{key} has the name {name!r}: expected letters, digits and underscores."
        if "\0" in value:
            yield f"{key}.{name} holds a NUL character: no environment variable can."
        yield from _placeholder_problems(value, f"{key}.{name}", known)


def _request_problems(request: Request) -> Iterator[str]:
    if not _TOKEN.fullmatch(request.method) or request.method != request.method.upper():
        yield f'request.method is "{request.method}": expected a method such as "POST".'
    yield from _path_problems(request.path, "request.path")
    texts = {"request.path": request.path}
    for name, value in request.headers.items():
        if not _TOKEN.fullmatch(name):
            yield f"request.headers has the name {name!r}: expected a header name such as Authorization."
        if not value.isascii() or not (value.isprintable() or not value):
            yield f"request.headers.{name} holds a character that no header can carry: expected printable ASCII."
        texts[f"request.headers.{name}"] = value
    texts.update(_texts(request.content, "request.json"))
    for key, text in texts.items():
        yield from _placeholder_problems(text, key, _REQUEST_FACTS)
    if not any("message" in placeholders(text) for text in texts.values()):
        yield 'request never says what the caller says: expected "{message}" in request.json, path or headers.'


def _reply_problems(reply: Reply) -> Iterator[str]:
    text = reply.text
    if isinstance(text, ReplyText):
        if (text.header is None) == (text.json is None):
            yield 'reply.text needs exactly one of header and json, e.g. {header = "X-GPT-Reply"}.'
        if text.header is not None and not _TOKEN.fullmatch(text.header):
            yield f'reply.text.header is "{text.header}": expected a header name such as "X-GPT-Reply".'
        if text.json is not None:
            yield from _json_path_problems(text.json, "reply.text.json")
    if reply.audio == "body" and (text == "body" or (isinstance(text, ReplyText) and text.json is not None)):
        yield (
            'reply.text and reply.audio both are the body: expected audio = "none", or the text in a header '
            "(reply.text_only says where the text is when there is no audio)."
        )
    if reply.audio == "none" and text == "none":
        yield "reply has neither text nor audio: there would be nothing to judge an answer by."
    if reply.audio == "none" and reply.text_only is not None:
        yield 'reply.text_only has no effect with audio = "none".'
    yield from _json_path_problems(reply.error.json, "reply.error.json")
    if reply.text_only is not None:
        yield from _json_path_problems(reply.text_only.json, "reply.text_only.json")


def _placeholder_problems(template: str, key: str, known: Collection[str]) -> Iterator[str]:
    for name in placeholders(template):
        if name not in known:
            yield (
                f"{key} has the unknown placeholder {{{name}}}: expected one of "
                f"{', '.join(f'{{{one}}}' for one in sorted(known))}, or {{{{{name}}}}} for the text itself."
                f"{did_you_mean(name, known)}"
            )


def _path_problems(path: str, key: str) -> Iterator[str]:
    if not path.startswith("/") or not path.isascii() or any(char.isspace() or not char.isprintable() for char in path):
        yield f'{key} is "{path}": expected a path such as "/chat-agent", percent-encoded.'


def _json_path_problems(path: str, key: str) -> Iterator[str]:
    if not _JSON_PATH.fullmatch(path):
        yield f'{key} is "{path}": expected keys joined by dots, e.g. "reply.text".'


def _start_facts(target: Target) -> tuple[str, ...]:
    return (
        *_START_FACTS,
        *(f"declared.{name}" for name in target.declared("quick")),
        *(f"proxy.{name}" for name in target.proxy),
    )


def _texts(content: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(content, str):
        yield key, content
    elif isinstance(content, dict):
        for name, value in content.items():
            yield from _texts(value, _join(key, name))
    elif isinstance(content, list):
        for position, value in enumerate(content):
            yield from _texts(value, f"{key}[{position}]")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
