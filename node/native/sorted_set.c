/* SortedSet.put and pop_lowest, and what they ask of the ScoreIndex (node/values/sorted_set.py, score_index.py).

   Plain: members are bytes and scores floats, the encoding and the kind of mapping stay, and so does the number of
   blocks: to split and to join them is Python's. */

#include "native.h"
#include <math.h>

#define UNORDERED_MAX_ENTRIES 1024 /* node/values/sorted_set.py */
/* node/values/score_index.py */
#define BLOCK_MAX_ENTRIES 384
#define BLOCK_MIN_ENTRIES 48
#define JOINED_MAX_ENTRIES 256

static PyObject *index_insert(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *index_pop_first(PyObject *self, PyObject *ignored);
static PyObject *index_remove(PyObject *self, PyObject *const *args, Py_ssize_t count);
static PyObject *set_pop_lowest(PyObject *self, PyObject *ignored);
static PyObject *set_put(PyObject *self, PyObject *const *args, Py_ssize_t count);

enum { INSERT, POP_FIRST, REMOVE, POP_LOWEST, PUT };
#define METHOD(name, function, kind, layout) \
    {{name, (PyCFunction)(void (*)(void))(function), kind, "Stands in for the Python method."}, &layout.type}
StandIn native_sorted_set_methods[] = {
    [INSERT] = METHOD("insert", index_insert, METH_FASTCALL, score_index_layout),
    [POP_FIRST] = METHOD("pop_first", index_pop_first, METH_NOARGS, score_index_layout),
    [REMOVE] = METHOD("remove", index_remove, METH_FASTCALL, score_index_layout),
    [POP_LOWEST] = METHOD("pop_lowest", set_pop_lowest, METH_NOARGS, sorted_set_layout),
    [PUT] = METHOD("put", set_put, METH_FASTCALL, sorted_set_layout),
    {{NULL}},
};

static PyObject *original(int method, PyObject *self, PyObject *first, PyObject *second) {
    PyObject *args[3] = {self, first, second};
    return native_original(&native_sorted_set_methods[method], args, first == NULL ? 1 : second == NULL ? 2 : 3);
}

/* -- an index, opened */

typedef struct {
    PyObject *self;
    PyObject *scores, *members;         /* of the blocks */
    PyObject *max_scores, *max_members; /* of each block */
    Py_ssize_t blocks;
} Index;

static bool open_index(PyObject *self, Index *index) {
    PyObject *lists[] = {
        FIELD(self, score_index, _scores),
        FIELD(self, score_index, _members),
        FIELD(self, score_index, _max_scores),
        FIELD(self, score_index, _max_members),
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(lists); i++) {
        if (lists[i] == NULL || !PyList_CheckExact(lists[i])
            || PyList_GET_SIZE(lists[i]) != PyList_GET_SIZE(lists[0])) {
            return false;
        }
    }
    *index = (Index){self, lists[0], lists[1], lists[2], lists[3], PyList_GET_SIZE(lists[0])};
    return true;
}

/* One block of an index: its scores are held in place until `close_block`. */
typedef struct {
    PyObject *array, *members;
    Py_buffer view;
    const double *score;
    Py_ssize_t size;
} Block;

static void close_block(Block *block) {
    PyBuffer_Release(&block->view);
}

static bool open_block(const Index *index, Py_ssize_t at, Block *block) {
    block->array = PyList_GET_ITEM(index->scores, at);
    block->members = PyList_GET_ITEM(index->members, at);
    if (!PyList_CheckExact(block->members) || PyObject_GetBuffer(block->array, &block->view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return false;
    }
    block->score = block->view.buf;
    block->size = PyList_GET_SIZE(block->members);
    if (block->size == 0 || block->view.len != block->size * (Py_ssize_t)sizeof(double)) {
        close_block(block);
        return false;
    }
    return true;
}

/* -- searching */

static int compare(PyObject *one, PyObject *other) {
    Py_ssize_t one_size = PyBytes_GET_SIZE(one), other_size = PyBytes_GET_SIZE(other);
    Py_ssize_t common = one_size < other_size ? one_size : other_size;
    int order = memcmp(PyBytes_AS_STRING(one), PyBytes_AS_STRING(other), (size_t)common);
    return order != 0 ? order : (one_size > other_size) - (one_size < other_size);
}

/* The first place from `low` on, before `high`, of a member that is not less; -1 where one is no bytes. */
static Py_ssize_t first_member(PyObject *members, Py_ssize_t low, Py_ssize_t high, PyObject *member) {
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        PyObject *other = PyList_GET_ITEM(members, middle);
        if (!PyBytes_CheckExact(other)) {
            return -1;
        }
        if (compare(other, member) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The block that the entry is, or would be, in; the number of blocks if it comes after all of them; -1 where that is
   not plain. */
static Py_ssize_t find_block(const Index *index, double score, PyObject *member) {
    Py_ssize_t low = 0, high = index->blocks, after = index->blocks;
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        PyObject *maximum = PyList_GET_ITEM(index->max_scores, middle);
        if (!PyFloat_CheckExact(maximum)) {
            return -1;
        }
        if (PyFloat_AS_DOUBLE(maximum) < score) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == index->blocks) {
        return low;
    }
    PyObject *reached = PyList_GET_ITEM(index->max_scores, low);
    if (!PyFloat_CheckExact(reached)) {
        return -1;
    }
    if (PyFloat_AS_DOUBLE(reached) != score) {
        return low;
    }
    Py_ssize_t first = low;
    while (low < after) {
        Py_ssize_t middle = low + (after - low) / 2;
        PyObject *maximum = PyList_GET_ITEM(index->max_scores, middle);
        if (!PyFloat_CheckExact(maximum)) {
            return -1;
        }
        if (PyFloat_AS_DOUBLE(maximum) > score) {
            after = middle;
        } else {
            low = middle + 1;
        }
    }
    return first_member(index->max_members, first, after, member);
}

/* Where the entry is, or would be, in its block; -1 where that is not plain. */
static Py_ssize_t find_offset(const Block *block, double score, PyObject *member) {
    Py_ssize_t low = 0, high = block->size;
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        if (block->score[middle] < score) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == block->size || block->score[low] != score) {
        return low;
    }
    Py_ssize_t first = low;
    Py_ssize_t after = block->size;
    while (low < after) {
        Py_ssize_t middle = low + (after - low) / 2;
        if (block->score[middle] > score) {
            after = middle;
        } else {
            low = middle + 1;
        }
    }
    return first_member(block->members, first, after, member);
}

/* -- changing */

static int call_with(PyObject *self, PyObject *name, Py_ssize_t first, Py_ssize_t second) {
    PyObject *one = PyLong_FromSsize_t(first);
    PyObject *other = PyLong_FromSsize_t(second);
    PyObject *done = one == NULL || other == NULL ? NULL : native_call(self, name, one, other);
    Py_XDECREF(one);
    Py_XDECREF(other);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The size, and where ranks are known, how many entries the blocks have. */
static int count(const Index *index, Py_ssize_t at, int change) {
    if (native_add(&FIELD(index->self, score_index, _size), change) < 0) {
        return -1;
    }
    return FIELD(index->self, score_index, _tree) == Py_None ? 0 : call_with(index->self, name__adjust, at, change);
}

static int replace_item(PyObject *list, Py_ssize_t at, PyObject *item) {
    return PyList_SetItem(list, at, Py_NewRef(item));
}

/* array.insert(offset, score) */
static int insert_score(PyObject *array, Py_ssize_t offset, PyObject *score) {
    PyObject *place = PyLong_FromSsize_t(offset);
    PyObject *done = place == NULL ? NULL : native_call(array, name_insert, place, score);
    Py_XDECREF(place);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* ScoreIndex.insert */
static PyObject *insert(PyObject *self, PyObject *member, PyObject *score) {
    Index index;
    Block block;
    if (!PyBytes_CheckExact(member) || !PyFloat_CheckExact(score) || !open_index(self, &index) || index.blocks == 0) {
        return original(INSERT, self, member, score);
    }
    Py_ssize_t at = find_block(&index, PyFloat_AS_DOUBLE(score), member);
    bool is_last = at == index.blocks;
    at -= is_last;
    if (at < 0 || !open_block(&index, at, &block)) {
        return original(INSERT, self, member, score);
    }
    Py_ssize_t offset = is_last ? block.size : find_offset(&block, PyFloat_AS_DOUBLE(score), member);
    close_block(&block);
    if (offset < 0 || block.size >= BLOCK_MAX_ENTRIES) {
        return original(INSERT, self, member, score);
    }
    if (insert_score(block.array, offset, score) < 0 || PyList_Insert(block.members, offset, member) < 0) {
        return NULL;
    }
    if (is_last
        && (replace_item(index.max_scores, at, score) < 0 || replace_item(index.max_members, at, member) < 0)) {
        return NULL;
    }
    if (count(&index, at, 1) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *index_insert(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "insert(member, score)");
        return NULL;
    }
    return insert(self, args[0], args[1]);
}

/* Whether the block of that many entries is left as it is: not joined with a neighbour. */
static bool stands_alone(const Index *index, Py_ssize_t at, Py_ssize_t left) {
    if (left == 0 || left >= BLOCK_MIN_ENTRIES) {
        return left != 0;
    }
    for (Py_ssize_t beside = at - 1; beside <= at + 1; beside += 2) {
        if (beside >= 0 && beside < index->blocks) {
            PyObject *members = PyList_GET_ITEM(index->members, beside);
            if (!PyList_CheckExact(members) || left + PyList_GET_SIZE(members) <= JOINED_MAX_ENTRIES) {
                return false;
            }
        }
    }
    return true;
}

/* Take out the entry at that place of a block, of which `block` is the state before. */
static int take_out(const Index *index, Py_ssize_t at, Py_ssize_t offset, const Block *block, double left_max) {
    if (PySequence_DelItem(block->array, offset) < 0 || PySequence_DelItem(block->members, offset) < 0) {
        return -1;
    }
    if (offset == block->size - 1) {
        PyObject *maximum = PyFloat_FromDouble(left_max);
        PyObject *member = PyList_GET_ITEM(block->members, offset - 1);
        if (maximum == NULL || PyList_SetItem(index->max_scores, at, maximum) < 0
            || replace_item(index->max_members, at, member) < 0) {
            return -1;
        }
    }
    return count(index, at, -1);
}

/* ScoreIndex.remove */
static PyObject *remove_entry(PyObject *self, PyObject *member, PyObject *score) {
    Index index;
    Block block;
    if (!PyBytes_CheckExact(member) || !PyFloat_CheckExact(score) || !open_index(self, &index)) {
        return original(REMOVE, self, member, score);
    }
    Py_ssize_t at = find_block(&index, PyFloat_AS_DOUBLE(score), member);
    if (at < 0 || at == index.blocks || !open_block(&index, at, &block)) {
        return original(REMOVE, self, member, score);
    }
    Py_ssize_t offset = find_offset(&block, PyFloat_AS_DOUBLE(score), member);
    bool is_there = offset >= 0 && offset < block.size && block.score[offset] == PyFloat_AS_DOUBLE(score)
        && compare(PyList_GET_ITEM(block.members, offset), member) == 0;
    double left_max = block.score[block.size > 1 ? block.size - 2 : 0];
    close_block(&block);
    if (!is_there || !stands_alone(&index, at, block.size - 1)) {
        return original(REMOVE, self, member, score);
    }
    if (take_out(&index, at, offset, &block, left_max) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *index_remove(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "remove(member, score)");
        return NULL;
    }
    return remove_entry(self, args[0], args[1]);
}

static PyObject *index_pop_first(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    Index index;
    Block block;
    if (!open_index(self, &index) || index.blocks == 0 || !open_block(&index, 0, &block)) {
        return original(POP_FIRST, self, NULL, NULL);
    }
    double score = block.score[0];
    close_block(&block);
    if (!stands_alone(&index, 0, block.size - 1)) {
        return original(POP_FIRST, self, NULL, NULL);
    }
    PyObject *pair = PyTuple_New(2);
    PyObject *number = PyFloat_FromDouble(score);
    if (pair == NULL || number == NULL) {
        Py_XDECREF(pair);
        Py_XDECREF(number);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, Py_NewRef(PyList_GET_ITEM(block.members, 0)));
    PyTuple_SET_ITEM(pair, 1, number);
    if (take_out(&index, 0, 0, &block, score) < 0) {
        Py_CLEAR(pair);
    }
    return pair;
}

/* -- the sorted set */

static PyObject *set_pop_lowest(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *index = FIELD(self, sorted_set, _index);
    PyObject *scores = FIELD(self, sorted_set, scores);
    if (!IS(index, score_index) || native_mapping_size(scores) <= 0) {
        return original(POP_LOWEST, self, NULL, NULL);
    }
    PyObject *pair = index_pop_first(index, NULL);
    if (pair != NULL && native_delete(scores, PyTuple_GET_ITEM(pair, 0)) < 0) {
        Py_CLEAR(pair);
    }
    return pair;
}

/* Whether a new entry leaves the mapping what it is, and needs no index that isn't there. */
static bool stays(PyObject *scores, PyObject *index) {
    Py_ssize_t size = native_mapping_size(scores);
    return (IS(index, score_index) || (index == Py_None && size < UNORDERED_MAX_ENTRIES))
        && (!PyDict_CheckExact(scores) || size < DICT_MAX_ENTRIES);
}

/* The index follows a change of the member's score; `before` is NULL for a new member. */
static int reorder(PyObject *index, PyObject *member, PyObject *before, PyObject *score) {
    if (index == Py_None) {
        return 0;
    }
    PyObject *done = before == NULL ? Py_NewRef(Py_None) : remove_entry(index, member, before);
    if (done != NULL) {
        Py_DECREF(done);
        done = insert(index, member, score);
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static PyObject *put_new(PyObject *scores, PyObject *index, PyObject *member, PyObject *score) {
    if (native_grew(scores, member) < 0 || reorder(index, member, NULL, score) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *set_put(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "put(member, score)");
        return NULL;
    }
    PyObject *member = args[0], *score = args[1];
    PyObject *scores = FIELD(self, sorted_set, scores);
    PyObject *index = FIELD(self, sorted_set, _index);
    PyObject *partition = native_partition(scores, member);
    /* A listpack has no negative zero. */
    if (partition == NULL || !PyFloat_CheckExact(score) || !stays(scores, index)
        || (PyFloat_AS_DOUBLE(score) == 0 && signbit(PyFloat_AS_DOUBLE(score)))) {
        return original(PUT, self, member, score);
    }
    Py_ssize_t size = PyDict_GET_SIZE(partition);
    PyObject *before = PyDict_SetDefault(partition, member, score);
    if (before == NULL) {
        return NULL;
    }
    if (PyDict_GET_SIZE(partition) != size) {
        return put_new(scores, index, member, score);
    }
    if (!PyFloat_CheckExact(before)) {
        return original(PUT, self, member, score);
    }
    Py_INCREF(before);
    if (PyFloat_AS_DOUBLE(before) != PyFloat_AS_DOUBLE(score)
        && (PyDict_SetItem(partition, member, score) < 0 || reorder(index, member, before, score) < 0)) {
        Py_CLEAR(before);
    }
    return before;
}
