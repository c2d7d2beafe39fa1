"""The verdicts in Locust's web page: a tab of their own beside its statistics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from flask import Response, request
from locust.web import WebUI

_KEY: Final = "verdicts"
_COLUMNS: Final = (("scenario", "Scenario"), ("verdict", "Verdict"), ("summary", "What was found"))


def show_verdicts(web_ui: WebUI, rows: Callable[[], Sequence[Mapping[str, str]]]) -> None:
    """Add a tab with a table of verdicts.

    Args:
        web_ui: Locust's page.
        rows: asked whenever the page refreshes; every row has the keys scenario, verdict and summary.
    """
    web_ui.template_args |= {
        "extended_tabs": [{"title": "Verdicts", "key": _KEY}],
        "extended_tables": [{"key": _KEY, "structure": [{"key": key, "title": title} for key, title in _COLUMNS]}],
    }

    def add_rows(response: Response) -> Response:
        if request.path.endswith("/stats/requests") and response.is_json:
            content: dict[str, Any] = response.get_json()
            content["extended_stats"] = [{"key": _KEY, "data": list(rows())}]
            response.set_data(json.dumps(content))
        return response

    assert web_ui.app is not None
    web_ui.app.after_request(add_rows)
