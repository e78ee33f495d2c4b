// The best items after one history, in float32 on a processor. `transformer.py` calls it.

#include <cmath>

#include "model.h"
#include "tiles.h"

namespace {

// Scores that are kept, best first, in the order of (score, tie rank).
struct Best {
    std::int64_t* items;
    float* scores;
    Index size, found;
    const std::int32_t* tie_rank;
    float least;  // below it, no score counts

    bool behind(Index place, Index item, float score) const {
        return scores[place] < score || (scores[place] == score && tie_rank[item] < tie_rank[items[place]]);
    }

    void take(Index item, float score) {
        if (score == -INFINITY || (found == size && !behind(size - 1, item, score))) return;
        Index place = found < size ? found++ : size - 1;
        for (; place > 0 && behind(place - 1, item, score); --place)
            items[place] = items[place - 1], scores[place] = scores[place - 1];
        items[place] = item, scores[place] = score;
        if (found == size) least = scores[size - 1];
    }
};

float product(const float* vector, const float* state, Index width) {
    Vector lanes = {};
    Index at = 0;
    for (; at + LANES <= width; at += LANES) lanes += load(vector + at) * load(state + at);
    float total = sum(lanes);
    for (; at < width; ++at) total += vector[at] * state[at];
    return total;
}

}  // namespace

extern "C" {

Wrong transformer_best(const Model* model, const Catalog* catalog, const std::int32_t* history, std::ptrdiff_t events,
                       std::ptrdiff_t exclude, std::ptrdiff_t k, std::int64_t* best, float* scores) {
    thread_local Workspace workspace;
    if (k < 1 || !workspace.has(catalog->items + model->width)) return NO_MEMORY;
    float *const biases = workspace.begin(), *const state = biases + catalog->items;
    const std::int64_t length = least(events, model->positions);
    const Wrong wrong = transformer_states(model, catalog->read, catalog->items, history + events - length, length,
                                           &length, 1, true, state);
    if (wrong != NOTHING) return wrong;
    std::memcpy(biases, catalog->biases, sizeof(float) * catalog->items);
    for (Index event = 0; exclude && event < events; ++event) {
        if (history[event] < 0 || history[event] >= catalog->items) return BAD_ITEM;
        biases[history[event]] = -INFINITY;
    }
    Best kept = {best, scores, k, 0, catalog->tie_rank, -INFINITY};
    for (Index item = 0; item < catalog->items; ++item) {
        const float score = product(catalog->scored + item * model->width, state, model->width) + biases[item];
        if (score < kept.least) continue;
        if (std::isnan(score)) return NOT_A_NUMBER;
        kept.take(item, score);
    }
    for (Index place = kept.found; place < k; ++place) best[place] = 0, scores[place] = -INFINITY;
    return NOTHING;
}

}  // extern "C"
