cdef extern from "isa.h" nogil:
    int VG_PORTABLE
    int VG_AVX2
    int VG_AVX512
    int VG_NEON
    int VG_AVX512_VNNI
    int VG_ISA_COUNT
    const char *const vg_isa_names[]
    bint vg_isa_supported(int isa)
    int vg_isa_best()
    int vg_isa_by_name(const char *name)

# The number of the instruction set `name` stands for; None is the process-wide choice. ValueError when it cannot run here.
cdef int resolve(object name) except -1
