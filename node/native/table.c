/* Table's work on single entries (node/values/table.py). Plain: no partition has to be split or merged for it. */

#include "native.h"

/* node/values/table.py */
#define PARTITION_MAX_ENTRIES 128
#define MERGE_BELOW_ENTRIES 16
#define SAMPLE_BOUND_FACTOR 4
#define HASH_BITS 32
#define DEPTH_MAX 24

static PyObject *table_contains(PyObject *self, PyObject *key);
static PyObject *table_delitem(PyObject *self, PyObject *key);
static PyObject *table_get(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *table_len(PyObject *self, PyObject *ignored);
static PyObject *table_random_key(PyObject *self, PyObject *rng);
static PyObject *table_setitem(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *table_swap(PyObject *self, PyObject *const *args, Py_ssize_t count);

enum { CONTAINS, DELITEM, GET, LEN, RANDOM_KEY, SETITEM, SWAP };
#define METHOD(name, function, kind) \
    {{name, (PyCFunction)(void (*)(void))(function), kind, "Stands in for the Python method."}, &table_layout.type}
StandIn native_table_methods[] = {
    [CONTAINS] = METHOD("__contains__", table_contains, METH_O),
    [DELITEM] = METHOD("__delitem__", table_delitem, METH_O),
    [GET] = METHOD("get", table_get, METH_FASTCALL),
    [LEN] = METHOD("__len__", table_len, METH_NOARGS),
    [RANDOM_KEY] = METHOD("random_key", table_random_key, METH_O),
    [SETITEM] = METHOD("__setitem__", table_setitem, METH_FASTCALL),
    [SWAP] = METHOD("swap", table_swap, METH_FASTCALL),
    {{NULL}},
};

static PyObject *original(int method, PyObject *self, PyObject *first, PyObject *second) {
    PyObject *args[3] = {self, first, second};
    return native_original(&native_table_methods[method], args, first == NULL ? 1 : second == NULL ? 2 : 3);
}

PyObject *native_partition(PyObject *self, PyObject *key) {
    PyObject *partitions = FIELD(self, table, _partitions);
    PyObject *mask = FIELD(self, table, _mask);
    if (!PyBytes_CheckExact(key) || partitions == NULL || !PyList_CheckExact(partitions) || mask == NULL) {
        return NULL;
    }
    Py_hash_t hash = PyObject_Hash(key);
    Py_ssize_t bits = PyLong_AsSsize_t(mask);
    if (hash == -1 || bits < 0) {
        PyErr_Clear();
        return NULL;
    }
    Py_ssize_t index = hash & bits;
    if (index >= PyList_GET_SIZE(partitions)) {
        return NULL;
    }
    PyObject *partition = PyList_GET_ITEM(partitions, index);
    return PyDict_CheckExact(partition) ? partition : NULL;
}

static PyObject *table_contains(PyObject *self, PyObject *key) {
    PyObject *partition = native_partition(self, key);
    if (partition == NULL) {
        return original(CONTAINS, self, key, NULL);
    }
    int found = PyDict_Contains(partition, key);
    return found < 0 ? NULL : PyBool_FromLong(found);
}

static PyObject *table_len(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *size = FIELD(self, table, _size);
    return size == NULL ? original(LEN, self, NULL, NULL) : Py_NewRef(size);
}

static PyObject *table_get(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count < 1 || count > 2) {
        PyErr_SetString(PyExc_TypeError, "get(key, default)");
        return NULL;
    }
    PyObject *missing = count == 2 ? args[1] : Py_None;
    PyObject *partition = native_partition(self, args[0]);
    if (partition == NULL) {
        return original(GET, self, args[0], missing);
    }
    PyObject *value = PyDict_GetItemWithError(partition, args[0]);
    if (value == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(missing);
    }
    return Py_NewRef(value);
}

/* Whether an entry can be stored there without a split: it is there already, or there is room. -1 on an error. */
static int has_room(PyObject *partition, PyObject *key) {
    return PyDict_GET_SIZE(partition) < PARTITION_MAX_ENTRIES ? 1 : PyDict_Contains(partition, key);
}

/* How many entries that added; -1 with an exception. */
static int put(PyObject *self, PyObject *partition, PyObject *key, PyObject *value) {
    Py_ssize_t before = PyDict_GET_SIZE(partition);
    if (PyDict_SetItem(partition, key, value) < 0) {
        return -1;
    }
    int added = PyDict_GET_SIZE(partition) != before;
    return added && native_add(&FIELD(self, table, _size), 1) < 0 ? -1 : added;
}

int native_table_put(PyObject *self, PyObject *key, PyObject *value, bool *plain) {
    PyObject *partition = native_partition(self, key);
    int room = partition == NULL ? 0 : has_room(partition, key);
    *plain = room > 0;
    return room <= 0 ? room : put(self, partition, key, value);
}

static PyObject *table_setitem(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "table[key] = value");
        return NULL;
    }
    bool plain;
    if (native_table_put(self, args[0], args[1], &plain) < 0) {
        return NULL;
    }
    if (!plain) {
        return original(SETITEM, self, args[0], args[1]);
    }
    Py_RETURN_NONE;
}

static PyObject *table_swap(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "swap(key, value)");
        return NULL;
    }
    PyObject *partition = native_partition(self, args[0]);
    int plain = partition == NULL ? 0 : has_room(partition, args[0]);
    if (plain <= 0) {
        return plain < 0 ? NULL : original(SWAP, self, args[0], args[1]);
    }
    PyObject *before = PyDict_GetItemWithError(partition, args[0]);
    if (before == NULL && PyErr_Occurred()) {
        return NULL;
    }
    before = Py_NewRef(before == NULL ? Py_None : before);
    if (put(self, partition, args[0], args[1]) < 0) {
        Py_DECREF(before);
        return NULL;
    }
    return before;
}

static PyObject *table_delitem(PyObject *self, PyObject *key) {
    PyObject *partition = native_partition(self, key);
    if (partition == NULL || PyDict_GET_SIZE(partition) <= MERGE_BELOW_ENTRIES) {
        return original(DELITEM, self, key, NULL);
    }
    if (PyDict_DelItem(partition, key) < 0 || native_add(&FIELD(self, table, _size), -1) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* rng.random(); -1 with an exception. */
static double uniform(PyObject *rng) {
    PyObject *number = native_call(rng, name_random, NULL, NULL);
    double value = number == NULL ? -1.0 : PyFloat_AsDouble(number);
    Py_XDECREF(number);
    return value;
}

/* Table.random_key's rejection sampling, with the same draws: the nth key of an accepted partition, borrowed; NULL with
   an exception, or with `*plain` false. */
static PyObject *draw(PyObject *self, PyObject *rng, PyObject *bits, bool *plain) {
    PyObject *partitions = FIELD(self, table, _partitions);
    PyObject *depths = FIELD(self, table, _depths);
    double bound = SAMPLE_BOUND_FACTOR * PyLong_AsDouble(FIELD(self, table, _size));
    Py_ssize_t mask = PyLong_AsSsize_t(FIELD(self, table, _mask));
    *plain = true;
    while (!PyErr_Occurred()) {
        PyObject *drawn = native_call(rng, name_getrandbits, bits, NULL);
        Py_ssize_t index = drawn == NULL ? -1 : PyLong_AsSsize_t(drawn) & mask;
        Py_XDECREF(drawn);
        double chance = PyErr_Occurred() ? -1.0 : uniform(rng);
        if (PyErr_Occurred()) {
            return NULL;
        }
        if (index >= PyList_GET_SIZE(partitions) || index >= PyList_GET_SIZE(depths)) {
            *plain = false;
            return NULL;
        }
        PyObject *partition = PyList_GET_ITEM(partitions, index);
        long depth = PyLong_AsLong(PyList_GET_ITEM(depths, index));
        if (!PyDict_CheckExact(partition) || depth < 0 || depth > DEPTH_MAX) {
            *plain = false;
            return NULL;
        }
        Py_ssize_t size = PyDict_GET_SIZE(partition);
        if (chance * bound >= (double)(size << depth)) {
            continue;
        }
        double place = uniform(rng);
        if (PyErr_Occurred()) {
            return NULL;
        }
        Py_ssize_t left = (Py_ssize_t)(place * (double)size);
        Py_ssize_t at = 0;
        PyObject *key;
        while (PyDict_Next(partition, &at, &key, NULL)) {
            if (left-- == 0) {
                return key;
            }
        }
        PyErr_SetString(PyExc_RuntimeError, "a partition changed while it was drawn from");
    }
    return NULL;
}

static PyObject *table_random_key(PyObject *self, PyObject *rng) {
    PyObject *partitions = FIELD(self, table, _partitions);
    PyObject *depths = FIELD(self, table, _depths);
    PyObject *size = FIELD(self, table, _size);
    if (partitions == NULL || !PyList_CheckExact(partitions) || depths == NULL || !PyList_CheckExact(depths)
        || size == NULL || is_zero(size) || FIELD(self, table, _mask) == NULL) {
        return original(RANDOM_KEY, self, rng, NULL);
    }
    PyObject *bits = PyLong_FromLong(HASH_BITS);
    if (bits == NULL) {
        return NULL;
    }
    bool plain;
    PyObject *key = draw(self, rng, bits, &plain);
    Py_DECREF(bits);
    if (!plain) {
        return original(RANDOM_KEY, self, rng, NULL);
    }
    return Py_XNewRef(key);
}
