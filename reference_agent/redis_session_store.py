"""Where do replicas on several machines write down whose conversation is whose? In a Redis, one script per deed.

The same table of places as in `session_store.py`, kept in:

    session:<user>     hash: segment, conversation (absent while it is being created), said, turns, first, leased_until
    once, again, protected     sorted sets of users by their last turn: seen once; came back; protected from eviction
    standing           sorted set of those protected: by their last turn, and what they have earned by talking
    creating           sorted set of users by when their creation is given up
    owners             hash: conversation -> user
    condemned, lost    sorted sets: conversations by when somebody should try, lost creations by until when
    condemned:owner, condemned:tries   hashes: conversation -> user, -> attempts; condemned:of:<user>   set of theirs
    turn:<user>        who has the turn, for as long as Redis keeps it; waiting:<user>, asked:<user>: who is next
    messages:<conversation>    list of JSON
    spend:<day>, spend:<day>:<user>, spender:<user>    hashes of sums and detail; set of the days of which there is any
    day-key:<day>, erased:<day>:<pseudonym>     see `pseudonym`; hash of what was spent, and how often they were erased

A script is a transaction, so the number of live conversations is bounded at every moment, over all replicas. Leases of
turns run by Redis's own clock: machines whose clocks differ still take turns. What Redis forgets when it dies, users
lose: run it with `appendonly yes` where that matters.

A session takes about 750 bytes there once its user has come back (measured over 4,000 users, Redis 6.2), what a user
spent in a day 400 more (over 10,000).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any, Final

from reference_agent.redis_link import PREFIX, RedisLink, Script
from reference_agent.session_store import (
    AFTER_MIDNIGHT_S,
    ASKS_AGAIN_WITHIN_S,
    DAY_S,
    DELETED_AT_ONCE,
    EARNED_BY_TALKING,
    LONGEST_REST_S,
    SOMEBODY_IS_AT_IT_S,
    BeingCreated,
    Bounds,
    Claim,
    Condemned,
    Full,
    Known,
    MustCreate,
    MustDelete,
    Spent,
    new_day_key,
    pseudonym,
)

_ANSWER_S: Final = 2.0
"""A Redis that has not answered by then is down, as far as a turn is concerned. One answers within a millisecond."""
_SPEND_DETAIL_S: Final = 35 * 86400
"""How long it is known on whom what was spent: a month's bill can be looked into until the next one comes."""
_DAY_KEY_S: Final = round(DAY_S + AFTER_MIDNIGHT_S)
"""A key is there as long as its day, whenever in it it was made."""

_SHARED: Final = """
local P = KEYS[1]
local ONCE, AGAIN, PROTECTED, CREATING = P .. 'once', P .. 'again', P .. 'protected', P .. 'creating'
local CONDEMNED, LOST, OWNERS, STANDING = P .. 'condemned', P .. 'lost', P .. 'owners', P .. 'standing'
local call = redis.call

local function session(user) return P .. 'session:' .. user end

local function drop(user)
  local found = call('HMGET', session(user), 'segment', 'conversation')
  if found[1] then call('ZREM', P .. found[1], user) end
  call('ZREM', STANDING, user)
  if found[2] then call('HDEL', OWNERS, found[2]) end
  call('ZREM', CREATING, user)
  call('DEL', session(user))
end

local function condemned_of(user) return P .. 'condemned:of:' .. user end

local function condemn(user, conversation, due)
  if call('HGET', session(user), 'conversation') == conversation then drop(user) end
  if call('ZADD', CONDEMNED, 'NX', due, conversation) == 0 then return end
  call('HSET', P .. 'condemned:owner', conversation, user)
  call('SADD', condemned_of(user), conversation)
end

local function lose(until_, most)
  call('ZADD', LOST, until_, call('INCR', P .. 'lost:number'))
  call('ZREMRANGEBYRANK', LOST, 0, -1 - most)
end
"""

_CLAIM: Final = """
local user, now, until_, places = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local key = session(user)
local found = call('HMGET', key, 'segment', 'conversation', 'said', 'leased_until')
if found[1] then
  if not found[2] and tonumber(found[4]) > now then return {'being created'} end
  if until_ > tonumber(found[4]) then call('HSET', key, 'leased_until', ARGV[3]) end
  call('HDEL', key, 'said')
  if found[2] then return {'known', found[2], found[3]} end
  call('ZADD', CREATING, until_, user)
  return {'must create'}
end
local taken = 0
for _, set in ipairs({ONCE, AGAIN, PROTECTED, CONDEMNED, LOST}) do taken = taken + call('ZCARD', set) end
if taken < places then
  call('HSET', key, 'segment', 'once', 'turns', 0, 'leased_until', ARGV[3])
  call('ZADD', ONCE, now, user)
  call('ZADD', CREATING, until_, user)
  return {'must create'}
end
-- The oldest one that is not in use. Those in use are few: one for each turn under way.
local victim, conversation, oldest
for _, set in ipairs({ONCE, AGAIN}) do
  local from, page = 0, nil
  repeat
    page = call('ZRANGE', set, from, from + 49, 'WITHSCORES')
    from = from + 50
    for i = 1, #page, 2 do
      if oldest and tonumber(page[i + 1]) >= oldest then page = {} break end
      local one = call('HMGET', session(page[i]), 'conversation', 'leased_until')
      if one[1] and tonumber(one[2]) <= now then
        victim, conversation, oldest = page[i], one[1], tonumber(page[i + 1])
        page = {}
        break
      end
    end
  until #page < 100
end
if not victim then return {'full'} end
condemn(victim, conversation, now + ARGV[5])
return {'must delete', conversation}
"""

_CREATED: Final = """
local user, conversation, key = ARGV[1], ARGV[2], session(ARGV[1])
if call('EXISTS', key) == 1 and call('HSETNX', key, 'conversation', conversation) == 1 then
  call('HSET', key, 'said', '')
  call('HSET', OWNERS, conversation, user)
  call('ZREM', CREATING, user)
else
  condemn(user, conversation, 0)  -- its place was given up: nobody would ever find it
end
"""

_NOT_CREATED: Final = """
local user = ARGV[1]
if call('EXISTS', session(user)) == 1 and call('HEXISTS', session(user), 'conversation') == 0 then drop(user) end
if ARGV[2] ~= '' then lose(ARGV[2], ARGV[3]) end
"""

_ENDED: Final = """
local user, now, protected = ARGV[1], ARGV[2], tonumber(ARGV[4])
local key = session(user)
if call('HEXISTS', key, 'conversation') == 0 then return end
call('HSET', key, 'leased_until', 0)
if ARGV[3] == '0' then return end
local segment = call('HINCRBY', key, 'turns', 1) >= 2 and 'protected' or 'once'
call('ZREM', P .. call('HGET', key, 'segment'), user)
call('ZADD', P .. segment, now, user)
call('HSET', key, 'segment', segment)
if #ARGV == 7 then call('HSET', key, 'said', ARGV[7]) else call('HDEL', key, 'said') end
call('HSETNX', key, 'first', now)
if segment == 'protected' then
  local earned = tonumber(ARGV[5]) * (now - call('HGET', key, 'first'))
  call('ZADD', STANDING, now + math.min(earned, tonumber(ARGV[6])), user)
end
local beyond = call('ZCARD', PROTECTED) - protected
for _, demoted in ipairs(beyond > 0 and call('ZRANGE', STANDING, 0, beyond - 1) or {}) do
  call('ZADD', AGAIN, call('ZSCORE', PROTECTED, demoted), demoted)
  call('ZREM', PROTECTED, demoted)
  call('ZREM', STANDING, demoted)
  call('HSET', session(demoted), 'segment', 'again')
end
"""

_CONDEMN: Final = """
local user, now = ARGV[1], tonumber(ARGV[2])
local found = call('HMGET', session(user), 'segment', 'conversation', 'leased_until')
local being_created = found[1] and not found[2] and tonumber(found[3]) > now
if found[2] then
  condemn(user, found[2], now + ARGV[3])
elseif found[1] and not being_created then
  drop(user)  -- whoever created it has died
  lose(now + ARGV[4], ARGV[5])
end
return {being_created and 1 or 0, call('SMEMBERS', condemned_of(user))}
"""

_FORGET: Final = """
local user = call('HGET', OWNERS, ARGV[1])
if user then drop(user) end
local owner = call('HGET', P .. 'condemned:owner', ARGV[1])
if owner then call('SREM', condemned_of(owner), ARGV[1]) end
for _, of in ipairs({'owner', 'tries'}) do call('HDEL', P .. 'condemned:' .. of, ARGV[1]) end
call('ZREM', CONDEMNED, ARGV[1])
"""

_EXPIRE: Final = """
local now, probation_s, session_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local at_it_s, longest_s = tonumber(ARGV[4]), tonumber(ARGV[7])
call('ZREMRANGEBYSCORE', LOST, '-inf', now)
for _, user in ipairs(call('ZRANGEBYSCORE', CREATING, '-inf', now)) do
  drop(user)
  lose(now + tonumber(ARGV[5]), ARGV[6])
end
for set, life_s in pairs({[ONCE] = probation_s, [AGAIN] = session_s, [PROTECTED] = session_s}) do
  for _, user in ipairs(call('ZRANGEBYSCORE', set, '-inf', now - life_s)) do
    local found = call('HMGET', session(user), 'conversation', 'leased_until')
    if found[1] and tonumber(found[2]) <= now then condemn(user, found[1], now) end
  end
end
local due = call('ZRANGEBYSCORE', CONDEMNED, '-inf', now, 'LIMIT', 0, ARGV[8])
for _, one in ipairs(due) do
  local tries = call('HINCRBY', P .. 'condemned:tries', one, 1) - 1
  call('ZADD', CONDEMNED, now + math.min(at_it_s * 2 ^ tries, longest_s), one)
end
return due
"""

_TURN: Final = """
local user, holder, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local turn, waiting, asked = P .. 'turn:' .. user, P .. 'waiting:' .. user, P .. 'asked:' .. user
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local function leave(one)
  call('ZREM', waiting, one)
  call('ZREM', asked, one)
end
"""

_BEGIN_TURN: Final = """
local patience_ms = tonumber(ARGV[4])
for _, gone in ipairs(call('ZRANGEBYSCORE', asked, '-inf', now_us - patience_ms * 1000)) do leave(gone) end
local first = call('ZRANGE', waiting, 0, 0)[1]
if (not first or first == holder) and call('SET', turn, holder, 'NX', 'PX', lease_ms) then
  leave(holder)
  return 1
end
call('ZADD', waiting, 'NX', now_us, holder)
call('ZADD', asked, now_us, holder)
call('PEXPIRE', waiting, patience_ms)
call('PEXPIRE', asked, patience_ms)
return 0
"""

_KEEP_TURN: Final = """
local has = call('GET', turn)
if has and has ~= holder then return 0 end
call('SET', turn, holder, 'PX', lease_ms)
return 1
"""

_END_TURN: Final = """
if call('GET', turn) == holder then call('DEL', turn) end
leave(holder)
"""

_ERASED: Final = (
    f"local erased_s = {_DAY_KEY_S}"
    + """
local function erased(day, name) return P .. 'erased:' .. day .. ':' .. name end
local function book_erased(day, name, times, usd)
  call('HINCRBY', erased(day, name), 'times', times)
  call('HINCRBYFLOAT', erased(day, name), 'usd', usd)
  call('EXPIRE', erased(day, name), erased_s)
end
"""
)

_SPEND: Final = """
local day, user, model, kept_s, erasures, name = ARGV[1], ARGV[2], ARGV[3], ARGV[8], ARGV[9], ARGV[10]
if erasures ~= '' then
  if name == '' or call('EXISTS', P .. 'day-key:' .. day) == 0 then
    user = ''  -- the day is long over, and nobody can tell any more
  elseif (call('HGET', erased(day, name), 'times') or '0') ~= erasures then
    user = ''
    book_erased(day, name, 0, ARGV[7])
  end
end
local detail, spender = P .. 'spend:' .. day .. ':' .. user, P .. 'spender:' .. user
for i, what in ipairs({'prompt_tokens', 'completion_tokens', 'characters'}) do
  if ARGV[3 + i] ~= '0' then call('HINCRBY', detail, model .. ' ' .. what, ARGV[3 + i]) end
end
call('HINCRBYFLOAT', detail, model .. ' usd', ARGV[7])
call('HINCRBYFLOAT', detail, 'usd', ARGV[7])
call('EXPIRE', detail, kept_s)
call('SADD', spender, day)
call('EXPIRE', spender, kept_s)
-- Not INCRBYFLOAT on a plain key: from within a script it corrupts the memory of Redis 6.2 (6.2.14 was seen to crash).
call('HINCRBYFLOAT', P .. 'spend:' .. day, 'usd', ARGV[7])
call('EXPIRE', P .. 'spend:' .. day, kept_s)
"""

_FORGET_SPENDER: Final = """
local user, kept_s = ARGV[1], ARGV[2]
for i = 3, #ARGV, 2 do
  local day, name = ARGV[i], ARGV[i + 1]
  book_erased(day, name, 1, call('HGET', P .. 'spend:' .. day .. ':' .. user, 'usd') or 0)
end
for _, day in ipairs(call('SMEMBERS', P .. 'spender:' .. user)) do
  local detail, nobody = P .. 'spend:' .. day .. ':' .. user, P .. 'spend:' .. day .. ':'
  local booked = call('HGETALL', detail)
  for i = 1, #booked, 2 do call('HINCRBYFLOAT', nobody, booked[i], booked[i + 1]) end
  call('DEL', detail)
  call('EXPIRE', nobody, kept_s)
end
call('DEL', P .. 'spender:' .. user)
"""


class RedisSessionStore:
    """A Redis, shared by replicas on any number of machines.

    Args:
        url: `redis://[user:password@]host:port/database`, `rediss://...` or `unix:///path`.
        bounds: how many conversations are kept, and how long.

    Raises:
        ValueError: the URL makes no sense.
    """

    def __init__(self, url: str, bounds: Bounds) -> None:
        self._bounds = bounds
        self._link = RedisLink(url, "sessions", _ANSWER_S)
        self._redis = self._link.redis
        self._claim = self._script(_CLAIM)
        self._created = self._script(_CREATED)
        self._not_created = self._script(_NOT_CREATED)
        self._ended = self._script(_ENDED)
        self._condemn = self._script(_CONDEMN)
        self._forget = self._script(_FORGET)
        self._expire = self._script(_EXPIRE)
        self._begin_turn = self._script(_TURN + _BEGIN_TURN)
        self._keep_turn = self._script(_TURN + _KEEP_TURN)
        self._end_turn = self._script(_TURN + _END_TURN)
        self._spend = self._script(_ERASED + _SPEND)
        self._forget_spender = self._script(_ERASED + _FORGET_SPENDER)
        self._today: tuple[int, bytes] | None = None
        """The latest day that was asked about, and its key."""

    def trouble(self) -> str:
        return self._link.trouble

    async def knows(self, user_id: str) -> bool:
        return bool(await self._do(self._redis.hexists(f"{PREFIX}session:{user_id}", "conversation")))

    async def claim(self, user_id: str, now: float, until: float) -> Claim:
        what, *more = await self._claim([user_id, now, until, self._bounds.places, SOMEBODY_IS_AT_IT_S])
        match what:
            case "known":
                return Known(more[0], more[1] if len(more) > 1 else None)
            case "must create":
                return MustCreate()
            case "must delete":
                return MustDelete(more[0])
            case "being created":
                return BeingCreated()
        return Full()

    async def created(self, user_id: str, conversation: str) -> None:
        await self._created([user_id, conversation])

    async def not_created(self, user_id: str, lost_at: float | None) -> None:
        lost_until = "" if lost_at is None else lost_at + self._bounds.lost_s
        await self._not_created([user_id, lost_until, self._bounds.lost])

    async def ended(self, user_id: str, now: float, *, had_a_turn: bool, said: str | None = None) -> None:
        more = [] if said is None else [said]
        bounds = self._bounds
        earns = [EARNED_BY_TALKING, bounds.session_s]
        await self._ended([user_id, now, int(had_a_turn), bounds.protected, *earns, *more])

    async def condemn(self, user_id: str, now: float) -> Condemned:
        bounds = self._bounds
        being_created, theirs = await self._condemn([user_id, now, SOMEBODY_IS_AT_IT_S, bounds.lost_s, bounds.lost])
        return Condemned(list(theirs), bool(being_created))

    async def forget(self, conversation: str) -> None:
        await self._forget([conversation])

    async def expire(self, now: float) -> list[str]:
        bounds = self._bounds
        lives = [bounds.probation_s, bounds.session_s, SOMEBODY_IS_AT_IT_S, bounds.lost_s, bounds.lost]
        return list(await self._expire([now, *lives, LONGEST_REST_S, DELETED_AT_ONCE]))

    async def begin_turn(self, user_id: str, holder: str, now: float, until: float) -> bool:
        patience_ms = round(ASKS_AGAIN_WITHIN_S * 1000)
        return bool(await self._begin_turn([user_id, holder, _ms(until - now), patience_ms]))

    async def keep_turn(self, user_id: str, holder: str, now: float, until: float) -> bool:
        return bool(await self._keep_turn([user_id, holder, _ms(until - now)]))

    async def end_turn(self, user_id: str, holder: str) -> None:
        await self._end_turn([user_id, holder, 0])

    async def messages(self, conversation: str, most: int) -> list[tuple[str, str]]:
        said = await self._do(self._redis.lrange(f"{PREFIX}messages:{conversation}", -most, -1))
        return [(role, text) for role, text in map(json.loads, said)]

    async def add_messages(self, conversation: str, messages: list[tuple[str, str]]) -> None:
        key = f"{PREFIX}messages:{conversation}"
        async with self._redis.pipeline() as both:
            both.rpush(key, *(json.dumps(message, ensure_ascii=False) for message in messages))
            # They go with their conversation; this is for those whose session was lost.
            both.expire(key, round(self._bounds.session_s + self._bounds.lost_s) + 1)
            await self._do(both.execute())

    async def delete_messages(self, conversation: str) -> None:
        await self._do(self._redis.delete(f"{PREFIX}messages:{conversation}"))

    async def spend(
        self,
        day: int,
        user_id: str,
        model: str,
        prompt_tokens: int,
        completion_tokens: int,
        characters: int,
        usd: float,
        erasures: int | None = None,
    ) -> None:
        booked = [day, user_id, model, prompt_tokens, completion_tokens, characters, repr(usd), _SPEND_DETAIL_S]
        name = ""
        if erasures is not None and (day_key := await self._day_key_if_kept(day)) is not None:
            name = pseudonym(day_key, user_id)
        await self._spend([*booked, "" if erasures is None else erasures, name])

    async def spent(self, day: int, user_id: str) -> Spent:
        name = pseudonym(await self._day_key(day), user_id)
        async with self._redis.pipeline(transaction=False) as all_three:
            all_three.hget(f"{PREFIX}spend:{day}:{user_id}", "usd")
            all_three.hget(f"{PREFIX}spend:{day}", "usd")
            all_three.hmget(f"{PREFIX}erased:{day}:{name}", "usd", "times")
            of_user, of_all, (of_erased, times) = await self._do(all_three.execute())
        return Spent(float(of_user or 0) + float(of_erased or 0), float(of_all or 0), int(times or 0))

    async def forget_spender(self, user_id: str, day: int) -> None:
        # A turn of yesterday's may be under way.
        names = [(one, pseudonym(await self._day_key(one), user_id)) for one in (day - 1, day)]
        await self._forget_spender([user_id, _SPEND_DETAIL_S, *(part for name in names for part in name)])

    async def _day_key(self, day: int) -> bytes:
        if self._today is None or self._today[0] != day:
            async with self._redis.pipeline(transaction=False) as both:
                both.set(f"{PREFIX}day-key:{day}", new_day_key().hex(), ex=_DAY_KEY_S, nx=True)
                both.get(f"{PREFIX}day-key:{day}")
                _, kept = await self._do(both.execute())
            self._today = day, bytes.fromhex(kept)
        return self._today[1]

    async def _day_key_if_kept(self, day: int) -> bytes | None:
        if self._today is not None and self._today[0] == day:
            return self._today[1]
        kept = await self._do(self._redis.get(f"{PREFIX}day-key:{day}"))
        return None if kept is None else bytes.fromhex(kept)

    async def scrub(self) -> bool:
        return True  # it is gone from memory; what Redis has on a disk is for whoever runs it to rewrite

    async def close(self) -> None:
        await self._link.close()

    async def _do(self, deed: Awaitable[Any]) -> Any:
        return await self._link.do(deed)

    def _script(self, source: str) -> Script:
        return self._link.script(_SHARED + source)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
