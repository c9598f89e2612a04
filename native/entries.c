/* Loops over the entries of a turn, which the processor's caches no longer hold: C needs so few instructions for each that
   the processor fetches several at once. core/entry.py has the same loops in Python. */

#include "native.h"

Class Entry, Reading, Record;

/* What Python calls: number of a class, a struct of it, its size in words, and the objects that are the members which C
   knows, in the order of native.h. Tells whether they are where a struct has them. */
PyObject *use_class(PyObject *module, PyObject *arguments) {
    PyObject *sample, *marks;
    int number, words;
    if (!PyArg_ParseTuple(arguments, "iOiO!", &number, &sample, &words, &PyTuple_Type, &marks)) return NULL;
    Class *class = (Class *[]){&Entry, &Reading, &Record}[number];
    for (Py_ssize_t which = 0; which < PyTuple_Size(marks); which++) {
        int *place = &class->places[which];
        for (*place = 2; *place < words && ((PyObject **)sample)[*place] != PyTuple_GetItem(marks, which);) ++*place;
        if (*place == words) Py_RETURN_FALSE;
    }
    class->type = Py_NewRef((PyObject *)Py_TYPE(sample));
    Py_RETURN_TRUE;
}

PyObject *no_member(void) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "it is no struct of the class that is expected here");
    return NULL;
}

static long long number_of(PyObject *entry, int which) {
    PyObject *number = member(&Entry, entry, which);
    return number ? PyLong_AsLongLong(number) : -1;
}

/* Set a member of an entry to a new reference. */
static void set(PyObject *entry, int which, PyObject *value) {
    if (value && member(&Entry, entry, which)) {
        PyObject **place = (PyObject **)entry + Entry.places[which], *former = *place;
        *place = value;
        value = former;
    }
    Py_XDECREF(value);
}

/* What Python calls: a list of entries. Gives the sum of their sizes, and the largest. */
PyObject *measure(PyObject *module, PyObject *list) {
    long long sum = 0, largest = 0;
    for (Py_ssize_t place = 0; place < PyList_Size(list); place++) {
        long long size = number_of(PyList_GetItem(list, place), ENTRY_SIZE);
        if (size > largest) largest = size;
        sum += size;
    }
    return PyErr_Occurred() ? NULL : Py_BuildValue("LL", sum, largest);
}

/* What Python calls: a list of entries. Marks them as settled, and counts those that are stored. */
PyObject *settle(PyObject *module, PyObject *list) {
    long stored = 0;
    for (Py_ssize_t place = 0; place < PyList_Size(list); place++) {
        set(PyList_GetItem(list, place), ENTRY_IS_SETTLED, Py_NewRef(Py_True));
        stored += member(&Entry, PyList_GetItem(list, place), ENTRY_IS_STORED) == Py_True;
    }
    return PyErr_Occurred() ? NULL : PyLong_FromLong(stored);
}

/* What Python calls: an iterator of entries. Gives those before the first that is not settled, the sum of their sizes, and
   the connection that all of them have come on, with packet ids; None for several. */
PyObject *take_settled(PyObject *module, PyObject *iterator) {
    PyObject *taken = PyList_New(0), *entry, *connection = NULL;
    long long sum = 0;
    bool is_settled = true;
    while (taken && is_settled && (entry = PyIter_Next(iterator))) {
        is_settled = member(&Entry, entry, ENTRY_IS_SETTLED) == Py_True;
        if (is_settled) {
            PyObject *its = number_of(entry, ENTRY_PACKET_ID) > 0 ? member(&Entry, entry, ENTRY_CONNECTION) : Py_None;
            connection = connection && connection != its ? Py_None : its;
            sum += number_of(entry, ENTRY_SIZE);
            if (PyList_Append(taken, entry)) Py_CLEAR(taken);
        }
        Py_DECREF(entry); /* the list has it */
    }
    if (PyErr_Occurred()) Py_CLEAR(taken);
    return taken ? Py_BuildValue("NLO", taken, sum, connection ? connection : Py_None) : NULL;
}

/* What Python calls: a list of entries, the offset of the first, and the bytes of an entry without its reading's payload and
   properties. Sets offset and size of each, and gives the sum of the sizes. */
PyObject *number(PyObject *module, PyObject *arguments) {
    PyObject *list;
    long long offset, bytes, sum = 0;
    if (!PyArg_ParseTuple(arguments, "O!LL", &PyList_Type, &list, &offset, &bytes)) return NULL;
    for (Py_ssize_t place = 0; place < PyList_Size(list) && !PyErr_Occurred(); place++) {
        PyObject *entry = PyList_GetItem(list, place), *reading = member(&Entry, entry, ENTRY_READING);
        PyObject *payload = member(&Reading, reading, READING_PAYLOAD);
        PyObject *properties = member(&Reading, reading, READING_PROPERTIES);
        Py_ssize_t size = payload && properties ? bytes + PyBytes_Size(payload) + PyBytes_Size(properties) : 0;
        set(entry, ENTRY_OFFSET, PyLong_FromLongLong(offset + place));
        set(entry, ENTRY_SIZE, PyLong_FromSsize_t(size));
        sum += size;
    }
    return PyErr_Occurred() ? NULL : PyLong_FromLongLong(sum);
}

/* What Python calls: records, their entries, the known partitions of keys, the partition of the others. Gives the records
   and entries of each partition, in order. */
PyObject *split(PyObject *module, PyObject *arguments) {
    PyObject *records, *entries, *known, *others, *runs = NULL;
    if (PyArg_ParseTuple(arguments, "O!O!O!O", &PyList_Type, &records, &PyList_Type, &entries, &PyDict_Type, &known, &others))
        runs = PyDict_New();
    for (Py_ssize_t place = 0; runs && place < PyList_Size(records); place++) {
        PyObject *record = PyList_GetItem(records, place), *entry = PyList_GetItem(entries, place);
        PyObject *key = member(&Record, record, RECORD_KEY), *partition = key ? PyDict_GetItemWithError(known, key) : NULL;
        PyObject *run = PyDict_GetItemWithError(runs, partition ? partition : others);
        if (!run && (run = Py_BuildValue("[][]"))) {
            PyDict_SetItem(runs, partition ? partition : others, run);
            Py_DECREF(run); /* the dict has it */
        }
        if (entry && run && !PyErr_Occurred()) PyList_Append(PyTuple_GetItem(run, 0), record);
        if (entry && run && !PyErr_Occurred()) PyList_Append(PyTuple_GetItem(run, 1), entry);
        if (PyErr_Occurred()) Py_CLEAR(runs);
    }
    return runs;
}
