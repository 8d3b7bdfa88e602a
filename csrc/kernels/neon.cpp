// Any 64-bit Arm CPU: 32 registers of 16 bytes, with fma.
#if defined(__aarch64__)
#define CULPA_VECTOR_BYTES 16
#define CULPA_TILE_ROWS 12
#define CULPA_ISA neon
#include "table.inc"
#endif
