"""What does a calculation come to?"""

from __future__ import annotations

from typing import Any

from reference_agent.clock import Deadline
from reference_agent.parts.expressions import Expressions
from reference_agent.toolbox import text_argument


class Calculate:
    name = "calculate"
    description = "数式を計算します。"
    keeps_s = 86400.0
    parameters: dict[str, Any] = {  # noqa: RUF012
        "type": "object",
        "properties": {"expression": {"type": "string", "description": "数式。例: (1 + 2) * math.sqrt(2)"}},
        "required": ["expression"],
    }

    def __init__(self, expressions: Expressions) -> None:
        self._expressions = expressions

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        return self._expressions.value(text_argument(arguments, "expression"))


TOOL = Calculate
