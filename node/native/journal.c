/* Dispatcher._changed with Journal.append and Backlog.journal_entry (node/dispatch.py, journal.py, replication/backlog.py).

   Plain: no transaction, nobody parked who waits for the key, one entry in the database that the stream has selected,
   and the backlog as the only subscriber, with room in its last block. The entry is encoded where it stays. */

#include "native.h"

static PyObject *dispatcher_changed(PyObject *self, PyObject *const *args, Py_ssize_t count);

StandIn native_journal_methods[] = {
    {{"_changed", (PyCFunction)(void (*)(void))dispatcher_changed, METH_FASTCALL, "Stands in for the Python method."},
     &dispatcher_layout.type},
    {{NULL}},
};

/* The backlog, borrowed, if it is the only one who follows the journal; NULL if not. */
static PyObject *only_backlog(PyObject *journal) {
    PyObject *subscribers = FIELD(journal, journal, subscribers);
    if (FIELD(journal, journal, active) != Py_True || subscribers == NULL || !PyList_CheckExact(subscribers)
        || PyList_GET_SIZE(subscribers) != 1) {
        return NULL;
    }
    PyObject *backlog = PyList_GET_ITEM(subscribers, 0);
    PyObject *tail = IS(backlog, backlog) ? FIELD(backlog, backlog, _tail) : NULL;
    return tail != NULL && PyByteArray_CheckExact(tail) && FIELD(backlog, backlog, _on_data) != NULL ? backlog : NULL;
}

/* Whether the stream has that client's database selected. */
static bool is_selected(PyObject *journal, PyObject *client) {
    PyObject *database = FIELD(client, client, db);
    PyObject *index = IS(database, database) ? FIELD(database, database, index) : NULL;
    PyObject *selected = FIELD(journal, journal, database);
    if (index == selected) {
        return index != NULL;
    }
    int same = index == NULL || selected == NULL ? 0 : PyObject_RichCompareBool(index, selected, Py_EQ);
    if (same < 0) {
        PyErr_Clear();
    }
    return same > 0;
}

/* What is journalled for `args`, borrowed: that, or the one command that stands for it; NULL for any other number. */
static PyObject *entry_of(PyObject *client, PyObject *args) {
    PyObject *entry = FIELD(client, client, propagated);
    if (entry == Py_None) {
        entry = args;
    } else {
        entry = entry != NULL && PyList_CheckExact(entry) && PyList_GET_SIZE(entry) == 1 ? PyList_GET_ITEM(entry, 0)
                                                                                        : NULL;
    }
    return entry != NULL && PyList_CheckExact(entry) ? entry : NULL;
}

/* Append the entry to the backlog: its size; 0 if it is not for us, -1 with an exception. */
static Py_ssize_t append(PyObject *backlog, PyObject *entry) {
    PyObject *block = FIELD(backlog, backlog, _block_bytes);
    Py_ssize_t block_bytes = block == NULL ? 0 : PyLong_AsSsize_t(block);
    if (block_bytes == -1 && PyErr_Occurred()) {
        return -1;
    }
    return native_append_command(FIELD(backlog, backlog, _tail), entry, block_bytes);
}

PyObject *native_changed(PyObject *self, PyObject *client, PyObject *args) {
    PyObject *stack[] = {self, client, args};
    PyObject *journal = FIELD(self, dispatcher, journal);
    PyObject *keyspace = FIELD(self, dispatcher, keyspace);
    PyObject *ready = IS(keyspace, keyspace) ? FIELD(keyspace, keyspace, ready) : NULL;
    PyObject *backlog = IS(journal, journal) ? only_backlog(journal) : NULL;
    PyObject *entry = entry_of(client, args);
    Py_ssize_t size = 0;
    if (backlog != NULL && entry != NULL && FIELD(self, dispatcher, _effects) == Py_None && ready != NULL
        && PyDict_CheckExact(ready) && PyDict_GET_SIZE(ready) == 0 && is_selected(journal, client)) {
        size = append(backlog, entry);
    }
    if (size <= 0) {
        return size < 0 ? NULL : native_original(&native_journal_methods[0], stack, 3);
    }
    if (native_add(&FIELD(journal, journal, offset), size) < 0) {
        return NULL;
    }
    store(&FIELD(client, client, waiting_offset), Py_NewRef(FIELD(journal, journal, offset)));
    store(&FIELD(client, client, propagated), Py_NewRef(Py_None));
    if (FIELD(backlog, backlog, quiet) == Py_False) {
        Py_RETURN_NONE;
    }
    store(&FIELD(backlog, backlog, quiet), Py_NewRef(Py_False));
    return PyObject_CallNoArgs(FIELD(backlog, backlog, _on_data));
}

static PyObject *dispatcher_changed(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2 || !IS(args[0], client)) {
        PyErr_SetString(PyExc_TypeError, "_changed(client, args)");
        return NULL;
    }
    return native_changed(self, args[0], args[1]);
}
