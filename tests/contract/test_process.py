"""The process: ready in one line, controlled over loopback, gone when told, its ledger on disk."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import openai
import pytest

from harness.evidence import read_jsonl
from harness.model import FaultEvent, LedgerEntry


def weather(stand: Any, query: str = "q=Tokyo&appid=k") -> bytes:
    with urllib.request.urlopen(f"{stand.upstreams['weather']}/data/2.5/weather?{query}", timeout=10) as answer:
        body: bytes = answer.read()
        return body


def test_it_says_where_everything_is(stand: Any) -> None:
    about = json.loads(stand.ask("GET", "")[1])
    assert about["pid"] == stand.process.pid
    assert about["epoch"] == "test"
    assert about["upstreams"] == stand.upstreams
    assert list(stand.upstreams)[:7] == ["openai", "tts", "emotion", "weather", "news", "time", "fortune"]
    assert stand.upstreams["openai"].endswith("/v1")


def test_an_epoch_forgets_and_writes_anew(stand: Any) -> None:
    weather(stand)
    stand.begin_epoch("second", seed=9, latency="fast", latency_scale=0.5)
    assert stand.lines("/ledger") == []
    weather(stand)
    stand.arm("slow", upstream="weather", delay_s=0.001)
    assert stand.ask("POST", "/flush")[0] == 200
    directory = stand.record / "second"
    assert len(read_jsonl(directory / "ledger.jsonl", LedgerEntry)) == 1
    assert [event.event for event in read_jsonl(directory / "faults.jsonl", FaultEvent)] == ["armed"]


def test_epochs_of_the_same_name_have_a_ledger_each(stand: Any) -> None:
    kept = []
    for calls in (1, 2, 3):
        status, answer = stand.ask("POST", "/epoch", {"name": "again", "latency_scale": 0})
        assert status == 200
        for _ in range(calls):
            weather(stand)
        kept.append(Path(json.loads(answer)["record"]))
    assert kept == [stand.record / name for name in ("again", "again-2", "again-3")]
    stand.begin_epoch()
    for calls, directory in enumerate(kept, 1):
        entries = read_jsonl(directory / "ledger.jsonl", LedgerEntry)
        assert [entry.seq for entry in entries] == list(range(1, calls + 1))


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/epoch", {"name": "a/b"}, "expected a name for a directory"),
        ("/epoch", {"name": "x", "latency": "slow"}, "enum"),
        ("/epoch", {"nmae": "x"}, "nmae"),
        ("/faults", {"fault": "hank"}, "Did you mean `hang`?"),
        ("/faults", {"fault": "hang", "upstream": "x"}, "There is no upstream `x`"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(stand: Any, path: str, body: Any, said: str) -> None:
    status, answer = stand.ask("POST", path, body)
    assert status == 400
    assert said in json.loads(answer)["error"]


def test_what_is_not_there(stand: Any) -> None:
    assert stand.ask("DELETE", "/faults/f9")[0] == 404
    assert stand.ask("GET", "/nothing")[0] == 404
    for query in ("/ledger?after=x", "/ledger?after=%C2%B2", "/ledger?mark=", "/ledger?mrak=x", "/turns?mark=x"):
        assert stand.ask("GET", query)[0] == 400, query
    for query in ("/ledger?mark=m17", "/retries?mark=m17"):
        status, answer = stand.ask("GET", query)
        assert (status, "'m17', expected #h and 8 to 12 digits" in json.loads(answer)["error"]) == (400, True)


def test_calls_are_on_disk_when_they_are_over_even_if_the_process_is_killed(start_stand: Any) -> None:
    stand = start_stand()
    for number in range(20):
        weather(stand, f"q=Tokyo&appid=k&n={number}")
    stand.process.kill()
    stand.process.wait(5)
    assert len(read_jsonl(stand.record / "start" / "ledger.jsonl", LedgerEntry)) == 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_and_in_order(start_stand: Any, number: signal.Signals) -> None:
    stand = start_stand("--fault", '{"fault": "hang", "upstream": "weather"}')
    with socket.create_connection(("127.0.0.1", stand.port("weather"))) as hanging:
        hanging.sendall(b"GET /data/2.5/weather?q=Tokyo&appid=k HTTP/1.1\r\n\r\n")
        time.sleep(0.1)
        begin = time.monotonic()
        os.kill(stand.process.pid, number)
        assert stand.process.wait(5) == 0
        assert time.monotonic() - begin < 2
    (call,) = read_jsonl(stand.record / "start" / "ledger.jsonl", LedgerEntry)
    assert call.fault == "hang"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fault", "{"], "is no JSON"),
        (["--fault", '{"fault": "hank"}'], "Did you mean `hang`?"),
        (["--fault", '{"fault": "kill"}'], "is a process fault"),
        (["--latency", "slow"], "'slow' is not one of"),
        (["--latency-scale", "nan"], "`latency_scale` is nan"),
        (["--api-key", ""], "One of `api_keys` is empty"),
        (["--record", "/proc/nowhere"], "Cannot write"),
        (["--script", "/nowhere.toml"], "Cannot read the script"),
        (["--upstream", "/nowhere.toml"], "Cannot read the upstream"),
        (["--prices", "/nowhere.toml"], "Cannot read the prices"),
    ],
)
def test_mistakes_on_the_command_line(options: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.upstreams", *options], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken(stand: Any) -> None:
    control = stand.control.rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, "-m", "harness.upstreams", "--port", control],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"Cannot listen at 127.0.0.1:{control}: Address already in use. Choose another --port, or 0 for free ones.\n"
    )


def test_keys_and_queries_over_the_control_api(stand: Any) -> None:
    with stand.openai() as client:
        said = [{"role": "user", "content": "hi #haaaaaaaa"}]
        client.chat.completions.create(model="gpt-4o", messages=said, user="tanaka")
    assert len(stand.lines("/ledger?mark=%23haaaaaaaa")) == len(stand.lines("/ledger?mark=haaaaaaaa")) > 1
    assert stand.lines("/ledger?mark=hbbbbbbbb") == []
    assert stand.ask("POST", "/keys", {"key": "sk-test", "revoked": True})[0] == 200
    keys = json.loads(stand.ask("GET", "/keys")[1])
    assert keys["sk-test"]["revoked"]
    assert keys["sk-test"]["tokens"] > 0
    with stand.openai() as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert stand.ask("POST", "/keys", {"key": "sk-test", "requests_per_minute": 0})[0] == 400
    assert list(json.loads(stand.ask("GET", "/spend")[1])["by_caller"]) == ["tanaka"]
    assert json.loads(stand.ask("GET", "/open")[1]) == []
    assert json.loads(stand.ask("GET", "/turns")[1]) == {}
    assert stand.ask("GET", "/retries")[0] == 400
    assert json.loads(stand.ask("GET", "/retries?mark=%23haaaaaaaa")[1]) == []


def test_options_hold_for_later_epochs_too(start_stand: Any, tmp_path: Path) -> None:
    described = tmp_path / "orders.toml"
    described.write_text('name = "orders"\n[[route]]\nroute = "GET /orders/{id}"\nanswer = { id = "{id}" }\n')
    script = tmp_path / "script.toml"
    script.write_text('[[rule]]\nsays = "ping"\nsay = "pong"\n')
    stand = start_stand("--upstream", str(described), "--script", str(script), "--adopt-unknown-ids")
    stand.begin_epoch("later")
    with urllib.request.urlopen(f"{stand.upstreams['orders']}/orders/7", timeout=10) as answer:
        assert json.loads(answer.read()) == {"id": "7"}
    with stand.openai() as client:
        response = client.responses.create(model="gpt-4o", input="ping", conversation="conv_from_elsewhere")
        assert response.output_text == "pong"


def test_alone_it_prints_addresses_and_exports_and_at_the_end_what_never_fired() -> None:
    program = "from harness.upstreams.process import alone; alone()"
    command = [sys.executable, "-c", program, "--port", "0", "--fault", '{"fault": "hang", "upstream": "tts"}']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if "Ctrl-C" in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stderr.read() == "The fault hang never fired.\n"
    process.stdout.close()
    process.stderr.close()
    assert any(line.startswith("openai ") and line.endswith("/v1") for line in lines)
    assert any(line.startswith("export OPENAI_BASE_URL=http://127.0.0.1:") for line in lines)
