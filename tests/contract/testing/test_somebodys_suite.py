"""Somebody else's project: the fixtures that it gets, and what its tests are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_suite(directory: Path, *, conftest: str, tests: str) -> str:
    (directory / "conftest.py").write_text(conftest)
    (directory / "test_agent.py").write_text(tests)
    (directory / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "--strict-markers",
        str(directory),
    ]
    # Where CI is set, pytest repeats every message whole in its summary.
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=directory, timeout=100, env=environment
    ).stdout


SUITE = """
import asyncio
import socket

import httpx
import openai
import pytest


def my_agent(text):
    with openai.OpenAI(timeout=2, max_retries=0) as client:
        try:
            answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
        except openai.APIConnectionError:
            return "One moment, please."
        return answer.choices[0].message.content


def test_answers(openai_upstream, ledger):
    assert my_agent("hello")
    assert [call.route for call in ledger.calls] == ["POST /v1/chat/completions"]


def test_survives_a_hanging_model(openai_upstream, faults):
    faults.arm("hang", upstream="openai")
    assert my_agent("hello") == "One moment, please."


def test_shows_nothing(openai_upstream, faults):
    faults.arm("hang", upstream="openai", route="POST /v1/responses")
    my_agent("hello")


def test_asks_somebody_else(openai_upstream):
    with httpx.Client() as client:
        try:
            client.get("https://example.com/x?y=1")
        except AssertionError:
            pass


def test_opens_a_web_socket(openai_upstream):
    with openai.OpenAI() as client, client.responses.connect() as connection:
        connection.response.create(model="gpt-4o", input="hello")


def test_opens_a_web_socket_in_a_loop_and_hides_it(openai_upstream):
    async def agent():
        async with openai.AsyncOpenAI() as client:
            try:
                await client.responses.connect().enter()
            except AssertionError:
                pass

    asyncio.run(agent())


def test_opens_a_web_socket_to_a_stand_in_at_its_port(upstreams):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        upstreams.let_through(url)
        with openai.OpenAI(base_url=url, api_key="sk-x") as client, pytest.raises(ConnectionRefusedError):
            client.responses.connect().enter()


def test_asks_what_nobody_answers(openai_upstream):
    with openai.OpenAI() as client, pytest.raises(openai.NotFoundError):
        client.files.list()


@pytest.mark.upstreams(unknown_routes="answer_404")
def test_asks_what_nobody_answers_and_means_it(openai_upstream):
    with openai.OpenAI() as client, pytest.raises(openai.NotFoundError):
        client.files.list()


@pytest.mark.upstreams(seeed=7)
def test_has_a_typo(openai_upstream):
    pass


def test_arms_nonsense(faults):
    faults.arm("hangs", upstream="openai")


def test_fails_by_itself(openai_upstream, faults):
    faults.arm("hang", upstream="openai")
    assert 1 == 2
"""


def test_what_a_suite_gets_and_is_told(tmp_path: Path) -> None:
    said = run_suite(tmp_path, conftest='pytest_plugins = ["harness.testing"]\n', tests=SUITE)
    assert "7 failed, 4 passed, 1 error" in said, said
    assert "The fault hang(upstream='openai', route='POST /v1/responses') never fired" in said
    assert "GET https://example.com/x: no upstream of this test answers there." in said
    assert "WebSocket wss://api.openai.com/v1/responses: upstreams in-process answer HTTP only. Start them at" in said
    assert said.count("WebSocket wss://api.openai.com/v1/responses: no upstream of this test answers there.") == 1
    assert "openai was asked GET /v1/files, which it has no route for" in said
    assert "seeed" in said
    assert "There is no fault `hangs`. Did you mean `hang`?" in said
    assert said.count("never fired") == 1  # not of the test that fails by itself


def test_importing_the_plug_in_is_light() -> None:
    code = "import sys, harness.testing; print(*sorted({n.split('.')[0] for n in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"openai", "httpx", "httpx2", "respx", "locust", "pandas", "httptools"}.isdisjoint(loaded)
