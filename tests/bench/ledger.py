"""How large is a ledger, how fast is it asked? `python -m tests.bench.ledger COUNT` prints one JSON line."""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time

import psutil

from harness.upstreams.epoch import Epoch, EpochSettings
from harness.upstreams.wire import Request

_CALLS_A_MARK = 3
_ENTRIES_A_CALL = 3
"""The call itself, and the two states of the response that it made."""
_QUERIES = 1000
_HEADERS = {"authorization": "Bearer sk-bench"}


def main() -> None:
    """Let the stand-in answer until its ledger has so many entries, then ask for marks from all over it."""
    count = int(sys.argv[1])
    epoch = Epoch(EpochSettings(latency_scale=0.0))
    empty_mb = _rss_mb()
    calls = -(-count // _ENTRIES_A_CALL)
    for call in range(calls):
        now_ns = call * 1_000_000
        mark = _mark(call // _CALLS_A_MARK)
        body = json.dumps({"model": "gpt-4o", "store": False, "input": f"こんにちは、今日は何をしましょうか？ {mark}"})
        request = Request("POST", "/v1/responses", headers=_HEADERS, body=body.encode())
        exchange = epoch.begin("openai", request, now_ns)
        epoch.finish(exchange, now_ns + 500_000, status=200, response_bytes=1500, client_gone=False)
    epoch.advance(calls * 1_000_000)
    grown_mb = _rss_mb() - empty_mb
    marks = calls // _CALLS_A_MARK
    took_ms: list[float] = []
    cpu_ms: list[float] = []
    for number in range(_QUERIES):
        begin_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        found = epoch.ledger.entries(mark=_mark(number * marks // _QUERIES))
        took_ms.append((time.perf_counter_ns() - begin_ns) / 1e6)
        cpu_ms.append((time.thread_time_ns() - cpu_ns) / 1e6)
        assert len(found) == _ENTRIES_A_CALL * _CALLS_A_MARK
    print(
        json.dumps(
            {
                "entries": len(list(epoch.ledger.lines())),
                "grown_mb": grown_mb,
                "p50_ms": statistics.median(took_ms),
                "p99_ms": statistics.quantiles(took_ms, n=100)[-1],
                "longest_ms": max(took_ms),
                "longest_cpu_ms": max(cpu_ms),
            }
        ),
        flush=True,
    )


def _mark(number: int) -> str:
    return f"#h{number:08d}"


def _rss_mb() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


if __name__ == "__main__":
    main()
