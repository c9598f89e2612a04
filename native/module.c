/* The module gateway.core._native. It cannot be imported where GATEWAY_PURE=1 selects Python. */

#include "native.h"
#include <stdlib.h>

static PyMethodDef functions[] = {
    {"use_class", use_class, METH_VARARGS, NULL},
    {"measure", measure, METH_O, NULL},
    {"settle", settle, METH_O, NULL},
    {"take_settled", take_settled, METH_O, NULL},
    {"number", number, METH_VARARGS, NULL},
    {"split", split, METH_VARARGS, NULL},
    {"make_encoder", make_encoder, METH_VARARGS, NULL},
    {"encode_run", encode_run, METH_VARARGS, NULL},
    {"read_publishes", read_publishes, METH_VARARGS, NULL},
    {"use_librdkafka", use_librdkafka, METH_VARARGS, NULL},
    {"take_client", take_client, METH_NOARGS, NULL},
    {"produce", produce, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) {
    const char *pure = getenv("GATEWAY_PURE");
    if (pure && !strcmp(pure, "1")) {
        PyErr_SetString(PyExc_ImportError, "GATEWAY_PURE=1 selects Python");
        return NULL;
    }
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddIntConstant(module, "FORMAT", FORMAT) < 0) Py_CLEAR(module);
    return module;
}
