"""Which variant of which part is on, and how do they come together? The only place that knows.

A constructor names what it needs; here each name is looked up, built once, and handed over. Names are: `settings`,
`wire`, `clock`, `openai_client`, `assistants_api`, `history`, `outbound`, `toolbox`, `blocking_toolbox`,
`session_store`, `shared_limits`, `cache_levels`, `loop_lag`, `duty`, `leftovers`, `job_store`, `job_queue`,
`job_player`, `engine` (the one that talks), `assistants_engine`, `responses_engine`, `chat_engine`, `conversations`,
`turn`, and the names of the parts.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import openai

from reference_agent import parts, tools
from reference_agent.cache_levels import DatabaseLevel, Level, MemoryLevel, RedisLevel
from reference_agent.conversations import Conversations
from reference_agent.duty import Duty
from reference_agent.engines.assistants import AssistantsEngine
from reference_agent.engines.assistants_api import AssistantsApi
from reference_agent.engines.chat import ChatEngine, ProcessHistory, StoredHistory
from reference_agent.engines.responses import ResponsesEngine
from reference_agent.job_player import JobPlayer
from reference_agent.job_queue import JobQueue
from reference_agent.job_store import JobStore
from reference_agent.leftovers import FileNotes, Leftovers, NoLeftovers, Notes, StoredLeftovers
from reference_agent.loop_lag import LoopLag
from reference_agent.outbound import Outbound
from reference_agent.parts.sessions import bounds
from reference_agent.session_store import SessionStore, open_session_store
from reference_agent.settings import PART_PREFIX, BadSetting, Settings
from reference_agent.shared_limits import NoSharedLimits, RedisLimits, SharedLimits
from reference_agent.toolbox import Toolbox
from reference_agent.turn import Turn
from reference_agent.wire import LoopWire, ThreadWire, Wire

PROFILES = ("documented", "proposed", "hardened")
"""A profile is the variant of that name, for every part: as it was found, as its remedies were written down, as it
should be."""
SAFE_VARIANT = "hardened"
DEFAULT_ENGINES = {"documented": "assistants", "proposed": "assistants", "hardened": "responses"}
"""Engine by profile, where none is set. The Assistants API is what was spoken when the agent was documented; OpenAI has
shut it down."""
ENGINES: dict[str, type] = {"assistants": AssistantsEngine, "responses": ResponsesEngine, "chat": ChatEngine}


@functools.cache
def variants() -> Mapping[str, Mapping[str, type]]:
    """Return every part's variants, by part and variant name; parts are found, not listed."""
    return {
        module.name: importlib.import_module(f"{parts.__name__}.{module.name}").VARIANTS
        for module in pkgutil.iter_modules(parts.__path__)
    }


def choose(profile: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the variant of every part.

    Args:
        profile: name of the profile.
        overrides: variant by part, for parts that are to differ from the profile.

    Raises:
        BadSetting: there is no such profile, part or variant, or the variants do not go together.
    """
    if profile not in PROFILES:
        expected = f"{' or '.join(PROFILES)}{_did_you_mean(profile, PROFILES)}"
        msg = f"There is no profile {profile!r} (AGENT_PROFILE, --profile): expected {expected}"
        raise BadSetting(msg)
    chosen = dict.fromkeys(variants(), profile)
    for part, variant in overrides.items():
        name = f"{PART_PREFIX}{part.upper()}"
        if part not in chosen:
            msg = f"{name}: there is no part {part!r}{_did_you_mean(part, chosen)} Parts: {', '.join(chosen)}."
            raise BadSetting(msg)
        if variant not in variants()[part]:
            known = list(variants()[part])
            msg = f"{name}={variant!r}: expected {' or '.join(known)}{_did_you_mean(variant, known)}"
            raise BadSetting(msg)
        chosen[part] = variant
    if _classes(chosen)["handler"].blocking:
        waiting = [part for part, cls in _classes(chosen).items() if getattr(cls, "needs_loop", False)]
        if waiting:
            msg = (
                f"{PART_PREFIX}{waiting[0].upper()}={chosen[waiting[0]]} needs the event loop, and the"
                f" {chosen['handler']} handler has none: set {PART_PREFIX}HANDLER={SAFE_VARIANT} as well."
            )
            raise BadSetting(msg)
    return chosen


class Composition:
    """An agent, put together.

    Raises:
        BadSetting: as `choose`, or there is no such engine.
    """

    def __init__(self, settings: Settings, overrides: Mapping[str, str]) -> None:
        self.chosen = choose(settings.profile, overrides)
        engine = DEFAULT_ENGINES[settings.profile] if settings.engine is None else settings.engine
        if engine not in ENGINES:
            msg = f"AGENT_ENGINE={engine!r}: expected {' or '.join(ENGINES)}{_did_you_mean(engine, ENGINES)}"
            raise BadSetting(msg)
        blocking = _classes(self.chosen)["handler"].blocking
        wire = ThreadWire() if blocking else LoopWire()
        self._threads: Composition | None = None
        self._built: dict[str, Any] = {"settings": settings, "wire": wire, "clock": wire.clock}
        self._makers: dict[str, Callable[[], Any]] = {
            "outbound": lambda: self._make(Outbound),
            "engine": lambda: self.get(f"{engine}_engine"),
            **{f"{name}_engine": functools.partial(self._make, cls) for name, cls in ENGINES.items()},
            "conversations": lambda: self._conversations(engine),
            "turn": lambda: self._make(Turn),
            "job_store": lambda: self._make(JobStore),
            "job_queue": lambda: self._make(JobQueue),
            "job_player": lambda: self._make(JobPlayer),
            "toolbox": self._toolbox,
            "loop_lag": LoopLag,
            "duty": lambda: self._make(Duty),
            "leftovers": lambda: NoLeftovers() if blocking else self._leftovers(),
            "session_store": self._session_store,
            "shared_limits": self._shared_limits,
            "cache_levels": self._cache_levels,
            "blocking_toolbox": self._blocking_toolbox,
            "openai_client": self._openai_client,
            "assistants_api": lambda: AssistantsApi(self.get("openai_client")),
            "history": lambda: ProcessHistory() if blocking else StoredHistory(self.get("session_store")),
        }

    @property
    def is_safe(self) -> bool:
        """False when any part is vulnerable on purpose."""
        return all(variant == SAFE_VARIANT for variant in self.chosen.values())

    def get(self, name: str) -> Any:
        """Return what goes by that name; it is built when it is first asked for."""
        if name not in self._built:
            make = self._makers.get(name) or functools.partial(self._make, _classes(self.chosen)[name])
            self._built[name] = make()
        return self._built[name]

    async def close(self) -> None:
        """Close all connections."""
        await self._built["wire"].close()
        if "leftovers" in self._built:
            await self._built["leftovers"].close()
        if "cache" in self._built:
            await self._built["cache"].close()
        if "job_store" in self._built:
            await self._built["job_store"].close()
        if "job_queue" in self._built:
            self._built["job_queue"].close()
        if "shared_limits" in self._built:
            await self._built["shared_limits"].close()
        if "session_store" in self._built:
            await self._built["session_store"].close()
        if self._threads is not None:
            await self._threads.close()

    def _make(self, cls: type) -> Any:
        if cls.__init__ is object.__init__:  # type: ignore[misc]
            return cls()
        needed = inspect.signature(cls).parameters.values()
        return cls(**{p.name: self.get(p.name) for p in needed if p.default is inspect.Parameter.empty})

    def _toolbox(self) -> Toolbox:
        modules = [importlib.import_module(f"{tools.__name__}.{m.name}") for m in pkgutil.iter_modules(tools.__path__)]
        built = [self._make(module.TOOL) for module in modules]
        return Toolbox(built, self.get("metrics"), self.get("cache"), self.get("input_guard"))

    def _conversations(self, talking: str) -> Conversations:
        self.get("responses_engine")  # whichever talks: it says how the responses are deleted that are left over
        return Conversations(talking, ENGINES, lambda name: self.get("engine" if name == talking else f"{name}_engine"))

    def _session_store(self) -> SessionStore:
        settings: Settings = self.get("settings")
        try:
            return open_session_store(settings.session_store, bounds(settings))
        except ValueError as wrong:
            msg = f"AGENT_SESSION_STORE={settings.session_store!r} makes no sense: {wrong}."
            raise BadSetting(msg) from None

    def _shared_limits(self) -> SharedLimits:
        settings: Settings = self.get("settings")
        if not settings.shared_redis:
            return NoSharedLimits()
        try:
            return RedisLimits(settings.shared_redis, self.get("clock"), self.get("logging"))
        except ValueError as wrong:
            msg = f"{settings.shared_redis!r} makes no sense as a Redis: {wrong}."
            raise BadSetting(msg) from None

    def _leftovers(self) -> Leftovers:
        settings: Settings = self.get("settings")
        notes: Notes
        if "://" in settings.session_store:
            # Imported only where it is asked for, as its session store is.
            from reference_agent.redis_leftovers import RedisNotes

            notes = RedisNotes(settings.session_store)
        else:
            notes = FileNotes(settings.beside_sessions("leftovers.sqlite"), self.get("clock"))
        return StoredLeftovers(notes, self.get("clock"), self.get("logging"))

    def _cache_levels(self) -> list[Level]:
        settings: Settings = self.get("settings")
        levels: list[Level] = [MemoryLevel(settings.cache_memory_s, settings.cache_entries)]
        if settings.redis_url:
            levels.append(RedisLevel(settings.redis_url, settings.cache_redis_s))
        path = settings.cache_path()
        if path is not None:
            levels.append(DatabaseLevel(path, settings.cache_database_s, settings.cache_rows))
        return levels

    def _blocking_toolbox(self) -> Toolbox:
        """The tools once more, with calls that hold their thread: for a part that runs them in threads."""
        settings: Settings = self.get("settings")
        loopless = {
            part: variant
            for part, variant in self.chosen.items()
            if not getattr(variants()[part][variant], "needs_loop", False)
        }
        self._threads = Composition(settings.model_copy(update={"profile": "documented"}), loopless)
        toolbox: Toolbox = self._threads.get("toolbox")
        return toolbox

    def _openai_client(self) -> openai.OpenAI | openai.AsyncOpenAI:
        settings: Settings = self.get("settings")
        wire: Wire = self.get("wire")
        return wire.openai_client(
            base_url=settings.openai_base_url,
            api_key=settings.openai_api_key,
            **self.get("retries").client_options(),
        )


def _classes(chosen: Mapping[str, str]) -> dict[str, Any]:
    return {part: variants()[part][variant] for part, variant in chosen.items()}


def _did_you_mean(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
