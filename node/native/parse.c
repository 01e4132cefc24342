/* The request parser's plain case: whole commands of bulk strings, or words in a line, from a command boundary on.

   It takes what the strict parser (node/parser.py) would take, and less: where a command is incomplete, or anything
   is not in its canonical form, it stops before that command: the strict parser goes on there, says what is wrong. */

#include "native.h"
#include <limits.h>
#include <string.h>

/* The strict parser reads counts of more digits, without a list of that length made in advance. */
#define COUNT_DIGITS_MAX 4
#define LENGTH_DIGITS_MAX 10
#define BULK_MIN_BYTES 6 /* `$0\r\n\r\n` */

/* An argument that is the same as the one before it at its place is that object: names and keys of pipelines. */
#define SHARED_MAX_BYTES 64

/* A canonical decimal and the line's end, e.g. `12\r\n`; the number, with `*at` behind it, or -1. */
static inline Py_ssize_t header(const char **at, const char *end, int digits_max) {
    const char *p = *at;
    Py_ssize_t number = 0;
    int digits = 0;
    while (p < end && *p >= '0' && *p <= '9') {
        if (++digits > digits_max) {
            return -1;
        }
        number = number * 10 + (*p++ - '0');
    }
    if (digits == 0 || (digits > 1 && **at == '0') || end - p < 2 || p[0] != '\r' || p[1] != '\n') {
        return -1;
    }
    *at = p + 2;
    return number;
}

static inline PyObject *argument(const char *data, Py_ssize_t size, PyObject *previous, Py_ssize_t place) {
    if (previous != NULL && size <= SHARED_MAX_BYTES && place < PyList_GET_SIZE(previous)) {
        PyObject *same = PyList_GET_ITEM(previous, place);
        if (PyBytes_GET_SIZE(same) == size && memcmp(PyBytes_AS_STRING(same), data, (size_t)size) == 0) {
            Py_INCREF(same);
            return same;
        }
    }
    return PyBytes_FromStringAndSize(data, size);
}

/* One command at `*at`: its arguments; or NULL where it is not for us, or with an exception. */
static PyObject *command(const char **at, const char *end, Py_ssize_t bulk_max, PyObject *previous) {
    const char *p = *at;
    if (*p++ != '*') {
        return NULL;
    }
    Py_ssize_t count = header(&p, end, COUNT_DIGITS_MAX);
    if (count <= 0 || count * BULK_MIN_BYTES > end - p) {
        return NULL;
    }
    PyObject *args = PyList_New(count);
    if (args == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t size = p < end && *p++ == '$' ? header(&p, end, LENGTH_DIGITS_MAX) : -1;
        if (size < 0 || size > bulk_max || size + 2 > end - p) {
            Py_DECREF(args);
            return NULL;
        }
        PyObject *value = argument(p, size, previous, i);
        if (value == NULL) {
            Py_DECREF(args);
            return NULL;
        }
        PyList_SET_ITEM(args, i, value);
        p += size + 2;
    }
    *at = p;
    return args;
}

Py_ssize_t native_parse_beginning(const char *data, Py_ssize_t size, Py_ssize_t bulk_max, Beginning *found) {
    const char *p = data;
    const char *end = data + size;
    if (size < 1 || *p++ != '*' || (found->remaining = header(&p, end, COUNT_DIGITS_MAX)) <= 0) {
        return 0;
    }
    for (; found->remaining > 0; found->remaining--) {
        found->bulk_bytes = p < end && *p++ == '$' ? header(&p, end, LENGTH_DIGITS_MAX) : -1;
        if (found->bulk_bytes < 0 || found->bulk_bytes > bulk_max) {
            return 0;
        }
        if (found->bulk_bytes + 2 > end - p) {
            return p - data;
        }
        PyObject *value = PyBytes_FromStringAndSize(p, found->bulk_bytes);
        if (value == NULL || PyList_Append(found->args, value) < 0) {
            Py_XDECREF(value);
            return -1;
        }
        Py_DECREF(value);
        found->args_bytes += found->bulk_bytes;
        p += found->bulk_bytes + 2;
    }
    return 0;
}

#define INLINE_MAX_BYTES (64 * 1024) /* node/parser.py */

static inline bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One line at `*at`: its words, none for a blank line; or NULL where it is not for us, or with an exception. */
static PyObject *inline_command(const char **at, const char *end) {
    const char *p = *at;
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    if (stop == NULL || stop - p > INLINE_MAX_BYTES || memchr(p, '"', (size_t)(stop - p)) != NULL
        || memchr(p, '\'', (size_t)(stop - p)) != NULL || memchr(p, 0, (size_t)(stop - p)) != NULL) {
        return NULL;
    }
    PyObject *words = PyList_New(0);
    while (words != NULL) {
        while (p < stop && is_space(*p)) {
            p++;
        }
        if (p == stop) {
            *at = stop + 1;
            return words;
        }
        const char *start = p;
        while (p < stop && !is_space(*p)) {
            p++;
        }
        PyObject *word = PyBytes_FromStringAndSize(start, p - start);
        if (word == NULL || PyList_Append(words, word) < 0) {
            Py_CLEAR(words);
        }
        Py_XDECREF(word);
    }
    return NULL;
}

Py_ssize_t native_parse(const char *data, Py_ssize_t size, Py_ssize_t bulk_max, PyObject *commands) {
    const char *at = data;
    const char *end = data + size;
    PyObject *previous = NULL; /* borrowed from `commands` */
    while (at < end) {
        PyObject *args = *at == '*' ? command(&at, end, bulk_max, previous) : inline_command(&at, end);
        if (args == NULL) {
            if (PyErr_Occurred()) {
                return -1;
            }
            break;
        }
        if (PyList_GET_SIZE(args) == 0) {
            Py_DECREF(args);
            continue;
        }
        int failed = PyList_Append(commands, args);
        Py_DECREF(args);
        if (failed < 0) {
            return -1;
        }
        previous = args;
    }
    return at - data;
}

static PyObject *parse(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != 2 || !PyBytes_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "parse(data, bulk_max_bytes)");
        return NULL;
    }
    Py_ssize_t bulk_max = PyLong_AsSsize_t(args[1]);
    if (bulk_max == -1 && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *commands = PyList_New(0);
    if (commands == NULL) {
        return NULL;
    }
    Py_ssize_t end = native_parse(PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0]), bulk_max, commands);
    PyObject *result = end < 0 ? NULL : Py_BuildValue("(On)", commands, end);
    Py_DECREF(commands);
    return result;
}

#define INT64_MAX_DIGITS 19

/* A canonical 64-bit decimal (Redis: string2ll): no sign but `-`, no leading zero, no `-0`. */
static bool int64_of(const char *text, Py_ssize_t size, long long *number) {
    bool is_negative = size > 1 && *text == '-';
    text += is_negative;
    size -= is_negative;
    if (size < 1 || size > INT64_MAX_DIGITS || (*text == '0' && (size > 1 || is_negative))) {
        return false;
    }
    unsigned long long value = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned long long)(text[i] - '0');
    }
    if (value > (unsigned long long)LLONG_MAX + is_negative) {
        return false;
    }
    *number = is_negative ? (long long)(0 - value) : (long long)value;
    return true;
}

static PyObject *int64(PyObject *module, PyObject *text) {
    long long number;
    bool is_number = PyBytes_CheckExact(text)
        ? int64_of(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), &number)
        : PyByteArray_CheckExact(text)
            && int64_of(PyByteArray_AS_STRING(text), PyByteArray_GET_SIZE(text), &number);
    if (!is_number) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLongLong(number);
}

#define EXACT_DIGITS_MAX 15 /* a double holds any integer of so many digits */

static PyObject *plain_float(PyObject *module, PyObject *text) {
    if (!PyBytes_CheckExact(text) || PyBytes_GET_SIZE(text) == 0 || PyBytes_GET_SIZE(text) > EXACT_DIGITS_MAX) {
        Py_RETURN_NONE;
    }
    long long number = 0;
    for (const char *p = PyBytes_AS_STRING(text), *end = p + PyBytes_GET_SIZE(text); p < end; p++) {
        if (*p < '0' || *p > '9') {
            Py_RETURN_NONE;
        }
        number = number * 10 + (*p - '0');
    }
    return PyFloat_FromDouble((double)number);
}

PyMethodDef native_parse_functions[] = {
    {"int64", int64, METH_O, "int64(text) -> the canonical 64-bit integer that `text` is, or None."},
    {"plain_float", plain_float, METH_O, "plain_float(text) -> the number that up to 15 digits are, or None."},
    {"parse", (PyCFunction)(void (*)(void))parse, METH_FASTCALL,
     "parse(data, bulk_max_bytes) -> (the commands that are whole from the start on, where the last one ends)."},
    {NULL},
};
