/*
 * The usual frames of a client: whole messages, masked, of bytes or of ASCII text. Every
 * other frame, and the beginning of one, is left to wire/reader.py.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define FINAL_TEXT 0x81
#define FINAL_BINARY 0x82
#define MASKED 0x80
#define HIGH_BITS UINT64_C(0x8080808080808080)

/* Write *length* bytes without their mask; return whether all of them are ASCII. */
static int
unmask(unsigned char *to, const unsigned char *from, size_t length,
       const unsigned char *mask)
{
    uint64_t wide, word, seen = 0;
    memcpy(&wide, mask, 4);
    memcpy((unsigned char *)&wide + 4, mask, 4);
    size_t at = 0;
    for (; at + 8 <= length; at += 8) {
        memcpy(&word, from + at, 8);
        word ^= wide;
        seen |= word;
        memcpy(to + at, &word, 8);
    }
    for (; at < length; at++) {
        to[at] = from[at] ^ mask[at & 3];
        seen |= to[at];
    }
    return (seen & HIGH_BITS) == 0;
}

typedef struct {
    Py_ssize_t start, length; /* of the payload; the mask lies before it */
} Frame;

/* Understand the header at *at*; return 0 unless all of a usual frame is there. */
static int
find(const unsigned char *data, Py_ssize_t size, Py_ssize_t at, Py_ssize_t max_bytes,
     Frame *frame)
{
    Py_ssize_t left = size - at;
    if (left < 6 || (data[at] != FINAL_TEXT && data[at] != FINAL_BINARY)
        || !(data[at + 1] & MASKED))
        return 0;
    uint64_t length = data[at + 1] & ~MASKED & 0xFF;
    Py_ssize_t header = 6;
    if (length >= 126) {
        Py_ssize_t more = length == 126 ? 2 : 8;
        header += more;
        if (left < header)
            return 0;
        length = 0;
        for (Py_ssize_t each = 0; each < more; each++)
            length = length << 8 | data[at + 2 + each];
    }
    if (length > (uint64_t)max_bytes || length > (uint64_t)(left - header))
        return 0;
    frame->start = at + header;
    frame->length = (Py_ssize_t)length;
    return 1;
}

/* Append (opcode, payload) to *events*; 0 if its text is not ASCII, -1 if it failed. */
static int
append(PyObject *events, PyObject *opcode, int is_text, const unsigned char *data,
       const Frame *frame)
{
    PyObject *payload = PyBytes_FromStringAndSize(NULL, frame->length);
    if (payload == NULL)
        return -1;
    const unsigned char *from = data + frame->start;
    unsigned char *to = (unsigned char *)PyBytes_AS_STRING(payload);
    if (!unmask(to, from, (size_t)frame->length, from - 4) && is_text) {
        Py_DECREF(payload);
        return 0;
    }
    PyObject *event = PyTuple_Pack(2, opcode, payload);
    Py_DECREF(payload);
    if (event == NULL)
        return -1;
    int appended = PyList_Append(events, event);
    Py_DECREF(event);
    return appended < 0 ? -1 : 1;
}

/* See ReadUsual in wire/reader.py. */
static PyObject *
read_usual(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    if (given != 5 || !PyBytes_Check(args[0]) || !PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "read() takes bytes, a number, a list and "
                                         "two opcodes");
        return NULL;
    }
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    Py_ssize_t size = PyBytes_GET_SIZE(args[0]), position = 0;
    Py_ssize_t max_bytes = PyLong_AsSsize_t(args[1]);
    if (max_bytes < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "max_bytes must not be negative");
        return NULL;
    }
    Frame frame;
    while (find(data, size, position, max_bytes, &frame)) {
        int is_text = data[position] == FINAL_TEXT;
        int appended = append(args[2], args[is_text ? 3 : 4], is_text, data, &frame);
        if (appended < 0)
            return NULL;
        if (appended == 0)
            break;
        position = frame.start + frame.length;
    }
    return PyLong_FromSsize_t(position);
}

static PyMethodDef methods[] = {
    {"read", (PyCFunction)(void (*)(void))read_usual, METH_FASTCALL,
     "Append the usual frames; see ReadUsual in realtime.wire.reader."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "realtime.native.frames",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit_frames(void)
{
    return PyModule_Create(&definition);
}
