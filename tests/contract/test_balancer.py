"""Does the balancer share out requests, pass bytes on untouched, and know who is there? On real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from harness.stack.household import free_port
from harness.stack.round_robin import Balancer

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


def note(serving: set[asyncio.Task[None]]) -> None:
    """Add the task that runs this to a set, as long as it runs."""
    task = asyncio.current_task()
    assert task is not None
    serving.add(task)
    task.add_done_callback(serving.discard)


async def all_of(serving: set[asyncio.Task[None]]) -> None:
    """Wait until all of them have ended."""
    async with asyncio.timeout(20):
        while serving:
            await asyncio.wait(tuple(serving))


class Replica:
    """A server that says who it is, and anything else that a test wants."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.port = free_port()
        self.healthy = True
        self.requests: list[bytes] = []
        self.connections = 0
        self.hung_up = asyncio.Event()
        self.answer: bytes | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Close everything, as the kernel does for a process that was killed."""
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None
            await all_of(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        note(self._serving)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET /health"):
                    status = b"200 OK" if self.healthy else b"503 Bad"
                    writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
                    continue
                self.connections = len(self._writers)
                body = b""
                if b"ontent-length: " in head.lower():
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    body = await reader.readexactly(length)
                self.requests.append(head + body)
                if self.answer is None:
                    said = str(self.number).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
                elif self.answer:
                    writer.write(self.answer)
                    if b"\r\n\r\n" not in self.answer or b"cut short" in self.answer:
                        await writer.drain()
                        return
                else:  # says nothing, and waits for the caller to go
                    await reader.read()
                    self.hung_up.set()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


@asynccontextmanager
async def balanced(count: int, health_path: str = "/health") -> AsyncIterator[tuple[list[Replica], Balancer, int]]:
    replicas = [Replica(number) for number in range(count)]
    async with AsyncExitStack() as stack:
        for replica in replicas:
            await replica.start()
            stack.push_async_callback(replica.stop)
        balancer = Balancer([replica.port for replica in replicas], health_path)
        serving: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            note(serving)
            await balancer.serve(reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        watching = asyncio.create_task(balancer.watch())
        try:
            yield replicas, balancer, server.sockets[0].getsockname()[1]
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            server.close()
            await all_of(serving)  # every test has closed its callers' connections
            balancer.close()


async def until(condition: Callable[[], object], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_requests_go_round_also_those_of_one_connection() -> None:
    async with balanced(3) as (replicas, _, port), httpx.AsyncClient() as client:
        said = [(await client.post(f"http://127.0.0.1:{port}/x", content=b"hello")).text for _ in range(9)]
    assert said == list("012" * 3)
    assert [len(replica.requests) for replica in replicas] == [3, 3, 3]
    assert all(request.endswith(b"\r\n\r\nhello") for replica in replicas for request in replica.requests)
    assert [replica.connections for replica in replicas] == [1, 1, 1], "connections are kept"


async def test_messages_pass_byte_for_byte() -> None:
    answer = b"HTTP/1.1 200 Fine\r\nX-Reply: %E3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n"
    request = b"POST /a?b=%20c HTTP/1.1\r\nHost:x\r\nx-ODD:  two\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n"
    async with balanced(1) as (replicas, _, port):
        replicas[0].answer = answer
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(request)
            assert await reader.readexactly(len(answer)) == answer
        writer.close()
    assert replicas[0].requests == [request, request]


async def test_an_answer_is_passed_on_as_it_comes_in() -> None:
    async with balanced(1) as (replicas, _, port):
        replicas[0].answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(20):
            assert (await reader.readuntil(b"first")).endswith(b"\r\n\r\nfirst"), "the rest never comes"
        writer.close()


async def test_one_that_is_dead_is_left_out_at_once_and_taken_in_when_it_is_back() -> None:
    async with balanced(3) as (replicas, balancer, port), httpx.AsyncClient() as client:
        await replicas[1].stop()
        said = [(await client.get(f"http://127.0.0.1:{port}/")).text for _ in range(6)]
        assert "1" not in said
        assert said.count("0") == said.count("2") == 3
        await replicas[1].start()
        await until(lambda: balancer.members[1].is_in)
        assert {(await client.get(f"http://127.0.0.1:{port}/")).text for _ in range(3)} == {"0", "1", "2"}


@pytest.mark.parametrize("health_path", ["/health", ""])
async def test_one_that_is_not_well_is_out_until_it_is(health_path: str) -> None:
    async with balanced(2, health_path) as (replicas, balancer, port), httpx.AsyncClient() as client:
        replicas[0].healthy = False
        if health_path:
            await until(lambda: not balancer.members[0].is_in)
            assert [(await client.get(f"http://127.0.0.1:{port}/")).text for _ in range(3)] == ["1"] * 3
            replicas[0].healthy = True
            await until(lambda: balancer.members[0].is_in)
        assert {(await client.get(f"http://127.0.0.1:{port}/")).text for _ in range(2)} == {"0", "1"}


async def test_when_all_are_out_all_are_in() -> None:
    async with balanced(2) as (replicas, balancer, port), httpx.AsyncClient() as client:
        for replica in replicas:
            replica.healthy = False
        await until(lambda: not any(member.is_in for member in balancer.members))
        assert {(await client.get(f"http://127.0.0.1:{port}/")).text for _ in range(2)} == {"0", "1"}


async def test_when_nobody_is_there_the_caller_is_told() -> None:
    async with balanced(2) as (replicas, _, port), httpx.AsyncClient() as client:
        for replica in replicas:
            await replica.stop()
        answer = await client.get(f"http://127.0.0.1:{port}/")
        assert (answer.status_code, answer.text) == (503, "balancer: no replica takes connections\n")


async def test_a_request_is_never_given_to_two() -> None:
    async with balanced(2) as (replicas, _, port), httpx.AsyncClient() as client:
        for replica in replicas:
            replica.answer = b"HTTP"  # and then it dies
        answer = await client.post(f"http://127.0.0.1:{port}/", content=b"book me")
        assert (answer.status_code, answer.text) == (502, "balancer: the replica broke off before it answered\n")
        assert len(replicas[0].requests) + len(replicas[1].requests) == 1


async def test_an_answer_that_is_cut_short_is_cut_short_for_the_caller() -> None:
    async with balanced(1) as (replicas, _, port), httpx.AsyncClient() as client:
        replicas[0].answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut short"
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_a_caller_who_hangs_up_hangs_up_on_the_replica() -> None:
    async with balanced(1) as (replicas, _, port):
        replicas[0].answer = b""
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi")
        await until(lambda: replicas[0].requests)
        writer.close()
        async with asyncio.timeout(20):
            await replicas[0].hung_up.wait()


async def test_nonsense_is_refused() -> None:
    async with balanced(1) as (replicas, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01hello\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        writer.close()
        assert replicas[0].requests == []
