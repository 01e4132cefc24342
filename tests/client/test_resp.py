"""The codec: what is encoded decodes to itself, in any fragmentation, and arguments are coerced as redis-py does."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyredis_cluster.client.errors import MovedError, ProtocolViolationError, ResponseError
from pyredis_cluster.client.resp import (
    INCOMPLETE,
    PushNotification,
    ReplyDecoder,
    encode_command,
    encode_commands,
    to_args,
    to_bytes,
)

commands = st.lists(st.binary(max_size=40) | st.binary(min_size=1000, max_size=1100), min_size=1, max_size=6)


def decode_all(data: bytes, *, chunk: int = 0, decode_responses: bool = False) -> list[Any]:
    decoder = ReplyDecoder(decode_responses=decode_responses)
    replies = []
    step = chunk or max(len(data), 1)
    for start in range(0, len(data), step):
        decoder.feed(data[start : start + step])
        while (reply := decoder.next_reply()) is not INCOMPLETE:
            replies.append(reply)
    return replies


@given(commands)
def test_a_command_decodes_to_its_arguments(args: list[bytes]) -> None:
    assert decode_all(encode_command(args)) == [args]


@given(st.lists(commands, max_size=5), st.integers(1, 50))
def test_a_pipeline_decodes_in_any_fragmentation(pipeline: list[list[bytes]], chunk: int) -> None:
    assert decode_all(encode_commands(pipeline), chunk=chunk) == pipeline


@pytest.mark.parametrize("length", [1023, 1024, 1025, 100_000])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_arguments_beyond_the_header_table_are_encoded_alike(length: int, count: int) -> None:
    args = [b"x" * length] * count
    assert decode_all(encode_command(args)) == [args]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"raw", b"raw"),
        (bytearray(b"raw"), b"raw"),
        (memoryview(b"raw"), b"raw"),
        ("tëxt", "tëxt".encode()),
        (-12, b"-12"),
        (1.5, b"1.5"),
        (1e300, b"1e+300"),
        (float("inf"), b"inf"),
    ],
)
def test_an_argument_becomes_bytes(value: Any, expected: bytes) -> None:
    assert to_bytes(value) == expected
    assert to_args([value]) == [expected]


@pytest.mark.parametrize("value", [None, True, [1], object()])
def test_what_has_no_redis_form_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        to_bytes(value)


@given(st.binary(max_size=60))
def test_any_bytes_survive_decoding_to_str_and_back(data: bytes) -> None:
    (text,) = decode_all(b"$%d\r\n%b\r\n" % (len(data), data), decode_responses=True)
    assert isinstance(text, str)
    assert to_bytes(text) == data


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"+OK\r\n", b"OK"),
        (b":42\r\n", 42),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", [1, [b"x"]]),
        (b"_\r\n", None),
        (b"#t\r\n", True),
        (b",1.5\r\n", 1.5),
        (b"%1\r\n+a\r\n:1\r\n", {b"a": 1}),
        (b"~2\r\n:1\r\n:2\r\n", [1, 2]),
    ],
)
def test_replies_of_both_protocols_become_python_values(wire: bytes, expected: Any) -> None:
    assert decode_all(wire) == [expected]


def test_an_error_reply_is_a_typed_value_also_inside_of_an_array() -> None:
    top, nested = decode_all(b"-MOVED 7 127.0.0.1:7001\r\n*2\r\n:1\r\n-ERR bad\r\n")
    assert isinstance(top, MovedError)
    assert (top.slot, top.host, top.port) == (7, "127.0.0.1", 7001)
    assert nested[0] == 1
    assert type(nested[1]) is ResponseError
    assert nested[1].message == "ERR bad"


def test_a_push_can_be_told_from_a_reply() -> None:
    (push,) = decode_all(b">2\r\n+message\r\n+x\r\n")
    assert type(push) is PushNotification


@pytest.mark.parametrize("wire", [b"HTTP/1.1 400\r\n", b"%1\r\n*1\r\n:1\r\n:2\r\n", b":x\r\n"])
def test_what_is_no_reply_is_a_protocol_violation(wire: bytes) -> None:
    with pytest.raises(ProtocolViolationError):
        decode_all(wire)


@given(st.binary(max_size=200))
def test_any_bytes_give_replies_or_a_protocol_violation(data: bytes) -> None:
    with suppress(ProtocolViolationError):
        decode_all(data, chunk=7)
