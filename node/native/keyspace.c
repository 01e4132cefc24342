/* The hash slot of a key, and the plain cases of Database's lookups and writes (node/keyspace.py).

   Plain: the key's slot is a dict that is neither empty nor about to become a Table, or a Table; the key has no time to
   live, and a value that is written is a string: collections are noted (node/unpacked.py). */

#include "native.h"
#include <string.h>

/* node/keyspace.py: SLOT_DICT_MAX_ENTRIES; a slot that has as many is for Python. */
#define SLOT_DICT_MAX_ENTRIES 2048
#define EXPIRY_SHARDS 256 /* node/expiry.py: SHARDS */

/* CRC-16/XMODEM, four bytes at a time: table[n][b] is the CRC of the byte b and n zero bytes. */
static unsigned short crc_table[4][256];

static void fill_crc_table(void) {
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned crc = byte << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
        }
        crc_table[0][byte] = (unsigned short)crc;
    }
    for (int zeros = 1; zeros < 4; zeros++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            unsigned crc = crc_table[zeros - 1][byte];
            crc_table[zeros][byte] = (unsigned short)((crc << 8) ^ crc_table[0][crc >> 8]);
        }
    }
}

static unsigned crc16(const unsigned char *data, Py_ssize_t size) {
    unsigned crc = 0;
    for (; size >= 4; size -= 4, data += 4) {
        crc = crc_table[3][(crc >> 8) ^ data[0]] ^ crc_table[2][(crc & 255) ^ data[1]] ^ crc_table[1][data[2]]
            ^ crc_table[0][data[3]];
    }
    for (; size > 0; size--, data++) {
        crc = ((crc << 8) & 0xFFFF) ^ crc_table[0][(crc >> 8) ^ *data];
    }
    return crc;
}

/* The part of the key that is hashed (gossip/slots.py: hash_tag). */
static unsigned key_slot(const char *data, Py_ssize_t size) {
    const char *open = memchr(data, '{', (size_t)size);
    if (open != NULL) {
        const char *close = memchr(open + 1, '}', (size_t)(data + size - open - 1));
        if (close != NULL && close != open + 1) {
            size = close - open - 1;
            data = open + 1;
        }
    }
    return crc16((const unsigned char *)data, size) & (SLOT_COUNT - 1);
}

/* The last keys and their slots: prefetching, routing and each of a command's lookups ask for the same ones. */
#define REMEMBERED_KEYS 32
#define REMEMBERED_MAX_BYTES 1024
static struct {
    PyObject *key;
    unsigned slot;
} remembered[REMEMBERED_KEYS];

unsigned native_key_slot(PyObject *key) {
    size_t place = ((uintptr_t)key >> 5) % REMEMBERED_KEYS;
    if (key == remembered[place].key) {
        return remembered[place].slot;
    }
    if (crc_table[0][1] == 0) {
        fill_crc_table();
    }
    unsigned slot = key_slot(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key));
    if (PyBytes_GET_SIZE(key) <= REMEMBERED_MAX_BYTES) {
        Py_INCREF(key);
        store(&remembered[place].key, key);
        remembered[place].slot = slot;
    }
    return slot;
}

static PyObject *key_slot_function(PyObject *module, PyObject *key) {
    if (!PyBytes_CheckExact(key)) {
        PyErr_SetString(PyExc_TypeError, "a key is bytes");
        return NULL;
    }
    return PyLong_FromUnsignedLong(native_key_slot(key));
}

PyObject *native_slot_mapping(PyObject *database, PyObject *key) {
    PyObject *slots = FIELD(database, database, slots);
    if (!PyBytes_CheckExact(key) || slots == NULL || !PyList_CheckExact(slots)
        || PyList_GET_SIZE(slots) != SLOT_COUNT) {
        return NULL;
    }
    PyObject *keys = PyList_GET_ITEM(slots, native_key_slot(key));
    return PyDict_CheckExact(keys) || IS(keys, table) ? keys : NULL;
}

/* Whether the key surely has no time to live. */
static bool never_expires(PyObject *database, PyObject *key) {
    PyObject *expires = FIELD(database, database, expires);
    if (!IS(expires, expiry)) {
        return false;
    }
    if (is_zero(FIELD(expires, expiry, count))) {
        return true;
    }
    PyObject *shards = FIELD(expires, expiry, _when);
    Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1 || shards == NULL || !PyList_CheckExact(shards) || PyList_GET_SIZE(shards) != EXPIRY_SHARDS) {
        PyErr_Clear();
        return false;
    }
    PyObject *times = PyList_GET_ITEM(shards, hash & (EXPIRY_SHARDS - 1));
    if (!PyDict_CheckExact(times)) {
        return false;
    }
    bool found = PyDict_GetItemWithError(times, key) != NULL;
    if (!found && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return !found;
}

/* The value of a key, borrowed; NULL if there is none. `*plain` says whether that is the answer. */
static PyObject *lookup(PyObject *database, PyObject *key, bool *plain) {
    PyObject *keys = native_slot_mapping(database, key);
    *plain = false;
    if (keys != NULL && IS(keys, table)) {
        keys = native_partition(keys, key);
    }
    if (keys == NULL) {
        return NULL;
    }
    PyObject *value = PyDict_GetItemWithError(keys, key);
    if (value == NULL) {
        if (PyErr_Occurred()) {
            PyErr_Clear();
            return NULL;
        }
        *plain = true;
        return NULL;
    }
    *plain = never_expires(database, key);
    return value;
}

static PyObject *database_read(PyObject *self, PyObject *key);
static PyObject *database_find(PyObject *self, PyObject *key);
static PyObject *database_modified(PyObject *self, PyObject *key);
static PyObject *database_put(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *database_set(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *database_shrunk(PyObject *self, PyObject *const *args, Py_ssize_t count);

enum { READ, FIND, MODIFIED, PUT, SET, SHRUNK };
#define FASTCALL(function) (PyCFunction)(void (*)(void))(function)
StandIn native_database_methods[] = {
    [READ] = {{"read", database_read, METH_O, "Stands in for the Python method."}, &database_layout.type},
    [FIND] = {{"find", database_find, METH_O, "Stands in for the Python method."}, &database_layout.type},
    [MODIFIED] = {{"modified", database_modified, METH_O, "Stands in for the Python method."}, &database_layout.type},
    [PUT] = {{"put", FASTCALL(database_put), METH_FASTCALL, "Stands in for the Python method."}, &database_layout.type},
    [SET] = {{"set", FASTCALL(database_set), METH_FASTCALL, "Stands in for the Python method."}, &database_layout.type},
    [SHRUNK] = {{"shrunk", FASTCALL(database_shrunk), METH_FASTCALL, "Stands in for the Python method."},
                &database_layout.type},
    {{NULL}},
};

static PyObject *original(int method, PyObject *self, PyObject *first, PyObject *second) {
    PyObject *args[3] = {self, first, second};
    return native_original(&native_database_methods[method], args, second == NULL ? 2 : 3);
}

static PyObject *database_read(PyObject *self, PyObject *key) {
    bool plain;
    PyObject *value = lookup(self, key, &plain);
    PyObject *keyspace = FIELD(self, database, keyspace);
    if (!plain || !IS(keyspace, keyspace)) {
        return original(READ, self, key, NULL);
    }
    if (value == NULL) {
        if (native_add(&FIELD(keyspace, keyspace, misses), 1) < 0) {
            return NULL;
        }
        Py_RETURN_NONE;
    }
    Py_INCREF(value);
    if (native_add(&FIELD(keyspace, keyspace, hits), 1) < 0) {
        Py_DECREF(value);
        return NULL;
    }
    return value;
}

static PyObject *database_find(PyObject *self, PyObject *key) {
    bool plain;
    PyObject *value = lookup(self, key, &plain);
    if (!plain) {
        return original(FIND, self, key, NULL);
    }
    if (value == NULL) {
        Py_RETURN_NONE;
    }
    Py_INCREF(value);
    return value;
}

/* Count a change, as Database.modified does where nobody watches or waits for any key. */
static bool nobody_listens(PyObject *database) {
    PyObject *watched = FIELD(database, database, watched);
    PyObject *blocked = FIELD(database, database, blocked);
    return watched != NULL && PyDict_CheckExact(watched) && PyDict_GET_SIZE(watched) == 0 && blocked != NULL
        && PyDict_CheckExact(blocked) && PyDict_GET_SIZE(blocked) == 0
        && IS(FIELD(database, database, keyspace), keyspace);
}

static int changed(PyObject *database) {
    return native_add(&FIELD(FIELD(database, database, keyspace), keyspace, dirty), 1);
}

static PyObject *database_modified(PyObject *self, PyObject *key) {
    if (!nobody_listens(self)) {
        return original(MODIFIED, self, key, NULL);
    }
    if (changed(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Store into a slot's mapping, where that is plain: how many keys that added, -1 with an exception. */
static int put_into(PyObject *keys, PyObject *key, PyObject *value, bool *plain) {
    if (IS(keys, table)) {
        return native_table_put(keys, key, value, plain);
    }
    Py_ssize_t before = PyDict_GET_SIZE(keys);
    *plain = before > 0 && before < SLOT_DICT_MAX_ENTRIES;
    if (!*plain) {
        return 0;
    }
    return PyDict_SetItem(keys, key, value) < 0 ? -1 : PyDict_GET_SIZE(keys) != before;
}

/* Whether there is nothing under the key, or a string: a collection that is replaced is freed in small steps. */
static bool replaces_no_collection(PyObject *keys, PyObject *key) {
    PyObject *entries = IS(keys, table) ? native_partition(keys, key) : keys;
    PyObject *before = entries == NULL ? NULL : PyDict_GetItemWithError(entries, key);
    if (before == NULL) {
        PyErr_Clear();
        return true;
    }
    return PyBytes_CheckExact(before);
}

/* values/common.py: SHARED_INTEGERS; NULL before `share_integers`. */
static PyObject *shared_integers;
#define SHARED_MAX_DIGITS 4

/* The shared object that is equal to a string, or the string; borrowed. */
static PyObject *shared(PyObject *value) {
    Py_ssize_t size = PyBytes_GET_SIZE(value);
    const char *text = PyBytes_AS_STRING(value);
    if (size == 0 || size > SHARED_MAX_DIGITS || (text[0] == '0' && size > 1) || shared_integers == NULL) {
        return value;
    }
    Py_ssize_t number = 0;
    for (Py_ssize_t at = 0; at < size; at++) {
        if (text[at] < '0' || text[at] > '9') {
            return value;
        }
        number = 10 * number + text[at] - '0';
    }
    return number < PyTuple_GET_SIZE(shared_integers) ? PyTuple_GET_ITEM(shared_integers, number) : value;
}

static PyObject *share_integers(PyObject *module, PyObject *integers) {
    if (!PyTuple_CheckExact(integers)) {
        PyErr_SetString(PyExc_TypeError, "share_integers(tuple)");
        return NULL;
    }
    Py_INCREF(integers);
    store(&shared_integers, integers);
    Py_RETURN_NONE;
}

static PyObject *put(int method, PyObject *self, PyObject *key, PyObject *value) {
    PyObject *keys = native_slot_mapping(self, key);
    bool plain = keys != NULL && PyBytes_CheckExact(value) && nobody_listens(self) && replaces_no_collection(keys, key);
    int added = plain ? put_into(keys, key, shared(value), &plain) : 0;
    if (added >= 0 && !plain) {
        return original(method, self, key, value);
    }
    if (added < 0 || (added > 0 && native_add(&FIELD(self, database, size), 1) < 0) || changed(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *database_put(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "put(key, value)");
        return NULL;
    }
    return put(PUT, self, args[0], args[1]);
}

static PyObject *database_set(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "set(key, value)");
        return NULL;
    }
    if (!PyBytes_CheckExact(args[0]) || !never_expires(self, args[0])) {
        return original(SET, self, args[0], args[1]);
    }
    return put(SET, self, args[0], args[1]);
}

static PyObject *database_shrunk(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "shrunk(key, collection)");
        return NULL;
    }
    if (native_collection_size(args[1]) <= 0 || !nobody_listens(self)) {
        return original(SHRUNK, self, args[0], args[1]);
    }
    if (changed(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef native_slot_functions[] = {
    {"key_slot", key_slot_function, METH_O, "key_slot(key) -> the hash slot of a key, 0 to 16383."},
    {"share_integers", share_integers, METH_O, "share_integers((b'0', b'1', ...)): strings equal to them are stored as them."},
    {NULL},
};
