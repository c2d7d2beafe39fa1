"""How much may a key ask for? Requests and tokens a minute, refilled evenly, said in headers, refused with 429."""

from __future__ import annotations

import math

import msgspec

from harness.upstreams.exchange import Exchange
from harness.upstreams.openai.errors import ApiError

_SAID_REQUESTS = 10_000
_SAID_TOKENS = 2_000_000
"""What the headers say of a key without limits; nothing is refused then."""
_MOST_KEYS = 1000
"""Keys that are remembered, half a megabyte, though whoever calls may make up a new one each time. Who forgets a key
forgets what it took within the last minute; a real one is used again before so many others have come."""
_LONGEST_KEY = 256
"""Characters by which keys are told apart; OpenAI's have 164."""


class KeySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to hold for a key from now on. What is not given stays as it is."""

    key: str
    revoked: bool | msgspec.UnsetType = msgspec.UNSET
    requests_per_minute: int | msgspec.UnsetType | None = msgspec.UNSET
    tokens_per_minute: int | msgspec.UnsetType | None = msgspec.UNSET

    def __post_init__(self) -> None:
        if not 1 <= len(self.key) <= _LONGEST_KEY:
            msg = f"`key` has {len(self.key)} characters, expected an API key of 1 to {_LONGEST_KEY}."
            raise ValueError(msg)
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            if isinstance(limit, int) and limit < 1:
                msg = f"`{name}` is {limit}, expected 1 or more, or null for no limit."
                raise ValueError(msg)


class Bucket(msgspec.Struct, eq=False):
    """So much a minute: what was taken comes back evenly."""

    limit: int
    enforced: bool
    level: float
    at_ns: int

    def seconds_until(self, amount: float) -> float:
        """Return when there will be so much again, in seconds; 0 where there is."""
        return max(0.0, (amount - self.level) * 60 / self.limit)


class Key(msgspec.Struct, eq=False):
    """One API key."""

    requests: Bucket
    tokens: Bucket
    revoked: bool = False
    used_requests: int = 0
    used_tokens: int = 0
    cost_usd: float = 0.0

    def pay(self, tokens: int, cost_usd: float) -> None:
        """Count tokens that a request took; the next one waits where they were too many. Below 0: given back."""
        self.tokens.level -= tokens
        self.used_tokens += tokens
        self.cost_usd += cost_usd


class Limits:
    """The keys of one epoch.

    Args:
        requests_per_minute: for each key; None: no limit.
        tokens_per_minute: for each key; None: no limit.
    """

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._requests_per_minute = requests_per_minute
        self._tokens_per_minute = tokens_per_minute
        self.keys: dict[str, Key] = {}
        """Those that were changed, and of the others those that were used last."""
        self._unchanged: dict[str, Key] = {}

    def key(self, key: str, now_ns: int) -> Key:
        """Return a key, as it stands now."""
        known = self.keys.get(key)
        if known is None:
            known = self._new(key[:_LONGEST_KEY], now_ns)
        for bucket in (known.requests, known.tokens):
            level, limit = bucket.level, bucket.limit
            if level < limit:
                # What was taken comes back evenly.
                level += limit * (now_ns - bucket.at_ns) / 60e9
                bucket.level = level if level < limit else limit
            bucket.at_ns = now_ns
        return known

    def _new(self, key: str, now_ns: int) -> Key:
        known = self.keys.get(key)
        if known is None:
            known = self.keys[key] = self._unchanged[key] = Key(
                _bucket(self._requests_per_minute, _SAID_REQUESTS, now_ns),
                _bucket(self._tokens_per_minute, _SAID_TOKENS, now_ns),
            )
            if len(self._unchanged) > _MOST_KEYS:
                self._forget_half()
        return known

    def _forget_half(self) -> None:
        """Forget the half of the unchanged keys that was used longest ago."""
        by_last_use = sorted(self._unchanged, key=lambda key: self._unchanged[key].requests.at_ns)
        for key in by_last_use[: len(by_last_use) // 2]:
            del self.keys[key], self._unchanged[key]

    def change(self, settings: KeySettings, now_ns: int) -> None:
        """Revoke a key, accept it again, or set its limits."""
        known = self.key(settings.key, now_ns)
        self._unchanged.pop(settings.key, None)
        if settings.revoked is not msgspec.UNSET:
            known.revoked = settings.revoked
        if settings.requests_per_minute is not msgspec.UNSET:
            known.requests = _bucket(settings.requests_per_minute, _SAID_REQUESTS, now_ns)
        if settings.tokens_per_minute is not msgspec.UNSET:
            known.tokens = _bucket(settings.tokens_per_minute, _SAID_TOKENS, now_ns)

    @staticmethod
    def take_request(key: Key, exchange: Exchange) -> None:
        """Count a request.

        Raises:
            ApiError: 429: the key has asked for too much within the last minute.
        """
        if key.requests.enforced or key.tokens.enforced:
            _check(key, exchange)
        key.requests.level -= 1
        key.used_requests += 1


def _check(key: Key, exchange: Exchange) -> None:
    for bucket, kind, unit in ((key.requests, "requests", "RPM"), (key.tokens, "tokens", "TPM")):
        if bucket.enforced and bucket.level < 1:
            model = exchange.json_object.get("model")
            wait_s = bucket.seconds_until(1)
            error = ApiError(
                429,
                f"Rate limit reached for {model if isinstance(model, str) and model else 'gpt-4o'} in organization"
                f" org-standin on {kind} per min ({unit}): Limit {bucket.limit}, Used"
                f" {bucket.limit - max(0, int(bucket.level))}, Requested 1. Please try again in {written(wait_s)}."
                " Visit https://platform.openai.com/account/rate-limits to learn more.",
                type_=kind,
                code="rate_limit_exceeded",
            )
            error.headers = (
                ("retry-after", str(math.ceil(wait_s))),
                ("retry-after-ms", str(math.ceil(1000 * wait_s))),
            )
            raise error


def _bucket(limit: int | None, said: int, now_ns: int) -> Bucket:
    limit, enforced = (said, False) if limit is None else (limit, True)
    return Bucket(limit, enforced, limit, now_ns)


def headers_of(key: Key) -> tuple[tuple[str, str], ...]:
    """Return the headers that say what is left."""
    requests, tokens = key.requests, key.tokens
    return (
        ("x-ratelimit-limit-requests", str(requests.limit)),
        ("x-ratelimit-limit-tokens", str(tokens.limit)),
        ("x-ratelimit-remaining-requests", str(int(requests.level)) if requests.level > 0 else "0"),
        ("x-ratelimit-remaining-tokens", str(int(tokens.level)) if tokens.level > 0 else "0"),
        ("x-ratelimit-reset-requests", written((requests.limit - requests.level) * 60 / requests.limit)),
        ("x-ratelimit-reset-tokens", written((tokens.limit - tokens.level) * 60 / tokens.limit)),
    )


def written(seconds: float) -> str:
    """Return a duration as the API writes it: 120ms, 6.5s, 1m30s, 1h0m0s."""
    # Rounded first: what comes to a full second, minute or hour is written as one.
    milliseconds = math.ceil(1000 * seconds) if seconds < 1 else round(1000 * seconds)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:g}s"
    minutes, rest = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
