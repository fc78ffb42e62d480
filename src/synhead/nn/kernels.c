/* The CPU kernels of the native engine, in GNU C (gcc or clang), float32, channels last.

   winograd         3 x 3 convolution of stride 1 by minimal filtering F(4 x 4, 3 x 3): 36 products where the plain
                    sum takes 144. Lavin and Gray, Fast algorithms for convolutional neural networks, 2016.
   group_norm       group norm, with a swish or without.
   attention        softmax(query key^T) value for every head.

   Work is shared by the OpenMP threads that PyTorch has started already; without them it is done by the caller. */
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

static void share(void (*run)(void *), void *job, int threads) {
    if (threads > 1 && GOMP_parallel)
        GOMP_parallel(run, job, (unsigned)threads, 0);
    else
        run(job);
}

static int64_t take(int64_t *next) { return __atomic_fetch_add(next, 1, __ATOMIC_RELAXED); }

/* Memory of the calling thread, kept from call to call: fresh pages cost more than the work in them. */
static float *scratch(size_t floats) {
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

static void product(int vecs, int64_t m, int64_t k, const float *a, int64_t lda, const float *b, float *c, int64_t ldc) {
    switch (vecs) {
    case 1: strip(1, m, k, a, lda, b, c, ldc); break;
    case 2: strip(2, m, k, a, lda, b, c, ldc); break;
#if VECS > 2
    case 3: strip(3, m, k, a, lda, b, c, ldc); break;
    case 4: strip(4, m, k, a, lda, b, c, ldc); break;
#endif
    }
}

/* -- winograd -- */

struct convolution {
    const float *x;        /* (items, h, w, inputs); at half of h and w where `enlarge`, each pixel counting for 2 x 2 */
    const float *weight;   /* per WIDTH outputs: (POINTS, inputs, those outputs filled up to LANES) */
    const float *bias;     /* outputs filled up to LANES */
    const float *residual; /* added to the result, of its shape; or NULL */
    float *y;              /* (items, h, w, outputs) */
    int64_t items, h, w, inputs, outputs;
    int64_t block; /* tiles at a time: their transforms stay in the second cache */
    int64_t enlarge;
    float slope; /* of negative results: 1 leaves them, 0 is a ReLU */
    int64_t next;
};

INLINE void analyse(const vec *d, vec *o) {
    o[0] = 4 * d[0] - 5 * d[2] + d[4];
    vec p = d[4] - 4 * d[2], q = d[3] - 4 * d[1];
    o[1] = p + q;
    o[2] = p - q;
    p = d[4] - d[2], q = 2 * (d[3] - d[1]);
    o[3] = p + q;
    o[4] = p - q;
    o[5] = 4 * d[1] - 5 * d[3] + d[5];
}

INLINE void synthesise(const vec *m, vec *o) {
    vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    o[0] = m[0] + a + c;
    o[1] = b + 2 * d;
    o[2] = a + 4 * c;
    o[3] = b + 8 * d + m[5];
}

/* one tile, LANES channels: its 36 points to `points`, `step` apart; top and left may lie outside the picture */
INLINE void tile_in(const struct convolution *j, const float *x, int64_t top, int64_t left, float *points, int64_t step) {
    const int64_t w = j->w >> j->enlarge;
    const int inside = top >= 0 && left >= 0 && top + SIDE <= j->h && left + SIDE <= j->w;
    vec half[SIDE][SIDE], line[SIDE], out[SIDE];
    UNROLL for (int b = 0; b < SIDE; b++) {
        UNROLL for (int a = 0; a < SIDE; a++) {
            const int64_t row = top + a, column = left + b;
            const int known = inside || (row >= 0 && row < j->h && column >= 0 && column < j->w);
            line[a] = known ? load(x + ((row >> j->enlarge) * w + (column >> j->enlarge)) * j->inputs) : all(0);
        }
        analyse(line, out);
        UNROLL for (int a = 0; a < SIDE; a++) half[a][b] = out[a];
    }
    UNROLL for (int a = 0; a < SIDE; a++) {
        analyse(half[a], out);
        UNROLL for (int b = 0; b < SIDE; b++) store(points + (a * SIDE + b) * step, out[b]);
    }
}

/* one tile, up to LANES outputs from `channel`: 4 x 4 pixels with bias, residual and activation */
INLINE void tile_out(const struct convolution *j, const float *points, int64_t step, int64_t item, int64_t top,
                     int64_t left, int64_t channel) {
    vec half[4][SIDE], line[SIDE], out[4];
    UNROLL for (int b = 0; b < SIDE; b++) {
        UNROLL for (int a = 0; a < SIDE; a++) line[a] = load(points + (a * SIDE + b) * step);
        synthesise(line, out);
        UNROLL for (int a = 0; a < 4; a++) half[a][b] = out[a];
    }
    const vec bias = load(j->bias + channel);
    const int64_t count = least(j->outputs - channel, LANES);
    for (int a = 0; a < 4 && top + a < j->h; a++) {
        synthesise(half[a], out);
        for (int b = 0; b < 4 && left + b < j->w; b++) {
            const int64_t place = ((item * j->h + top + a) * j->w + left + b) * j->outputs + channel;
            vec r = out[b] + bias, rest = all(0);
            if (j->residual) {
                if (count == LANES)
                    rest = load(j->residual + place);
                else
                    memcpy(&rest, j->residual + place, count * sizeof(float));
                r += rest;
            }
            if (j->slope != 1) r = larger(r, all(0)) + j->slope * smaller(r, all(0));
            if (count == LANES)
                store(j->y + place, r);
            else
                memcpy(j->y + place, &r, count * sizeof(float));
        }
    }
}

/* begins to read the residual of a tile: pixels of a column lie too far apart for the processor to foresee */
INLINE void fetch(const struct convolution *j, int64_t item, int64_t top, int64_t left, int64_t channel, int vecs) {
    for (int a = 0; a < 4 && top + a < j->h; a++)
        for (int b = 0; b < 4 && left + b < j->w; b++)
            for (int v = 0; v < vecs; v++)
                __builtin_prefetch(j->residual + ((item * j->h + top + a) * j->w + left + b) * j->outputs + channel +
                                   v * LANES);
}

static void convolve(void *job) {
    struct convolution *j = job;
    const int64_t across = (j->w + 3) / 4, tiles = (j->h + 3) / 4 * across, blocks = (tiles + j->block - 1) / j->block;
    const int64_t in_step = j->block * j->inputs + LANES, out_step = j->block * WIDTH + LANES; /* not a power of two */
    float *in = scratch(POINTS * (in_step + out_step)), *out = in + POINTS * in_step;
    for (int64_t turn; (turn = take(&j->next)) < blocks * j->items;) {
        const int64_t item = turn / blocks, first = turn % blocks * j->block, count = least(tiles - first, j->block);
        const float *x = j->x + item * (j->h >> j->enlarge) * (j->w >> j->enlarge) * j->inputs;
        for (int64_t t = 0; t < count; t++)
            for (int64_t c = 0; c < j->inputs; c += LANES)
                tile_in(j, x + c, (first + t) / across * 4 - 1, (first + t) % across * 4 - 1, in + t * j->inputs + c,
                        in_step);
        const float *weight = j->weight;
        for (int64_t channel = 0; channel < j->outputs; channel += WIDTH) {
            const int vecs = (int)((least(j->outputs - channel, WIDTH) + LANES - 1) / LANES);
            for (int p = 0; p < POINTS; p++, weight += j->inputs * vecs * LANES)
                product(vecs, count, j->inputs, in + p * in_step, j->inputs, weight, out + p * out_step, vecs * LANES);
            for (int64_t t = 0; t < count; t++) {
                if (j->residual && t + 1 < count)
                    fetch(j, item, (first + t + 1) / across * 4, (first + t + 1) % across * 4, channel, vecs);
                for (int v = 0; v < vecs; v++)
                    tile_out(j, out + (t * vecs + v) * LANES, out_step, item, (first + t) / across * 4,
                             (first + t) % across * 4, channel + v * LANES);
            }
        }
    }
}

void winograd(struct convolution *job, int threads) { share(convolve, job, threads); }

/* -- group norm -- */

struct norm {
    const float *x, *weight, *bias;
    float *y;
    float *sums;  /* (items, parts, 2, channels) */
    float *gains; /* (items, 2, channels): factor and summand of each channel */
    int64_t items, pixels, channels, groups, parts, swish;
    float epsilon;
    int64_t next;
};

static void sum_up(void *job) {
    struct norm *j = job;
    const int64_t size = (j->pixels + j->parts - 1) / j->parts;
    for (int64_t turn; (turn = take(&j->next)) < j->items * j->parts;) {
        const int64_t first = turn % j->parts * size, last = least(first + size, j->pixels);
        const float *x = j->x + turn / j->parts * j->pixels * j->channels;
        float *sum = j->sums + turn * 2 * j->channels, *square = sum + j->channels;
        memset(sum, 0, 2 * j->channels * sizeof(float));
        for (int64_t p = first; p < last; p++)
            for (int64_t c = 0; c < j->channels; c += LANES) {
                const vec value = load(x + p * j->channels + c);
                store(sum + c, load(sum + c) + value);
                store(square + c, load(square + c) + value * value);
            }
    }
}

static void find_gains(struct norm *j) {
    const int64_t size = j->channels / j->groups;
    for (int64_t item = 0; item < j->items; item++)
        for (int64_t g = 0; g < j->groups; g++) {
            double sum = 0, square = 0;
            for (int64_t part = 0; part < j->parts; part++) {
                const float *s = j->sums + (item * j->parts + part) * 2 * j->channels + g * size;
                for (int64_t c = 0; c < size; c++) sum += s[c], square += s[c + j->channels];
            }
            const double count = (double)size * j->pixels, mean = sum / count, spread = square / count - mean * mean;
            const double scale = 1 / sqrt((spread > 0 ? spread : 0) + j->epsilon);
            float *gain = j->gains + item * 2 * j->channels;
            for (int64_t c = g * size; c < (g + 1) * size; c++) {
                gain[c] = (float)(j->weight[c] * scale);
                gain[j->channels + c] = (float)(j->bias[c] - mean * scale * j->weight[c]);
            }
        }
}

static void apply_gains(void *job) {
    struct norm *j = job;
    const int64_t size = (j->pixels + j->parts - 1) / j->parts;
    for (int64_t turn; (turn = take(&j->next)) < j->items * j->parts;) {
        const int64_t first = turn % j->parts * size, last = least(first + size, j->pixels);
        const int64_t start = turn / j->parts * j->pixels * j->channels;
        const float *gain = j->gains + turn / j->parts * 2 * j->channels, *summand = gain + j->channels;
        for (int64_t p = first; p < last; p++)
            for (int64_t c = 0; c < j->channels; c += LANES) {
                const int64_t place = start + p * j->channels + c;
                vec z = load(j->x + place) * load(gain + c) + load(summand + c);
                if (j->swish) z = z / (1 + exponential(-z));
                store(j->y + place, z);
            }
    }
}

void group_norm(struct norm *job, int threads) {
    share(sum_up, job, threads);
    find_gains(job);
    job->next = 0;
    share(apply_gains, job, threads);
}

/* -- attention -- */

struct attention {
    const float *query, *key, *value; /* queries are scaled already */
    const float *mask;                /* keys summands of the scores, 0 or -inf; or NULL */
    float *y;                         /* (queries, heads * depth) */
    float *packed_keys;               /* (heads, keys / WIDTH, depth, WIDTH) */
    float *packed_values;             /* (heads, keys, depth filled up to LANES) */
    int64_t heads, queries, keys, depth;
    int64_t query_row, key_row, value_row;    /* floats from one to the next */
    int64_t query_head, key_head, value_head; /* likewise from head to head */
    int64_t next;
};

#define QUERIES (2 * ROWS)

static void pack(void *job) {
    struct attention *j = job;
    const int64_t blocks = j->keys / WIDTH, filled = (j->depth + LANES - 1) / LANES * LANES;
    for (int64_t turn; (turn = take(&j->next)) < blocks * j->heads;) {
        const int64_t head = turn / blocks, first = turn % blocks * WIDTH;
        const float *key = j->key + head * j->key_head + first * j->key_row;
        const float *value = j->value + head * j->value_head + first * j->value_row;
        float *keys = j->packed_keys + turn * j->depth * WIDTH, *values = j->packed_values + turn * filled * WIDTH;
        for (int64_t k = 0; k < WIDTH; k++) {
            for (int64_t d = 0; d < j->depth; d++) keys[d * WIDTH + k] = key[k * j->key_row + d];
            for (int64_t d = 0; d < filled; d++) values[k * filled + d] = d < j->depth ? value[k * j->value_row + d] : 0;
        }
    }
}

/* softmax of a row but for its denominator, which is returned */
static float soften(float *row, const float *mask, int64_t keys) {
    vec top = all(-INFINITY), sum = all(0);
    for (int64_t k = 0; k < keys; k += LANES) {
        vec score = load(row + k);
        if (mask) store(row + k, score += load(mask + k));
        top = larger(top, score);
    }
    float peak = top[0], total = 0;
    for (int i = 1; i < LANES; i++) peak = top[i] > peak ? top[i] : peak;
    for (int64_t k = 0; k < keys; k += LANES) {
        const vec e = exponential(load(row + k) - peak);
        store(row + k, e);
        sum += e;
    }
    for (int i = 0; i < LANES; i++) total += sum[i];
    return total;
}

static void attend(void *job) {
    struct attention *j = job;
    const int64_t blocks = (j->queries + QUERIES - 1) / QUERIES, step = j->keys + LANES;
    const int64_t vecs = (j->depth + LANES - 1) / LANES, filled = vecs * LANES;
    float *scores = scratch(QUERIES * (step + filled)), *out = scores + QUERIES * step;
    for (int64_t turn; (turn = take(&j->next)) < blocks * j->heads;) {
        const int64_t head = turn / blocks, first = turn % blocks * QUERIES, count = least(j->queries - first, QUERIES);
        const float *query = j->query + first * j->query_row + head * j->query_head;
        const float *keys = j->packed_keys + head * j->keys * j->depth;
        for (int64_t k = 0; k < j->keys; k += WIDTH)
            product(VECS, count, j->depth, query, j->query_row, keys + k * j->depth, scores + k, step);
        float total[QUERIES];
        for (int64_t r = 0; r < count; r++) total[r] = soften(scores + r * step, j->mask, j->keys);
        product((int)vecs, count, j->keys, scores, step, j->packed_values + head * j->keys * filled, out, filled);
        for (int64_t r = 0; r < count; r++)
            for (int64_t d = 0; d < j->depth; d++)
                j->y[((first + r) * j->heads + head) * j->depth + d] = out[r * filled + d] / total[r];
    }
}

/* depth up to WIDTH; keys a multiple of WIDTH */
void attention(struct attention *job, int threads) {
    share(pack, job, threads);
    job->next = 0;
    share(attend, job, threads);
}

int lanes(void) { return LANES; }
int width(void) { return WIDTH; }
