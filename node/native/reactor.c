/* Reactor._round, _drain and _flush (node/reactor.py): one round over the ready sockets.

   Connections are read and flushed without a Python call in between; whoever else handles a descriptor is called as
   Python calls it. What one round's connections have in common (what is counted, who has output) is kept in a Round. */

#include "native.h"
#include <errno.h>
#include <sys/epoll.h>

/* node/reactor.py: EVENTS_PER_POLL, LINGER_SECONDS. */
#define EVENTS_PER_POLL ROUND_MAX_READY
#define LINGER_MS 1

static PyObject *reactor_drain(PyObject *self, PyObject *events);
static PyObject *reactor_flush(PyObject *self, PyObject *ignored);
static PyObject *reactor_round(PyObject *self, PyObject *events_max);

StandIn native_reactor_methods[] = {
    {{"_drain", reactor_drain, METH_O, "Stands in for the Python method."}, &reactor_layout.type},
    {{"_round", reactor_round, METH_O, "Stands in for the Python method."}, &reactor_layout.type},
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

/* One event. */
static int ready(PyObject *self, PyObject *handlers, PyObject *fd, long mask) {
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

/* What is ready: `list` of (fd, mask), or `count` events where that is NULL. */
typedef struct {
    PyObject *list;
    int count;
    struct epoll_event at[EVENTS_PER_POLL];
} Events;

static int ready_in_list(PyObject *self, PyObject *handlers, PyObject *list) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *event = PyList_GET_ITEM(list, i);
        if (!PyTuple_CheckExact(event) || PyTuple_GET_SIZE(event) != 2) {
            PyErr_SetString(PyExc_TypeError, "an event is (fd, mask)");
            return -1;
        }
        long mask = PyLong_AsLong(PyTuple_GET_ITEM(event, 1));
        if (PyErr_Occurred() || ready(self, handlers, PyTuple_GET_ITEM(event, 0), mask) < 0) {
            return -1;
        }
    }
    return 0;
}

static int ready_in_events(PyObject *self, PyObject *handlers, const Events *events) {
    for (int i = 0; i < events->count; i++) {
        PyObject *fd = PyLong_FromLong(events->at[i].data.fd);
        int result = fd == NULL ? -1 : ready(self, handlers, fd, (long)events->at[i].events);
        Py_XDECREF(fd);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

static int drain_into(PyObject *self, const Events *events, Round *round) {
    PyObject *handlers = FIELD(self, reactor, _handlers);
    PyObject *update_clock = FIELD(self, reactor, update_clock);
    if (handlers == NULL || !PyDict_CheckExact(handlers) || update_clock == NULL) {
        PyErr_SetString(PyExc_TypeError, "a reactor that is set up");
        return -1;
    }
    store(&FIELD(self, reactor, _working), Py_NewRef(Py_True));
    PyObject *now = PyObject_CallNoArgs(update_clock);
    Py_XDECREF(now);
    int result = now == NULL ? -1
        : events->list != NULL ? ready_in_list(self, handlers, events->list)
        : ready_in_events(self, handlers, events);
    if (result == 0) {
        result = flush_round(self, round);
    }
    if (result == 0) {
        result = count_traffic(round);
    }
    store(&FIELD(self, reactor, _working), Py_NewRef(Py_False));
    return result;
}

static int drain(PyObject *self, const Events *events) {
    Round round;
    round.reactor = self;
    round.stats = NULL;
    round.input_bytes = round.output_bytes = round.reads = 0;
    round.count = 0;
    Round *outer = native_round;
    native_round = &round;
    int result = drain_into(self, events, &round);
    native_round = outer;
    for (size_t i = 0; i < round.count; i++) {
        Py_DECREF(round.ready[i]);
    }
    Py_XDECREF(round.stats);
    return result;
}

static PyObject *reactor_drain(PyObject *self, PyObject *list) {
    if (!PyList_CheckExact(list)) {
        PyErr_SetString(PyExc_TypeError, "_drain([(fd, mask), ...])");
        return NULL;
    }
    Events events;
    events.list = list;
    if (drain(self, &events) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *reactor_round(PyObject *self, PyObject *events_max) {
    PyObject *fd = FIELD(self, reactor, _epoll_fd);
    long epoll_fd = fd == NULL ? -1 : PyLong_AsLong(fd);
    long max = PyLong_AsLong(events_max);
    if (PyErr_Occurred()) {
        return NULL;
    }
    max = max < EVENTS_PER_POLL ? max : EVENTS_PER_POLL;
    Events events;
    events.list = NULL;
    Py_BEGIN_ALLOW_THREADS
    events.count = epoll_wait((int)epoll_fd, events.at, (int)max, LINGER_MS);
    Py_END_ALLOW_THREADS
    if (events.count < 0 && errno != EINTR) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (events.count <= 0) {
        return PyErr_CheckSignals() < 0 ? NULL : PyLong_FromLong(0);
    }
    long long started_ns = native_now_ns();
    if (drain(self, &events) < 0) {
        return NULL;
    }
    long long took_ns = native_now_ns() - started_ns;
    if (native_add(&FIELD(self, reactor, cycles), 1) < 0
        || native_add(&FIELD(self, reactor, busy_ns), took_ns) < 0) {
        return NULL;
    }
    return PyLong_FromLongLong(took_ns);
}
