"""The queue between those who ask for embeddings and the encode workers, in Redis.

It lies beside Celery's own queues, and Celery's workers empty it
(laionweb/encode_worker.py), but what waits in it are not tasks. Tasks come one by one,
what a killed worker held comes back after minutes, and a result costs a subscription;
celery-batches adds batches, but computes what has expired, and leaves the companions of
a failing task pending. Here each step is one script that Redis runs as a whole, by its
own clock:

ask      refuses when no worker lives, or too much waits; else adds requests
take     drops what has expired; what it hands out stays written down as held
answer   hands over vectors, which expire, and forgets what was held
live     tells that a worker lives, and hands on once more what a dead one held
"""

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Connection, ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry

from search.errors import (
    InvalidQuery,
    NotAPicture,
    PictureTooLarge,
    SearchError,
    SearchUnavailable,
)
from search.observability.request_id import NO_REQUEST

NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

# Keys: what waits, the bell, the workers. Given: how much may wait, after how many
# milliseconds of silence there is no worker, how long is waited, the kind; then of each
# request what it tells, the key of its picture or '', and the picture.
ASK = (
    NOW
    + """
local waiting, bell, workers = KEYS[1], KEYS[2], KEYS[3]
local wait = tonumber(ARGV[3])
if redis.call('ZCOUNT', workers, now - ARGV[2], '+inf') == 0 then return -1 end
while true do
  local first = redis.call('LINDEX', waiting, 0)
  if not first or tonumber(string.sub(first, 3, 15)) > now then break end
  redis.call('LPOP', waiting)
end
local new = (#ARGV - 4) / 3
if redis.call('LLEN', waiting) + new > tonumber(ARGV[1]) then return -2 end
local head = '0' .. ARGV[4] .. string.format('%013.0f', now + wait)
for i = 5, #ARGV, 3 do
  if ARGV[i + 1] ~= '' then
    redis.call('SET', ARGV[i + 1], ARGV[i + 2], 'PX', wait)
  end
  redis.call('RPUSH', waiting, head .. ARGV[i])
end
redis.call('RPUSH', bell, '')
redis.call('PEXPIRE', waiting, 60000)
redis.call('PEXPIRE', bell, 60000)
return new
"""
)

# Keys: the bell, what the worker holds, waiting texts, waiting pictures. Given: kinds
# in the order of preference, the most texts, the most pictures.
TAKE = (
    NOW
    + """
local bell, held = KEYS[1], KEYS[2]
local lists = {t = KEYS[3], p = KEYS[4]}
local most = {t = tonumber(ARGV[2]), p = tonumber(ARGV[3])}
local taken = {0}
for kind in string.gmatch(ARGV[1], '.') do
  while #taken <= most[kind] do
    local entry = redis.call('LPOP', lists[kind])
    if not entry then break end
    if tonumber(string.sub(entry, 3, 15)) > now then
      redis.call('RPUSH', held, entry)
      taken[#taken + 1] = entry
    else
      taken[1] = taken[1] + 1
    end
  end
  if #taken > 1 then break end
end
redis.call('PEXPIRE', held, 60000)
if redis.call('LLEN', lists.t) + redis.call('LLEN', lists.p) == 0 then
  redis.call('DEL', bell)
end
return taken
"""
)

# Keys: the workers, the bell, waiting texts, waiting pictures. Given: the worker's
# name, the silence of the dead in milliseconds, the prefix of keys, the error for those
# tried twice, and how long it is kept.
LIVE = (
    NOW
    + """
local workers, bell = KEYS[1], KEYS[2]
local lists = {t = KEYS[3], p = KEYS[4]}
redis.call('ZADD', workers, now, ARGV[1])
local handed = 0
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', workers, 0, now - ARGV[2])) do
  local held = ARGV[3] .. 'held:' .. dead
  for _, entry in ipairs(redis.call('LRANGE', held, 0, -1)) do
    if string.sub(entry, 1, 1) == '0' then
      redis.call('LPUSH', lists[string.sub(entry, 2, 2)], '1' .. string.sub(entry, 2))
      redis.call('RPUSH', bell, '')
      handed = handed + 1
    else
      local answer = ARGV[3] .. 'answer:' .. string.sub(entry, 16, 47)
      redis.call('RPUSH', answer, 'e' .. string.sub(entry, 48, 50) .. ARGV[4])
      redis.call('PEXPIRE', answer, ARGV[5])
    end
  end
  redis.call('DEL', held)
end
redis.call('ZREMRANGEBYSCORE', workers, 0, now - 60000)
return handed
"""
)


PREFIX = "laionweb:encode:"
BELL, WORKERS = f"{PREFIX}bell", f"{PREFIX}workers"
WAITING = {"t": f"{PREFIX}texts", "p": f"{PREFIX}pictures"}
MAX_PICTURES = 64  # that wait: at 10 MB each they shall not fill Redis
CONNECT_S = SEND_S = 1.0
ANSWER_KEPT_MS = 5_000
# A worker tells every BEAT_S that it lives. What one held that has not for SILENT_MS is
# handed on; where none has for GONE_MS, nobody need wait.
BEAT_S = 0.3
SILENT_MS = 1_000
GONE_MS = 5_000
ERRORS = {error.code: error for error in (NotAPicture, PictureTooLarge, InvalidQuery)}
LOST = "The encode worker broke down over it; please try again in a moment."


@dataclass(frozen=True)
class Request:
    """One text (kind t) or picture (kind p) that somebody waits for.

    As bytes: a digit for the tries before, the kind, 13 digits of the deadline in
    milliseconds of Redis's clock, 32 characters of the call, three digits of its number
    therein, and the rest in JSON; the scripts read the first fields.
    """

    call: str
    number: int
    kind: str
    model: str
    weights: str
    content: bytes
    name: str = NO_REQUEST  # of the web request, for the worker's log

    @property
    def picture_key(self) -> str:
        return f"{PREFIX}picture:{self.call}{self.number:03}"

    @property
    def told(self) -> str:
        """Without the fields that the script adds."""
        rest = {"model": self.model, "weights": self.weights, "name": self.name}
        if self.kind == "t":
            rest["text"] = self.content.decode(errors="surrogatepass")
        return f"{self.call}{self.number:03}{json.dumps(rest)}"

    @classmethod
    def read(cls, entry: bytes) -> "Request":
        """Of a picture the content is elsewhere, under its key."""
        text = entry.decode()
        rest = json.loads(text[50:])
        content = rest.pop("text", "").encode(errors="surrogatepass")
        return cls(text[15:47], int(text[47:50]), text[1], **rest, content=content)


class QueueClient:
    """For those who ask; safe to use from many threads, each on its own connection.

    Raises redis.RedisError where Redis does not answer in time.
    """

    def __init__(self, url: str):
        self._pool = ConnectionPool.from_url(
            url,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=SEND_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=10_000,
        )

    def ask(self, requests: Sequence[Request], most: int, wait_s: float) -> list[bytes]:
        """The embeddings of the requests of one call, as bytes, in their order.

        Raises SearchUnavailable when they cannot be had in time, and for a picture
        NotAPicture or PictureTooLarge.
        """
        deadline = time.monotonic() + wait_s
        connection = self._pool.get_connection()
        try:
            self._add(connection, requests, most, deadline)
            return self._answers(connection, requests, deadline)
        except SearchError:
            raise
        except BaseException:
            connection.disconnect()  # its answer may still be on the way
            raise
        finally:
            self._pool.release(connection)

    def standing(self) -> tuple[dict[str, int], int]:
        """How much waits, by its kind; how many workers live."""
        client = Redis(connection_pool=self._pool)
        seconds, microseconds = client.time()
        since = seconds * 1_000 + microseconds // 1_000 - SILENT_MS
        waiting = {kind: client.llen(key) for kind, key in WAITING.items()}
        return waiting, client.zcount(WORKERS, since, "+inf")

    def _add(
        self,
        connection: Connection,
        requests: Sequence[Request],
        most: int,
        deadline: float,
    ) -> None:
        kind = requests[0].kind
        keys = [WAITING[kind], BELL, WORKERS]
        given: list[Any] = [min(most, MAX_PICTURES) if kind == "p" else most]
        given += [GONE_MS, max(int((deadline - time.monotonic()) * 1000), 1), kind]
        for request in requests:
            picture = kind == "p"
            given.append(request.told)
            given.append(request.picture_key if picture else "")
            given.append(request.content if picture else "")
        told = _command(connection, deadline, "EVAL", ASK, 3, *keys, *given)
        if told == -1:
            raise SearchUnavailable(
                "Words and pictures cannot be searched for at the moment: no encode "
                "worker is running."
            )
        if told == -2:
            raise SearchUnavailable(
                "Too many searches are waiting; please try again in a moment."
            )

    def _answers(
        self, connection: Connection, requests: Sequence[Request], deadline: float
    ) -> list[bytes]:
        vectors: dict[int, bytes] = {}
        key = f"{PREFIX}answer:{requests[0].call}"
        while len(vectors) < len(requests):
            left = max(deadline - time.monotonic(), 0.001)
            try:
                popped = _command(connection, deadline, "BLPOP", key, f"{left:.3f}")
            except RedisTimeout:  # by which the connection is closed, too
                popped = None
            if popped is None:
                raise SearchUnavailable(
                    "It took too long to understand the words or the picture; please "
                    "try again in a moment."
                )
            number, vector = _read_answer(popped[1])
            vectors[number] = vector
        return [vectors[request.number] for request in requests]


class QueueServer:
    """For one encode worker; raises redis.RedisError."""

    def __init__(self, url: str, name: str):
        self.name = name
        self._held = f"{PREFIX}held:{name}"
        self._redis = Redis.from_url(
            url, socket_connect_timeout=CONNECT_S, socket_timeout=5 * SEND_S
        )

    def wait(self, seconds: float) -> bool:
        """Whether something has come within these seconds."""
        return self._redis.blpop([BELL], timeout=seconds) is not None

    def take(self, kinds: str, most: dict[str, int]) -> tuple[list[Request], int]:
        """Requests of the first of these kinds that has any; how many had expired."""
        keys = [BELL, self._held, WAITING["t"], WAITING["p"]]
        given: list[str | int] = [kinds, most["t"], most["p"]]
        expired, *entries = self._redis.eval(TAKE, 4, *keys, *given)
        requests = [Request.read(entry) for entry in entries]
        if not requests or requests[0].kind == "t":
            return requests, expired
        found = self._redis.mget([request.picture_key for request in requests])
        return [
            Request(**{**vars(request), "content": content})
            for request, content in zip(requests, found, strict=True)
            if content is not None  # gone with its deadline
        ], expired

    def answer(self, answers: Sequence[tuple[Request, bytes | SearchError]]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for request, told in answers:
                key = f"{PREFIX}answer:{request.call}"
                pipeline.rpush(key, _written_answer(request.number, told))
                pipeline.pexpire(key, ANSWER_KEPT_MS)
                if request.kind == "p":
                    pipeline.unlink(request.picture_key)
            pipeline.execute()

    def done(self) -> None:
        """All that was taken has been answered."""
        self._redis.delete(self._held)

    def live(self) -> int:
        """How many requests of dead workers are handed on."""
        keys = [WORKERS, BELL, WAITING["t"], WAITING["p"]]
        lost = json.dumps({"code": SearchUnavailable.code, "message": LOST})
        given: list[str | int] = [self.name, SILENT_MS, PREFIX, lost, ANSWER_KEPT_MS]
        return self._redis.eval(LIVE, 4, *keys, *given)

    def leave(self) -> None:
        """The worker stops, with nothing in its hands."""
        self._redis.zrem(WORKERS, self.name)


def new_call() -> str:
    return uuid.uuid4().hex


def _command(connection: Connection, deadline: float, *command: Any) -> Any:
    connection.send_command(*command)
    left = deadline - time.monotonic()
    return connection.read_response(timeout=max(left, 0.0) + 0.1)


def _written_answer(number: int, told: bytes | SearchError) -> bytes:
    if isinstance(told, bytes):
        return b"v%03d" % number + told
    error = {"code": told.code, "message": told.message}
    return b"e%03d" % number + json.dumps(error).encode()


def _read_answer(answer: bytes) -> tuple[int, bytes]:
    number, told = int(answer[1:4]), answer[4:]
    if answer[:1] == b"v":
        return number, told
    error = json.loads(told)
    raise ERRORS.get(error["code"], SearchUnavailable)(error["message"])
