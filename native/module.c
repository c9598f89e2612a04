/* The module gateway.core._native. It cannot be imported where GATEWAY_PURE=1 selects Python. */

#include "native.h"
#include <stdlib.h>

static PyMethodDef functions[] = {
    {"make_encoder", make_encoder, METH_VARARGS, NULL},
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
