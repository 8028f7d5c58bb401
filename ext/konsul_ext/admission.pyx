"""Who is let in: the client's address, credentials, its rate, and for native routes the permission.

The short cut of konsul.doors.http.admission; tests/contract/test_front_guarded.py holds the two together.
"""

from urllib.parse import parse_qsl

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp

from konsul_ext.site cimport ERROR, GET, HEAD, OPTIONS, POST, Site

cdef str AMBIGUOUS = "invalid authorization header format"
cdef str MISSING = "missing authorization header"
cdef str READ = "read"
cdef str WRITE = "write"
cdef str ITEMS = "items"


cdef int admit(Exchange ex) except -1:
    """1 if the request may go on; otherwise it has been answered."""
    cdef Site site = ex.site
    cdef object failure = None
    if ex.forwarded is not None and site.client_of is not None:
        ex.client = site.client_of(ex.client, ex.forwarded)
    ex.identity = site.anonymous
    ex.is_public = _is_public(ex)
    if site.audit is not None:
        if not (ex.is_public and ex.path in site.unrecorded) and not _has_room(site):
            ex.retry = True
            ex.refuse(503, b"the audit log has no room: try again")
            return 0
        ex.is_audited = True
    if site.identify is not None:
        try:
            ex.identity = _identify(ex)
        except Exception as error:
            failure = None if ex.is_public else error
    if site.limit is not None:
        ex.route_class = _class_of(ex)
        if ex.path not in site.probes and not _spend(ex, ex.route_class, 1):
            return 0
    if failure is None and site.requires_auth and not ex.is_public and _is_nobody(ex) and not _asks(ex):
        failure = site.unauthenticated(MISSING)
    if failure is not None:
        ex.reason = _reason(failure)
        ex.refuse_with(failure)
        return 0
    return 1


cdef bint _has_room(Site site) except -1:
    return site.log_of_acts.has_room() if site.log_of_acts is not None else site.audit.admits()


cdef bint _is_public(Exchange ex) except -1:
    """What the operator has made public, and where credentials are come by."""
    cdef Site site = ex.site
    cdef bytes path = ex.path
    if path in site.public_paths or path.startswith(site.public_prefixes):
        return True
    if ex.method == POST:
        return path in site.public_posts
    return (ex.method == GET or ex.method == HEAD) and path in site.public_gets


cdef bint _is_nobody(Exchange ex) except -1:
    return ex.identity is ex.site.anonymous or ex.identity.kind == "anonymous"


cdef bint _asks(Exchange ex) except -1:
    return ex.path in ex.site.asking and ex.scope["type"] == "websocket"


cdef object _identify(Exchange ex):
    """Raises what the identify slot does."""
    cdef Site site = ex.site
    cdef bytes authorization = ex.authorization
    if ex.is_doubled:
        raise site.unauthenticated(AMBIGUOUS)
    if authorization is None and ex.api_key is None and PyBytes_GET_SIZE(ex.query):
        authorization = _token(ex)
    return site.identify(authorization, ex.api_key, ex.certificate())


cdef bytes _token(Exchange ex):
    """`?token=` of a watch, as a header: what opens it in a browser can send none."""
    cdef Site site = ex.site
    if ex.method != GET or not (ex.path in site.staying_paths or ex.path.startswith(site.staying_prefixes)):
        return None
    for name, value in parse_qsl(ex.query.decode("latin-1")):
        if name == "token" and value:
            return b"Bearer " + value.encode()
    return None


cdef str _class_of(Exchange ex):
    """What the request is, for its price; the usual ones without asking."""
    cdef const char* path = PyBytes_AS_STRING(ex.path)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(ex.path)
    if size > 4 and memcmp(path, "/kv/", 4) == 0 and not (size > 8 and memcmp(path + 4, "watch", 5) == 0):
        return READ if ex.method == GET or ex.method == HEAD or ex.method == OPTIONS else WRITE
    return ex.site.class_of(ex.method_name, ex.path.decode())


cdef int _spend(Exchange ex, str route_class, Py_ssize_t cost) except -1:
    """The limit slot; 0 if it refused, which has been answered then."""
    try:
        ex.rate = ex.site.limit(ex.identity, ex.client, route_class, cost)
    except Exception as error:
        told = getattr(error, "headers", None)
        if told:
            ex.rate = told
        ex.reason = _reason(error)
        ex.is_denied = True
        if ex.action is not None:
            ex.count(ERROR)
        ex.refuse_with(error)
        return 0
    return 1


cdef str _reason(object error):
    return getattr(error, "reason", "") or str(error)


cdef int _denied(Exchange ex, object error) except -1:
    ex.count(ERROR)
    ex.is_denied = True
    ex.reason = _reason(error)
    ex.refuse_with(error)
    return 0


cdef int allow(Exchange ex, str needs, object resource, str action) except -1:
    """1 if the authorise slot lets the caller pass; otherwise it has been answered."""
    cdef Site site = ex.site
    ex.action = action
    ex.resources = resource
    if site.authorise is None:
        return 1
    try:
        ex.reason = site.authorise(
            ex.identity, needs, (<bytes>resource).decode() if type(resource) is bytes else resource)
    except Exception as error:
        return _denied(ex, error)
    return 1


cdef int allow_all(Exchange ex, str needs, list keys, str action) except -1:
    """As `allow`, of every key of a batch, whose price is paid first."""
    cdef Site site = ex.site
    cdef Py_ssize_t at
    ex.action = action
    ex.resources = keys
    if site.limit is not None:
        if not _spend(ex, ITEMS, len(keys)):
            return 0
        ex.is_charged = True
    if site.authorise is None:
        return 1
    grant = None if ex.identity.is_admin else ex.identity.grant
    try:
        if grant is not None:
            at = grant.first_refused(needs, keys)
            # Of those that pass one is asked about for its reason; who is refused is refused by the slot.
            ex.reason = site.authorise(ex.identity, needs, keys[len(keys) - 1 if at < 0 else at])
            if at < 0:
                return 1
        for key in keys:
            ex.reason = site.authorise(ex.identity, needs, key)
    except Exception as error:
        return _denied(ex, error)
    return 1
