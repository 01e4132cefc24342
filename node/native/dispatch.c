/* Dispatcher.run (node/dispatch.py): from parsed commands to replies in `client.out`.

   An ordinary command costs a dict lookup, a few tests of slots and the call of its Python function. What the tests
   don't let pass goes to Dispatcher._admit, what a function raised to Dispatcher._raised, what changed the keyspace
   and concerns a journal or parked clients to Dispatcher._changed (journal.c). */

#include "native.h"
#include <string.h>
#include <time.h>

/* node/client.py and node/command.py. */
#define GUARD_PARKED 64
#define GUARD_CLOSING 128
#define GATE_KEYS 32

static PyObject *dispatcher_run(PyObject *self, PyObject *const *args, Py_ssize_t count);

StandIn native_dispatch_methods[] = {
    {{"run", (PyCFunction)(void (*)(void))dispatcher_run, METH_FASTCALL, "Stands in for the Python method."},
     &dispatcher_layout.type},
    {{NULL}},
};

long long native_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A small int of a slot; `missing` where there is none. */
static inline Py_ssize_t number(PyObject *slot, Py_ssize_t missing) {
    if (slot == NULL || !PyLong_CheckExact(slot)) {
        return missing;
    }
    Py_ssize_t value = PyLong_AsSsize_t(slot);
    if (value == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return missing;
    }
    return value;
}

/* What a run looks up once. */
typedef struct {
    PyObject *dispatcher, *client, *keyspace, *journal, *by_name, *out;
    const char *served; /* 16,384 flags; NULL outside of a cluster */
    PyObject *timed;    /* borrowed: the command whose calls are counted together, or NULL */
    Py_ssize_t done, counted;
    long long started_ns;
    PyObject *last_name, *last_command; /* borrowed from this run's arguments and the table */
} Run;

/* Whether all keys of the command are in one slot that is served here without another thought. */
static bool is_served(const Run *run, PyObject *command, PyObject *args) {
    Py_ssize_t count = PyList_GET_SIZE(args);
    Py_ssize_t first = number(FIELD(command, command, single_key), 0);
    Py_ssize_t last = first;
    Py_ssize_t step = 1;
    if (first == 0) {
        first = number(FIELD(command, command, key_first), 0);
        last = number(FIELD(command, command, key_last), 0);
        step = number(FIELD(command, command, key_step), 0);
        last = last < 0 ? count + last : first + last;
        last = last < count ? last : count - 1;
    }
    if (first <= 0 || step <= 0 || first > last || last >= count || !PyBytes_CheckExact(PyList_GET_ITEM(args, first))) {
        return false;
    }
    unsigned slot = native_key_slot(PyList_GET_ITEM(args, first));
    for (Py_ssize_t at = first + step; at <= last; at += step) {
        PyObject *key = PyList_GET_ITEM(args, at);
        if (!PyBytes_CheckExact(key) || native_key_slot(key) != slot) {
            return false;
        }
    }
    return run->served[slot];
}

bool native_takes(PyObject *command, Py_ssize_t count) {
    PyObject *subcommands = FIELD(command, command, subcommands);
    return subcommands != NULL && PyDict_CheckExact(subcommands) && PyDict_GET_SIZE(subcommands) == 0
        && count >= number(FIELD(command, command, args_min), PY_SSIZE_T_MAX)
        && count <= number(FIELD(command, command, args_max), -1);
}

/* The command that may run at once, borrowed; NULL where `_admit` has to look at it. Never an exception. */
static PyObject *ordinary(Run *run, PyObject *args) {
    PyObject *name = PyList_GET_ITEM(args, 0);
    PyObject *command;
    if (name == run->last_name) {
        command = run->last_command;
    } else {
        command = PyDict_GetItemWithError(run->by_name, name);
        if (!IS(command, command)) {
            PyErr_Clear();
            return NULL;
        }
    }
    if (!is_zero(FIELD(run->client, client, guard))) {
        return NULL;
    }
    Py_ssize_t gates = number(FIELD(command, command, gates), -1);
    PyObject *closed = FIELD(run->dispatcher, dispatcher, gates);
    if (!is_zero(closed) && (gates & number(closed, -1))) {
        return NULL;
    }
    if (!native_takes(command, PyList_GET_SIZE(args))) {
        return NULL;
    }
    if (run->served != NULL && (gates & GATE_KEYS) && !is_served(run, command, args)) {
        return NULL;
    }
    run->last_name = name;
    run->last_command = command;
    return command;
}

/* Command.count for the calls since the last one. */
static int count_calls(Run *run, Py_ssize_t calls) {
    long long ended_ns = native_now_ns();
    PyObject *command = run->timed;
    if (native_add(&FIELD(command, command, calls), calls) < 0
        || native_add(&FIELD(command, command, nanoseconds), ended_ns - run->started_ns) < 0) {
        return -1;
    }
    run->started_ns = ended_ns;
    return 0;
}

static int append(PyObject *out, const char *data, Py_ssize_t size) {
    Py_ssize_t before = PyByteArray_GET_SIZE(out);
    if (PyByteArray_Resize(out, before + size) < 0) {
        return -1;
    }
    memcpy(PyByteArray_AS_STRING(out) + before, data, (size_t)size);
    return 0;
}

PyObject *native_raised(PyObject *dispatcher, PyObject *client, PyObject *command, PyObject *args) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return NULL;
    }
    PyObject *error = native_take_error();
    PyObject *stack[] = {dispatcher, client, command, args, error};
    PyObject *reply = PyObject_VectorcallMethod(name__raised, stack, 5, NULL);
    Py_DECREF(error);
    return reply;
}

/* The slow path; its reply. */
static PyObject *admit(Run *run, PyObject *args) {
    if (run->timed != NULL && count_calls(run, run->done - run->counted) < 0) {
        return NULL;
    }
    run->counted = run->done;
    run->timed = NULL;
    PyObject *reply = native_call(run->dispatcher, name__admit, run->client, args);
    PyObject *command = FIELD(run->client, client, command);
    run->timed = IS(command, command) ? command : NULL;
    return reply;
}

static PyObject *call(Run *run, PyObject *command, PyObject *args) {
    if (command != run->timed) {
        if (run->timed != NULL && count_calls(run, run->done - run->counted) < 0) {
            return NULL;
        }
        run->counted = run->done;
        run->timed = command;
        Py_INCREF(command);
        store(&FIELD(run->client, client, command), command);
    }
    PyObject *function = FIELD(command, command, function);
    if (function == NULL) {
        PyErr_SetString(PyExc_AttributeError, "function");
        return NULL;
    }
    PyObject *stack[] = {run->client, args};
    PyObject *reply = PyObject_Vectorcall(function, stack, 2, NULL);
    return reply != NULL ? reply : native_raised(run->dispatcher, run->client, command, args);
}

/* Whether a change concerns anybody: the journal's subscribers, or parked clients. If not, then what the function
   propagates doesn't, either. */
static bool concerns(const Run *run) {
    PyObject *ready = FIELD(run->keyspace, keyspace, ready);
    if (FIELD(run->journal, journal, active) != Py_False || ready == NULL || !PyDict_CheckExact(ready)
        || PyDict_GET_SIZE(ready) != 0) {
        return true;
    }
    if (FIELD(run->client, client, propagated) != Py_None) {
        store(&FIELD(run->client, client, propagated), Py_NewRef(Py_None));
    }
    return false;
}

/* One command; 1 if no other may run now, -1 with an exception. */
static int step(Run *run, PyObject *args) {
    PyObject *dirty = FIELD(run->keyspace, keyspace, dirty);
    Py_XINCREF(dirty); /* kept, so that no other int takes its place in memory */
    PyObject *command = PyList_CheckExact(args) && PyList_GET_SIZE(args) > 0 ? ordinary(run, args) : NULL;
    PyObject *reply = command == NULL ? admit(run, args) : call(run, command, args);
    if (reply == NULL) {
        Py_XDECREF(dirty);
        return -1;
    }
    run->done++;
    int result = 0;
    if (FIELD(run->keyspace, keyspace, dirty) != dirty && run->timed != NULL && concerns(run)) {
        int differs = PyObject_RichCompareBool(FIELD(run->keyspace, keyspace, dirty), dirty, Py_NE);
        PyObject *told = differs > 0 ? native_changed(run->dispatcher, run->client, args) : NULL;
        result = differs < 0 || (differs > 0 && told == NULL) ? -1 : 0;
        Py_XDECREF(told);
    }
    Py_XDECREF(dirty);
    if (result == 0) {
        if (!PyBytes_CheckExact(reply)) {
            PyErr_Format(PyExc_TypeError, "a reply is bytes, not %s", Py_TYPE(reply)->tp_name);
            result = -1;
        } else if (PyBytes_GET_SIZE(reply) != 0) {
            result = append(run->out, PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply));
        } else {
            result = (number(FIELD(run->client, client, guard), 0) & (GUARD_PARKED | GUARD_CLOSING)) != 0;
        }
    }
    Py_DECREF(reply);
    return result;
}

static int finish(Run *run) {
    PyObject *client = run->client;
    if (run->timed != NULL) {
        /* A parked command counts when it ends. */
        Py_ssize_t parked = FIELD(client, client, parked) != Py_None;
        if (count_calls(run, run->done - run->counted - parked) < 0) {
            return -1;
        }
    }
    store(&FIELD(client, client, running), Py_NewRef(Py_False));
    PyObject *command = FIELD(client, client, command);
    if (command != NULL && command != Py_None) {
        store(&FIELD(client, client, last_command), Py_NewRef(command));
    }
    return native_add(&FIELD(run->dispatcher, dispatcher, commands_processed), run->done);
}

Py_ssize_t native_run(PyObject *dispatcher, PyObject *client, PyObject *commands) {
    Run run = {
        .dispatcher = dispatcher,
        .client = client,
        .keyspace = FIELD(dispatcher, dispatcher, keyspace),
        .journal = FIELD(dispatcher, dispatcher, journal),
        .by_name = FIELD(dispatcher, dispatcher, by_name),
        .out = FIELD(client, client, out),
        .started_ns = native_now_ns(),
    };
    PyObject *served = FIELD(dispatcher, dispatcher, served);
    bool in_cluster = served != Py_None;
    if (!IS(run.keyspace, keyspace) || !IS(run.journal, journal) || run.by_name == NULL || run.out == NULL
        || !PyDict_CheckExact(run.by_name) || !PyByteArray_CheckExact(run.out) || !PyList_CheckExact(commands)
        || (in_cluster && (!PyByteArray_CheckExact(served) || PyByteArray_GET_SIZE(served) != SLOT_COUNT))) {
        PyErr_SetString(PyExc_TypeError, "run(client, commands) of a dispatcher that is set up");
        return -1;
    }
    PyObject *kept[] = {run.keyspace, run.journal, run.by_name, run.out, served, client, commands};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(kept); i++) {
        Py_INCREF(kept[i]);
    }
    store(&FIELD(client, client, running), Py_NewRef(Py_True));
    int result = 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(commands); i++) {
        /* The flags are changed in place; the bytes may move when they are. */
        run.served = in_cluster ? PyByteArray_AS_STRING(served) : NULL;
        if (i % PREFETCHED_COMMANDS == 0) {
            native_prefetch(FIELD(client, client, db), commands, i);
        }
        PyObject *args = Py_NewRef(PyList_GET_ITEM(commands, i));
        result = step(&run, args);
        Py_DECREF(args);
    }
    if (result >= 0) {
        result = finish(&run);
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(kept); i++) {
        Py_DECREF(kept[i]);
    }
    return result < 0 ? -1 : run.done;
}

static PyObject *dispatcher_run(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2 || !IS(args[0], client)) {
        PyErr_SetString(PyExc_TypeError, "run(client, commands)");
        return NULL;
    }
    Py_ssize_t done = native_run(self, args[0], args[1]);
    return done < 0 ? NULL : PyLong_FromSsize_t(done);
}
