"""Where do replicas on several machines write down what has to be deleted and could not be yet? In a Redis.

    leftovers          hash: what is to be deleted (its kind and itself, as JSON) -> owner
    leftovers:number   hash: the same -> the how-manieth time it was written down
    leftovers:tries    hash: the same -> attempts
    leftovers:due      sorted set of the same by when somebody should try
    leftovers:of:<owner>    set of the same

Whoever takes something that is due has it for as long as an attempt may take, and longer after each one in vain
(`rest_s`); any other replica leaves it alone until then, and goes on with it when nothing has come of it.
"""

from __future__ import annotations

import json
from typing import Any, Final

from reference_agent.leftovers import Note
from reference_agent.redis_link import RedisLink
from reference_agent.session_store import DELETED_AT_ONCE, LONGEST_REST_S, SOMEBODY_IS_AT_IT_S

_ANSWER_S: Final = 2.0

_SHARED: Final = """
local P = KEYS[1]
local ALL, NUMBER, DUE = P .. 'leftovers', P .. 'leftovers:number', P .. 'leftovers:due'
local TRIES = P .. 'leftovers:tries'
local call = redis.call
local time = call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function of(owner) return P .. 'leftovers:of:' .. owner end
local function numbered(some)
  local pairs_ = {}
  for _, one in ipairs(some) do
    pairs_[#pairs_ + 1] = one
    pairs_[#pairs_ + 1] = call('HGET', NUMBER, one)
  end
  return pairs_
end
"""
_ADD: Final = """
local one, owner, until_ms = ARGV[1], ARGV[2], now_ms + ARGV[3]
local before = call('HGET', ALL, one)
if before then call('SREM', of(before), one) end
call('HSET', ALL, one, owner)
call('HSET', NUMBER, one, call('INCR', P .. 'leftovers:numbers'))
call('HDEL', TRIES, one)
call('SADD', of(owner), one)
call('ZADD', DUE, until_ms, one)
"""
_OF: Final = """
return numbered(call('SMEMBERS', of(ARGV[1])))
"""
_DUE: Final = """
local some = call('ZRANGEBYSCORE', DUE, '-inf', now_ms, 'LIMIT', 0, ARGV[1])
for _, one in ipairs(some) do
  local tries = call('HINCRBY', TRIES, one, 1) - 1
  call('ZADD', DUE, now_ms + math.min(ARGV[2] * 2 ^ tries, tonumber(ARGV[3])), one)
end
return numbered(some)
"""
_DONE: Final = """
local one = ARGV[1]
if call('HGET', NUMBER, one) ~= ARGV[2] then return end
call('SREM', of(call('HGET', ALL, one)), one)
call('HDEL', ALL, one)
call('HDEL', NUMBER, one)
call('HDEL', TRIES, one)
call('ZREM', DUE, one)
"""


class RedisNotes:
    """In a Redis, shared by replicas on any number of machines; what is due is given to one of them at a time.

    Args:
        url: of the database.

    Raises:
        ValueError: the URL makes no sense.
    """

    def __init__(self, url: str) -> None:
        self._link = RedisLink(url, "leftovers", _ANSWER_S)
        self._add = self._link.script(_SHARED + _ADD)
        self._of = self._link.script(_SHARED + _OF)
        self._due = self._link.script(_SHARED + _DUE)
        self._done = self._link.script(_SHARED + _DONE)

    async def add(self, kind: str, what: str, owner: str) -> None:
        await self._add([_member(kind, what), owner, _AT_IT_MS])

    async def of(self, owner: str) -> list[Note]:
        return _notes(await self._of([owner]))

    async def due(self) -> list[Note]:
        return _notes(await self._due([DELETED_AT_ONCE, _AT_IT_MS, round(LONGEST_REST_S * 1000)]))

    async def done(self, note: Note) -> None:
        await self._done([_member(note.kind, note.what), note.number])

    async def scrub(self) -> bool:
        return True

    async def close(self) -> None:
        await self._link.close()


_AT_IT_MS: Final = round(SOMEBODY_IS_AT_IT_S * 1000)


def _member(kind: str, what: str) -> str:
    return json.dumps([kind, what], ensure_ascii=False)


def _notes(numbered: list[Any]) -> list[Note]:
    members = map(json.loads, numbered[::2])
    return [Note(kind, what, number) for (kind, what), number in zip(members, numbered[1::2], strict=True)]
