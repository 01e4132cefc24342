"""COMMAND's answers: syntax lines as argument trees, categories, legacy key ranges."""

from __future__ import annotations

import pytest
from pyredis_cluster.node.client import Client
from pyredis_cluster.node.command import Command, CommandTable, KeySpec, discover
from pyredis_cluster.node.command_docs import acl_categories, arguments_of, legacy_range, subcommands_of
from pyredis_cluster.node.command_syntax import Argument, parse_syntax
from pyredis_cluster.node.reply import OK


def parsed(syntax: str) -> list[Argument]:
    return [*parse_syntax(syntax, 1)]


def test_a_key_is_a_key() -> None:
    assert parsed("GET key -> bulk") == [Argument("key", "key")]


def test_repetition_marks_what_stands_before_it() -> None:
    assert parsed("DEL key [key ...] -> integer") == [Argument("key", "key", multiple=True)]
    (block,) = parsed("MSET key value [key value ...] -> OK")
    assert (block.kind, block.multiple) == ("block", True)
    assert [child.name for child in block.children] == ["key", "value"]


def test_alternatives_are_a_choice() -> None:
    _, choice = parsed("SET key [NX | XX] -> OK")
    assert (choice.kind, choice.optional) == ("oneof", True)
    assert [(child.kind, child.token) for child in choice.children] == [
        ("pure-token", "NX"),
        ("pure-token", "XX"),
    ]


def test_a_word_in_capitals_is_the_token_of_what_follows() -> None:
    _, option = parsed("X key [LIMIT offset count] -> array")
    assert (option.kind, option.optional) == ("block", True)
    assert [(child.name, child.token) for child in option.children] == [("offset", "LIMIT"), ("count", "")]
    (kind,) = parsed("CLIENT [TYPE <NORMAL | PUBSUB>] -> text")
    assert (kind.kind, kind.token, kind.optional) == ("oneof", "TYPE", True)


@pytest.fixture(scope="module")
def table() -> CommandTable:
    return discover()


def test_each_syntax_line_is_read_to_its_end(table: CommandTable) -> None:
    for command in table:
        for each in (command, *subcommands_of(command)):
            if not each.subcommands:
                words = each.full_name.upper().replace("|", " ")
                assert each.syntax.startswith(words), each.full_name
                assert " -> " in each.syntax, each.full_name
                assert each.summary, each.full_name
                assert each.complexity, each.full_name
                assert "" not in {argument.name for argument in arguments_of(each)}


def test_the_syntax_has_room_for_what_the_arity_demands(table: CommandTable) -> None:
    for command in table:
        for each in (command, *subcommands_of(command)):
            if not each.subcommands:
                words = 2 if each.parent else 1
                arguments = arguments_of(each)
                least = words + sum(_least(argument) for argument in arguments)
                assert each.args_min <= least or each.arity < 0, each.full_name
                if each.arity > 0:
                    assert least == each.arity, each.full_name


def _least(argument: Argument) -> int:
    if argument.optional:
        return 0
    if argument.kind == "oneof":
        size = min(_least(child) for child in argument.children)
    elif argument.kind == "block":
        size = sum(_least(child) for child in argument.children)
    else:
        return 1 + (1 if argument.token and argument.kind != "pure-token" else 0)
    return size + (1 if argument.token else 0)


def test_flags_imply_categories(table: CommandTable) -> None:
    def of(name: bytes) -> list[str]:
        found = table.get(name)
        assert found is not None
        return acl_categories(found)

    assert of(b"get") == ["read", "string", "fast"]
    assert of(b"set") == ["write", "string", "slow"]
    assert of(b"blpop") == ["write", "list", "slow", "blocking"]
    assert set(of(b"shutdown")) == {"admin", "slow", "dangerous"}


def command_with(specs: tuple[KeySpec, ...]) -> Command:
    def function(client: Client, args: list[bytes]) -> bytes:
        return OK

    return Command("x", function, -2, frozenset(), specs, (), "1.0.0", "generic")


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ((KeySpec("RO"),), (1, 1, 1, False)),
        ((KeySpec("RO", last=-1),), (1, -1, 1, False)),
        ((KeySpec("OW", last=-1, step=2),), (1, -1, 2, False)),
        ((KeySpec("RW", 1), KeySpec("RW", 2)), (1, 2, 1, False)),
        ((KeySpec("RO", 1, keynum=(0, 1, 1)),), (0, 0, 0, True)),
        ((KeySpec("OW", 1), KeySpec("RO", 2, keynum=(0, 1, 1))), (1, 1, 1, True)),
    ],
)
def test_key_specs_become_a_legacy_range(
    specs: tuple[KeySpec, ...], expected: tuple[int, int, int, bool]
) -> None:
    assert legacy_range(command_with(specs)) == expected
