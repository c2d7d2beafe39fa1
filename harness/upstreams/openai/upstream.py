"""OpenAI's front door: keys, headers, errors, and which part of the API answers a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.upstreams.chance import Identifiers
from harness.upstreams.exchange import Exchange
from harness.upstreams.openai.assistants import Assistants
from harness.upstreams.openai.audio import Audio
from harness.upstreams.openai.chat import Chat
from harness.upstreams.openai.conversations import Conversations
from harness.upstreams.openai.due import Due
from harness.upstreams.openai.errors import ApiError, error_body, error_reply
from harness.upstreams.openai.limits import Key, Limits, headers_of
from harness.upstreams.openai.responses import Responses
from harness.upstreams.openai.runs import Runs
from harness.upstreams.openai.single import Single
from harness.upstreams.openai.threads import Threads
from harness.upstreams.phrase import kept_for_short_texts
from harness.upstreams.routing import Routes, routes_of
from harness.upstreams.wire import Reply, json_reply, with_headers

if TYPE_CHECKING:
    from harness.upstreams.epoch import Epoch

_BETA_ROUTES = ("/v1/assistants", "/v1/threads")
_SAID_BY_ALL = (("openai-version", "2020-10-01"), ("openai-organization", "org-standin"))


class OpenAI:
    """The stand-in for api.openai.com."""

    name = "openai"
    port_offset = 1
    path = "/v1"
    exports = ("OPENAI_BASE_URL",)
    adopted_model = "gpt-4o"
    """What is said to have made what was made elsewhere: nobody says what it was."""

    def __init__(self, epoch: Epoch) -> None:
        self.epoch = epoch
        self._answers = 0
        self._deleted: set[str] = set()
        """Kept only where unknown ids are adopted."""
        self.new_id = Identifiers(epoch.seed).new
        """prefix -> an id that was not given before in this epoch."""
        self.due = Due()
        self.advance = self.due.advance
        """Lets runs and responses go on."""
        self.limits = Limits(epoch.settings.requests_per_minute, epoch.settings.tokens_per_minute)
        self.assistants = Assistants(self)
        self.threads = Threads(self)
        self.runs = Runs(self)
        self.conversations = Conversations(self)
        self.responses = Responses(self)
        self.chat = Chat(self)
        self.audio = Audio(self)
        self.single = Single(self)
        self._identified_by: dict[str, Callable[[Exchange], None]] = {
            "POST /v1/threads": self.threads.identify_text,
            "POST /v1/threads/runs": self.threads.identify_text,
            "POST /v1/conversations": self.conversations.identify,
            "POST /v1/responses": self.responses.identify,
            "POST /v1/chat/completions": self.chat.identify,
            "POST /v1/audio/speech": self.audio.identify,
            "POST /v1/embeddings": self.single.identify,
            "POST /v1/moderations": self.single.identify,
        }
        self.routes: Routes[Callable[..., object]] = routes_of(
            self.assistants,
            self.threads,
            self.runs,
            self.conversations,
            self.responses,
            self.chat,
            self.audio,
            self.single,
        )

    # --- what every upstream does ------------------------------------------------------------------------------------

    def identify(self, exchange: Exchange) -> None:
        """Note whose call it is, as far as that can be understood."""
        try:
            self._identify(exchange)
        except ApiError:
            # It will be refused for that when it is answered; there is nothing more to note.
            return

    def _identify(self, exchange: Exchange) -> None:
        """Note whose call it is: from the thread that its path names, and from what its body says."""
        if not exchange.params:
            identify = self._identified_by.get(exchange.route)
            if identify is not None:
                identify(exchange)
            return
        thread_id = exchange.params.get("thread_id")
        if thread_id is not None:
            exchange.conversation = thread_id
            thread = self.threads.known.get(thread_id)
            if thread is not None:
                exchange.mark, exchange.turn = thread.mark, thread.turn
                exchange.said = thread.said
                exchange.caller = thread.caller
            exchange.generation = exchange.params.get("run_id")
            if exchange.request.method == "POST":
                self.threads.identify_text(exchange)
            return
        conversation_id = exchange.params.get("conversation_id")
        if conversation_id is not None:
            exchange.conversation = conversation_id
            conversation = self.conversations.known.get(conversation_id)
            if conversation is not None:
                exchange.mark, exchange.said = conversation.mark, conversation.said
                exchange.turn = conversation.turn
            if exchange.request.method == "POST":
                self.conversations.identify(exchange)
            return
        response_id = exchange.params.get("response_id")
        if response_id is not None:
            exchange.generation = response_id
            response = self.responses.known.get(response_id)
            if response is not None:
                exchange.conversation, exchange.mark = response.chain, response.mark
                exchange.turn = response.user_turn
                exchange.said, exchange.caller = response.said, response.caller

    def error(self, status: int, message: str | None) -> Reply:
        """Return OpenAI's error of that status."""
        return self._with_headers(error_reply(status, message), 0.0, ())

    def unrouted(self, method: str, path: str) -> Reply:
        """Return OpenAI's error for an address that it does not have, or not for this method."""
        allowed = self.routes.methods_of(path)
        if allowed:
            message = f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to make your HTTP request using a"
            body = error_body(f"{message} {allowed[0]} method?)", "invalid_request_error", None, "method_not_supported")
            return self._with_headers(json_reply(body, status=405), 0.0, ())
        return self.error(404, f"Invalid URL ({method} {path})")

    def answer(self, exchange: Exchange, handler: Callable[..., object]) -> Reply:
        """Check the key and what it may ask for, do what was asked, and add the headers that every answer has."""
        counts = exchange.request.method == "POST"
        key: Key | None = None
        try:
            key = self._check_key(exchange)
            if counts:
                self.limits.take_request(key, exchange)
                exchange.pays = key.pay
            reply = handler(exchange)
            assert isinstance(reply, Reply)
        except ApiError as error:
            exchange.error = error.message
            reply = json_reply(
                error_body(error.message, error.type, error.param, error.code),
                status=error.status,
                after_s=self.epoch.takes(exchange, "read"),
                headers=error.headers,
            )
        return self._with_headers(reply, reply.after_s, headers_of(key) if counts and key is not None else ())

    # --- what its parts need ----------------------------------------------------------------------------------------

    def ok(self, exchange: Exchange, document: Any, doing: str = "read") -> Reply:
        """Return a success, after as long as `doing` takes."""
        return json_reply(document, after_s=self.epoch.takes(exchange, doing))

    def charge(self, exchange: Exchange, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Note what a call takes of a model: in the ledger, and with its key."""
        exchange.model = model
        exchange.charge(
            self.epoch.prices.of_tokens(model, prompt_tokens, completion_tokens), prompt_tokens, completion_tokens
        )

    def adopts(self, id_: str) -> bool:
        """Return whether what nobody created under this id comes to life: not what was deleted."""
        return self.epoch.settings.adopt_unknown_ids and id_ not in self._deleted

    def was_deleted(self, id_: str) -> None:
        """Note that what had this id is gone for good."""
        if self.epoch.settings.adopt_unknown_ids:
            self._deleted.add(id_)

    def wall_s(self, at_ns: int) -> int:
        """Return whole seconds since 1970, as the API writes times."""
        return int(self.epoch.wall_s_at_zero + at_ns / 1e9)

    def _check_key(self, exchange: Exchange) -> Key:
        headers = exchange.request.headers
        key = _bearer(headers.get("authorization", ""))
        if key is None:
            raise ApiError(
                401,
                "You didn't provide an API key. You need to provide your API key in an Authorization header using"
                " Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from"
                " https://platform.openai.com/account/api-keys.",
            )
        accepted = self.epoch.settings.api_keys
        known = self.limits.key(key, exchange.begin_ns)
        if known.revoked or (accepted and key not in accepted):
            raise ApiError(
                401,
                f"Incorrect API key provided: {key[:3]}{'*' * 8}{key[-4:]}. You can find your API key at"
                " https://platform.openai.com/account/api-keys.",
                code="invalid_api_key",
            )
        if exchange.request.path.startswith(_BETA_ROUTES) and headers.get("openai-beta") != "assistants=v2":
            raise ApiError(
                400,
                "You must provide the 'OpenAI-Beta' header to access the Assistants API. Please try again by setting"
                " the header 'OpenAI-Beta: assistants=v2'.",
                code="invalid_beta",
            )
        return known

    def _with_headers(self, reply: Reply, processing_s: float, left: tuple[tuple[str, str], ...]) -> Reply:
        self._answers += 1
        headers = (
            ("x-request-id", f"req_{self._answers:032x}"),
            ("openai-processing-ms", str(round(1000 * processing_s)) if processing_s else "0"),
            *_SAID_BY_ALL,
            *left,
        )
        if reply.script is not None:
            return with_headers(reply, headers)
        # It was made for this call, and nobody has seen it yet.
        reply.headers += headers
        return reply


# Callers come with the same key every time.
@kept_for_short_texts
def _bearer(authorization: str) -> str | None:
    """Return the key that a header of this text brings, None where it brings none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None
