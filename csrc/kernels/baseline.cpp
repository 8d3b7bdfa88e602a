// Any x86-64 CPU: 16 registers of 16 bytes (SSE2), without fma.
#if defined(__x86_64__)
#define CULPA_VECTOR_BYTES 16
#define CULPA_TILE_ROWS 6
#define CULPA_ISA baseline
#include "table.inc"
#endif
