"""Somebody else's agent: keeps the contract, calls no upstream that the harness knows. `python plain_agent.py PORT`."""

import struct
import sys
from typing import Any

import uvicorn

RATE_HZ = 8000
SILENCE = b"\0\0" * (RATE_HZ // 2)
WAV = (
    b"RIFF" + struct.pack("<I", 36 + len(SILENCE)) + b"WAVEfmt "
    + struct.pack("<IHHIIHH", 16, 1, 1, RATE_HZ, RATE_HZ * 2, 2, 16)
    + b"data" + struct.pack("<I", len(SILENCE)) + SILENCE
)  # fmt: skip


async def agent(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer every request with half a second of silence."""
    if scope["type"] != "http":
        return
    await receive()
    headers = [(b"content-type", b"audio/wav"), (b"x-gpt-reply", b"nya"), (b"content-length", b"%d" % len(WAV))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": WAV})


if __name__ == "__main__":
    uvicorn.run(agent, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", lifespan="off")
