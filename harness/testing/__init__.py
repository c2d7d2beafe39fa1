"""The upstreams in-process, for somebody's own pytest suite: fixtures, without sockets and without waiting.

Put `pytest_plugins = ["harness.testing"]` into the topmost conftest.py.
"""
