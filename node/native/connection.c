/* Connection.on_readable and Connection.flush (node/connection.py).

   Plain: nothing is queued, half-parsed, parked or being closed, and the socket gives whole commands, takes all output.
   The socket is non-blocking: neither call waits, and the GIL is held. */

#include "native.h"
#include <errno.h>
#include <sys/socket.h>

#define READ_CHUNK_BYTES (16 * 1024) /* node/connection.py */

static PyObject *connection_on_readable(PyObject *self, PyObject *ignored);
static PyObject *connection_flush(PyObject *self, PyObject *ignored);

enum { ON_READABLE, FLUSH };
StandIn native_connection_methods[] = {
    [ON_READABLE] = {{"on_readable", connection_on_readable, METH_NOARGS, "Stands in for the Python method."},
                     &connection_layout.type},
    [FLUSH] = {{"flush", connection_flush, METH_NOARGS, "Stands in for the Python method."}, &connection_layout.type},
    {{NULL}},
};

/* Call a method with a new reference as its argument, which is taken; NULL if that is NULL. */
static PyObject *call_taking(PyObject *self, PyObject *name, PyObject *argument) {
    PyObject *result = argument == NULL ? NULL : native_call(self, name, argument, NULL);
    Py_XDECREF(argument);
    return result;
}

int native_file_descriptor(PyObject *self) {
    PyObject *fd = FIELD(self, connection, fd);
    long value = fd != NULL && PyLong_CheckExact(fd) ? PyLong_AsLong(fd) : -1;
    if (value < 0 && PyErr_Occurred()) {
        PyErr_Clear();
    }
    return (int)value;
}

/* Whether what is read next may run at once. */
static bool reads_plainly(PyObject *self) {
    PyObject *client = FIELD(self, connection, client);
    PyObject *parser = FIELD(self, connection, parser);
    PyObject *queued = FIELD(self, connection, queued);
    if (!IS(client, client) || !is_zero(FIELD(client, client, guard)) || !IS(parser, parser) || queued == NULL
        || PyObject_Size(queued) != 0) {
        PyErr_Clear();
        return false;
    }
    PyObject *buffer = FIELD(parser, parser, _buffer);
    return FIELD(parser, parser, authenticated) == Py_True && buffer != NULL && PyByteArray_CheckExact(buffer)
        && PyByteArray_GET_SIZE(buffer) == 0 && (is_zero(FIELD(parser, parser, _remaining)) || native_has_large(parser))
        && IS(FIELD(self, connection, dispatcher), dispatcher) && IS(FIELD(self, connection, clock), clock)
        && IS(FIELD(self, connection, stats), stats) && IS(FIELD(self, connection, reactor), reactor);
}

/* The round that this connection is drained in, and whose counters are its own; NULL if there is none. */
static Round *round_of(PyObject *self) {
    Round *round = native_round;
    if (round == NULL || round->reactor != FIELD(self, connection, reactor)) {
        return NULL;
    }
    PyObject *stats = FIELD(self, connection, stats);
    if (round->stats == NULL) {
        round->stats = Py_NewRef(stats);
    }
    return round->stats == stats ? round : NULL;
}

static int count_read(PyObject *self, Py_ssize_t size) {
    Round *round = round_of(self);
    PyObject *stats = FIELD(self, connection, stats);
    PyObject *now_ms = FIELD(FIELD(self, connection, clock), clock, now_ms);
    if (now_ms != NULL) {
        store(&FIELD(FIELD(self, connection, client), client, last_interaction_ms), Py_NewRef(now_ms));
    }
    if (round != NULL) {
        round->input_bytes += size;
        round->reads++;
        return 0;
    }
    if (native_add(&FIELD(stats, stats, net_input_bytes), size) < 0) {
        return -1;
    }
    return native_add(&FIELD(stats, stats, reads_processed), 1);
}

/* Connection._run and what follows it there. */
static int run(PyObject *self, PyObject *commands) {
    Py_ssize_t count = PyList_GET_SIZE(commands);
    Py_ssize_t done;
    if (count == 1) {
        done = native_run(FIELD(self, connection, dispatcher), FIELD(self, connection, client), commands);
    } else {
        PyObject *result = native_call(self, name__run, commands, NULL);
        done = result == NULL ? -1 : PyLong_AsSsize_t(result);
        Py_XDECREF(result);
    }
    if (done < 0) {
        return -1;
    }
    if (done < count) {
        PyObject *told = call_taking(self, name__left, PyList_GetSlice(commands, done, count));
        Py_XDECREF(told);
        return told == NULL ? -1 : 0;
    }
    return 0;
}

/* Have what is in the output sent at the end of the round. */
static int schedule(PyObject *self) {
    PyObject *out = FIELD(FIELD(self, connection, client), client, out);
    bool is_pending = out != NULL && PyByteArray_CheckExact(out) && PyByteArray_GET_SIZE(out) > 0;
    if (FIELD(self, connection, closed) == Py_True
        || (!is_pending && FIELD(self, connection, close_after_reply) != Py_True)) {
        return 0;
    }
    Round *round = round_of(self);
    if (round != NULL && round->count < ROUND_MAX_READY) {
        round->ready[round->count++] = Py_NewRef(self);
        return 0;
    }
    PyObject *reactor = FIELD(self, connection, reactor);
    PyObject *pending = FIELD(reactor, reactor, _pending);
    if (FIELD(reactor, reactor, _working) == Py_True && pending != NULL && PyDict_CheckExact(pending)) {
        return PyDict_SetItem(pending, self, Py_None);
    }
    PyObject *told = native_call(reactor, name_schedule, self, NULL);
    Py_XDECREF(told);
    return told == NULL ? -1 : 0;
}

/* The Python way, for a chunk that does not end at a command's end: `rest` is what comes after `commands`, taken. */
static PyObject *received(PyObject *self, PyObject *commands, const char *rest, Py_ssize_t rest_size, Py_ssize_t size) {
    PyObject *data = PyBytes_FromStringAndSize(rest, rest_size);
    PyObject *more = call_taking(FIELD(self, connection, parser), name_feed, data);
    PyObject *all = more == NULL ? NULL : PySequence_InPlaceConcat(commands, more);
    PyObject *count = PyLong_FromSsize_t(size);
    PyObject *result = all == NULL || count == NULL ? NULL : native_call(self, name__received, all, count);
    Py_XDECREF(count);
    Py_XDECREF(all);
    Py_XDECREF(more);
    Py_DECREF(commands);
    return result;
}

/* What recv gave where that is no data. */
static PyObject *nothing_received(PyObject *self, Py_ssize_t size) {
    if (size == 0) {
        return native_call(self, name__read_end, NULL, NULL);
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        Py_RETURN_NONE;
    }
    return call_taking(self, name__read_failed, PyLong_FromLong(errno));
}

/* Parse the chunk and run its commands behind those that are whole already, which are taken; `size` bytes were read. */
static PyObject *take(PyObject *self, PyObject *commands, const char *chunk, Py_ssize_t chunk_size, Py_ssize_t size) {
    PyObject *parser = FIELD(self, connection, parser);
    PyObject *limit = FIELD(parser, parser, bulk_max_bytes);
    Py_ssize_t bulk_max = limit == NULL ? -1 : PyLong_AsSsize_t(limit);
    Py_ssize_t end = PyErr_Occurred() ? -1 : native_parse(chunk, chunk_size, bulk_max, commands);
    if (end >= 0 && end < chunk_size) {
        int begun = native_begin_large(parser, chunk + end, chunk_size - end, bulk_max);
        if (begun == 0) {
            return received(self, commands, chunk + end, chunk_size - end, size);
        }
        end = begun;
    }
    Py_INCREF(self);
    int failed = end < 0 || count_read(self, size) < 0
        || (PyList_GET_SIZE(commands) > 0 && run(self, commands) < 0) || schedule(self) < 0;
    Py_DECREF(self);
    Py_DECREF(commands);
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* What the socket has of a large argument, and of what comes behind it. */
static PyObject *read_large(PyObject *self, int fd) {
    char chunk[READ_CHUNK_BYTES];
    Received found;
    if (native_receive_large(FIELD(self, connection, parser), fd, chunk, sizeof chunk, &found) < 0) {
        return NULL;
    }
    if (found.size <= 0) {
        return nothing_received(self, found.size);
    }
    PyObject *commands = PyList_New(0);
    if (commands == NULL || (found.command != NULL && PyList_Append(commands, found.command) < 0)) {
        Py_XDECREF(commands);
        Py_XDECREF(found.command);
        return NULL;
    }
    if (found.command == NULL && found.behind > 0) {
        return received(self, commands, chunk, found.behind, found.size);
    }
    Py_XDECREF(found.command);
    return take(self, commands, chunk, found.behind, found.size);
}

PyObject *native_on_readable(PyObject *self) {
    char chunk[READ_CHUNK_BYTES];
    int fd = native_file_descriptor(self);
    if (fd < 0 || !reads_plainly(self)) {
        return native_original(&native_connection_methods[ON_READABLE], &self, 1);
    }
    if (FIELD(FIELD(self, connection, parser), parser, _large) != Py_None) {
        return read_large(self, fd);
    }
    Py_ssize_t size = recv(fd, chunk, sizeof chunk, 0);
    if (size <= 0) {
        return nothing_received(self, size);
    }
    PyObject *commands = PyList_New(0);
    return commands == NULL ? NULL : take(self, commands, chunk, size, size);
}

static PyObject *connection_on_readable(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    return native_on_readable(self);
}

PyObject *native_flush(PyObject *self) {
    PyObject *client = FIELD(self, connection, client);
    PyObject *out = IS(client, client) ? FIELD(client, client, out) : NULL;
    PyObject *stats = FIELD(self, connection, stats);
    int fd = native_file_descriptor(self);
    if (fd < 0 || FIELD(self, connection, closed) != Py_False || !IS(stats, stats) || out == NULL
        || !PyByteArray_CheckExact(out) || PyByteArray_GET_SIZE(out) == 0) {
        return native_original(&native_connection_methods[FLUSH], &self, 1);
    }
    Py_ssize_t size = PyByteArray_GET_SIZE(out);
    Py_ssize_t sent = send(fd, PyByteArray_AS_STRING(out), (size_t)size, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            return call_taking(self, name__write_failed, PyLong_FromLong(errno));
        }
        sent = 0;
    }
    bool is_plain = sent == size && FIELD(self, connection, writing) == Py_False
        && FIELD(self, connection, close_after_reply) == Py_False && FIELD(client, client, replica) == Py_None;
    if (!is_plain) {
        return call_taking(self, name__sent, PyLong_FromSsize_t(sent));
    }
    Round *round = round_of(self);
    if (round != NULL) {
        round->output_bytes += sent;
    } else if (native_add(&FIELD(stats, stats, net_output_bytes), sent) < 0) {
        return NULL;
    }
    if (PyByteArray_Resize(out, 0) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *connection_flush(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    return native_flush(self);
}
