"""OpenAI, as its own client knows it: one base URL ending in /v1."""

from harness.upstreams.openai.upstream import OpenAI

__all__ = ["OpenAI"]
