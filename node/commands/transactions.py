"""Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH (Redis: multi.c)."""

from __future__ import annotations

from ..client import Client, Transaction
from ..command import command, keys
from ..dispatch import transaction_guard
from ..errors import CommandError
from ..reply import OK, array


@command("multi", arity=1, flags="noscript loading stale fast allow_busy", since="1.2.0", group="transactions")
def multi(client: Client, args: list[bytes]) -> bytes:
    """MULTI -> OK

    Starts a transaction.
    Complexity: O(1)
    """
    if client.transaction is not None:
        raise CommandError("MULTI calls can not be nested")
    transaction_guard(client, Transaction())
    return OK


@command("discard", arity=1, flags="noscript loading stale fast allow_busy", since="2.0.0", group="transactions")
def discard(client: Client, args: list[bytes]) -> bytes:
    """DISCARD -> OK

    Discards a transaction.
    Complexity: O(N), when N is the number of queued commands
    """
    if client.transaction is None:
        raise CommandError("DISCARD without MULTI")
    transaction_guard(client, None)
    client.drop_watches()
    return OK


@command("exec", arity=1, flags="noscript loading stale skip_slowlog", since="1.2.0", group="transactions")
def exec_(client: Client, args: list[bytes]) -> bytes:
    """EXEC -> array of replies | null

    Executes all commands in a transaction.
    Complexity: Depends on commands in the transaction
    """
    transaction = client.transaction
    if transaction is None:
        raise CommandError("EXEC without MULTI")
    failed = client.watch is not None and client.watch.failed_or_expired()
    client.drop_watches()
    if transaction.aborted or failed:
        transaction_guard(client, None)
        if transaction.aborted:
            raise CommandError("Transaction discarded because of previous errors.", "EXECABORT")
        return client.resp.null_array
    router = client.server.dispatcher.router
    redirect = router.redirect_transaction(client, transaction) if router is not None else None
    if redirect is not None:
        transaction_guard(client, None)
        raise redirect
    try:
        replies = client.server.dispatcher.transact(client, transaction.commands)
    finally:
        transaction_guard(client, None)
    return array(replies)


@command("watch", arity=-2, flags="noscript loading stale fast allow_busy", keys=keys("RO"), since="2.2.0",
         group="transactions")  # fmt: skip
def watch(client: Client, args: list[bytes]) -> bytes:
    """WATCH key [key ...] -> OK

    Monitors changes to keys to determine the execution of a transaction.
    Complexity: O(1) for every key.
    """
    if client.transaction is not None:
        raise CommandError("WATCH inside MULTI is not allowed")
    if client.watch is None or not client.watch.failed:
        for key in args[1:]:
            client.set_watch(key)
    return OK


@command("unwatch", arity=1, flags="noscript loading stale fast allow_busy", since="2.2.0", group="transactions")
def unwatch(client: Client, args: list[bytes]) -> bytes:
    """UNWATCH -> OK

    Forgets about watched keys of a transaction.
    Complexity: O(1)
    """
    client.drop_watches()
    return OK
