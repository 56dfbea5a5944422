/*
 * The usual events, looked at and counted: the twin of core/usual.py, which says what
 * each step means. Nothing is ever raised because of an event: what is not usual is
 * left to Python, which has the words for it.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>

/* As in core/events.py; tests/core/test_usual.py compares what both forms do. */
#define MAX_AT 1e11
#define MAX_PROPERTIES 64
#define MAX_KEY 64
#define MAX_STRING 1024
#define EVENT_BYTES 64
#define PROPERTY_BYTES 6
#define NUMBER_BYTES 16

/* Beyond, seconds are no exact integers; no clock comes near it. */
#define MAX_SECOND 1e15

enum { UNUSUAL = 0, USUAL = 1, FAILED = -1 };

static PyObject *key_name, *key_at, *key_properties;

typedef struct {
    PyObject *names;    /* dict: str to tuple of recipes */
    PyObject *subjects; /* tuple: the user or None, the device */
    double max_ahead_s, max_age_s;
    Py_ssize_t max_bytes;
    double now, offset_s;
    PyObject *cells; /* list */
} Context;

/* -- properties ------------------------------------------------------------------ */

/* The bytes of text in UTF-8; -1 if it has a surrogate on its own. */
static Py_ssize_t
utf8_length(PyObject *text)
{
    Py_ssize_t characters = PyUnicode_GET_LENGTH(text), bytes = 0;
    if (PyUnicode_IS_ASCII(text))
        return characters;
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    for (Py_ssize_t at = 0; at < characters; at++) {
        Py_UCS4 point = PyUnicode_READ(kind, data, at);
        if (point >= 0xD800 && point <= 0xDFFF)
            return -1;
        bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    }
    return bytes;
}

/* About how much room a value takes; -1 if it is none of a property. */
static Py_ssize_t
value_bytes(PyObject *value)
{
    if (PyUnicode_CheckExact(value)) {
        if (PyUnicode_GET_LENGTH(value) > MAX_STRING)
            return -1;
        return utf8_length(value);
    }
    if (PyFloat_CheckExact(value))
        return isfinite(PyFloat_AS_DOUBLE(value)) ? NUMBER_BYTES : -1;
    if (PyLong_CheckExact(value)) {
        int overflow;
        PyLong_AsLongLongAndOverflow(value, &overflow);
        return overflow ? -1 : NUMBER_BYTES; /* 2**63 to 2**64 - 1 are unusual */
    }
    return value == Py_None || PyBool_Check(value) ? NUMBER_BYTES : -1;
}

static int
check_properties(PyObject *properties, Py_ssize_t max_bytes)
{
    PyObject *key, *value;
    Py_ssize_t place = 0, size = EVENT_BYTES;
    if (!PyDict_CheckExact(properties)
        || PyDict_GET_SIZE(properties) > MAX_PROPERTIES)
        return UNUSUAL;
    while (PyDict_Next(properties, &place, &key, &value)) {
        if (!PyUnicode_CheckExact(key) || PyUnicode_GET_LENGTH(key) < 1
            || PyUnicode_GET_LENGTH(key) > MAX_KEY)
            return UNUSUAL;
        Py_ssize_t key_size = utf8_length(key), value_size = value_bytes(value);
        if (key_size < 0 || value_size < 0)
            return UNUSUAL;
        size += PROPERTY_BYTES + key_size + value_size;
    }
    return size <= max_bytes ? USUAL : UNUSUAL;
}

/* -- time ------------------------------------------------------------------------ */

static int
correct(const Context *context, PyObject *at, double *corrected)
{
    if (at == NULL || at == Py_None) {
        *corrected = context->now;
        return USUAL;
    }
    double given;
    if (PyFloat_CheckExact(at)) {
        given = PyFloat_AS_DOUBLE(at);
    }
    else if (PyLong_CheckExact(at)) {
        int overflow;
        long long whole = PyLong_AsLongLongAndOverflow(at, &overflow);
        if (overflow)
            return UNUSUAL;
        given = (double)whole;
    }
    else
        return UNUSUAL;
    if (!(given >= -MAX_AT && given <= MAX_AT)) /* also of NaN */
        return UNUSUAL;
    given += context->offset_s;
    if (given > context->now + context->max_ahead_s)
        given = context->now;
    else if (given < context->now - context->max_age_s)
        return UNUSUAL;
    *corrected = given;
    return USUAL;
}

/* -- cells ----------------------------------------------------------------------- */

/* What the event has for one dimension, borrowed; NULL if it is not usual. */
static PyObject *
value_of(const Context *context, PyObject *by, PyObject *properties)
{
    PyObject *value = NULL;
    if (PyLong_CheckExact(by)) {
        Py_ssize_t place = PyLong_AsSsize_t(by);
        if (place < 0 || place >= PyTuple_GET_SIZE(context->subjects)) {
            PyErr_Clear();
            return NULL;
        }
        value = PyTuple_GET_ITEM(context->subjects, place);
    }
    else if (properties != NULL) {
        value = PyDict_GetItemWithError(properties, by);
        if (value == NULL && PyErr_Occurred())
            return NULL;
    }
    if (value == NULL)
        return Py_None;
    if (PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || value == Py_None)
        return value;
    return NULL;
}

/* The key of its cells within a slot, a new reference; NULL if it is not usual. */
static PyObject *
values_of(const Context *context, PyObject *by, PyObject *properties)
{
    Py_ssize_t count = PyTuple_GET_SIZE(by);
    if (count == 1) {
        PyObject *value = value_of(context, PyTuple_GET_ITEM(by, 0), properties);
        return Py_XNewRef(value);
    }
    PyObject *values = PyTuple_New(count);
    if (values == NULL)
        return NULL;
    for (Py_ssize_t at = 0; at < count; at++) {
        PyObject *value = value_of(context, PyTuple_GET_ITEM(by, at), properties);
        if (value == NULL) {
            Py_DECREF(values);
            return NULL;
        }
        PyTuple_SET_ITEM(values, at, Py_NewRef(value));
    }
    return values;
}

/* The slot of a second, borrowed; NULL if there is none, or with an exception. */
static PyObject *
slot_of(PyObject *slots, long long step, long long second)
{
    long long number = 0;
    if (step > 0) {
        number = second / step;
        if (second % step < 0)
            number--; /* Python rounds down, C to zero */
    }
    PyObject *key = PyLong_FromLongLong(number);
    if (key == NULL)
        return NULL;
    PyObject *slot = PyDict_GetItemWithError(slots, key);
    Py_DECREF(key);
    return slot;
}

/* The cells of these values in a slot, a new reference; NULL if there are none. */
static PyObject *
find_cells(const Context *context, PyObject *slot, PyObject *by, PyObject *properties,
           double lateness_s)
{
    if (!PyTuple_Check(slot) || PyTuple_GET_SIZE(slot) != 2)
        return NULL;
    double ends_at = PyFloat_AsDouble(PyTuple_GET_ITEM(slot, 0));
    if (ends_at < context->now - lateness_s)
        return NULL;
    PyObject *values = values_of(context, by, properties);
    if (values == NULL)
        return NULL;
    PyObject *cells = PyDict_GetItemWithError(PyTuple_GET_ITEM(slot, 1), values);
    Py_XINCREF(cells);
    Py_DECREF(values);
    return cells;
}

/* Append what one counter adds 1 to. */
static int
add_cells(const Context *context, PyObject *recipe, PyObject *properties,
          long long second)
{
    if (!PyTuple_Check(recipe) || PyTuple_GET_SIZE(recipe) != 4) {
        PyErr_SetString(PyExc_TypeError, "count() was given another shape of recipe");
        return FAILED;
    }
    long long step = PyLong_AsLongLong(PyTuple_GET_ITEM(recipe, 0));
    double lateness_s = PyFloat_AsDouble(PyTuple_GET_ITEM(recipe, 1));
    PyObject *by = PyTuple_GET_ITEM(recipe, 2), *slots = PyTuple_GET_ITEM(recipe, 3);
    if (PyErr_Occurred())
        return FAILED;
    PyObject *slot = Py_XNewRef(slot_of(slots, step, second));
    if (slot == NULL)
        return PyErr_Occurred() ? FAILED : UNUSUAL;
    PyObject *cells = find_cells(context, slot, by, properties, lateness_s);
    Py_DECREF(slot);
    if (cells == NULL)
        return PyErr_Occurred() ? FAILED : UNUSUAL;
    int appended = PyList_Append(context->cells, cells);
    Py_DECREF(cells);
    return appended < 0 ? FAILED : USUAL;
}

/* -- events ---------------------------------------------------------------------- */

/* A new reference; NULL if there are none, or with an exception. */
static PyObject *
recipes_of(const Context *context, PyObject *raw)
{
    PyObject *name = PyDict_GetItemWithError(raw, key_name);
    if (name == NULL || !PyUnicode_CheckExact(name))
        return NULL;
    PyObject *recipes = PyDict_GetItemWithError(context->names, name);
    return recipes != NULL && PyTuple_Check(recipes) ? Py_NewRef(recipes) : NULL;
}

/* Look at one event: whether it is well-formed, and in which second it happened. */
static int
judge(const Context *context, PyObject *raw, PyObject **properties, long long *second)
{
    PyObject *at = PyDict_GetItemWithError(raw, key_at);
    *properties = PyDict_GetItemWithError(raw, key_properties);
    if (PyErr_Occurred())
        return FAILED;
    if (PyDict_GET_SIZE(raw) > 1 + (at != NULL) + (*properties != NULL))
        return UNUSUAL; /* a field that there is not */
    double corrected;
    if (correct(context, at, &corrected) != USUAL || !(fabs(corrected) < MAX_SECOND))
        return UNUSUAL;
    *second = (long long)floor(corrected);
    if (*properties == Py_None)
        *properties = NULL;
    if (*properties == NULL)
        return USUAL;
    return check_properties(*properties, context->max_bytes);
}

/* Append what one event adds 1 to, counter by counter, until one does not know it. */
static int
count_one(const Context *context, PyObject *raw)
{
    if (!PyDict_CheckExact(raw))
        return UNUSUAL;
    PyObject *recipes = recipes_of(context, raw);
    if (recipes == NULL)
        return PyErr_Occurred() ? FAILED : UNUSUAL;
    PyObject *properties;
    long long second = 0;
    int result = judge(context, raw, &properties, &second);
    for (Py_ssize_t each = 0; each < PyTuple_GET_SIZE(recipes); each++) {
        if (result != USUAL)
            break;
        PyObject *recipe = PyTuple_GET_ITEM(recipes, each);
        result = add_cells(context, recipe, properties, second);
    }
    Py_DECREF(recipes);
    return result;
}

/* -- the module ------------------------------------------------------------------ */

/* Fill in what comes from Python; the shapes of core/usual.py are checked here. */
static int
understand(Context *context, PyObject *known, PyObject *now, PyObject *offset_s,
           PyObject *cells)
{
    if (!PyTuple_Check(known) || PyTuple_GET_SIZE(known) != 3 || !PyList_Check(cells))
        goto wrong;
    PyObject *bounds = PyTuple_GET_ITEM(known, 2);
    context->names = PyTuple_GET_ITEM(known, 0);
    context->subjects = PyTuple_GET_ITEM(known, 1);
    if (!PyDict_Check(context->names) || !PyTuple_Check(context->subjects)
        || !PyTuple_Check(bounds) || PyTuple_GET_SIZE(bounds) != 3)
        goto wrong;
    context->max_ahead_s = PyFloat_AsDouble(PyTuple_GET_ITEM(bounds, 0));
    context->max_age_s = PyFloat_AsDouble(PyTuple_GET_ITEM(bounds, 1));
    context->max_bytes = PyLong_AsSsize_t(PyTuple_GET_ITEM(bounds, 2));
    context->now = PyFloat_AsDouble(now);
    context->offset_s = PyFloat_AsDouble(offset_s);
    context->cells = cells;
    return PyErr_Occurred() ? -1 : 0;
wrong:
    PyErr_SetString(PyExc_TypeError, "count() was given another shape of arguments");
    return -1;
}

/* See CountUsual in core/usual.py. */
static PyObject *
count(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    Context context;
    if (given != 6) {
        PyErr_SetString(PyExc_TypeError, "count() takes 6 arguments");
        return NULL;
    }
    PyObject *events = args[0];
    Py_ssize_t place = PyLong_AsSsize_t(args[1]);
    if ((place == -1 && PyErr_Occurred())
        || understand(&context, args[2], args[3], args[4], args[5]) < 0)
        return NULL;
    if (!PyList_CheckExact(events) || place < 0)
        return Py_NewRef(args[1]);
    for (; place < PyList_GET_SIZE(events); place++) {
        Py_ssize_t before = PyList_GET_SIZE(context.cells);
        int result = count_one(&context, PyList_GET_ITEM(events, place));
        if (result == USUAL)
            continue;
        if (result == FAILED)
            return NULL;
        Py_ssize_t after = PyList_GET_SIZE(context.cells);
        if (after > before
            && PyList_SetSlice(context.cells, before, after, NULL) < 0)
            return NULL;
        break;
    }
    return PyLong_FromSsize_t(place);
}

static PyMethodDef methods[] = {
    {"count", (PyCFunction)(void (*)(void))count, METH_FASTCALL,
     "Append what usual events add 1 to; see CountUsual in realtime.core.usual."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "realtime.native.usual",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit_usual(void)
{
    key_name = PyUnicode_InternFromString("name");
    key_at = PyUnicode_InternFromString("at");
    key_properties = PyUnicode_InternFromString("properties");
    if (key_name == NULL || key_at == NULL || key_properties == NULL)
        return NULL;
    return PyModule_Create(&definition);
}
