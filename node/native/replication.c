/* The stream of writes, from a primary's backlog to its replicas' sockets (PrimarySide.flush and ReplicaLink.push,
   node/replication), and from a replica's parser to its commands (Stream._run_ordinary).

   Plain: a replica is behind by a part of the backlog's last block, nothing waits in its output, and its socket takes
   all of it, which is not copied for that. Plain commands are those that any client could send, outside of MULTI. */

#include "native.h"
#include <sys/socket.h>

#define STREAM_OUTPUT_HIGH_BYTES (1 << 18) /* node/replication/replica_link.py */

static PyObject *side_flush(PyObject *self, PyObject *ignored);
static PyObject *link_push(PyObject *self, PyObject *backlog);
static PyObject *stream_run(PyObject *self, PyObject *const *args, Py_ssize_t count);

enum { FLUSH, PUSH, RUN };
StandIn native_replication_methods[] = {
    [FLUSH] = {{"flush", side_flush, METH_NOARGS, "Stands in for the Python method."}, &primary_side_layout.type},
    [PUSH] = {{"push", link_push, METH_O, "Stands in for the Python method."}, &replica_link_layout.type},
    [RUN] = {{"_run_ordinary", (PyCFunction)(void (*)(void))stream_run, METH_FASTCALL,
              "Stands in for the Python method."}, &stream_layout.type},
    {{NULL}},
};

/* -- the primary */

/* The connection of a replica that is sent the stream and has taken all that it was sent, borrowed; NULL if not so. */
static PyObject *drained_connection(PyObject *self) {
    PyObject *client = FIELD(self, replica_link, client);
    PyObject *connection = IS(client, client) ? FIELD(client, client, connection) : NULL;
    PyObject *out = IS(connection, connection) ? FIELD(client, client, out) : NULL;
    return out != NULL && PyByteArray_CheckExact(out) && PyByteArray_GET_SIZE(out) == 0
            && FIELD(self, replica_link, streaming) == Py_True
            && FIELD(connection, connection, closed) == Py_False
            && IS(FIELD(connection, connection, stats), stats)
        ? connection : NULL;
}

/* Where in the backlog's last block an offset is; -1 if it is not in there. Never an exception. */
static Py_ssize_t place_in_tail(PyObject *backlog, PyObject *offset) {
    PyObject *starts = FIELD(backlog, backlog, _starts);
    PyObject *tail = FIELD(backlog, backlog, _tail);
    if (offset == NULL || !PyLong_CheckExact(offset) || starts == NULL || !PyList_CheckExact(starts)
        || PyList_GET_SIZE(starts) == 0 || tail == NULL || !PyByteArray_CheckExact(tail)) {
        return -1;
    }
    PyObject *last = PyList_GET_ITEM(starts, PyList_GET_SIZE(starts) - 1);
    long long place = PyLong_CheckExact(last) ? PyLong_AsLongLong(offset) - PyLong_AsLongLong(last) : -1;
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return -1;
    }
    return place >= 0 && place <= PyByteArray_GET_SIZE(tail) ? (Py_ssize_t)place : -1;
}

/* ReplicaLink.push where it is plain: 1, or 0 if the Python method has something left to do; -1 with an exception. */
static int push(PyObject *self, PyObject *backlog) {
    PyObject *connection = drained_connection(self);
    Py_ssize_t place = connection == NULL ? -1 : place_in_tail(backlog, FIELD(self, replica_link, next_offset));
    if (place < 0) {
        return 0;
    }
    PyObject *tail = FIELD(backlog, backlog, _tail);
    Py_ssize_t size = PyByteArray_GET_SIZE(tail) - place;
    if (size == 0) {
        return 1;
    }
    int fd = native_file_descriptor(connection);
    if (fd < 0 || size >= STREAM_OUTPUT_HIGH_BYTES) {
        return 0;
    }
    Py_ssize_t sent = send(fd, PyByteArray_AS_STRING(tail) + place, (size_t)size, MSG_NOSIGNAL);
    if (sent <= 0) {
        return 0; /* the Python method meets the same error */
    }
    PyObject *stats = FIELD(connection, connection, stats);
    if (native_add(&FIELD(self, replica_link, next_offset), sent) < 0
        || native_add(&FIELD(stats, stats, net_output_bytes), sent) < 0) {
        return -1;
    }
    return sent == size;
}

static PyObject *link_push(PyObject *self, PyObject *backlog) {
    int done = IS(backlog, backlog) ? push(self, backlog) : 0;
    if (done == 0) {
        PyObject *stack[] = {self, backlog};
        return native_original(&native_replication_methods[PUSH], stack, 2);
    }
    return done < 0 ? NULL : Py_NewRef(Py_None);
}

/* Whether every replica has been sent all there is; -1 with an exception. Nothing of Python runs meanwhile. */
static int push_to_all(PyObject *links, PyObject *backlog) {
    Py_ssize_t at = 0;
    PyObject *link;
    int all = 1;
    while (all > 0 && PyDict_Next(links, &at, NULL, &link)) {
        all = IS(link, replica_link) ? push(link, backlog) : 0;
    }
    return all;
}

static PyObject *side_flush(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *backlog = FIELD(self, primary_side, backlog);
    PyObject *links = FIELD(self, primary_side, links);
    int all = 0;
    if (IS(backlog, backlog) && FIELD(self, primary_side, _acks_wanted) == Py_False && links != NULL
        && PyDict_CheckExact(links)) {
        store(&FIELD(backlog, backlog, quiet), Py_NewRef(Py_True));
        all = push_to_all(links, backlog);
    }
    if (all == 0) {
        return native_original(&native_replication_methods[FLUSH], &self, 1);
    }
    return all < 0 ? NULL : Py_NewRef(Py_None);
}

/* -- the replica */

/* The command that may be called as it is, borrowed; NULL if there is none. Never an exception. */
static PyObject *ordinary(PyObject *by_name, PyObject *unusual, PyObject *args) {
    if (!PyList_CheckExact(args) || PyList_GET_SIZE(args) == 0) {
        return NULL;
    }
    PyObject *command = PyDict_GetItemWithError(by_name, PyList_GET_ITEM(args, 0));
    if (!IS(command, command) || PySet_Contains(unusual, command) != 0
        || !native_takes(command, PyList_GET_SIZE(args))) {
        PyErr_Clear();
        return NULL;
    }
    return command;
}

/* Stream._run. */
static int apply(PyObject *self, PyObject *command, PyObject *args) {
    PyObject *client = FIELD(self, stream, _client);
    PyObject *function = FIELD(command, command, function);
    if (function == NULL) {
        PyErr_SetString(PyExc_AttributeError, "function");
        return -1;
    }
    if (FIELD(client, client, command) != command) {
        store(&FIELD(client, client, command), Py_NewRef(command));
    }
    PyObject *stack[] = {client, args};
    PyObject *reply = PyObject_Vectorcall(function, stack, 2, NULL);
    if (reply == NULL) {
        reply = native_raised(FIELD(self, stream, _dispatcher), client, command, args);
    }
    if (reply == NULL) {
        return -1;
    }
    int result = native_add(&FIELD(command, command, calls), 1);
    if (FIELD(client, client, propagated) != Py_None) {
        store(&FIELD(client, client, propagated), Py_NewRef(Py_None));
    }
    if (result == 0 && PyBytes_CheckExact(reply) && PyBytes_AS_STRING(reply)[0] == '-') {
        PyObject *name = PyObject_GetAttr(command, name_full_name);
        PyObject *told = name == NULL ? NULL : native_call(self, name__diverged, reply, name);
        result = told == NULL ? -1 : 0;
        Py_XDECREF(told);
        Py_XDECREF(name);
    }
    Py_DECREF(reply);
    return result;
}

static PyObject *stream_run(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Py_ssize_t done = count == 2 ? PyLong_AsSsize_t(args[1]) : -1;
    if (done < 0 || !PyList_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "_run_ordinary(commands, done)");
        return NULL;
    }
    PyObject *client = FIELD(self, stream, _client);
    PyObject *dispatcher = FIELD(self, stream, _dispatcher);
    PyObject *unusual = FIELD(self, stream, _unusual);
    PyObject *by_name = IS(dispatcher, dispatcher) ? FIELD(dispatcher, dispatcher, by_name) : NULL;
    if (!IS(client, client) || by_name == NULL || !PyDict_CheckExact(by_name) || unusual == NULL
        || !PyAnySet_CheckExact(unusual)) {
        PyObject *stack[] = {self, args[0], args[1]};
        return native_original(&native_replication_methods[RUN], stack, 3);
    }
    PyObject *commands = Py_NewRef(args[0]);
    Py_INCREF(by_name);
    int result = 0;
    Py_ssize_t first = done;
    for (; FIELD(self, stream, _open) == Py_None && done < PyList_GET_SIZE(commands); done++) {
        if ((done - first) % PREFETCHED_COMMANDS == 0) {
            native_prefetch(FIELD(client, client, db), commands, done);
        }
        PyObject *words = Py_NewRef(PyList_GET_ITEM(commands, done));
        PyObject *command = ordinary(by_name, unusual, words);
        result = command == NULL ? 1 : apply(self, command, words);
        Py_DECREF(words);
        if (result != 0) {
            break;
        }
    }
    Py_DECREF(by_name);
    Py_DECREF(commands);
    return result < 0 ? NULL : PyLong_FromSsize_t(done);
}
