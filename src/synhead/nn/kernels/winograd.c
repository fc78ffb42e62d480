/* 3 x 3 convolutions of stride 1 by minimal filtering F(4 x 4, 3 x 3): 36 products where the plain sum takes 144.
   Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016. */
#include "common.h"

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

int lanes(void) { return LANES; }
int width(void) { return WIDTH; }
