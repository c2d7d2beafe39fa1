"""What does the page about the API (`/docs`) say of each answer? Examples of every kind, as they really are."""

from __future__ import annotations

from typing import Any

from reference_agent.sentences import sentences
from reference_agent.server_sent import told

Answers = dict[int | str, dict[str, Any]]

_ENDING = "にゃん"
_REPLY = f"いまは正午だ{_ENDING}"
_LATER: dict[str, Any] = {"retry_after_s": 1.0}


def said_so(
    description: str, code: str, plainly: str = "", *, retry_after_s: float | None = None, **figures: int
) -> dict[str, Any]:
    """Return what the page says of a failure.

    Args:
        description: when it happens.
        code: a word for machines; the example has the sentence for people who speak Japanese.
        plainly: what is said instead to the author of the program that calls.
        retry_after_s: as it is told.
        figures: in the sentence.
    """
    said = [sentence.format(**figures) + _ENDING for sentence in ([] if plainly else sentences(code, "ja"))]
    error: dict[str, Any] = {"code": code, "message": plainly or "。".join(said)}
    if retry_after_s is not None:
        error["retry_after_s"] = retry_after_s
    example = {"error": error}
    return {"description": description, "content": {"application/json": {"example": example}}}


_RETRY_AFTER = {"headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}}
UNREAD: Answers = {
    400: said_so("no JSON", "not_json", "The request is not JSON in UTF-8."),
    408: said_so("not all there in time", "body_too_slow", "The request was not all there in time."),
    413: said_so("too long, or too big", "message_too_long", most=2000),
}
_BUG = said_so("a mistake of ours", "internal")
_FAILURES: Answers = {
    **UNREAD,
    422: said_so("not to be worked on", "user_id_missing", "user_id must be a text that is not empty."),
    429: {
        **said_so("too many, too fast, or too dear", "rate_limited", **_LATER),
        **_RETRY_AFTER,
    },
    500: _BUG,
    502: said_so("the model came to nothing", "generation_failed"),
    503: {
        **said_so(
            "an upstream is down (`<upstream>_unavailable`), or this process is about to end (`shutting_down`)",
            "openai_unavailable",
            **_LATER,
        ),
        **_RETRY_AFTER,
    },
    504: {
        **said_so("not in time", "out_of_time", **_LATER),
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
                "example": told(
                    ("tool", {"name": "get_time"}),
                    ("delta", {"text": "いまは"}),
                    ("delta", {"text": "正午だにゃん"}),
                    ("done", {"reply": _REPLY}),
                )
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
    422: said_so("no user id", "user_id_missing", "user_id must be a text that is not empty."),
    429: said_so("too many from one address, or too many turns of this user wait already", "rate_limited", **_LATER),
    500: _BUG,
    503: said_so("nothing can be written down now", "sessions_unavailable", **_LATER),
    504: said_so("a turn of the user is still under way; ask again", "out_of_time", **_LATER),
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
                    "limits": "own",
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
_ID = "pRZ5xk0pSZmcQn0bC9wB1w"
_WAITING = {
    "job_id": _ID,
    "state": "waiting",
    "attempts": 0,
    "look": f"/jobs/{_ID}?user_id=tama",
    "events": f"/jobs/{_ID}/events?user_id=tama",
}
_DONE = {
    "job_id": _ID,
    "state": "done",
    "attempts": 1,
    "reply": _REPLY,
    "audio": f"/jobs/{_ID}/audio?user_id=tama",
}


KEY_REUSED = "This Idempotency-Key stands for another message: send a new key with a new message."
TOO_MANY_STREAMS = "Ask for the job itself, or come back later."
_QUEUE_DOWN = said_so("the queue cannot be reached", "jobs_unavailable", retry_after_s=1.0)
_NOT_SHOWN: Answers = {
    404: said_so("this user has no such job", "no_such_job", "This user has no such job, or not any more."),
    422: said_so("whose?", "parameter_missing", "user_id is missing in the query, or makes no sense there."),
    500: _BUG,
    503: _QUEUE_DOWN,
}
CREATED: Answers = {
    **UNREAD,
    202: {"description": "taken in", "content": {"application/json": {"example": _WAITING}}},
    422: said_so("not to be worked on", "idempotency_key_reused", KEY_REUSED),
    429: said_so("no room; Retry-After says when there is", "queue_full", retry_after_s=1.0),
    500: _BUG,
    503: _QUEUE_DOWN,
}
LOOKED: Answers = {
    200: {"description": "as it is now", "content": {"application/json": {"example": _DONE}}},
    **_NOT_SHOWN,
}
HEARD: Answers = {
    200: {"description": "the spoken reply; the text is in X-GPT-Reply", "content": {"audio/wav": {}}},
    **_NOT_SHOWN,
}
WATCHED: Answers = {
    200: {
        "description": (
            "one event for each state; `gone`: the job was erased; `come_back`: it goes on, and this stream does not,"
            " as it has lasted long enough or this process is about to end: ask again, in a moment"
        ),
        "content": {"text/event-stream": {"example": told(("waiting", _WAITING), ("done", _DONE))}},
    },
    **_NOT_SHOWN,
    429: said_so("too many streams", "too_many_streams", TOO_MANY_STREAMS, retry_after_s=1.0),
}
IDEMPOTENCY_KEY = [
    {
        "name": "idempotency-key",
        "in": "header",
        "required": False,
        "schema": {
            "type": "string",
            "description": "the same key gives the same job, and no second turn",
            "default": "",
            "title": "Idempotency-Key",
        },
        "description": "the same key gives the same job, and no second turn",
    }
]
