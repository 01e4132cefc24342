/* Prefetching: the keys of a pipeline's next commands are looked up in step, so that the processor waits for the cache
   lines of all of them at once and not for one after the other (Valkey: memory_prefetch.c).

   It only reads, and never decides anything: a wrong guess costs a cache line. A dict's inside is no public interface of
   CPython, so there is nothing of this on versions whose layout is not known here. */

#define Py_BUILD_CORE 1
#include "native.h"

#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030E0000 && !defined(Py_GIL_DISABLED) && defined(__GNUC__)
#if __has_include(<internal/pycore_dict.h>)
#include <internal/pycore_dict.h>
#define KNOWS_DICTS
#endif
#endif

#ifdef KNOWS_DICTS

#define CACHE_LINE_BYTES 64
#define PROBES_MAX 2 /* of a dict's hash chain; most keys are at its first or second place */
#define PERTURB_BITS 5 /* CPython's PERTURB_SHIFT */

/* One key on its way: what is fetched for the next step. */
typedef struct {
    PyObject *key;
    PyObject *mapping; /* a dict or a Table, then a dict; borrowed */
    PyDictKeysObject *keys;
    size_t hash;
    Py_ssize_t place; /* the hash's index in the dict, then the entry's number; -1 for none */
} Lookup;

static inline void fetch(const void *address) {
    __builtin_prefetch(address);
}

static inline size_t mask_of(const PyDictKeysObject *keys) {
    return (size_t)DK_SIZE(keys) - 1;
}

static inline Py_ssize_t entry_at(const PyDictKeysObject *keys, size_t index) {
    switch (keys->dk_log2_index_bytes - keys->dk_log2_size) {
    case 0:
        return ((const int8_t *)keys->dk_indices)[index];
    case 1:
        return ((const int16_t *)keys->dk_indices)[index];
    case 2:
        return ((const int32_t *)keys->dk_indices)[index];
    default:
        return (Py_ssize_t)((const int64_t *)keys->dk_indices)[index];
    }
}

static inline const char *index_address(const PyDictKeysObject *keys, size_t index) {
    return (const char *)keys->dk_indices + (index << (keys->dk_log2_index_bytes - keys->dk_log2_size));
}

/* The commands' first arguments, which are their keys if they have any, with the mappings of their slots. */
static Py_ssize_t begin(PyObject *database, PyObject *commands, Py_ssize_t first, Lookup *lookups) {
    Py_ssize_t last = PyList_GET_SIZE(commands) - first;
    Py_ssize_t count = 0;
    const PyObject *before = NULL;
    for (Py_ssize_t i = 0; i < last && i < PREFETCHED_COMMANDS; i++) {
        PyObject *args = PyList_GET_ITEM(commands, first + i);
        PyObject *key = PyList_CheckExact(args) && PyList_GET_SIZE(args) > 1 ? PyList_GET_ITEM(args, 1) : NULL;
        PyObject *mapping = key == NULL || key == before || !PyBytes_CheckExact(key)
            ? NULL : native_slot_mapping(database, key);
        before = key;
        if (mapping != NULL) {
            lookups[count].key = key;
            lookups[count++].mapping = mapping;
            fetch(mapping);
        }
    }
    return count;
}

/* From Tables to their partitions. */
static void select_partitions(Lookup *lookups, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *mapping = lookups[i].mapping;
        lookups[i].hash = (size_t)PyObject_Hash(lookups[i].key);
        if (IS(mapping, table)) {
            mapping = lookups[i].mapping = native_partition(mapping, lookups[i].key);
        }
        if (mapping != NULL) {
            fetch(mapping);
        }
    }
}

static void find_indices(Lookup *lookups, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        if (lookups[i].mapping != NULL) {
            lookups[i].keys = ((PyDictObject *)lookups[i].mapping)->ma_keys;
            fetch(lookups[i].keys);
        }
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (lookups[i].mapping != NULL) {
            fetch(index_address(lookups[i].keys, lookups[i].hash & mask_of(lookups[i].keys)));
        }
    }
}

static void find_entries(Lookup *lookups, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        if (lookups[i].mapping == NULL) {
            continue;
        }
        const PyDictKeysObject *keys = lookups[i].keys;
        lookups[i].place = keys->dk_kind == DICT_KEYS_GENERAL
            ? entry_at(keys, lookups[i].hash & mask_of(keys)) : -1;
        if (lookups[i].place >= 0) {
            fetch(&DK_ENTRIES(keys)[lookups[i].place]);
        }
    }
}

static void fetch_objects(const PyDictKeyEntry *entry) {
    fetch(entry->me_key);
    fetch((const char *)entry->me_key + CACHE_LINE_BYTES);
    fetch(entry->me_value);
}

static void find_objects(Lookup *lookups, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        if (lookups[i].mapping == NULL) {
            continue;
        }
        PyDictKeysObject *keys = lookups[i].keys;
        size_t mask = mask_of(keys), index = lookups[i].hash & mask, perturb = lookups[i].hash;
        Py_ssize_t place = lookups[i].place;
        for (int probe = 0; place >= 0 && probe < PROBES_MAX; probe++) {
            const PyDictKeyEntry *entry = &DK_ENTRIES(keys)[place];
            if ((size_t)entry->me_hash == lookups[i].hash && entry->me_key != NULL) {
                fetch_objects(entry);
                break;
            }
            perturb >>= PERTURB_BITS;
            index = (index * 5 + perturb + 1) & mask;
            place = entry_at(keys, index);
        }
    }
}

void native_prefetch(PyObject *database, PyObject *commands, Py_ssize_t first) {
    if (PyList_GET_SIZE(commands) - first < 2 || !IS(database, database)) {
        return;
    }
    Lookup lookups[PREFETCHED_COMMANDS];
    Py_ssize_t count = begin(database, commands, first, lookups);
    if (count > 1) {
        select_partitions(lookups, count);
        find_indices(lookups, count);
        find_entries(lookups, count);
        find_objects(lookups, count);
    }
}

#else

void native_prefetch(PyObject *database, PyObject *commands, Py_ssize_t first) {
    (void)database, (void)commands, (void)first;
}

#endif
