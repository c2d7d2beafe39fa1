"""Is this text what it was when somebody last looked at it? `GOLDEN=write pytest ...` says that it was looked at."""

import difflib
import os
from pathlib import Path


def assert_golden(name: str, text: str) -> None:
    """Compare `text` with a stored file, or store it where the environment says GOLDEN=write."""
    path = Path(__file__).with_name("golden") / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8", newline="\n")
    stored = path.read_text(encoding="utf-8") if path.exists() else ""
    difference = "\n".join(difflib.unified_diff(stored.splitlines(), text.splitlines(), "stored", "now", lineterm=""))
    assert stored == text, f"{path.name} differs; look at it, then run with GOLDEN=write:\n{difference}"
