"""Counters and duration histograms per (route template, method, status) in one C table: bounded, no
objects."""

from libc.stdlib cimport calloc, free

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "OTHER")
OPERATIONS = (
    "kv.get_json", "kv.get", "kv.set", "kv.delete", "kv.batch_get", "kv.batch_set", "kv.batch_delete",
    "service.get", "service.deregister",
)
OUTCOME_NAMES = ("success", "not_found", "cas_conflict", "error")

cdef enum:
    SLOTS = 2048
    FULL = 1024
    ROUTES = 512

cdef int64_t[BUCKETS] bounds_ns
for _at, _bound in enumerate(BOUNDS_S):
    bounds_ns[_at] = <int64_t>(_bound * 1e9)


cdef class Series:
    """The table. Open addressing over twice as many slots as series, so that a probe is short."""

    def __cinit__(self):
        self._cells = <Cell*>calloc(SLOTS, sizeof(Cell))
        if self._cells == NULL:
            raise MemoryError()
        self._routes = {}
        self._templates = []

    def __dealloc__(self):
        free(self._cells)

    cdef int route(self, str template) except -1:
        """The number of a route template; past the cap every new one shares the number of `other`."""
        cdef object known = self._routes.get(template)
        if known is not None:
            return known
        if len(self._templates) >= ROUTES - 1 and template != "other":
            return self.route("other")
        self._routes[template] = len(self._templates)
        self._templates.append(template)
        return len(self._templates) - 1

    cdef int observe(self, int route, int method, int status, int64_t took_ns) except -1:
        """Counts one request; a series past the cap is counted in `dropped` only."""
        cdef uint32_t key = (<uint32_t>route << 16 | <uint32_t>method << 12 | <uint32_t>(status & 0xFFF)) + 1
        cdef uint32_t at = (key * <uint32_t>2654435761) >> 21
        cdef Cell* cell
        cdef int bucket
        while True:
            cell = &self._cells[at]
            if cell.key == key:
                break
            if cell.key == 0:
                if self._used >= FULL:
                    self.dropped += 1
                    return 0
                self._used += 1
                cell.key = key
                break
            at = (at + 1) & (SLOTS - 1)
        cell.count += 1
        cell.sum_ns += took_ns
        for bucket in range(BUCKETS):
            if took_ns <= bounds_ns[bucket]:
                cell.buckets[bucket] += 1
                break
        return 0

    cdef void count(self, int verb, int outcome) noexcept:
        self._operations[verb][outcome] += 1

    def bounds(self):
        """Upper bounds of the buckets in seconds."""
        return list(BOUNDS_S)

    def requests(self):
        """Every series as a dict; buckets cumulative."""
        cdef list rows = []
        cdef list buckets
        cdef Cell* cell
        cdef uint64_t below
        cdef uint32_t key
        cdef int at, bucket
        for at in range(SLOTS):
            cell = &self._cells[at]
            if cell.key == 0:
                continue
            key = cell.key - 1
            buckets = []
            below = 0
            for bucket in range(BUCKETS):
                below += cell.buckets[bucket]
                buckets.append(below)
            rows.append({
                "route": self._templates[key >> 16], "method": METHODS[(key >> 12) & 15],
                "status": key & 0xFFF,
                "count": cell.count, "sum_seconds": cell.sum_ns / 1e9, "buckets": buckets,
            })
        rows.sort(key=_order)
        return rows

    def operations(self):
        """`(verb, outcome, count)` of what native routes did."""
        return [
            (OPERATIONS[verb], OUTCOME_NAMES[outcome], self._operations[verb][outcome])
            for verb in range(VERBS) for outcome in range(OUTCOMES) if self._operations[verb][outcome]
        ]


def _order(row):
    return row["route"], row["method"], row["status"]
