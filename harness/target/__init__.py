"""What is under test, and how does one speak to it? Reads `target.toml`, builds requests, reads replies.

    target = read_target(Path("target.toml"))      or  bare_target("http://127.0.0.1:8000")
    parts = build_request(target, "user_7", "hi")  what the load sends
    reply = read_reply(target, 200, headers, body) what came back, by the target's own contract

Every mistake in a file is a `TargetError` of one sentence. Light to import: the standard library and msgspec.
"""

from harness.target.audio import Audio, AudioError, read_audio
from harness.target.contract import ReadReply, RequestParts, build_request, read_reply
from harness.target.description import (
    DEFAULT_ANSWER_WITHIN_S,
    MOST_REPLICAS,
    UPSTREAMS,
    BySize,
    JsonField,
    Observe,
    OwnRedis,
    Proxied,
    Ready,
    Reply,
    ReplyText,
    Request,
    Start,
    Target,
    TargetError,
    Variant,
    bare_target,
    parse_target,
    read_target,
)
from harness.target.parts import Ablation, Part, Shown, shown

__all__ = [
    "DEFAULT_ANSWER_WITHIN_S",
    "MOST_REPLICAS",
    "UPSTREAMS",
    "Ablation",
    "Audio",
    "AudioError",
    "BySize",
    "JsonField",
    "Observe",
    "OwnRedis",
    "Part",
    "Proxied",
    "ReadReply",
    "Ready",
    "Reply",
    "ReplyText",
    "Request",
    "RequestParts",
    "Shown",
    "Start",
    "Target",
    "TargetError",
    "Variant",
    "bare_target",
    "build_request",
    "parse_target",
    "read_audio",
    "read_reply",
    "read_target",
    "shown",
]
