"""The same talk as Locust's documentation would have it: a FastHttpUser at a constant throughput, a closed loop."""

import os

from locust import FastHttpUser, constant_throughput, task


class StockTalker(FastHttpUser):
    """One of BENCH_USERS people, who together ask for BENCH_PER_S requests a second."""

    wait_time = constant_throughput(float(os.environ["BENCH_PER_S"]) / int(os.environ["BENCH_USERS"]))  # type: ignore[no-untyped-call]

    @task
    def talk(self) -> None:
        self.client.post("/chat-agent", json={"user_id": "stock", "message": "おはよう！今日はなんだか眠いです😀"})
