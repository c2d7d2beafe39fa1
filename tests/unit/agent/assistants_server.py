"""What is the least that a turn needs of the Assistants API? An upstream in a function, for the official client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai

from reference_agent.engines.assistants_api import AssistantsApi

Steps = list[dict[str, Any]]


class AssistantsServer:
    """Threads and runs in memory. A run goes through `steps`, one at every look, and stays in the last one.

    `fault` sees every request first and may raise or answer in its place.
    """

    def __init__(self, *steps: dict[str, Any]) -> None:
        self.steps: Steps = list(steps) or [{"status": "completed"}]
        self.calls: list[str] = []
        self.bodies: list[Any] = []
        self.assistants: list[dict[str, Any]] = []
        self.threads: set[str] = set()
        self.run: dict[str, Any] | None = None
        self.fault: Callable[[str], httpx2.Response | None] = lambda call: None
        self.cancelled: dict[str, Any] = {"status": "cancelled"}
        self._looks = 0

    def api(self) -> AssistantsApi:
        """Return the calls of the agent, with this server at their other end."""
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        client = openai.AsyncOpenAI(api_key="sk-test", base_url="http://openai/v1", max_retries=0, http_client=http)
        return AssistantsApi(client)

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        call = f"{request.method} {request.url.path.removeprefix('/v1')}"
        self.calls.append(call)
        self.bodies.append(json.loads(request.content) if request.content else None)
        faulty = self.fault(call)
        if faulty is not None:
            return faulty
        answer = self._answer(call.split(" ")[0], call.split("/")[1:], self.bodies[-1])
        if answer is None:
            return error(404, "No such thing")
        return answer if isinstance(answer, httpx2.Response) else httpx2.Response(200, json=answer)

    def _answer(self, method: str, path: list[str], body: Any) -> Any:
        match method, path:
            case "GET", ["assistants"]:
                return {"object": "list", "data": self.assistants, "has_more": False}
            case "POST", ["assistants"]:
                self.assistants.append({"id": f"asst_{len(self.assistants)}", "object": "assistant", **body})
                return self.assistants[-1]
            case "POST", ["assistants", assistant_id]:
                found = next(a for a in self.assistants if a["id"] == assistant_id)
                found.update(body)
                return found
            case "POST", ["threads"]:
                self.threads.add(f"thread_{len(self.threads)}")
                return {"id": f"thread_{len(self.threads) - 1}", "object": "thread", "created_at": 0}
            case _, ["threads", thread, *_] if thread not in self.threads:
                return None
            case "DELETE", ["threads", thread]:
                self.threads.discard(thread)
                return {"id": thread, "object": "thread.deleted", "deleted": True}
            case "POST", ["threads", thread, "messages"]:
                return {"id": "msg_0", "object": "thread.message", "thread_id": thread, "role": "user", "content": []}
            case "GET", ["threads", thread, "messages"]:
                return _messages(thread, "はいにゃん")
            case "POST", ["threads", thread, "runs"]:
                self.run = {"status": "queued"}
                self._looks = 0
                return self._run(thread)
            case "GET", ["threads", thread, "runs"]:
                return {"object": "list", "data": [self._run(thread)] if self.run else [], "has_more": False}
            case "GET", ["threads", thread, "runs", _] if self.run is not None:
                if self.run["status"] not in ("cancelled",):
                    self.run = self.steps[min(self._looks, len(self.steps) - 1)]
                    self._looks += 1
                return self._run(thread)
            case "POST", ["threads", thread, "runs", _, "submit_tool_outputs"]:
                self.run = {"status": "queued"}
                return self._run(thread)
            case "POST", ["threads", thread, "runs", _, "cancel"] if self.run is not None:
                if self.run["status"] == "completed":
                    return error(400, "Cannot cancel run with status 'completed'.")
                self.run = self.cancelled
                return self._run(thread)
        return None

    def _run(self, thread: str) -> dict[str, Any]:
        return {"id": "run_0", "object": "thread.run", "thread_id": thread, **(self.run or {})}


def error(status: int, message: str) -> httpx2.Response:
    """Return an error as OpenAI words it."""
    return httpx2.Response(status, json={"error": {"message": message, "type": "invalid_request_error", "code": None}})


def wants(name: str, arguments: str = "{}") -> dict[str, Any]:
    """Return the state of a run that asks for a tool."""
    call = {"id": "call_0", "type": "function", "function": {"name": name, "arguments": arguments}}
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call]}}
    return {"status": "requires_action", "required_action": action}


def _messages(thread: str, text: str) -> dict[str, Any]:
    content = [{"type": "text", "text": {"value": text, "annotations": []}}]
    message = {"id": "msg_1", "object": "thread.message", "thread_id": thread, "role": "assistant", "content": content}
    return {"object": "list", "data": [message], "has_more": False}
