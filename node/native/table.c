/* Table's work on single entries, and on its partitions (node/values/table.py). Plain: its lists are what they should
   be, and the key is bytes. */

#include "native.h"
#include <stdint.h>

/* node/values/table.py */
#define PARTITION_MAX_ENTRIES 128
#define MERGE_BELOW_ENTRIES 16
#define MERGED_MAX_ENTRIES 64
#define SAMPLE_BOUND_FACTOR 4
#define DEPTH_MAX 24

static PyObject *table_contains(PyObject *self, PyObject *key);
static PyObject *table_delitem(PyObject *self, PyObject *key);
static PyObject *table_get(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *table_len(PyObject *self, PyObject *ignored);
static PyObject *table_pop(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *table_random_key(PyObject *self, PyObject *rng);
static PyObject *table_setitem(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *table_swap(PyObject *self, PyObject *const *args, Py_ssize_t count);

enum { CONTAINS, DELITEM, GET, LEN, POP, RANDOM_KEY, SETITEM, SWAP };
#define METHOD(name, function, kind) \
    {{name, (PyCFunction)(void (*)(void))(function), kind, "Stands in for the Python method."}, &table_layout.type}
StandIn native_table_methods[] = {
    [CONTAINS] = METHOD("__contains__", table_contains, METH_O),
    [DELITEM] = METHOD("__delitem__", table_delitem, METH_O),
    [GET] = METHOD("get", table_get, METH_FASTCALL),
    [LEN] = METHOD("__len__", table_len, METH_NOARGS),
    [POP] = METHOD("pop", table_pop, METH_FASTCALL),
    [RANDOM_KEY] = METHOD("random_key", table_random_key, METH_O),
    [SETITEM] = METHOD("__setitem__", table_setitem, METH_FASTCALL),
    [SWAP] = METHOD("swap", table_swap, METH_FASTCALL),
    {{NULL}},
};

static PyObject *original(int method, PyObject *self, PyObject *first, PyObject *second) {
    PyObject *args[3] = {self, first, second};
    return native_original(&native_table_methods[method], args, first == NULL ? 1 : second == NULL ? 2 : 3);
}

/* A table whose lists are as they should be, opened. */
typedef struct {
    PyObject *self, *partitions, *depths;
    Py_ssize_t mask;
} Opened;

static bool open_table(PyObject *self, Opened *table) {
    PyObject *mask = FIELD(self, table, _mask);
    table->self = self;
    table->partitions = FIELD(self, table, _partitions);
    table->depths = FIELD(self, table, _depths);
    if (mask == NULL || !PyLong_CheckExact(mask) || table->partitions == NULL || !PyList_CheckExact(table->partitions)
        || table->depths == NULL || !PyList_CheckExact(table->depths)) {
        return false;
    }
    table->mask = PyLong_AsSsize_t(mask);
    if (table->mask == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return PyList_GET_SIZE(table->partitions) == table->mask + 1 && PyList_GET_SIZE(table->depths) == table->mask + 1;
}

/* How many bits of the hash select that partition; -1 where the table has no such depth. */
static long depth_of(const Opened *table, Py_ssize_t index) {
    PyObject *depth = PyList_GET_ITEM(table->depths, index);
    long bits = PyLong_CheckExact(depth) ? PyLong_AsLong(depth) : -1;
    return bits >= 0 && bits <= DEPTH_MAX ? bits : -1;
}

/* Where the key's partition is; -1 where that is not plain. */
static Py_ssize_t index_of(const Opened *table, PyObject *key) {
    if (!PyBytes_CheckExact(key)) {
        return -1;
    }
    Py_ssize_t index = PyObject_Hash(key) & table->mask;
    return PyDict_CheckExact(PyList_GET_ITEM(table->partitions, index)) ? index : -1;
}

/* The partition that the key is, or would be, in, borrowed; NULL where that is not plain. */
static PyObject *partition_of(PyObject *self, PyObject *key) {
    Opened table;
    Py_ssize_t index = open_table(self, &table) ? index_of(&table, key) : -1;
    return index < 0 ? NULL : PyList_GET_ITEM(table.partitions, index);
}

PyObject *native_partition(PyObject *mapping, PyObject *key) {
    if (mapping != NULL && PyDict_CheckExact(mapping)) {
        return PyBytes_CheckExact(key) ? mapping : NULL;
    }
    return IS(mapping, table) ? partition_of(mapping, key) : NULL;
}

Py_ssize_t native_mapping_size(PyObject *mapping) {
    if (mapping != NULL && PyDict_CheckExact(mapping)) {
        return PyDict_GET_SIZE(mapping);
    }
    PyObject *size = IS(mapping, table) ? FIELD(mapping, table, _size) : NULL;
    return size != NULL && PyLong_CheckExact(size) ? PyLong_AsSsize_t(size) : -1;
}

/* Put the dict in the place of all partitions whose hashes end in these `depth` bits. */
static int place(const Opened *table, Py_ssize_t first, long depth, PyObject *partition) {
    PyObject *bits = PyLong_FromLong(depth);
    if (bits == NULL) {
        return -1;
    }
    for (Py_ssize_t at = first; at <= table->mask; at += (Py_ssize_t)1 << depth) {
        PyObject *before = PyList_GET_ITEM(table->partitions, at);
        PyList_SET_ITEM(table->partitions, at, Py_NewRef(partition));
        Py_DECREF(before);
        before = PyList_GET_ITEM(table->depths, at);
        PyList_SET_ITEM(table->depths, at, Py_NewRef(bits));
        Py_DECREF(before);
    }
    Py_DECREF(bits);
    return 0;
}

/* Twice as many places, each partition in two of them. */
static int widen(Opened *table) {
    Py_ssize_t size = table->mask + 1;
    if (PyList_SetSlice(table->partitions, size, size, table->partitions) < 0
        || PyList_SetSlice(table->depths, size, size, table->depths) < 0) {
        return -1;
    }
    PyObject *mask = PyLong_FromSsize_t(2 * size - 1);
    if (mask == NULL) {
        return -1;
    }
    store(&FIELD(table->self, table, _mask), mask);
    table->mask = 2 * size - 1;
    return 0;
}

/* Table._split. */
static int split(Opened *table, Py_ssize_t index) {
    long depth = depth_of(table, index);
    if (depth < 0 || depth >= DEPTH_MAX) {
        return 0;
    }
    Py_ssize_t bit = (Py_ssize_t)1 << depth;
    if (bit > table->mask && widen(table) < 0) {
        return -1;
    }
    PyObject *old = PyList_GET_ITEM(table->partitions, index);
    PyObject *half[2] = {PyDict_New(), PyDict_New()};
    int result = half[0] == NULL || half[1] == NULL ? -1 : 0;
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (result == 0 && PyDict_Next(old, &at, &key, &value)) {
        result = PyDict_SetItem(half[(PyObject_Hash(key) & bit) != 0], key, value);
    }
    Py_ssize_t first = index & (bit - 1);
    if (result == 0) {
        result = place(table, first, depth + 1, half[0]) < 0 ? -1 : place(table, first + bit, depth + 1, half[1]);
    }
    Py_XDECREF(half[0]);
    Py_XDECREF(half[1]);
    return result;
}

/* Table._merge. */
static int merge(Opened *table, Py_ssize_t index) {
    long depth = depth_of(table, index);
    if (depth <= 0) {
        return 0;
    }
    Py_ssize_t bit = (Py_ssize_t)1 << (depth - 1);
    Py_ssize_t buddy = index ^ bit;
    PyObject *one = PyList_GET_ITEM(table->partitions, index);
    PyObject *other = PyList_GET_ITEM(table->partitions, buddy);
    if (depth_of(table, buddy) != depth || !PyDict_CheckExact(other)
        || PyDict_GET_SIZE(one) + PyDict_GET_SIZE(other) > MERGED_MAX_ENTRIES) {
        return 0;
    }
    PyObject *merged = PyDict_Copy(one);
    int result = merged == NULL || PyDict_Update(merged, other) < 0 ? -1 : 0;
    if (result == 0) {
        result = place(table, index & (bit - 1), depth - 1, merged);
    }
    Py_XDECREF(merged);
    return result;
}

int native_grew(PyObject *mapping, PyObject *key) {
    Opened table;
    if (!IS(mapping, table)) {
        return 0;
    }
    if (native_add(&FIELD(mapping, table, _size), 1) < 0) {
        return -1;
    }
    Py_ssize_t index = open_table(mapping, &table) ? index_of(&table, key) : -1;
    if (index < 0 || PyDict_GET_SIZE(PyList_GET_ITEM(table.partitions, index)) <= PARTITION_MAX_ENTRIES) {
        return 0;
    }
    return split(&table, index);
}

int native_delete(PyObject *mapping, PyObject *key) {
    Opened table;
    if (!IS(mapping, table)) {
        return PyDict_DelItem(mapping, key);
    }
    Py_ssize_t index = open_table(mapping, &table) ? index_of(&table, key) : -1;
    if (index < 0) {
        return PyObject_DelItem(mapping, key);
    }
    PyObject *partition = PyList_GET_ITEM(table.partitions, index);
    if (PyDict_DelItem(partition, key) < 0 || native_add(&FIELD(mapping, table, _size), -1) < 0) {
        return -1;
    }
    return PyDict_GET_SIZE(partition) < MERGE_BELOW_ENTRIES ? merge(&table, index) : 0;
}

static PyObject *table_contains(PyObject *self, PyObject *key) {
    PyObject *partition = partition_of(self, key);
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
    PyObject *partition = partition_of(self, args[0]);
    if (partition == NULL) {
        return original(GET, self, args[0], missing);
    }
    PyObject *value = PyDict_GetItemWithError(partition, args[0]);
    if (value == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(missing);
    }
    return Py_NewRef(value);
}

/* How many entries that added; -1 with an exception. */
static int put(PyObject *self, PyObject *partition, PyObject *key, PyObject *value) {
    Py_ssize_t before = PyDict_GET_SIZE(partition);
    if (PyDict_SetItem(partition, key, value) < 0) {
        return -1;
    }
    int added = PyDict_GET_SIZE(partition) != before;
    return added && native_grew(self, key) < 0 ? -1 : added;
}

int native_table_put(PyObject *self, PyObject *key, PyObject *value, bool *plain) {
    PyObject *partition = partition_of(self, key);
    *plain = partition != NULL;
    return partition == NULL ? 0 : put(self, partition, key, value);
}

static PyObject *table_setitem(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "table[key] = value");
        return NULL;
    }
    bool plain;
    int added = native_table_put(self, args[0], args[1], &plain);
    if (!plain) {
        return original(SETITEM, self, args[0], args[1]);
    }
    if (added < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *table_swap(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "swap(key, value)");
        return NULL;
    }
    PyObject *partition = partition_of(self, args[0]);
    if (partition == NULL) {
        return original(SWAP, self, args[0], args[1]);
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
    if (partition_of(self, key) == NULL) {
        return original(DELITEM, self, key, NULL);
    }
    if (native_delete(self, key) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *table_pop(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count < 1 || count > 2) {
        PyErr_SetString(PyExc_TypeError, "pop(key, default)");
        return NULL;
    }
    PyObject *missing = count == 2 ? args[1] : Py_None;
    PyObject *partition = partition_of(self, args[0]);
    if (partition == NULL) {
        return original(POP, self, args[0], missing);
    }
    PyObject *value = PyDict_GetItemWithError(partition, args[0]);
    if (value == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(missing);
    }
    Py_INCREF(value);
    if (native_delete(self, args[0]) < 0) {
        Py_DECREF(value);
        return NULL;
    }
    return value;
}

/* SplitMix64: the next of a row of numbers that `state` began. */
static uint64_t next_random(uint64_t *state) {
    uint64_t mixed = *state += 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return mixed ^ (mixed >> 31);
}

/* A number from 0 to below - 1, below < 2**32. */
static uint64_t next_below(uint64_t *state, uint64_t below) {
    return (next_random(state) >> 32) * below >> 32;
}

/* Table.random_key's rejection sampling: a partition with the probability that its size calls for, borrowed; NULL
   where that is not plain. */
static PyObject *draw_partition(const Opened *table, Py_ssize_t size, uint64_t *state) {
    uint64_t bound = SAMPLE_BOUND_FACTOR * (uint64_t)size;
    while (true) {
        uint64_t bits = next_random(state);
        Py_ssize_t index = (Py_ssize_t)(bits & (uint64_t)table->mask);
        PyObject *partition = PyList_GET_ITEM(table->partitions, index);
        long depth = depth_of(table, index);
        if (!PyDict_CheckExact(partition) || depth < 0) {
            return NULL;
        }
        if ((bits >> 32) * bound >> 32 < (uint64_t)PyDict_GET_SIZE(partition) << depth) {
            return partition;
        }
    }
}

PyObject *native_random_key(PyObject *mapping, PyObject *rng, bool *plain) {
    Opened table;
    Py_ssize_t size = native_mapping_size(mapping);
    *plain = size > 0 && size < (Py_ssize_t)1 << 29 && (PyDict_CheckExact(mapping) || open_table(mapping, &table));
    if (!*plain) {
        return NULL;
    }
    PyObject *bits = PyLong_FromLong(64);
    PyObject *drawn = bits == NULL ? NULL : native_call(rng, name_getrandbits, bits, NULL);
    Py_XDECREF(bits);
    uint64_t state = drawn == NULL ? 0 : PyLong_AsUnsignedLongLongMask(drawn);
    Py_XDECREF(drawn);
    if (PyErr_Occurred()) {
        return NULL;
    }
    PyObject *partition = PyDict_CheckExact(mapping) ? mapping : draw_partition(&table, size, &state);
    *plain = partition != NULL;
    if (partition == NULL) {
        return NULL;
    }
    uint64_t left = next_below(&state, (uint64_t)PyDict_GET_SIZE(partition));
    Py_ssize_t at = 0;
    PyObject *key = NULL;
    while (PyDict_Next(partition, &at, &key, NULL) && left > 0) {
        left--;
    }
    return key;
}

static PyObject *table_random_key(PyObject *self, PyObject *rng) {
    bool plain;
    PyObject *key = native_random_key(self, rng, &plain);
    return plain ? Py_XNewRef(key) : original(RANDOM_KEY, self, rng, NULL);
}
