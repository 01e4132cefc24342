/* Hash.set, Set.add and Set.pop (node/values/). Plain: the encoding stays as it is, and so does the kind of mapping. */

#include "native.h"

static PyObject *hash_set(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *set_add(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *set_pop(PyObject *self, PyObject *rng);

enum { HASH_SET, SET_ADD, SET_POP };
#define METHOD(name, function, kind, layout) \
    {{name, (PyCFunction)(void (*)(void))(function), kind, "Stands in for the Python method."}, &layout.type}
StandIn native_collection_methods[] = {
    [HASH_SET] = METHOD("set", hash_set, METH_FASTCALL, hash_layout),
    [SET_ADD] = METHOD("add", set_add, METH_FASTCALL, set_layout),
    [SET_POP] = METHOD("pop", set_pop, METH_O, set_layout),
    {{NULL}},
};

static PyObject *original(int method, PyObject *self, PyObject *const *args, Py_ssize_t count) {
    PyObject *stack[5] = {self};
    for (Py_ssize_t i = 0; i < count && i < 4; i++) {
        stack[i + 1] = args[i];
    }
    return native_original(&native_collection_methods[method], stack, count + 1);
}

Py_ssize_t native_collection_size(PyObject *collection) {
    if (IS(collection, sorted_set)) {
        return native_mapping_size(FIELD(collection, sorted_set, scores));
    }
    if (IS(collection, set)) {
        return native_mapping_size(FIELD(collection, set, entries));
    }
    return IS(collection, hash) ? native_mapping_size(FIELD(collection, hash, fields)) : -1;
}

/* Whether one entry more leaves the mapping what it is. */
static bool stays(PyObject *mapping) {
    return !PyDict_CheckExact(mapping) || PyDict_GET_SIZE(mapping) < DICT_MAX_ENTRIES;
}

static bool at_most(PyObject *limit, Py_ssize_t value) {
    int overflow;
    long long most = PyLong_CheckExact(limit) ? PyLong_AsLongLongAndOverflow(limit, &overflow) : -1;
    return value <= most;
}

/* Whether a hash of that many fields has the same encoding with one more. */
static bool keeps_encoding(PyObject *self, Py_ssize_t size, PyObject *const *args) {
    if (has_encoding(FIELD(self, hash, encoding), "hashtable")) {
        return true;
    }
    return at_most(args[2], size + 1) && at_most(args[3], PyBytes_GET_SIZE(args[0]))
        && at_most(args[3], PyBytes_GET_SIZE(args[1]));
}

static PyObject *hash_set(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "set(field, value, entries_max, value_max_bytes)");
        return NULL;
    }
    PyObject *fields = FIELD(self, hash, fields);
    PyObject *partition = native_partition(fields, args[0]);
    if (partition == NULL || !stays(fields) || !PyBytes_CheckExact(args[1])
        || !keeps_encoding(self, native_mapping_size(fields), args)) {
        return original(HASH_SET, self, args, count);
    }
    Py_ssize_t before = PyDict_GET_SIZE(partition);
    if (PyDict_SetItem(partition, args[0], args[1]) < 0) {
        return NULL;
    }
    bool is_new = PyDict_GET_SIZE(partition) != before;
    if (is_new && native_grew(fields, args[0]) < 0) {
        return NULL;
    }
    return PyBool_FromLong(is_new);
}

static PyObject *set_add(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "add(member, limits)");
        return NULL;
    }
    PyObject *entries = FIELD(self, set, entries);
    PyObject *partition = native_partition(entries, args[0]);
    if (partition == NULL || !stays(entries) || !has_encoding(FIELD(self, set, encoding), "hashtable")) {
        return original(SET_ADD, self, args, count);
    }
    Py_ssize_t before = PyDict_GET_SIZE(partition);
    if (PyDict_SetDefault(partition, args[0], Py_None) == NULL) {
        return NULL;
    }
    bool is_new = PyDict_GET_SIZE(partition) != before;
    if (is_new && native_grew(entries, args[0]) < 0) {
        return NULL;
    }
    return PyBool_FromLong(is_new);
}

static PyObject *set_pop(PyObject *self, PyObject *rng) {
    PyObject *entries = FIELD(self, set, entries);
    bool plain;
    PyObject *member = native_random_key(entries, rng, &plain);
    if (!plain) {
        return original(SET_POP, self, &rng, 1);
    }
    if (member == NULL) {
        return NULL;
    }
    Py_INCREF(member);
    if (native_delete(entries, member) < 0) {
        Py_DECREF(member);
        return NULL;
    }
    return member;
}
