"""An agent that thinks before it answers and notes who comes and who leaves. `python pausing_agent.py PORT NOTES`."""

import asyncio
import json
import sys
from typing import Any

import uvicorn

THINKS_S = 0.4


async def agent(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Note a request, answer it after a while, and note instead that its caller has left where that comes first."""
    if scope["type"] != "http":
        return
    body = (await receive())["body"]
    note("came", body)
    leaving = asyncio.ensure_future(receive())
    done, _ = await asyncio.wait((leaving,), timeout=THINKS_S)
    if done:
        note("left", body)
        return
    leaving.cancel()
    answer = b'{"reply": "nya"}'
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})


def note(what: str, body: bytes) -> None:
    """Write one line."""
    with open(sys.argv[2], "a", encoding="utf-8") as notes:
        notes.write(json.dumps({"what": what, **json.loads(body)}) + "\n")


if __name__ == "__main__":
    uvicorn.run(agent, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", lifespan="off")
