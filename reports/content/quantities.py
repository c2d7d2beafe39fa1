"""How are figures written? Always with their unit, with as many digits as they deserve."""

from __future__ import annotations

ABSENT = "–"


def duration(seconds: float | None) -> str:
    """Return a duration: `4 ms`, `0.85 s`, `12.3 s`, `3 min 20 s`; a dash for None."""
    if seconds is None:
        return ABSENT
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def memory(size_bytes: float | None) -> str:
    """Return an amount of memory in binary megabytes: `84 MB`; a dash for None."""
    return ABSENT if size_bytes is None else f"{size_bytes / 2**20:,.0f} MB"


def share(part: int, whole: int) -> str:
    """Return a share in whole per cent that says 0 % and 100 % only where it is exactly that; a dash of nothing."""
    if whole == 0:
        return ABSENT
    if part in (0, whole):
        return "0 %" if part == 0 else "100 %"
    return f"{min(99, max(1, round(100 * part / whole)))} %"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 scenario`, `6 scenarios`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def words(items: list[str], joint: str = "and") -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {joint} {items[-1]}" if items else ""
