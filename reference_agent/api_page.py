"""What does the page about the API (`/docs`) say of each answer? Examples of every kind, as they really are."""

from __future__ import annotations

import json
from typing import Any

Answers = dict[int | str, dict[str, Any]]

_REPLY = "いまは正午だにゃん"
_LATER = {"retry_after_s": 1.0}


def said_so(description: str, code: str, message: str, **more: Any) -> dict[str, Any]:
    """Return what the page says of a failure: a word for machines, and a sentence for people."""
    example = {"error": {"code": code, "message": message, **more}}
    return {"description": description, "content": {"application/json": {"example": example}}}


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


_RETRY_AFTER = {"headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}}
_FAILURES: Answers = {
    400: said_so("no JSON", "not_json", "The request is not JSON in UTF-8."),
    413: said_so("too long, or too big", "message_too_long", "メッセージは2000文字までにしてにゃん"),
    422: said_so("not to be worked on", "user_id_missing", "user_id must be a text that is not empty."),
    429: {
        **said_so(
            "too many, too fast, or too dear", "rate_limited", "ちょっと早すぎるにゃん。すこし待ってにゃん", **_LATER
        ),
        **_RETRY_AFTER,
    },
    500: said_so("a mistake of ours", "internal", "なにかがおかしいにゃん。調べておくにゃん"),
    502: said_so("the model came to nothing", "generation_failed", "うまく考えられなかったにゃん"),
    503: {
        **said_so(
            "an upstream is down (`<upstream>_unavailable`), or this process is about to end (`shutting_down`)",
            "openai_unavailable",
            "いまは考えられないにゃん。すこし後で話しかけてにゃん",
            **_LATER,
        ),
        **_RETRY_AFTER,
    },
    504: {
        **said_so("not in time", "out_of_time", "時間切れにゃん。もう一度話しかけてにゃん", **_LATER),
        **_RETRY_AFTER,
    },
}
SPOKEN: Answers = {
    200: {
        "description": "the reply, spoken; as a text alone while the speech server is down",
        "headers": {"X-GPT-Reply": {"description": "the reply, URL-encoded", "schema": {"type": "string"}}},
        "content": {
            "audio/wav": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"example": {"reply": _REPLY, "audio": None}},
        },
    },
    **_FAILURES,
}
READ: Answers = {
    200: {
        "description": (
            "`tool`: what is waited for; `delta`: the reply goes on; `restart`: what was told so far does not count;"
            " `done`: the whole reply; `error`: it came to nothing, with the status that a plain turn would have had;"
            " lines that begin with a colon keep the line open"
        ),
        "content": {
            "text/event-stream": {
                "example": _event("tool", {"name": "get_time"})
                + _event("delta", {"text": "いまは"})
                + _event("delta", {"text": "正午だにゃん"})
                + _event("done", {"reply": _REPLY})
            }
        },
    },
    **_FAILURES,
}
ERASED: Answers = {
    200: {
        "description": "nothing is left, here and upstream",
        "content": {"application/json": {"example": {"erased": True, "left": []}}},
    },
    202: {
        "description": "something is left; it is being tried again until it is gone",
        "content": {"application/json": {"example": {"erased": False, "left": ["conversation"]}}},
    },
    429: said_so("too many of this user's turns wait already", "one_at_a_time", "ひとつずつ話してにゃん", **_LATER),
    503: said_so("nothing can be written down now", "sessions_unavailable", "いまは考えられないにゃん", **_LATER),
    504: said_so("a turn of the user is still under way; ask again", "out_of_time", "時間切れにゃん", **_LATER),
}
WHOSE: list[dict[str, Any]] = [
    {"name": "user_id", "in": "path", "required": True, "schema": {"type": "string"}, "example": "tama"}
]
_VERSIONS = {"python": "3.12.1", "openai": "3.54.0", "fastapi": "0.120.0", "httpx2": "2.0.0"}
STATUS: Answers = {
    status: {
        "description": description,
        "content": {
            "application/json": {
                "example": {
                    "ready": status == 200,
                    "upstreams": {"openai": openai, "tts": "open"},
                    "stores": {"sessions": "up"},
                    "versions": _VERSIONS,
                }
            }
        },
    }
    for status, description, openai in ((200, "ready", "closed"), (503, "not ready", "open"))
}
METRICS: Answers = {
    200: {
        "description": "counters, gauges and histograms",
        "content": {"text/plain": {"example": 'agent_turns_total{outcome="answered"} 12\n'}},
    }
}
