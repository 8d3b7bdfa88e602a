// Intel Skylake-X and AMD Zen 4 onward: 32 registers of 64 bytes.
#if defined(__x86_64__)
#define CULPA_VECTOR_BYTES 64
#define CULPA_TILE_ROWS 14
#define CULPA_ISA avx512
#include "table.inc"
#endif
