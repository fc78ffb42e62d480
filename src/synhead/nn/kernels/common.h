/* What the CPU kernels share: vectors, threads, memory, products. GNU C (gcc or clang), float32, channels last.

   Work is shared by the OpenMP threads that PyTorch has started already; without them the caller does it all. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define VECS 4
#elif defined(__AVX__)
#define LANES 8
#define VECS 2
#else
#define LANES 4
#define VECS 4
#endif
#define ROWS 6 /* ROWS x VECS sums, VECS factors and one more fit in the registers */
#define WIDTH (LANES * VECS)
#define SIDE 6 /* of a tile that gives 4 x 4 pixels */
#define POINTS (SIDE * SIDE)

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float unaligned __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

INLINE vec load(const float *p) { return *(const unaligned *)p; }
INLINE void store(float *p, vec v) { *(unaligned *)p = v; }
INLINE vec all(float x) { return x - (vec){0}; }
INLINE vec larger(vec a, vec b) { ints m = a > b; return (vec)(((ints)a & m) | ((ints)b & ~m)); }
INLINE vec smaller(vec a, vec b) { ints m = a < b; return (vec)(((ints)a & m) | ((ints)b & ~m)); }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* exp to 2 units in the last place; arguments are clamped to what float32 holds */
INLINE vec exponential(vec x) {
    x = larger(smaller(x, all(88)), all(-87));
    const vec magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    vec shifted = x * all(1.44269504f) + magic, n = shifted - magic;
    vec r = x - n * all(0.693359375f) + n * all(2.12194440e-4f);
    vec p = all(1.9875691500e-4f);
    p = p * r + all(1.3981999507e-3f);
    p = p * r + all(8.3334519073e-3f);
    p = p * r + all(4.1665795894e-2f);
    p = p * r + all(1.6666665459e-1f);
    p = p * r + all(5.0000001201e-1f);
    p = p * r * r + r + all(1);
    return p * (vec)((((ints)shifted - (ints)magic) + 127) << 23);
}

/* -- threads and memory -- */

extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) __attribute__((weak));

static inline void share(void (*run)(void *), void *job, int threads) {
    if (threads > 1 && GOMP_parallel)
        GOMP_parallel(run, job, (unsigned)threads, 0);
    else
        run(job);
}

static inline int64_t take(int64_t *next) { return __atomic_fetch_add(next, 1, __ATOMIC_RELAXED); }

/* Memory of the calling thread, kept from call to call: fresh pages cost more than the work in them. */
static inline float *scratch(size_t floats) {
    static _Thread_local float *kept;
    static _Thread_local size_t size;
    if (floats > size) {
        free(kept);
        size_t bytes = (floats * sizeof(float) + 4095) / 4096 * 4096;
        if (posix_memalign((void **)&kept, 64, bytes)) abort();
        size = floats;
    }
    return kept;
}

/* -- products -- */

/* c = a b: a has `rows` rows of stride lda, b is packed (k, vecs * LANES), c has stride ldc */
INLINE void micro(int rows, int vecs, int64_t k, const float *a, int64_t lda, const float *b, float *c, int64_t ldc) {
    vec sum[ROWS][VECS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vecs; v++) sum[r][v] = all(0);
    for (int64_t i = 0; i < k; i++) {
        vec right[VECS];
        UNROLL for (int v = 0; v < vecs; v++) right[v] = load(b + (i * vecs + v) * LANES);
        UNROLL for (int r = 0; r < rows; r++) {
            vec left = all(a[r * lda + i]);
            UNROLL for (int v = 0; v < vecs; v++) sum[r][v] += left * right[v];
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vecs; v++) store(c + r * ldc + v * LANES, sum[r][v]);
}

INLINE void strip(int vecs, int64_t m, int64_t k, const float *a, int64_t lda, const float *b, float *c, int64_t ldc) {
    for (; m >= ROWS; m -= ROWS, a += ROWS * lda, c += ROWS * ldc) micro(ROWS, vecs, k, a, lda, b, c, ldc);
    switch (m) {
    case 1: micro(1, vecs, k, a, lda, b, c, ldc); break;
    case 2: micro(2, vecs, k, a, lda, b, c, ldc); break;
    case 3: micro(3, vecs, k, a, lda, b, c, ldc); break;
    case 4: micro(4, vecs, k, a, lda, b, c, ldc); break;
    case 5: micro(5, vecs, k, a, lda, b, c, ldc); break;
    }
}

static inline void product(int vecs, int64_t m, int64_t k, const float *a, int64_t lda, const float *b, float *c, int64_t ldc) {
    switch (vecs) {
    case 1: strip(1, m, k, a, lda, b, c, ldc); break;
    case 2: strip(2, m, k, a, lda, b, c, ldc); break;
#if VECS > 2
    case 3: strip(3, m, k, a, lda, b, c, ldc); break;
    case 4: strip(4, m, k, a, lda, b, c, ldc); break;
#endif
    }
}
