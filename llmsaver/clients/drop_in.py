"""What makes an SDK's client class ours: the same class, with the stack beneath it."""

from __future__ import annotations

import functools
import inspect
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from llmsaver.clients.http import derive, seam_of
from llmsaver.saver import Saver, default_saver

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Binding", "construct", "copied", "drop_in"]

log = logging.getLogger("llmsaver")

Kind = TypeVar("Kind", bound=type)

# The client that is sending in this context: only then does it see its HTTP client with the seam. Whoever else looks at
# ``client._client`` finds the object that was put there, as under the SDK's own class.
_sending: ContextVar[Any] = ContextVar("llmsaver_sending", default=None)


class Binding:
    """Which Saver stands under a client and how; one object, shared with the client's copies.

    ``annotate`` is None where nothing but the Saver's setting and the class's default decide it. ``missing_key`` and
    ``other_vendor`` are the facade's (see ``Seam``).
    """

    def __init__(
        self,
        saver: Saver | None = None,
        *,
        annotate: bool | None = None,
        default_annotate: bool = False,
        missing_key: str | None = None,
        other_vendor: Callable[[str, str], str | None] | None = None,
    ) -> None:
        self.chosen = saver
        self.saver = saver or default_saver()
        self.annotate = annotate
        self.default_annotate = default_annotate
        self.missing_key = missing_key
        self.other_vendor = other_vendor
        self._latest: tuple[Any, Any] | None = None

    def with_changes(self, saver: Saver | None, annotate: bool | None) -> Binding:
        """Return a binding with another Saver or another wish about annotations."""
        return Binding(
            saver or self.chosen,
            annotate=self.annotate if annotate is None else annotate,
            default_annotate=self.default_annotate,
            missing_key=self.missing_key,
            other_vendor=self.other_vendor,
        )

    def over(self, client: Any) -> Any:
        """Return ``client`` with a seam; one that has its own keeps it, unless this binding was chosen by name.

        A client that cannot be derived from (a test double) is returned as it is, with a line in the log.
        """
        latest = self._latest
        if latest is not None and latest[0] is client:
            return latest[1]
        if seam_of(client) is not None and self.chosen is None and self.annotate is None:
            seamed = client
        else:
            wishes = (self.annotate, self.saver.settings.annotate, self.default_annotate)
            try:
                seamed = derive(
                    client,
                    self.saver,
                    annotate=next(wish for wish in wishes if wish is not None),
                    missing_key=self.missing_key,
                    other_vendor=self.other_vendor,
                )
            except TypeError as error:
                log.warning("llmsaver: this HTTP client's calls are not seen: %s", error)
                seamed = client
        self._latest = (client, seamed)
        return seamed


def construct(client: Any, saver: Saver | None, annotate: bool | None, arguments: dict[str, Any]) -> None:
    """Initialise ``client`` as its SDK would, then bind it to a Saver.

    Anthropic's SDK signs in by profile, file or environment only where ``type(client)`` is its own class, and a client
    that changes one import must still sign in: so ours is the SDK's class while it is constructed. A class that an
    application derives from ours is treated as the SDK treats any subclass.
    """
    binding: Binding | None = arguments.pop("_llmsaver", None)
    if binding is None:
        binding = Binding(saver, annotate=annotate)
    mine: Any = type(client)
    sdk_class: Any = _sdk_class_of(mine)
    if mine.__base__ is sdk_class:
        client.__class__ = sdk_class  # the same layout, and nobody else has the object yet
    try:
        sdk_class.__init__(client, **arguments)
    finally:
        client.__class__ = mine
    client._llmsaver = binding  # noqa: SLF001 - our own attribute


def copied(client: Any, saver: Saver | None, annotate: bool | None, arguments: dict[str, Any]) -> Any:
    """Return the SDK's copy of ``client``, bound as ``client`` is unless ``saver`` or ``annotate`` say otherwise."""
    binding: Binding = client._llmsaver  # noqa: SLF001 - our own attribute
    if saver is not None or annotate is not None:
        binding = binding.with_changes(saver, annotate)
    extra = {**_signed_in(client, arguments), **arguments.pop("_extra_kwargs", {}), "_llmsaver": binding}
    return _sdk_class_of(type(client)).copy(client, **arguments, _extra_kwargs=extra)


def _sdk_class_of(kind: type) -> Any:
    return next(base.__base__ for base in kind.__mro__ if "_llmsaver_drop_in" in vars(base))


def _signed_in(client: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the sign-in that Anthropic's ``copy`` keeps back from subclasses (``_is_base_client`` in its client)."""
    credentials = getattr(client, "credentials", None)
    given = any(arguments.get(name) for name in ("api_key", "auth_token", "config", "profile"))
    if credentials is None or given or "credentials" in arguments or client.api_key or client.auth_token:
        return {}
    base_url = arguments.get("base_url")
    if base_url is None or str(base_url).rstrip("/") == str(client.base_url).rstrip("/"):
        # A token is good for the deployment that gave it out.
        return {"credentials": credentials, "_token_cache": client._token_cache}  # noqa: SLF001 - as the SDK's copy does
    return {"credentials": credentials}


def drop_in(kind: Kind) -> Kind:
    """Make a subclass of an SDK's client class ours: its signatures the SDK's, its requests through the seam."""
    base: Any = kind.__base__
    added: Any = kind
    added._llmsaver_drop_in = True  # noqa: SLF001 - our own attribute
    added._client = property(_http_client, _set_http_client)  # noqa: SLF001 - the SDK's attribute, see _sending
    added.saver = property(_saver, doc="The Saver whose stack this client's calls go through.")
    added.__init__ = _signed(added.__init__, base.__init__, kind)
    added.copy = added.with_options = _signed(added.copy, base.copy, kind)
    added.request = _sending_through(base.request)
    if base._prepare_url.__qualname__ == "BaseClient._prepare_url":  # noqa: SLF001 - Azure's depends on more
        added._prepare_url = _remembering(base)  # noqa: SLF001 - the SDK's, see there
    return kind


def _http_client(self: Any) -> Any:
    attributes = self.__dict__
    try:
        client = attributes["_client"]
    except KeyError:
        raise AttributeError("_client") from None  # the SDK asks with hasattr() after a failed construction
    return attributes["_llmsaver"].over(client) if _sending.get() is self else client


def _set_http_client(self: Any, client: Any) -> None:
    self.__dict__["_client"] = client


def _remembering(base: Any) -> Callable[[Any, Any], Any]:
    """Return the SDK's ``_prepare_url``, which joins base URL and path anew for every call, with a memory of the last.

    A tenth of what a small call costs is spent there, and neither part changes from call to call.
    """
    theirs = base._prepare_url  # noqa: SLF001 - the SDK's

    @functools.wraps(theirs)
    def _prepare_url(self: Any, url: Any) -> Any:
        if base._prepare_url is not theirs:  # noqa: SLF001 - replaced by somebody
            return base._prepare_url(self, url)  # noqa: SLF001 - the same
        root, known = self.base_url, self.__dict__.get("_llmsaver_url")
        if known is not None and known[0] is root and known[1] == url:
            return known[2]
        made = theirs(self, url)
        self.__dict__["_llmsaver_url"] = (root, url, made)
        return made

    return _prepare_url


def _saver(self: Any) -> Saver:
    binding: Binding = self._llmsaver  # the decorated classes' own attribute
    return binding.saver


def _signed(ours: Callable[..., Any], theirs: Callable[..., Any], kind: type) -> Callable[..., Any]:
    def method(self: Any, /, **arguments: Any) -> Any:
        return ours(self, **arguments)

    functools.update_wrapper(method, theirs, assigned=("__name__", "__doc__", "__annotations__"))
    method.__qualname__, method.__module__ = f"{kind.__name__}.{theirs.__name__}", kind.__module__
    signature = inspect.signature(theirs)
    ours_too = inspect.Parameter("_llmsaver", inspect.Parameter.VAR_KEYWORD, annotation="saver and annotate")
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]  # read by inspect.signature
        parameters=[*signature.parameters.values(), ours_too]
    )
    return method


def _sending_through(theirs: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(theirs):

        @functools.wraps(theirs)
        async def request(self: Any, /, *args: Any, **arguments: Any) -> Any:
            token = _sending.set(self)
            try:
                return await theirs(self, *args, **arguments)
            finally:
                _sending.reset(token)
    else:

        @functools.wraps(theirs)
        def request(self: Any, /, *args: Any, **arguments: Any) -> Any:
            token = _sending.set(self)
            try:
                return theirs(self, *args, **arguments)
            finally:
                _sending.reset(token)

    return request
