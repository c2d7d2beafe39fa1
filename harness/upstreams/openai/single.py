"""What needs no state: models, embeddings, moderations."""

from __future__ import annotations

import base64
import math
import re
from array import array
from typing import TYPE_CHECKING, Any

from harness.upstreams.chance import fraction
from harness.upstreams.exchange import Exchange
from harness.upstreams.openai import shapes
from harness.upstreams.openai.body import body_of, one_of, optional_integer, optional_text, text_field
from harness.upstreams.openai.errors import ApiError, missing
from harness.upstreams.openai.shapes import check_shape
from harness.upstreams.prices import tokens_in
from harness.upstreams.routing import routed
from harness.upstreams.wire import Reply

if TYPE_CHECKING:
    from harness.upstreams.openai.upstream import OpenAI

_MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-4o-mini-tts",
    "tts-1",
    "tts-1-hd",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
    "omni-moderation-latest",
)
_SINCE_S = 1_715_367_049
_DIMENSIONS = {"text-embedding-3-large": 3072}

_CATEGORIES: dict[str, re.Pattern[str]] = {
    "harassment": re.compile(r"\bidiot\b|\bstupid\b|馬鹿野郎|바보", re.I),
    "harassment/threatening": re.compile(r"\bi will hurt you\b|ぶっ殺す", re.I),
    "hate": re.compile(r"\bi hate (?:all|those) \w+", re.I),
    "hate/threatening": re.compile(r"(?!)"),
    "illicit": re.compile(r"\bhow to (?:steal|make a bomb)\b", re.I),
    "illicit/violent": re.compile(r"\bmake a bomb\b|爆弾の作り方", re.I),
    "self-harm": re.compile(r"\bsuicide\b|死にたい|자살", re.I),
    "self-harm/instructions": re.compile(r"(?!)"),
    "self-harm/intent": re.compile(r"\bkill myself\b|死にたい", re.I),
    "sexual": re.compile(r"\bporn", re.I),
    "sexual/minors": re.compile(r"(?!)"),
    "violence": re.compile(r"\bkill\b|殺す|죽여", re.I),
    "violence/graphic": re.compile(r"(?!)"),
}


class Single:
    """Calls that are answered by themselves."""

    def __init__(self, api: OpenAI) -> None:
        self._api = api
        self._deleted: set[str] = set()

    def identify(self, exchange: Exchange) -> None:
        """Note the text that is worked on."""
        given = exchange.json_object.get("input")
        texts = given if isinstance(given, list) else [given]
        exchange.about("\n".join(text for text in texts if isinstance(text, str)))

    # --- models -----------------------------------------------------------------------------------------------------

    def _model(self, id_: str) -> dict[str, Any]:
        if id_ not in _MODELS or id_ in self._deleted:
            raise ApiError(
                404,
                f"The model '{id_}' does not exist or you do not have access to it.",
                param="model",
                code="model_not_found",
            )
        return {"id": id_, "object": "model", "created": _SINCE_S, "owned_by": "system"}

    @routed("GET /v1/models")
    def list_models(self, exchange: Exchange) -> Reply:
        """List the models. Calls take any name, these and others."""
        data = [self._model(id_) for id_ in _MODELS if id_ not in self._deleted]
        return self._api.ok(exchange, {"object": "list", "data": data})

    @routed("GET /v1/models/{model}")
    def retrieve_model(self, exchange: Exchange) -> Reply:
        """Return a model."""
        return self._api.ok(exchange, self._model(exchange.params["model"]))

    @routed("DELETE /v1/models/{model}")
    def delete_model(self, exchange: Exchange) -> Reply:
        """Delete a model, as far as this epoch is concerned."""
        id_ = exchange.params["model"]
        self._model(id_)
        self._deleted.add(id_)
        return self._api.ok(exchange, {"id": id_, "object": "model", "deleted": True}, "write")

    # --- embeddings -------------------------------------------------------------------------------------------------

    @routed("POST /v1/embeddings")
    def embed(self, exchange: Exchange) -> Reply:
        """Return vectors of length 1; the same text has the same vector."""
        body = body_of(exchange)
        model = exchange.model = text_field(body, "model")
        inputs = _inputs(body, shapes.EMBEDDING_INPUT)
        dimensions = optional_integer(body, "dimensions", least=1, most=3072) or _DIMENSIONS.get(model, 1536)
        wanted = one_of(body, "encoding_format", ("float", "base64")) or "float"
        optional_text(body, "user")
        self._api.charge(exchange, model, sum(tokens_in(text) for text in inputs), 0)
        data = [
            {"object": "embedding", "index": index, "embedding": _vector(text, dimensions, wanted)}
            for index, text in enumerate(inputs)
        ]
        usage = {"prompt_tokens": exchange.prompt_tokens, "total_tokens": exchange.prompt_tokens}
        return self._api.ok(exchange, {"object": "list", "data": data, "model": model, "usage": usage}, "write")

    # --- moderations --------------------------------------------------------------------------------------------------

    @routed("POST /v1/moderations")
    def moderate(self, exchange: Exchange) -> Reply:
        """Flag texts by a handful of words."""
        body = body_of(exchange)
        model = exchange.model = optional_text(body, "model") or "omni-moderation-latest"
        inputs = _inputs(body, shapes.MODERATION_INPUT)
        document = {
            "id": self._api.new_id("modr-"),
            "model": model,
            "results": [_moderation(text) for text in inputs],
        }
        return self._api.ok(exchange, document, "write")


def _inputs(body: dict[str, Any], shape: Any) -> list[str]:
    """Return the texts that `input` brings: a text, texts, tokens, or parts with texts."""
    given = body.get("input")
    if given is None or given in ("", []):
        raise missing("input")
    check_shape(given, shape, "input")
    if isinstance(given, str):
        return [given]
    if all(isinstance(one, int) for one in given):
        return [" ".join(map(str, given))]
    return [_text_of(one) for one in given]


def _text_of(one: Any) -> str:
    if isinstance(one, dict):
        return str(one.get("text") or "")
    return " ".join(map(str, one)) if isinstance(one, list) else str(one)


def _vector(text: str, dimensions: int, wanted: str) -> list[float] | str:
    numbers = array("f", (fraction(text, index) - 0.5 for index in range(dimensions)))
    length = math.sqrt(sum(number * number for number in numbers))
    vector = array("f", (number / length for number in numbers))
    return vector.tolist() if wanted == "float" else base64.b64encode(vector.tobytes()).decode()


def _moderation(text: str) -> dict[str, Any]:
    found = {name: bool(pattern.search(text)) for name, pattern in _CATEGORIES.items()}
    return {
        "flagged": any(found.values()),
        "categories": found,
        "category_scores": {name: 0.98 if hit else 0.0001 for name, hit in found.items()},
        "category_applied_input_types": {name: ["text"] if hit else [] for name, hit in found.items()},
    }
