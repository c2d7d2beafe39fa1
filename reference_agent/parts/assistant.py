"""Which assistant answers, and when is it looked for?"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any, Protocol

from reference_agent.clock import Clock, Deadline
from reference_agent.engines.assistants_api import AssistantsApi, StoredAssistant
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.parts.logging import Logging
from reference_agent.parts.metrics import Metrics
from reference_agent.parts.persona import Persona
from reference_agent.parts.retries import Retries
from reference_agent.parts.turn_order import TurnOrder
from reference_agent.settings import Settings
from reference_agent.toolbox import Toolbox


class Assistant(Protocol):
    """Knows the assistant at the model's upstream."""

    async def id(self, deadline: Deadline) -> str:
        """Return the assistant's id."""
        ...

    async def warm_up(self) -> None:
        """Do beforehand what can be done beforehand."""
        ...

    def is_gone(self, assistant_id: str) -> None:
        """The upstream has no such assistant: somebody deleted it."""
        ...

    def is_ready(self) -> bool:
        """Return whether the assistant is known."""
        ...


def _configuration(settings: Settings, toolbox: Toolbox, persona: Persona) -> dict[str, Any]:
    return {
        "name": settings.assistant_name,
        "model": settings.model,
        "instructions": persona.instructions(),
        "tools": toolbox.definitions(),
    }


class DocumentedAssistant:
    """A new one in every process, created while the first caller waits; the account fills up with them."""

    def __init__(self, settings: Settings, toolbox: Toolbox, persona: Persona, assistants_api: AssistantsApi) -> None:
        self._configuration = _configuration(settings, toolbox, persona)
        self._api = assistants_api
        self._id: str | None = None

    async def id(self, deadline: Deadline) -> str:
        if self._id is None:
            self._id = (await self._api.create_assistant(**self._configuration)).id
        return self._id

    async def warm_up(self) -> None:
        pass

    def is_gone(self, assistant_id: str) -> None:
        pass  # and so it fails until it is restarted

    def is_ready(self) -> bool:
        return True


_HASH_KEY = "configuration"
_NOBODY = " "  # the id of no user: a blank one is refused at the door


class HardenedAssistant:
    """Found again by its name, updated when its configuration has changed, created only where there is none.

    Looked for before the agent is ready, so that the first caller waits no longer than the next one. Replicas that
    start together create one after the other, as turns of nobody: the second one finds what the first one made.
    """

    needs_loop = True

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        toolbox: Toolbox,
        persona: Persona,
        assistants_api: AssistantsApi,
        retries: Retries,
        logging: Logging,
        metrics: Metrics,
        turn_order: TurnOrder,
    ) -> None:
        self._turn_order = turn_order
        self._metrics = metrics
        self._name = settings.assistant_name
        self._warm_up_s = settings.warm_up_s
        self._clock = clock
        self._api = assistants_api
        self._retries = retries
        self._logging = logging
        configuration = _configuration(settings, toolbox, persona)
        text = json.dumps(configuration, sort_keys=True, ensure_ascii=False)
        self._hash = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._configuration = {**configuration, "metadata": {_HASH_KEY: self._hash}}
        self._id: str | None = None
        self._one_at_a_time = asyncio.Lock()

    async def id(self, deadline: Deadline) -> str:
        if self._id is None:
            try:
                async with asyncio.timeout(deadline.remaining_s()), self._one_at_a_time:
                    if self._id is None:
                        self._id = await self._find(deadline)
            except TimeoutError:
                what = "the assistant"
                raise OutOfTime(what) from None
        return self._id

    async def warm_up(self) -> None:
        if self._warm_up_s == 0:
            return
        deadline = Deadline.after(self._clock, self._warm_up_s)
        while deadline.remaining_s() > 0:
            try:
                await self.id(deadline)
            except (Unavailable, OutOfTime) as failure:
                # Up without its assistant, it can at least say so; the first turn that finds the upstream well looks
                # again.
                self._logging.warned("assistant_not_ready", reason=str(failure))
                await self._clock.sleep(min(0.5, deadline.remaining_s()))
            else:
                return

    def is_gone(self, assistant_id: str) -> None:
        if self._id == assistant_id:
            self._id = None

    def is_ready(self) -> bool:
        return self._id is not None

    async def _find(self, deadline: Deadline) -> str:
        found = await self._look(deadline)
        if found is None:
            async with self._turn_order.turn_of(_NOBODY, deadline):
                found = await self._look(deadline) or await self._create(deadline)
        if found.metadata.get(_HASH_KEY) != self._hash:
            return (await self._update(found, deadline)).id
        return found.id

    async def _look(self, deadline: Deadline) -> StoredAssistant | None:
        return await self._retries.call(
            "openai", lambda: self._api.find_assistant(self._name), deadline, repeatable=True
        )

    async def _create(self, deadline: Deadline) -> StoredAssistant:
        created = await self._retries.call(
            "openai", lambda: self._api.create_assistant(**self._configuration), deadline, repeatable=False
        )
        self._logging.noted("assistant_created", id=created.id)
        self._metrics.assistant_created()
        return created

    async def _update(self, found: StoredAssistant, deadline: Deadline) -> StoredAssistant:
        self._logging.noted("assistant_updated", id=found.id)
        return await self._retries.call(
            "openai", lambda: self._api.update_assistant(found.id, **self._configuration), deadline, repeatable=True
        )


VARIANTS = {
    "documented": DocumentedAssistant,
    "proposed": DocumentedAssistant,  # nothing was proposed
    "hardened": HardenedAssistant,
}
