"""What is a chat agent made of, and where does each part break? A FastAPI service built out of exchangeable parts.

Three profiles of one agent: *documented* (as it was found in the field, holes included), *proposed* (the remedies as
they were written down, holes included as well), *hardened* (as it should be).
Every responsibility is one file in `parts/` that holds its variants side by side; `compose.py` is the only place that
knows which one is on.
"""
