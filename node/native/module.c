/* The module: binding the Python classes and replacing their hot methods. */

#include "native.h"
#include <structmember.h>

#define DEFINE_LAYOUT(class_name, name, slots) struct name##_layout name##_layout;
EACH_CLASS(DEFINE_LAYOUT)

#define DEFINE_NAME(name) PyObject *name_##name;
EACH_NAME(DEFINE_NAME)

typedef struct {
    const char *class_name;
    PyTypeObject **type;
    Py_ssize_t *offsets;
    const char *const *slots;
} Binding;

#define SLOT_NAME(name) #name,
#define DEFINE_NAMES(class_name, name, slots) static const char *const name##_slots[] = {slots(SLOT_NAME) NULL};
EACH_CLASS(DEFINE_NAMES)

#define DEFINE_BINDING(class_name, name, slots) \
    {#class_name, &name##_layout.type, (Py_ssize_t *)(&name##_layout.type + 1), name##_slots},
static const Binding bindings[] = {EACH_CLASS(DEFINE_BINDING)};

int native_add(PyObject **slot, long long change) {
    if (*slot == NULL) {
        PyErr_SetString(PyExc_AttributeError, "a counter is not set");
        return -1;
    }
    long long value = PyLong_AsLongLong(*slot);
    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    PyObject *sum = PyLong_FromLongLong(value + change);
    if (sum == NULL) {
        return -1;
    }
    store(slot, sum);
    return 0;
}

PyObject *native_call(PyObject *self, PyObject *name, PyObject *first, PyObject *second) {
    PyObject *stack[] = {self, first, second};
    return PyObject_VectorcallMethod(name, stack, first == NULL ? 1 : second == NULL ? 2 : 3, NULL);
}

PyObject *native_take_error(void) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
}

PyObject *native_original(StandIn *method, PyObject *const *args, Py_ssize_t count) {
    return PyObject_Vectorcall(method->original, args, (size_t)count, NULL);
}

static int bind_class(const Binding *binding, PyTypeObject *type) {
    for (Py_ssize_t i = 0; binding->slots[i] != NULL; i++) {
        PyObject *descriptor = PyObject_GetAttrString((PyObject *)type, binding->slots[i]);
        if (descriptor == NULL) {
            return -1;
        }
        bool is_slot = Py_IS_TYPE(descriptor, &PyMemberDescr_Type)
            && ((PyMemberDescrObject *)descriptor)->d_member->type == T_OBJECT_EX;
        if (is_slot) {
            binding->offsets[i] = ((PyMemberDescrObject *)descriptor)->d_member->offset;
        }
        Py_DECREF(descriptor);
        if (!is_slot) {
            PyErr_Format(PyExc_TypeError, "%s.%s is no slot", binding->class_name, binding->slots[i]);
            return -1;
        }
    }
    Py_INCREF(type);
    *binding->type = type;
    return 0;
}

static int replace_methods(StandIn *methods, PyObject *originals) {
    for (; methods->definition.ml_name != NULL; methods++) {
        PyTypeObject *type = *methods->type;
        const char *name = methods->definition.ml_name;
        PyObject *original = PyObject_GetAttrString((PyObject *)type, name);
        if (original == NULL) {
            return -1;
        }
        methods->original = original;
        PyObject *full_name = PyUnicode_FromFormat("%s.%s", type->tp_name, name);
        PyObject *descriptor = PyDescr_NewMethod(type, &methods->definition);
        int failed = full_name == NULL || descriptor == NULL || PyDict_SetItem(originals, full_name, original) < 0
            || PyObject_SetAttrString((PyObject *)type, name, descriptor) < 0;
        Py_XDECREF(full_name);
        Py_XDECREF(descriptor);
        if (failed) {
            return -1;
        }
    }
    return 0;
}

static PyObject *bind(PyObject *module, PyObject *classes) {
    if (client_layout.type != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the classes are bound already");
        return NULL;
    }
    if (!PyDict_CheckExact(classes)) {
        PyErr_SetString(PyExc_TypeError, "a dict of classes by name is needed");
        return NULL;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(bindings); i++) {
        PyObject *type = PyDict_GetItemString(classes, bindings[i].class_name);
        if (type == NULL || !PyType_Check(type)) {
            PyErr_Format(PyExc_TypeError, "the class %s is missing", bindings[i].class_name);
            return NULL;
        }
        if (bind_class(&bindings[i], (PyTypeObject *)type) < 0) {
            return NULL;
        }
    }
    PyObject *originals = PyDict_New();
    if (originals == NULL || replace_methods(native_collection_methods, originals) < 0
        || replace_methods(native_database_methods, originals) < 0
        || replace_methods(native_dispatch_methods, originals) < 0
        || replace_methods(native_connection_methods, originals) < 0
        || replace_methods(native_journal_methods, originals) < 0
        || replace_methods(native_reactor_methods, originals) < 0
        || replace_methods(native_replication_methods, originals) < 0
        || replace_methods(native_sorted_set_methods, originals) < 0
        || replace_methods(native_table_methods, originals) < 0) {
        Py_XDECREF(originals);
        return NULL;
    }
    return originals;
}

static int intern_names(void) {
#define INTERN(name) \
    if ((name_##name = PyUnicode_InternFromString(#name)) == NULL) { \
        return -1; \
    }
    EACH_NAME(INTERN)
    return 0;
}

static PyMethodDef functions[] = {
    {"bind", bind, METH_O,
     "bind({name: class}) -> the Python methods that C stands in for now, by name. Once for a process."},
    {NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "The data plane's parse, dispatch and encode loop in C; see node/native/native.h for its law.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__native(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL
        && (intern_names() < 0 || PyModule_AddFunctions(module, native_encode_functions) < 0
            || PyModule_AddFunctions(module, native_parse_functions) < 0
            || PyModule_AddFunctions(module, native_slot_functions) < 0)) {
        Py_CLEAR(module);
    }
    return module;
}
