/* Softmax attention, a head and a few queries at a time, so that their scores stay in the first caches. */
#include "common.h"

struct attention {
    const float *query, *key, *value; /* queries are scaled already */
    const float *mask;                /* keys summands of the scores, 0 or -inf; or NULL */
    float *y;                         /* (queries, heads * depth) */
    float *packed_keys;   /* (heads, keys / WIDTH, depth, WIDTH) */
    float *packed_values; /* heads of keys * (depth filled up to LANES): (keys, depth), or (depth, keys) if SHALLOW */
    int64_t heads, queries, keys, depth;
    int64_t query_row, key_row, value_row;    /* floats from one to the next */
    int64_t query_head, key_head, value_head; /* likewise from head to head */
    int64_t next;
};

#define QUERIES (2 * ROWS)
#define SHALLOW (LANES / 2) /* heads up to this depth are summed lane by lane of keys: filling them up would waste more */

static void pack(void *job) {
    struct attention *j = job;
    const int64_t blocks = j->keys / WIDTH, filled = (j->depth + LANES - 1) / LANES * LANES;
    for (int64_t turn; (turn = take(&j->next)) < blocks * j->heads;) {
        const int64_t head = turn / blocks, first = turn % blocks * WIDTH;
        const float *key = j->key + head * j->key_head + first * j->key_row;
        const float *value = j->value + head * j->value_head + first * j->value_row;
        float *keys = j->packed_keys + turn * j->depth * WIDTH, *values = j->packed_values + head * filled * j->keys;
        for (int64_t k = 0; k < WIDTH; k++, key += j->key_row, value += j->value_row) {
            for (int64_t d = 0; d < j->depth; d++) keys[d * WIDTH + k] = key[d];
            if (j->depth <= SHALLOW)
                for (int64_t d = 0; d < j->depth; d++) values[d * j->keys + first + k] = value[d];
            else
                for (int64_t d = 0; d < filled; d++) values[(first + k) * filled + d] = d < j->depth ? value[d] : 0;
        }
    }
}

INLINE float sum_lanes(vec v) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

/* the largest score of a row, masked first */
INLINE float peak(float *row, const float *mask, int64_t keys) {
    vec top = all(-INFINITY);
    for (int64_t k = 0; k < keys; k += LANES) {
        vec score = load(row + k);
        if (mask) store(row + k, score += load(mask + k));
        top = larger(top, score);
    }
    float found = top[0];
    for (int i = 1; i < LANES; i++) found = top[i] > found ? top[i] : found;
    return found;
}

/* scores to powers of e; gives their sum */
static float soften(float *row, const float *mask, int64_t keys) {
    const float top = peak(row, mask, keys);
    vec sum = all(0);
    for (int64_t k = 0; k < keys; k += LANES) {
        const vec e = exponential(load(row + k) - top);
        store(row + k, e);
        sum += e;
    }
    return sum_lanes(sum);
}

/* softmax of a row of scores times `depth` lines of values */
INLINE void mix(int depth, float *row, const float *mask, const float *values, int64_t keys, float *y) {
    const float top = peak(row, mask, keys);
    vec sum = all(0), out[SHALLOW];
    UNROLL for (int d = 0; d < depth; d++) out[d] = all(0);
    for (int64_t k = 0; k < keys; k += LANES) {
        const vec e = exponential(load(row + k) - top);
        sum += e;
        UNROLL for (int d = 0; d < depth; d++) out[d] += e * load(values + d * keys + k);
    }
    const float total = sum_lanes(sum);
    for (int d = 0; d < depth; d++) y[d] = sum_lanes(out[d]) / total;
}

static void mix_shallow(const struct attention *j, float *row, const float *values, float *y) {
    switch (j->depth) {
#if SHALLOW >= 8
    case 8: mix(8, row, j->mask, values, j->keys, y); break;
#endif
#if SHALLOW >= 4
    case 4: mix(4, row, j->mask, values, j->keys, y); break;
#endif
    default: mix((int)j->depth, row, j->mask, values, j->keys, y);
    }
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
        const float *values = j->packed_values + head * j->keys * filled;
        float *y = j->y + (first * j->heads + head) * j->depth;
        for (int64_t k = 0; k < j->keys; k += WIDTH)
            product(VECS, count, j->depth, query, j->query_row, keys + k * j->depth, scores + k, step);
        if (j->depth <= SHALLOW) {
            for (int64_t r = 0; r < count; r++) mix_shallow(j, scores + r * step, values, y + r * j->heads * j->depth);
            continue;
        }
        float total[QUERIES];
        for (int64_t r = 0; r < count; r++) total[r] = soften(scores + r * step, j->mask, j->keys);
        product((int)vecs, count, j->keys, scores, step, values, out, filled);
        for (int64_t r = 0; r < count; r++)
            for (int64_t d = 0; d < j->depth; d++) y[r * j->heads * j->depth + d] = out[r * filled + d] / total[r];
    }
}

/* depth up to WIDTH; keys a multiple of WIDTH */
void attention(struct attention *job, int threads) {
    share(pack, job, threads);
    job->next = 0;
    share(attend, job, threads);
}
