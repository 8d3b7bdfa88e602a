// Intel Haswell and AMD Zen onward: 16 registers of 32 bytes, with fma.
#if defined(__x86_64__)
#define CULPA_VECTOR_BYTES 32
#define CULPA_TILE_ROWS 6
#define CULPA_ISA avx2
#include "table.inc"
#endif
