"""Which instruction set the kernels use. Chosen once, at import; ``VOXGATE_ISA`` forces one."""

import os


def supported() -> tuple[str, ...]:
    """The instruction sets this machine can run, slowest first. ``"portable"`` is always among them."""
    return tuple(vg_isa_names[isa].decode() for isa in range(VG_ISA_COUNT) if vg_isa_supported(isa))


def active() -> str:
    """The instruction set kernels use unless told otherwise."""
    return vg_isa_names[_active].decode()


cdef int _by_name(object name, str asker) except -1:
    cdef bytes encoded = str(name).encode()
    cdef int isa = vg_isa_by_name(encoded)
    if isa < 0 or not vg_isa_supported(isa):
        raise ValueError(f"{asker} must be one of {', '.join(supported())} on this machine, got {name!r}")
    return isa


cdef int resolve(object name) except -1:
    return _active if name is None else _by_name(name, "isa")


cdef int _choose() except -1:
    forced = os.environ.get("VOXGATE_ISA")
    if not forced:
        return vg_isa_best()
    try:
        return _by_name(forced, "VOXGATE_ISA")
    except ValueError as exc:
        raise ImportError(str(exc)) from None


cdef int _active = _choose()
