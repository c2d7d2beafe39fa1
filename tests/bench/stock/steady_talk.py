"""The same talk as Locust's documentation would have it: a FastHttpUser at a constant throughput, a closed loop."""

import os
import random
import time

import gevent
from locust import FastHttpUser, constant_throughput, task

EVERY_S = int(os.environ["BENCH_USERS"]) / float(os.environ["BENCH_PER_S"])


class StockTalker(FastHttpUser):
    """One of BENCH_USERS people, who together ask for BENCH_PER_S requests a second."""

    wait_time = constant_throughput(1 / EVERY_S)

    def on_start(self) -> None:
        # Locust spawns them all in the same instant, and they would keep in step for ever: bursts instead of a rate.
        gevent.sleep(random.random() * EVERY_S)
        self._cp_last_run = time.perf_counter()  # what constant_throughput counts from; else it makes up for the sleep

    @task
    def talk(self) -> None:
        self.client.post("/chat-agent", json={"user_id": "stock", "message": "おはよう！今日はなんだか眠いです😀"})
