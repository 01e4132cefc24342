/* What the C files of the data plane share: how they read slots of the Python classes, and each other's functions.

   The law of this directory: a C function stands in for a Python method and does its plainest case alone.
   Whatever is unusual goes to the Python method that it stands in for, before anything has been changed.
   No command's logic lives here, and no state but what `native_bind` was given and caches of pure functions. */

#ifndef PYREDIS_NATIVE_H
#define PYREDIS_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <string.h>

#define SLOT_COUNT 16384
#define DICT_MAX_ENTRIES 512 /* node/values/table.py */

/* The slots (`__slots__`) of the Python classes that C reads or writes. Their places are looked up once, when a
   class is bound; from then on a slot costs what a field of a struct costs. */
#define BACKLOG_SLOTS(X) X(_block_bytes) X(_on_data) X(_starts) X(_tail) X(quiet)
#define CLIENT_SLOTS(X) \
    X(command) X(connection) X(db) X(guard) X(last_command) X(last_interaction_ms) X(out) X(parked) X(propagated) X(replica) \
    X(running) X(waiting_offset)
#define CLOCK_SLOTS(X) X(now_ms)
#define COMMAND_SLOTS(X) \
    X(args_max) X(args_min) X(calls) X(function) X(gates) X(key_first) X(key_last) X(key_step) X(nanoseconds) \
    X(single_key) X(subcommands)
#define CONNECTION_SLOTS(X) \
    X(client) X(clock) X(close_after_reply) X(closed) X(dispatcher) X(fd) X(parser) X(queued) X(reactor) X(stats) \
    X(writing)
#define DATABASE_SLOTS(X) X(blocked) X(expires) X(index) X(keyspace) X(size) X(slots) X(watched)
#define DISPATCHER_SLOTS(X) X(_effects) X(by_name) X(commands_processed) X(gates) X(journal) X(keyspace) X(served)
#define EXPIRY_SLOTS(X) X(_when) X(count)
#define JOURNAL_SLOTS(X) X(active) X(database) X(offset) X(subscribers)
#define KEYSPACE_SLOTS(X) X(dirty) X(hits) X(misses) X(ready)
#define PARSER_SLOTS(X) \
    X(_args) X(_args_bytes) X(_buffer) X(_bulk_bytes) X(_large) X(_large_bytes) X(_remaining) X(authenticated) \
    X(bulk_max_bytes) X(pending_bytes)
#define PRIMARY_SIDE_SLOTS(X) X(_acks_wanted) X(backlog) X(links)
#define REACTOR_SLOTS(X) \
    X(_epoll_fd) X(_handlers) X(_pending) X(_working) X(before_send) X(busy_ns) X(cycles) X(update_clock)
#define REPLICA_LINK_SLOTS(X) X(client) X(next_offset) X(streaming)
#define STREAM_SLOTS(X) X(_client) X(_dispatcher) X(_open) X(_unusual)
#define HASH_SLOTS(X) X(encoding) X(fields)
#define SCORE_INDEX_SLOTS(X) X(_max_members) X(_max_scores) X(_members) X(_scores) X(_size) X(_tree)
#define SET_SLOTS(X) X(encoding) X(entries)
#define SORTED_SET_SLOTS(X) X(_index) X(encoding) X(scores)
#define TABLE_SLOTS(X) X(_depths) X(_mask) X(_partitions) X(_size)
#define STATS_SLOTS(X) X(net_input_bytes) X(net_output_bytes) X(reads_processed)

#define EACH_CLASS(X) \
    X(Backlog, backlog, BACKLOG_SLOTS) \
    X(Client, client, CLIENT_SLOTS) \
    X(Clock, clock, CLOCK_SLOTS) \
    X(Command, command, COMMAND_SLOTS) \
    X(Connection, connection, CONNECTION_SLOTS) \
    X(Database, database, DATABASE_SLOTS) \
    X(Dispatcher, dispatcher, DISPATCHER_SLOTS) \
    X(ExpiryIndex, expiry, EXPIRY_SLOTS) \
    X(Hash, hash, HASH_SLOTS) \
    X(Journal, journal, JOURNAL_SLOTS) \
    X(Keyspace, keyspace, KEYSPACE_SLOTS) \
    X(PrimarySide, primary_side, PRIMARY_SIDE_SLOTS) \
    X(RequestParser, parser, PARSER_SLOTS) \
    X(Reactor, reactor, REACTOR_SLOTS) \
    X(ReplicaLink, replica_link, REPLICA_LINK_SLOTS) \
    X(ScoreIndex, score_index, SCORE_INDEX_SLOTS) \
    X(Set, set, SET_SLOTS) \
    X(SortedSet, sorted_set, SORTED_SET_SLOTS) \
    X(Stats, stats, STATS_SLOTS) \
    X(Stream, stream, STREAM_SLOTS) \
    X(Table, table, TABLE_SLOTS)

#define DECLARE_OFFSET(name) Py_ssize_t name;
#define DECLARE_LAYOUT(class_name, name, slots) \
    struct name##_layout { PyTypeObject *type; slots(DECLARE_OFFSET) }; \
    extern struct name##_layout name##_layout;
EACH_CLASS(DECLARE_LAYOUT)

/* FIELD(object, client, guard): the slot `guard` of a Client as an lvalue; NULL while it was never set. */
#define FIELD(object, name, slot) (*(PyObject **)((char *)(object) + name##_layout.slot))
#define IS(object, name) ((object) != NULL && Py_TYPE(object) == name##_layout.type)

/* A method that C stands in for: `original` is the Python function. */
typedef struct {
    PyMethodDef definition;
    PyTypeObject **type;
    PyObject *original;
} StandIn;

/* Whether an int is 0; false for anything that is no int. */
static inline bool is_zero(PyObject *number) {
    return number != NULL && PyLong_CheckExact(number) && Py_SIZE(number) == 0;
}

/* Whether a collection has that encoding. */
static inline bool has_encoding(PyObject *encoding, const char *name) {
    return encoding != NULL && PyBytes_CheckExact(encoding) && strcmp(PyBytes_AS_STRING(encoding), name) == 0;
}

/* Replace a slot's object by a new reference. */
static inline void store(PyObject **slot, PyObject *value) {
    PyObject *before = *slot;
    *slot = value;
    Py_XDECREF(before);
}

/* time.perf_counter_ns(). */
long long native_now_ns(void);

/* Add to the int in a slot; -1 with an exception where there is none. */
int native_add(PyObject **slot, long long change);

/* The Python methods that C calls, as interned names: `name__admit`. */
#define EACH_NAME(X) \
    X(_adjust) X(_admit) X(_before_send) X(_diverged) X(_left) X(_raised) X(_read_end) X(_read_failed) X(_received) \
    X(_run) X(_sent) X(_write_failed) X(fault) X(feed) X(flush) X(full_name) X(getrandbits) \
    X(insert) X(on_readable) X(on_writable) X(schedule)
#define DECLARE_NAME(name) extern PyObject *name_##name;
EACH_NAME(DECLARE_NAME)

/* self.name(first, second), where a NULL ends the arguments early. */
PyObject *native_call(PyObject *self, PyObject *name, PyObject *first, PyObject *second);

/* Call the Python method that a stand-in replaced. */
PyObject *native_original(StandIn *method, PyObject *const *args, Py_ssize_t count);

/* The hash slot of a key (bytes). */
unsigned native_key_slot(PyObject *key);

/* The dict or Table that the key is, or would be, in; NULL where that is not plain. Borrowed. */
PyObject *native_slot_mapping(PyObject *database, PyObject *key);

/* Table.__setitem__ where it is plain: how many entries that added, -1 with an exception. */
int native_table_put(PyObject *table, PyObject *key, PyObject *value, bool *plain);

/* Have the processor fetch what looking up the keys of this many commands, from `first` on, will read. */
#define PREFETCHED_COMMANDS 16
void native_prefetch(PyObject *database, PyObject *commands, Py_ssize_t first);

/* A collection's entries are in a dict or a Table. The dict that the key is, or would be, in, borrowed; NULL where that
   is not plain. */
PyObject *native_partition(PyObject *mapping, PyObject *key);

/* How many entries; -1 where that is not plain. */
Py_ssize_t native_mapping_size(PyObject *mapping);

/* How many entries a Hash, Set or SortedSet has; -1 where that is not plain. */
Py_ssize_t native_collection_size(PyObject *collection);

/* An entry came into the key's partition. -1 with an exception. */
int native_grew(PyObject *mapping, PyObject *key);

/* del mapping[key]; the caller holds the key. -1 with an exception. */
int native_delete(PyObject *mapping, PyObject *key);

/* A key, each as likely as any other, borrowed; NULL with an exception, or with `*plain` false. */
PyObject *native_random_key(PyObject *mapping, PyObject *rng, bool *plain);

/* Parse whole commands of bulk strings; appends lists of bytes to `commands`. Returns where the last one ends, or -1
   with an exception. */
Py_ssize_t native_parse(const char *data, Py_ssize_t size, Py_ssize_t bulk_max, PyObject *commands);

/* The beginning of a command: the arguments that are whole, and how large the next one, which is not, will be. */
typedef struct {
    PyObject *args; /* a list, empty before */
    Py_ssize_t args_bytes;
    Py_ssize_t remaining; /* arguments that are not whole */
    Py_ssize_t bulk_bytes;
} Beginning;

/* Parse the beginning of a command that is not whole: where the content of its first argument that is not whole begins;
   0 where there is no such, -1 with an exception. */
Py_ssize_t native_parse_beginning(const char *data, Py_ssize_t size, Py_ssize_t bulk_max, Beginning *found);

/* A large argument that has not arrived as a whole is received where it stays (large.c). */

/* Keep the beginning of such a command: 1, or 0 if it has none, -1 with an exception. */
int native_begin_large(PyObject *parser, const char *data, Py_ssize_t size, Py_ssize_t bulk_max);

/* Whether there is one that goes on with what the socket has. */
bool native_has_large(PyObject *parser);

/* What was received into a large argument. */
typedef struct {
    Py_ssize_t size;   /* what readv gave: bytes, 0 at the end, -1 with errno */
    Py_ssize_t behind; /* how many bytes came behind the argument, in `chunk` */
    PyObject *command; /* the command that is whole now, or NULL */
} Received;

/* Receive more of it: -1 with an exception. */
int native_receive_large(PyObject *parser, int fd, char *chunk, Py_ssize_t chunk_bytes, Received *received);

/* The exception that is set, with its traceback, taken: a new reference. */
PyObject *native_take_error(void);

/* What one round of a reactor gathers. */
#define ROUND_MAX_READY 256
typedef struct {
    PyObject *reactor;
    PyObject *stats; /* of the connections that were counted here; NULL before the first */
    long long input_bytes, output_bytes, reads;
    PyObject *ready[ROUND_MAX_READY]; /* connections with output */
    size_t count;
} Round;

/* This thread's round, NULL outside of one. */
extern _Thread_local Round *native_round;

/* Whether a command of so many arguments may be called as it is: it has no subcommands, and they are as many as it
   takes. Never an exception. */
bool native_takes(PyObject *command, Py_ssize_t count);

/* The reply to the exception that a command's function raised; NULL if that is no Exception. */
PyObject *native_raised(PyObject *dispatcher, PyObject *client, PyObject *command, PyObject *args);

/* The connection's socket; -1 where there is none. */
int native_file_descriptor(PyObject *connection);

/* Connection.on_readable and Connection.flush. */
PyObject *native_on_readable(PyObject *connection);
PyObject *native_flush(PyObject *connection);

/* Append a command (a list of bytes) to a bytearray: how many bytes that were; 0 and nothing where it would reach
   `limit`, -1 with an exception. */
Py_ssize_t native_append_command(PyObject *to, PyObject *args, Py_ssize_t limit);

/* Dispatcher._changed. */
PyObject *native_changed(PyObject *dispatcher, PyObject *client, PyObject *args);

/* Dispatcher.run; -1 with an exception. */
Py_ssize_t native_run(PyObject *dispatcher, PyObject *client, PyObject *commands);

extern StandIn native_collection_methods[];
extern StandIn native_database_methods[];
extern StandIn native_dispatch_methods[];
extern StandIn native_connection_methods[];
extern StandIn native_journal_methods[];
extern StandIn native_reactor_methods[];
extern StandIn native_replication_methods[];
extern StandIn native_sorted_set_methods[];
extern StandIn native_table_methods[];
extern PyMethodDef native_encode_functions[];
extern PyMethodDef native_parse_functions[];
extern PyMethodDef native_slot_functions[];

#endif
