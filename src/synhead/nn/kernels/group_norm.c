/* Group norm, followed by a swish or not. */
#include "common.h"

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
