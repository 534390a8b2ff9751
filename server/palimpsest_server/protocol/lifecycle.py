"""Hold to the life cycle that the specification asks for, on top of pygls; knows messages, nothing of fills.

pygls leaves open, and this settles: requests before `initialize` and after `shutdown` are refused, not served or dropped;
a request whose params cannot be read is answered; a message is read once and whole (pygls structures every nested object
that has a key `jsonrpc`); a command is taken without an id, too; clients' errors with only one possible meaning are mended;
the server is told of a change of a text that cannot be read, and of requests whose params are refused; cancelling
`workspace/executeCommand` reaches its handler; finished notifications are not kept for ever; `exit` sets the exit code that
the specification names.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from cattrs import ClassValidationError, transform_error
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.json_rpc import JsonRPCNotification, JsonRPCRequestMessage

logger = logging.getLogger(__name__)

_SYNC = (
    types.TEXT_DOCUMENT_DID_OPEN,
    types.TEXT_DOCUMENT_DID_CHANGE,
    types.TEXT_DOCUMENT_DID_CLOSE,
    types.NOTEBOOK_DOCUMENT_DID_OPEN,
    types.NOTEBOOK_DOCUMENT_DID_CHANGE,
    types.NOTEBOOK_DOCUMENT_DID_CLOSE,
)
_TRACES = {types.INITIALIZE: "trace", types.SET_TRACE: "value"}
_LAST_WORDS_SECONDS = 1.0
_LARGEST = 2**31 - 1  # the protocol's `uinteger`


class UnreadableAnswer(JsonRpcException):
    """Raised by a request of ours if the client has answered with something else than its result."""


class Protocol(LanguageServerProtocol):
    """pygls' protocol with a strict life cycle.

    on_lost: called when a message about a text could not be read, with its document or notebook, or None if not even that
    could be read. on_refused: called with the method of a request whose params were refused, and the reason. get_ready: to be
    awaited once `initialize` is answered, before any other message.
    """

    def __init__(self, *args: Any) -> None:
        self.on_lost: Callable[[str | None], object] = lambda uri: None
        self.on_refused: Callable[[str, str], object] = lambda method, reason: None
        self.get_ready: Callable[[], Awaitable[None]] | None = None
        self.initialized = False
        self.stopping = threading.Event()
        self._methods: dict[str | int | None, str] = {}  # of the client's requests that have no answer yet
        super().__init__(*args)

    def _register_builtin_features(self) -> None:
        super()._register_builtin_features()  # type: ignore[no-untyped-call]
        for method in _SYNC:  # pygls breaks lines where the protocol does not; `store` keeps the text
            del self.fm.builtin_features[method]
        self.fm.add_builtin_feature(types.SHUTDOWN, self._serve_shutdown)
        self.fm.add_builtin_feature(types.EXIT, self._serve_exit)
        self.fm.add_builtin_feature(types.WORKSPACE_EXECUTE_COMMAND, self._serve_command)

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Leave the JSON as it is: pygls calls this for nested objects, too; `handle_message` structures it."""
        return data

    def handle_message(self, message: Any) -> None:
        """Check the life cycle, give the message its types, dispatch it; every request is answered."""
        if not _is_rpc(message, self.VERSION):
            self.refuse(None, types.ErrorCodes.InvalidRequest, "not a JSON-RPC 2.0 message")
            self.lose(message)
            return
        method, msg_id = message.get("method"), message.get("id")
        if method is not None and (refusal := self._refusal(method, asks=msg_id is not None)):
            if msg_id is not None:
                self.refuse(msg_id, *refusal)
                self.lose(message)
            return
        if method is not None:
            mend(message.setdefault("params", None), of_text=method in _SYNC)
            if method in _TRACES:
                _mend_trace(message["params"], _TRACES[method])
            if msg_id is not None:
                self._methods[msg_id] = method
        elif not self._asked(msg_id):
            return
        try:
            typed = self._typed(message)
        except JsonRpcException as error:
            if method is None:
                self._request_futures.pop(msg_id).set_exception(UnreadableAnswer("the answer cannot be read"))
            elif msg_id is not None:
                where = "".join(f": {place}" for place in unread(error)[:1])
                self.refuse(msg_id, types.ErrorCodes.InvalidParams, f"the params of {method} cannot be read{where}")
            else:
                self.lose(message)
            return
        if method == types.INITIALIZE:
            self.initialized = True
        super().handle_message(typed)
        if method == types.SHUTDOWN:
            self._shutdown = True

    def _typed(self, message: dict[str, Any]) -> Any:
        """Return a message with its types; the params of a method that the specification lacks stay JSON.

        A command is taken without an id, too: clients that wait for no result send it as a notification.
        """
        method = message.get("method")
        msg_id = message.get("id")
        if method is not None and self.get_message_type(method) is None:
            if msg_id is None:
                return JsonRPCNotification(method, self.VERSION, message["params"])
            return JsonRPCRequestMessage(msg_id, method, self.VERSION, message["params"])
        if method == types.WORKSPACE_EXECUTE_COMMAND and msg_id is None:
            typed = super().structure_message(message | {"id": 0})
            return JsonRPCNotification(method, self.VERSION, typed.params)
        return super().structure_message(message)

    def lose(self, message: Any = None) -> None:
        """Take note of a message that was not served, None for one that nobody could read: it may have changed a text."""
        if not self.initialized or self._shutdown:
            return
        method, params = (message.get("method"), message.get("params")) if isinstance(message, dict) else (None, None)
        if isinstance(method, str) and method not in _SYNC:
            return
        # Not at once: the handlers of the messages before this one have yet to start.
        asyncio.get_running_loop().call_soon(self.on_lost, named(params))

    def _refusal(self, method: str, asks: bool) -> tuple[types.ErrorCodes, str] | None:
        """Return why a message is not served, in this form or in the present phase."""
        kind = self.get_message_type(method)
        if asks and kind is not None and not hasattr(kind, "id"):
            return types.ErrorCodes.MethodNotFound, f"{method} is a notification, not a request"
        if method == types.EXIT:
            return None
        if self._shutdown:
            return types.ErrorCodes.InvalidRequest, f"{method} after shutdown"
        if not self.initialized and method != types.INITIALIZE:
            return types.ErrorCodes.ServerNotInitialized, f"{method} before initialize"
        if self.initialized and method == types.INITIALIZE:
            return types.ErrorCodes.InvalidRequest, "initialize a second time"
        return None

    def _asked(self, msg_id: Any) -> bool:
        """Return whether this message answers a request of ours that is still pending."""
        if msg_id not in self._result_types:
            logger.info("the client answers %r, but no request has that id", msg_id)
            return False
        future = self._request_futures.get(msg_id)
        if future is None or future.cancelled():
            self._request_futures.pop(msg_id, None)
            del self._result_types[msg_id]
            return False
        return True

    def refuse(self, msg_id: str | int | None, code: types.ErrorCodes, message: str) -> None:
        """Answer with an error."""
        error = types.ResponseError(code.value, message)
        self._send_data(types.ResponseErrorMessage(error=error, jsonrpc=self.VERSION, id=msg_id))

    def _send_data(self, data: Any) -> None:
        super()._send_data(data)
        if isinstance(data, dict) or not hasattr(data, "id") or hasattr(data, "method"):
            return
        method = self._methods.pop(data.id, None)
        error = data.error if isinstance(data, types.ResponseErrorMessage) else None
        if method and error is not None and error.code == types.ErrorCodes.InvalidParams.value:
            self.on_refused(method, error.message)

    def _execute_handler(
        self,
        msg_id: str | int,
        handler: Callable[..., Any],
        callback: Callable[[Any], None],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        super()._execute_handler(msg_id, handler, callback, args, kwargs)
        if (future := self._request_futures.get(msg_id)) is not None:
            future.add_done_callback(lambda done: self._forget(msg_id, done))

    def _forget(self, msg_id: str | int, future: Any) -> None:
        if self._request_futures.get(msg_id) is future:
            del self._request_futures[msg_id]

    async def _serve_shutdown(self, *args: Any) -> None:
        """Let the server end its work, which answers all waiting requests, and cancel our own requests."""
        if (handler := self.fm.features.get(types.SHUTDOWN)) is not None:
            await handler(*args)
        for msg_id in list(self._result_types):
            if (question := self._request_futures.get(msg_id)) is not None:
                question.cancel()

    def _serve_exit(self, *args: Any) -> None:
        """End the conversation. Not a coroutine, so that no further line is read."""
        self.stopping.set()

    async def last_words(self) -> None:
        """After a `shutdown`, let the handlers that are about to answer do so."""
        futures: list[Any] = list(self._request_futures.values())
        under_way: list[asyncio.Future[Any]] = [future for future in futures if asyncio.isfuture(future)]
        if self._shutdown and under_way:
            await asyncio.wait(under_way, timeout=_LAST_WORDS_SECONDS)

    @property
    def exit_code(self) -> int:
        """Return the exit code that the specification asks for: 0 after `shutdown`, 1 without."""
        return 0 if self._shutdown else 1

    async def _serve_command(self, params: types.ExecuteCommandParams) -> Any:
        """Run a command; a coroutine all the way, so that cancelling the request cancels the command."""
        if (handler := self.fm.commands.get(params.command)) is None:
            raise JsonRpcInvalidParams(f"there is no command {params.command}")
        return await handler(params)


def _is_rpc(message: Any, version: str) -> bool:
    """Return whether the outer form is right: a method or an id, of the right types."""
    return (
        isinstance(message, dict)
        and message.get("jsonrpc") == version
        and isinstance(message.get("method"), str | None)
        and isinstance(message.get("id"), str | int | None)
        and not message.get("method") is message.get("id") is None
    )


def mend(params: Any, *, of_text: bool) -> None:
    """Put right, in place, all errors that leave no doubt about the meaning.

    A position past the largest possible one is the largest, one before the first is the first. In messages about texts
    (of_text), a range of null is left out, and a version of null is 0.
    """
    rest = [params]
    while rest:
        value = rest.pop()
        if isinstance(value, list):
            rest += value
        elif isinstance(value, dict):
            rest += value.values()
            if "line" in value and "character" in value:
                _clamp(value, "line", "character")
            if of_text:
                _mend_text(value)


def _mend_trace(params: Any, name: str) -> None:
    """Take an unknown value of tracing for "off": we trace nothing, and clients have values of their own."""
    if isinstance(params, dict) and (given := params.get(name)) not in (
        None,
        *(each.value for each in types.TraceValue),
    ):
        logger.warning("the client's trace is %.40r, which is no such value; it counts as off", given)
        params[name] = types.TraceValue.Off.value


def unread(error: JsonRpcException) -> list[str]:
    """Return the places in the params that could not be read, as far as the library tells."""
    cause = error.__cause__
    found = transform_error(cause, path="") if isinstance(cause, ClassValidationError) else []
    places = (each.rpartition(" @ ")[2] for each in found)
    return [place.removeprefix(".params.") for place in places if place.startswith(".params.")]


def _mend_text(value: dict[str, Any]) -> None:
    """Mend an object within a message about a text."""
    value.pop("rangeLength", None)  # of no use, and clients count it in many ways
    for name in ("text", "uri"):  # else the library would take the word "None" for a null
        if name in value and not isinstance(value[name], str):
            del value[name]
    if "text" in value and value.get("range", ...) is None:
        del value["range"]
    if "uri" in value:
        if type(value.get("version")) is not int:
            value["version"] = 0
        _clamp(value, "version", least=-_LARGEST)
        if "text" in value and not isinstance(value.get("languageId"), str):
            value["languageId"] = ""
    _clamp(value, "start", "deleteCount")


def _clamp(value: dict[str, Any], *names: str, least: int = 0) -> None:
    for name in names:
        if isinstance(value.get(name), int | float) and not least <= value[name] <= _LARGEST:
            value[name] = _LARGEST if value[name] > 0 else least


def named(params: Any) -> str | None:
    """Return the document or notebook that a message about a text names, if it can be read."""
    match params:
        case {"textDocument": {"uri": str(uri)}} | {"notebookDocument": {"uri": str(uri)}}:
            return uri
    return None
