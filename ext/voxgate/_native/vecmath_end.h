/* The end of a template begun with vecmath.h: room for the next instruction set. */
#undef V
#undef VG_INLINE
#undef VG_TARGET
#undef VG_SHORTS
#undef VG_KEEP
#undef VG_VNNI
#undef VG_LANES
#undef VG_ISA
#undef VG_ISA_NAME
