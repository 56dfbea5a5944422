/*
 * Hands one frame to many outboxes: the usual case of realtime.engine.deliveries.hand.
 *
 * Nothing waits in the usual outbox, and its transport holds nothing: then the frame
 * goes to the kernel by one send() on the socket's descriptor, and order is kept. What
 * is unusual (something waits, TLS, the kernel takes only a part, an error) is returned,
 * so that there is one place for it.
 *
 * The interpreter is not let go of: nothing may close a descriptor between the look at
 * its outbox and the send(), which never blocks.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <limits.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#if defined(__GNUC__)
#define FETCH(object) \
    (__builtin_prefetch(object), __builtin_prefetch((const char *)(object) + 64), \
     __builtin_prefetch((const char *)(object) + 128))
#else
#define FETCH(object) ((void)0)
#endif

/*
 * So many outboxes are looked at before the first of them is sent to. What belongs to
 * one lies in six places of memory, and each send() drives out of the caches what comes
 * next; looked at together, they are fetched together.
 */
enum { TOGETHER = 64, UNUSUAL = -1, FAILED = -2 };

static PyObject *name_paused, *name_socket, *name_fd, *name_transport, *name_buffered;

/* What is known of one outbox while it is looked at; both are references of our own. */
struct look {
    PyObject *socket, *transport;
    int fd;
};

/* Note that an outbox is unusual, unless what was raised is for the caller. */
static int unusual(struct look *look)
{
    look->fd = UNUSUAL;
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
        return FAILED;
    PyErr_Clear(); /* another kind of socket, or one that has ended: Python will say */
    return 0;
}

static int look_at_outbox(struct look *look, PyObject *outbox, PyTypeObject *kind)
{
    PyObject *paused;
    if (Py_TYPE(outbox) != kind || !(paused = PyObject_GetAttr(outbox, name_paused)))
        return unusual(look);
    Py_DECREF(paused); /* the outbox keeps it */
    if (paused != Py_False || !(look->socket = PyObject_GetAttr(outbox, name_socket)))
        return unusual(look);
    FETCH(look->socket);
    return 0;
}

static int look_at_socket(struct look *look)
{
    PyObject *value = look->socket ? PyObject_GetAttr(look->socket, name_fd) : NULL;
    long fd = value ? PyLong_AsLong(value) : -1;
    Py_XDECREF(value);
    if (fd < 0 || fd > INT_MAX ||
        !(look->transport = PyObject_GetAttr(look->socket, name_transport)))
        return unusual(look);
    FETCH(look->transport);
    look->fd = (int)fd;
    return 0;
}

static int look_at_transport(struct look *look)
{
    PyObject *value;
    long held;
    if (!look->transport)
        return 0;
    value = PyObject_CallMethodNoArgs(look->transport, name_buffered);
    held = value ? PyLong_AsLong(value) : -1;
    Py_XDECREF(value);
    return held == 0 ? 0 : unusual(look);
}

/* Find the descriptors of *many* outboxes; UNUSUAL where nothing may be sent. */
static int look_at_all(struct look *looks, PyObject **outboxes, Py_ssize_t many,
                       PyTypeObject *kind)
{
    int failed = 0;
    for (Py_ssize_t i = 0; i < many; i++)
        FETCH(outboxes[i]);
    for (Py_ssize_t i = 0; i < many && !failed; i++)
        failed |= look_at_outbox(&looks[i], outboxes[i], kind);
    for (Py_ssize_t i = 0; i < many && !failed; i++)
        failed |= look_at_socket(&looks[i]);
    for (Py_ssize_t i = 0; i < many && !failed; i++)
        failed |= look_at_transport(&looks[i]);
    for (Py_ssize_t i = 0; i < many; i++) {
        Py_XDECREF(looks[i].socket);
        Py_XDECREF(looks[i].transport);
    }
    return failed;
}

/* Send what the kernel takes; return how much that is. */
static Py_ssize_t attempt(int fd, const char *data, Py_ssize_t size)
{
    ssize_t sent;
    do
        sent = send(fd, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? 0 : (Py_ssize_t)sent;
}

/* Add an outbox and what it still has to get to *left*, which is made when needed. */
static int leave(PyObject **left, PyObject *outbox, PyObject *frame, Py_ssize_t sent)
{
    PyObject *rest, *pair;
    int failed;
    if (!*left && !(*left = PyList_New(0)))
        return -1;
    rest = sent ? PyBytes_FromStringAndSize(PyBytes_AS_STRING(frame) + sent,
                                            PyBytes_GET_SIZE(frame) - sent)
                : Py_NewRef(frame);
    if (!rest)
        return -1;
    pair = PyTuple_Pack(2, outbox, rest);
    Py_DECREF(rest);
    if (!pair)
        return -1;
    failed = PyList_Append(*left, pair);
    Py_DECREF(pair);
    return failed;
}

PyDoc_STRVAR(send_all_doc,
             "send_all(outboxes, frame, kind)\n--\n\n"
             "Send *frame* to those of *outboxes*, a tuple, that are usual and of class "
             "*kind*; a tuple of frames has one for each.\n\n"
             "Return the others, each with what it still has to get; None if "
             "there are none.");

/* Whether *frame* is bytes, or has bytes for each outbox. */
static int are_frames(PyObject *frame, PyObject *outboxes)
{
    if (PyBytes_CheckExact(frame))
        return 1;
    if (!PyTuple_CheckExact(frame) ||
        PyTuple_GET_SIZE(frame) != PyTuple_GET_SIZE(outboxes))
        return 0;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(frame); at++)
        if (!PyBytes_CheckExact(PyTuple_GET_ITEM(frame, at)))
            return 0;
    return 1;
}

static PyObject *send_all(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *outboxes, *frame, *left = NULL;
    if (count != 3 || !PyTuple_CheckExact(args[0]) || !are_frames(args[1], args[0]) ||
        !PyType_Check(args[2]))
        return PyErr_Format(PyExc_TypeError, "send_all takes a tuple, bytes, a class");
    outboxes = args[0];
    frame = args[1];
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(outboxes); at += TOGETHER) {
        struct look looks[TOGETHER] = {{0}};
        PyObject **some = ((PyTupleObject *)outboxes)->ob_item + at;
        Py_ssize_t many = PyTuple_GET_SIZE(outboxes) - at;
        if (many > TOGETHER)
            many = TOGETHER;
        if (look_at_all(looks, some, many, (PyTypeObject *)args[2]))
            goto failed;
        for (Py_ssize_t i = 0; i < many; i++) {
            int fd = looks[i].fd;
            PyObject *own = PyTuple_Check(frame) ? PyTuple_GET_ITEM(frame, at + i) : frame;
            Py_ssize_t size = PyBytes_GET_SIZE(own);
            Py_ssize_t sent = fd < 0 ? 0 : attempt(fd, PyBytes_AS_STRING(own), size);
            if (sent < size && leave(&left, some[i], own, sent))
                goto failed;
        }
    }
    if (left)
        return left;
    Py_RETURN_NONE;
failed:
    Py_XDECREF(left);
    return NULL;
}

static PyMethodDef methods[] = {
    {"send_all", (PyCFunction)(void (*)(void))send_all, METH_FASTCALL, send_all_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "realtime.native.fanout", NULL, -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_fanout(void)
{
    if (!(name_paused = PyUnicode_InternFromString("_paused")) ||
        !(name_socket = PyUnicode_InternFromString("_socket")) ||
        !(name_fd = PyUnicode_InternFromString("fd")) ||
        !(name_transport = PyUnicode_InternFromString("_transport")) ||
        !(name_buffered = PyUnicode_InternFromString("get_write_buffer_size")))
        return NULL;
    return PyModule_Create(&module);
}
