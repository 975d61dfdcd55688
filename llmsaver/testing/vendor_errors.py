"""The vendors' own error bodies and response headers, per status."""

from dataclasses import dataclass
from typing import Literal

from llmsaver.testing.text import JSON, identifier

Vendor = Literal["openai", "anthropic"]

_BAD_KEY = (
    "Incorrect API key provided: sk-fake****0000. You can find your API key at"
    " https://platform.openai.com/account/api-keys."
)
_OPENAI_LIMIT = (
    "Rate limit reached for {model} in organization org-fake on requests per min (RPM): Limit 3, Used 3, Requested 1."
    " Please try again in 20s. Visit https://platform.openai.com/account/rate-limits to learn more."
)
_OPENAI_500 = (
    "The server had an error while processing your request. Sorry about that! You can retry your request, or contact"
    " us through our help center at help.openai.com if the error persists."
)
_ANTHROPIC_LIMIT = (
    "This request would exceed your organization's rate limit of 50 requests per minute. For details, refer to:"
    " https://docs.claude.com/en/api/rate-limits."
)
# (type, code, message); sources: the vendors' error guides and the bodies users paste into their trackers.
_OPENAI: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "Invalid request."),
    401: (
        "invalid_request_error",
        "invalid_api_key",
        _BAD_KEY,
    ),
    403: ("request_forbidden", "unsupported_country_region_territory", "Country, region, or territory not supported"),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    409: ("invalid_request_error", "conflict", "The resource is being changed by another request."),
    413: ("invalid_request_error", "request_too_large", "Request body is larger than the limit."),
    422: ("invalid_request_error", None, "Unprocessable entity."),
    429: (
        "requests",
        "rate_limit_exceeded",
        _OPENAI_LIMIT,
    ),
    500: (
        "server_error",
        None,
        _OPENAI_500,
    ),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}
_QUOTA = ("insufficient_quota", "You exceeded your current quota, please check your plan and billing details.")
_ANTHROPIC: dict[int, tuple[str, str]] = {
    400: ("invalid_request_error", "Invalid request."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your account has a billing problem."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: {model}"),
    409: ("conflict_error", "The resource is being changed by another request."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    422: ("invalid_request_error", "Unprocessable entity."),
    429: (
        "rate_limit_error",
        _ANTHROPIC_LIMIT,
    ),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A request the vendor does not serve: its status and what the error says."""

    status: int
    message: str | None = None
    code: str | None = None
    param: str | None = None
    kind: str | None = None

    def body(self, vendor: Vendor, model: str, request_id: str) -> JSON:
        """Write the vendor's error body; an unlisted status borrows the words of 400 or 500."""
        if vendor == "anthropic":
            kind, said = _ANTHROPIC.get(self.status) or _ANTHROPIC[self._family]
            error: JSON = {"type": self.kind or kind, "message": self.message or said.format(model=model)}
            return {"type": "error", "error": error, "request_id": request_id}
        openai_kind, code, said = _OPENAI.get(self.status) or _OPENAI[self._family]
        if self.code == _QUOTA[0]:
            openai_kind, said = _QUOTA
        if self.message is not None:
            # A validation error has its own code, or none; the table's belongs to the table's message.
            code = None
        return {
            "error": {
                "message": self.message or said.format(model=model),
                "type": self.kind or openai_kind,
                "param": self.param,
                "code": self.code or code,
            }
        }

    @property
    def _family(self) -> int:
        return 500 if self.status >= 500 else 400  # noqa: PLR2004 - where HTTP puts server errors


def request_id(vendor: Vendor, number: int) -> str:
    """Make the id under which the vendor would know this request."""
    return identifier("req_01" if vendor == "anthropic" else "req_", vendor, number, length=22)


def vendor_headers(vendor: Vendor, number: int, content_type: str) -> dict[str, str]:
    """Give the headers that come with every answer of this vendor."""
    if vendor == "anthropic":
        return {
            "content-type": content_type,
            "request-id": request_id(vendor, number),
            "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
        }
    return {
        "content-type": content_type,
        "x-request-id": request_id(vendor, number),
        "openai-organization": "org-fake",
        "openai-processing-ms": "1",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
    }
