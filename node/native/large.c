/* A large argument that has not arrived as a whole (Redis: PROTO_MBULK_BIG_ARG): it is received into the bytes object that
   the command's function gets, and is copied nowhere.

   The state is the strict parser's (node/parser.py), but for `_large`, which holds what would be in its buffer: from
   there the strict parser goes on whenever it is called. What is held is bounded by LARGE_MAX_BYTES and one chunk, less
   than the least client-query-buffer-limit. */

#include "native.h"
#include <string.h>
#include <sys/uio.h>

#define LARGE_MIN_BYTES (8 * 1024)
#define LARGE_MAX_BYTES (512 * 1024)
#define LINE_END_BYTES 2
#define READ_LARGE_BYTES (256 * 1024) /* node/connection.py: READ_CHUNK_LARGE_BYTES */

static int store_number(PyObject **slot, Py_ssize_t value) {
    PyObject *number = PyLong_FromSsize_t(value);
    if (number == NULL) {
        return -1;
    }
    store(slot, number);
    return 0;
}

/* The bytes object is made with room for the line's end, which it loses in the end. */
static int keep(PyObject *parser, Beginning *found, const char *data, Py_ssize_t size) {
    PyObject *large = PyBytes_FromStringAndSize(NULL, found->bulk_bytes + LINE_END_BYTES);
    if (large == NULL) {
        return -1;
    }
    memcpy(PyBytes_AS_STRING(large), data, (size_t)size);
    if (store_number(&FIELD(parser, parser, _large_bytes), size) < 0
        || store_number(&FIELD(parser, parser, _remaining), found->remaining) < 0
        || store_number(&FIELD(parser, parser, _bulk_bytes), found->bulk_bytes) < 0
        || store_number(&FIELD(parser, parser, _args_bytes), found->args_bytes) < 0
        || store_number(&FIELD(parser, parser, pending_bytes), found->args_bytes + size) < 0) {
        Py_DECREF(large);
        return -1;
    }
    store(&FIELD(parser, parser, _args), Py_NewRef(found->args));
    store(&FIELD(parser, parser, _large), large);
    return 1;
}

int native_begin_large(PyObject *parser, const char *data, Py_ssize_t size, Py_ssize_t bulk_max) {
    Beginning found = {.args = PyList_New(0)};
    if (found.args == NULL) {
        return -1;
    }
    Py_ssize_t at = native_parse_beginning(data, size, bulk_max, &found);
    int result = at <= 0 ? (int)at : 0;
    if (at > 0 && found.bulk_bytes >= LARGE_MIN_BYTES && found.bulk_bytes <= LARGE_MAX_BYTES) {
        result = keep(parser, &found, data + at, size - at);
    }
    Py_DECREF(found.args);
    return result;
}

bool native_has_large(PyObject *parser) {
    PyObject *large = FIELD(parser, parser, _large);
    return large != NULL && PyBytes_CheckExact(large) && Py_REFCNT(large) == 1;
}

/* The argument is whole: the command, if that was its last one; NULL with or without an exception if not. */
static PyObject *finish(PyObject *parser) {
    PyObject *large = FIELD(parser, parser, _large);
    FIELD(parser, parser, _large) = Py_NewRef(Py_None);
    Py_ssize_t size = PyBytes_GET_SIZE(large) - LINE_END_BYTES;
    if (_PyBytes_Resize(&large, size) < 0) {
        return NULL;
    }
    PyObject *args = FIELD(parser, parser, _args);
    int failed = PyList_Append(args, large);
    Py_DECREF(large);
    if (failed < 0 || native_add(&FIELD(parser, parser, _remaining), -1) < 0
        || store_number(&FIELD(parser, parser, _bulk_bytes), -1) < 0
        || native_add(&FIELD(parser, parser, _args_bytes), size) < 0) {
        return NULL;
    }
    if (!is_zero(FIELD(parser, parser, _remaining))) {
        store(&FIELD(parser, parser, pending_bytes), Py_NewRef(FIELD(parser, parser, _args_bytes)));
        return NULL;
    }
    PyObject *next = PyList_New(0);
    if (next == NULL || store_number(&FIELD(parser, parser, _args_bytes), 0) < 0
        || store_number(&FIELD(parser, parser, pending_bytes), 0) < 0) {
        Py_XDECREF(next);
        return NULL;
    }
    FIELD(parser, parser, _args) = next; /* `args` is ours now */
    return args;
}

int native_receive_large(PyObject *parser, int fd, char *chunk, Py_ssize_t chunk_bytes, Received *received) {
    PyObject *large = FIELD(parser, parser, _large);
    Py_ssize_t filled = PyLong_AsSsize_t(FIELD(parser, parser, _large_bytes));
    if (filled < 0) {
        return -1;
    }
    Py_ssize_t missing = PyBytes_GET_SIZE(large) - filled;
    Py_ssize_t wanted = missing < READ_LARGE_BYTES ? missing : READ_LARGE_BYTES;
    struct iovec into[] = {
        {PyBytes_AS_STRING(large) + filled, (size_t)wanted},
        {chunk, (size_t)chunk_bytes},
    };
    received->command = NULL;
    received->behind = 0;
    received->size = readv(fd, into, wanted == missing ? 2 : 1);
    if (received->size <= 0) {
        return 0;
    }
    if (received->size < missing) {
        return store_number(&FIELD(parser, parser, _large_bytes), filled + received->size) < 0
            ? -1 : native_add(&FIELD(parser, parser, pending_bytes), received->size);
    }
    received->behind = received->size - missing;
    received->command = finish(parser);
    return PyErr_Occurred() ? -1 : 0;
}
