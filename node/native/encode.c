/* Replies, and the journal's entries: the constructors that formatting in Python makes dear (node/reply.py,
   client/resp.py). */

#include "native.h"
#include <math.h>
#include <string.h>

#define NUMBER_MAX_BYTES 24 /* a marker, a 64-bit integer with its sign, and \r\n */

/* Write `:-12\r\n` or `$5\r\n`; how many bytes that were. */
static inline Py_ssize_t put_number(char *at, char mark, long long number) {
    char digits[NUMBER_MAX_BYTES];
    char *p = digits + sizeof digits;
    unsigned long long rest = number < 0 ? 0ULL - (unsigned long long)number : (unsigned long long)number;
    char *start = at;
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    *at++ = mark;
    if (number < 0) {
        *at++ = '-';
    }
    size_t count = (size_t)(digits + sizeof digits - p);
    memcpy(at, p, count);
    at += count;
    *at++ = '\r';
    *at++ = '\n';
    return at - start;
}

/* The content of bytes or a bytearray; NULL with TypeError for anything else. */
static inline const char *content(PyObject *value, Py_ssize_t *size) {
    if (PyBytes_CheckExact(value)) {
        *size = PyBytes_GET_SIZE(value);
        return PyBytes_AS_STRING(value);
    }
    if (PyByteArray_CheckExact(value)) {
        *size = PyByteArray_GET_SIZE(value);
        return PyByteArray_AS_STRING(value);
    }
    PyErr_Format(PyExc_TypeError, "bytes are needed, not %s", Py_TYPE(value)->tp_name);
    return NULL;
}

static PyObject *integer(PyObject *module, PyObject *number) {
    long long value = PyLong_AsLongLong(number);
    if (value == -1 && PyErr_Occurred()) {
        return NULL;
    }
    char text[NUMBER_MAX_BYTES];
    return PyBytes_FromStringAndSize(text, put_number(text, ':', value));
}

static PyObject *bulk(PyObject *module, PyObject *value) {
    Py_ssize_t size;
    const char *data = content(value, &size);
    if (data == NULL) {
        return NULL;
    }
    char head[NUMBER_MAX_BYTES];
    Py_ssize_t head_size = put_number(head, '$', size);
    PyObject *reply = PyBytes_FromStringAndSize(NULL, head_size + size + 2);
    if (reply == NULL) {
        return NULL;
    }
    char *at = PyBytes_AS_STRING(reply);
    memcpy(at, head, (size_t)head_size);
    memcpy(at + head_size, data, (size_t)size);
    memcpy(at + head_size + size, "\r\n", 2);
    return reply;
}

static inline int decimal_digits(Py_ssize_t number) {
    int digits = 1;
    while (number >= 10) {
        number /= 10;
        digits++;
    }
    return digits;
}

/* How long an array of these bulk strings is; -1 with an exception. */
static Py_ssize_t array_size(PyObject *const *item, Py_ssize_t count) {
    Py_ssize_t total = 1 + decimal_digits(count) + 2;
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t size;
        if (content(item[i], &size) == NULL) {
            return -1;
        }
        if (size > PY_SSIZE_T_MAX - NUMBER_MAX_BYTES - 2 - total) {
            PyErr_NoMemory();
            return -1;
        }
        total += 1 + decimal_digits(size) + 2 + size + 2;
    }
    return total;
}

static void put_array(char *at, PyObject *const *item, Py_ssize_t count) {
    at += put_number(at, '*', count);
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t size = 0;
        const char *data = content(item[i], &size);
        at += put_number(at, '$', size);
        memcpy(at, data, (size_t)size);
        at += size;
        *at++ = '\r';
        *at++ = '\n';
    }
}

static PyObject *bulk_array(PyObject *module, PyObject *values) {
    PyObject *items = PySequence_Fast(values, "a sequence of bytes is needed");
    if (items == NULL) {
        return NULL;
    }
    PyObject **item = PySequence_Fast_ITEMS(items);
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    Py_ssize_t size = array_size(item, count);
    PyObject *reply = size < 0 ? NULL : PyBytes_FromStringAndSize(NULL, size);
    if (reply != NULL) {
        put_array(PyBytes_AS_STRING(reply), item, count);
    }
    Py_DECREF(items);
    return reply;
}

Py_ssize_t native_append_command(PyObject *to, PyObject *args, Py_ssize_t limit) {
    PyObject **item = PySequence_Fast_ITEMS(args);
    Py_ssize_t count = PyList_GET_SIZE(args);
    Py_ssize_t size = array_size(item, count);
    Py_ssize_t before = PyByteArray_GET_SIZE(to);
    if (size < 0) {
        return -1;
    }
    if (size >= limit - before) {
        return 0;
    }
    if (PyByteArray_Resize(to, before + size) < 0) {
        return -1;
    }
    put_array(PyByteArray_AS_STRING(to) + before, item, count);
    return size;
}

#define INTEGRAL_DOUBLE_MAX 4611686018427387904.0 /* node/reply.py */

/* Write an integral double's digits; how many, 0 for one that has a fraction or is too large, -1 with an exception. */
static Py_ssize_t put_integral(char *at, PyObject *number) {
    double value = PyFloat_AsDouble(number);
    if (value == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(value >= -INTEGRAL_DOUBLE_MAX && value <= INTEGRAL_DOUBLE_MAX) || value != (double)(long long)value) {
        return 0;
    }
    char text[NUMBER_MAX_BYTES];
    Py_ssize_t size = put_number(text, value == 0 && signbit(value) ? '-' : ':', (long long)value) - 2;
    Py_ssize_t skipped = text[0] == ':';
    memcpy(at, text + skipped, (size_t)(size - skipped));
    return size - skipped;
}

static PyObject *format_integral(PyObject *module, PyObject *number) {
    char digits[NUMBER_MAX_BYTES];
    Py_ssize_t size = put_integral(digits, number);
    if (size <= 0) {
        return size < 0 ? NULL : Py_NewRef(Py_None);
    }
    return PyBytes_FromStringAndSize(digits, size);
}

static PyObject *scored_integral(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "scored_integral(member, score)");
        return NULL;
    }
    Py_ssize_t member_size;
    const char *member = content(args[0], &member_size);
    char digits[NUMBER_MAX_BYTES], head[NUMBER_MAX_BYTES], tail[2 * NUMBER_MAX_BYTES];
    Py_ssize_t size = member == NULL ? -1 : put_integral(digits, args[1]);
    if (size <= 0) {
        return size < 0 ? NULL : Py_NewRef(Py_None);
    }
    Py_ssize_t head_size = put_number(head, '$', member_size);
    Py_ssize_t tail_size = put_number(tail, '$', size);
    memcpy(tail + tail_size, digits, (size_t)size);
    memcpy(tail + tail_size + size, "\r\n", 2);
    tail_size += size + 2;
    PyObject *reply = PyBytes_FromStringAndSize(NULL, 4 + head_size + member_size + 2 + tail_size);
    if (reply == NULL) {
        return NULL;
    }
    char *at = PyBytes_AS_STRING(reply);
    memcpy(at, "*2\r\n", 4);
    memcpy(at += 4, head, (size_t)head_size);
    memcpy(at += head_size, member, (size_t)member_size);
    memcpy(at += member_size, "\r\n", 2);
    memcpy(at + 2, tail, (size_t)tail_size);
    return reply;
}

PyMethodDef native_encode_functions[] = {
    {"scored_integral", (PyCFunction)(void (*)(void))scored_integral, METH_FASTCALL,
     "scored_integral(member, 2.0) -> an array of both as bulks; None where format_integral is."},
    {"format_integral", format_integral, METH_O,
     "format_integral(2.0) -> b\"2\"; None for a number with a fraction, or out of the range of integers."},
    {"integer", integer, METH_O, "integer(7) -> b\":7\\r\\n\"."},
    {"bulk", bulk, METH_O, "bulk(b\"ab\") -> b\"$2\\r\\nab\\r\\n\"."},
    {"bulk_array", bulk_array, METH_O, "bulk_array([b\"a\", b\"b\"]) -> an array of bulk strings; no nulls in it."},
    {NULL},
};
