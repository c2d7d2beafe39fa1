"""How verdicts combine, and what they are to a shell. The only place where either is decided."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harness.model import Verdict

# Worst wins. `INCONCLUSIVE` outranks `PASS`: what was not seen is not good.
_RANK: Final = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2, Verdict.ERROR: 3}

EXIT_PASS: Final = 0
EXIT_FAIL: Final = 1
EXIT_USAGE: Final = 2
EXIT_INCONCLUSIVE: Final = 3
EXIT_ERROR: Final = 4
EXIT_INTERRUPTED: Final = 130

_EXIT_CODE: Final = {
    Verdict.PASS: EXIT_PASS,
    Verdict.FAIL: EXIT_FAIL,
    Verdict.INCONCLUSIVE: EXIT_INCONCLUSIVE,
    Verdict.ERROR: EXIT_ERROR,
}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of the verdicts: error > fail > inconclusive > pass; of none at all, inconclusive."""
    return max(verdicts, key=_RANK.__getitem__, default=Verdict.INCONCLUSIVE)


def exit_code(verdict: Verdict) -> int:
    """Return the exit code that says `verdict` to a shell."""
    return _EXIT_CODE[verdict]
