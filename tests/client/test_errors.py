"""Error replies by their code word."""

from __future__ import annotations

import pytest
from pyredis_cluster.client.errors import (
    ERROR_BY_CODE,
    AskError,
    MovedError,
    RedirectError,
    ResponseError,
    TransportError,
    reply_error,
)


@pytest.mark.parametrize("code", sorted(set(ERROR_BY_CODE) - {"MOVED", "ASK"}))
def test_the_code_word_gives_the_type(code: str) -> None:
    error = reply_error(f"{code} some text")
    assert type(error) is ERROR_BY_CODE[code]
    assert error.code == code
    assert str(error) == f"{code} some text"


@pytest.mark.parametrize(
    ("message", "kind", "host", "port"),
    [
        ("MOVED 3999 127.0.0.1:6381", MovedError, "127.0.0.1", 6381),
        ("ASK 3999 node-1.example:6381", AskError, "node-1.example", 6381),
        ("MOVED 3999 :6381", MovedError, "", 6381),
        ("MOVED 3999 2001:db8::1:6381", MovedError, "2001:db8::1", 6381),
    ],
)
def test_a_redirect_names_slot_and_node(message: str, kind: type[RedirectError], host: str, port: int) -> None:
    error = reply_error(message)
    assert type(error) is kind
    assert isinstance(error, RedirectError)
    assert (error.slot, error.host, error.port) == (3999, host, port)


@pytest.mark.parametrize("message", ["MOVED", "MOVED x y:1", "ASK 1", "MOVED 1 host", "", "something else"])
def test_what_does_not_parse_is_a_plain_response_error(message: str) -> None:
    assert type(reply_error(message)) is ResponseError


def test_a_transport_error_says_whether_the_request_may_have_been_applied() -> None:
    assert TransportError("x").maybe_applied is False
    assert TransportError("x", maybe_applied=True).maybe_applied is True
