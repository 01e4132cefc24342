/* Reactor._drain and Reactor._flush (node/reactor.py): one round over the ready sockets.

   Connections are read and flushed without a Python call in between; whoever else handles a descriptor is called as
   Python calls it. What one round's connections have in common (what is counted, who has output) is kept in a Round. */

#include "native.h"
#include <sys/epoll.h>

static PyObject *reactor_drain(PyObject *self, PyObject *events);
static PyObject *reactor_flush(PyObject *self, PyObject *ignored);

StandIn native_reactor_methods[] = {
    {{"_drain", reactor_drain, METH_O, "Stands in for the Python method."}, &reactor_layout.type},
    {{"_flush", reactor_flush, METH_NOARGS, "Stands in for the Python method."}, &reactor_layout.type},
    {{NULL}},
};

_Thread_local Round *native_round;

/* Reactor.fault, for what a handler's method raised; -1 if that is no Exception. */
static int fault(PyObject *self, PyObject *handler) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyObject *error = native_take_error();
    PyObject *told = native_call(self, name_fault, handler, error);
    Py_DECREF(error);
    Py_XDECREF(told);
    return told == NULL ? -1 : 0;
}

/* What a handler's method returned: dropped; or what it raised: reported. */
static int settle(PyObject *self, PyObject *handler, PyObject *result) {
    if (result == NULL) {
        return fault(self, handler);
    }
    Py_DECREF(result);
    return 0;
}

/* One event (fd, mask). */
static int ready(PyObject *self, PyObject *handlers, PyObject *event) {
    if (!PyTuple_CheckExact(event) || PyTuple_GET_SIZE(event) != 2) {
        PyErr_SetString(PyExc_TypeError, "an event is (fd, mask)");
        return -1;
    }
    PyObject *fd = PyTuple_GET_ITEM(event, 0);
    long mask = PyLong_AsLong(PyTuple_GET_ITEM(event, 1));
    PyObject *handler = PyDict_GetItemWithError(handlers, fd);
    if (handler == NULL || PyErr_Occurred()) {
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_INCREF(handler);
    int result = 0;
    if (mask & EPOLLOUT) {
        result = settle(self, handler, native_call(handler, name_on_writable, NULL, NULL));
    }
    if (result == 0 && (mask & ~(long)EPOLLOUT)) {
        if (IS(handler, connection) && mask == EPOLLIN) {
            result = settle(self, handler, native_on_readable(handler));
        } else {
            int there = mask & EPOLLOUT ? PyDict_Contains(handlers, fd) : 1;
            result = there <= 0 ? there : settle(self, handler, native_call(handler, name_on_readable, NULL, NULL));
        }
    }
    Py_DECREF(handler);
    return result;
}

static int flush(PyObject *self, PyObject *handler) {
    PyObject *result = IS(handler, connection) ? native_flush(handler) : native_call(handler, name_flush, NULL, NULL);
    return settle(self, handler, result);
}

/* The handlers that `schedule` was told of, until there are no more. */
static int flush_pending(PyObject *self) {
    for (;;) {
        PyObject *pending = FIELD(self, reactor, _pending);
        if (pending == NULL || !PyDict_CheckExact(pending)) {
            PyErr_SetString(PyExc_TypeError, "_pending is a dict");
            return -1;
        }
        if (PyDict_GET_SIZE(pending) == 0) {
            return 0;
        }
        PyObject *next = PyDict_New();
        if (next == NULL) {
            return -1;
        }
        FIELD(self, reactor, _pending) = next; /* `pending` is ours now */
        Py_ssize_t at = 0;
        PyObject *handler;
        int result = 0;
        while (result == 0 && PyDict_Next(pending, &at, &handler, NULL)) {
            result = flush(self, handler);
        }
        Py_DECREF(pending);
        if (result < 0) {
            return -1;
        }
    }
}

static int before_send(PyObject *self) {
    PyObject *hooks = FIELD(self, reactor, before_send);
    if (hooks != NULL && PyList_CheckExact(hooks) && PyList_GET_SIZE(hooks) == 0) {
        return 0;
    }
    PyObject *told = native_call(self, name__before_send, NULL, NULL);
    Py_XDECREF(told);
    return told == NULL ? -1 : 0;
}

static PyObject *reactor_flush(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    if (before_send(self) < 0 || flush_pending(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* What the round's connections left: their output, then that of all others. */
static int flush_round(PyObject *self, Round *round) {
    PyObject *pending = FIELD(self, reactor, _pending);
    if (round->count == 0 && pending != NULL && PyDict_CheckExact(pending) && PyDict_GET_SIZE(pending) == 0) {
        return 0;
    }
    if (before_send(self) < 0) {
        return -1;
    }
    for (size_t i = 0; i < round->count; i++) {
        if (flush(self, round->ready[i]) < 0) {
            return -1;
        }
    }
    return flush_pending(self);
}

static int count_traffic(const Round *round) {
    PyObject *stats = round->stats;
    return stats == NULL ? 0
        : native_add(&FIELD(stats, stats, net_input_bytes), round->input_bytes) < 0
            || native_add(&FIELD(stats, stats, net_output_bytes), round->output_bytes) < 0
            || native_add(&FIELD(stats, stats, reads_processed), round->reads) < 0
        ? -1 : 0;
}

static int drain(PyObject *self, PyObject *events, Round *round) {
    PyObject *handlers = FIELD(self, reactor, _handlers);
    PyObject *update_clock = FIELD(self, reactor, update_clock);
    if (handlers == NULL || !PyDict_CheckExact(handlers) || update_clock == NULL || !PyList_CheckExact(events)) {
        PyErr_SetString(PyExc_TypeError, "_drain([(fd, mask), ...])");
        return -1;
    }
    store(&FIELD(self, reactor, _working), Py_NewRef(Py_True));
    PyObject *now = PyObject_CallNoArgs(update_clock);
    Py_XDECREF(now);
    int result = now == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(events); i++) {
        result = ready(self, handlers, PyList_GET_ITEM(events, i));
    }
    if (result == 0) {
        result = flush_round(self, round);
    }
    if (result == 0) {
        result = count_traffic(round);
    }
    store(&FIELD(self, reactor, _working), Py_NewRef(Py_False));
    return result;
}

static PyObject *reactor_drain(PyObject *self, PyObject *events) {
    Round round;
    round.reactor = self;
    round.stats = NULL;
    round.input_bytes = round.output_bytes = round.reads = 0;
    round.count = 0;
    Round *outer = native_round;
    native_round = &round;
    int result = drain(self, events, &round);
    native_round = outer;
    for (size_t i = 0; i < round.count; i++) {
        Py_DECREF(round.ready[i]);
    }
    Py_XDECREF(round.stats);
    if (result < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}
