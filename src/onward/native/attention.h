// Causal attention of one head over the steps of one history, without gradients.
//
// Legend: L steps, E width of the head.

#pragma once

#include <cstring>

#include "tiles.h"

namespace {

constexpr float UNSEEN = -1e30f;  // logit of what comes later

// Powers of logits less the largest of them, in place; one over their sum. A piece is TILE_COLUMNS logits, and pieces
// are so far apart.
inline float to_powers(float* logits, Index pieces, Index step) {
    Vector peaks = Vector{} + UNSEEN, totals = {};
    for (Index piece = 0; piece < pieces; ++piece)
        for (Index half = 0; half < 2; ++half) peaks = larger(peaks, load(logits + piece * step + half * LANES));
    const float peak = largest(peaks);
    for (Index piece = 0; piece < pieces; ++piece)
        for (Index half = 0; half < 2; ++half) {
            float* at = logits + piece * step + half * LANES;
            const Vector power = power_of_two(load(at) - peak);
            totals += power;
            store(power, at);
        }
    return 1.0f / sum(totals);
}

// TILE_ROWS steps at a time meet the steps up to their own, and their logits stay in the first cache. Keys lie as
// (panels, E, TILE_COLUMNS), panels of steps; values as (parts, steps, TILE_COLUMNS), parts of E.
struct Head {
    Index width, panels, parts;
    float *keys, *values, *powers;

    Head(Index steps, Index width)
        : width(width),
          panels(rounded_up(steps, TILE_COLUMNS) / TILE_COLUMNS),
          parts(rounded_up(width, TILE_COLUMNS) / TILE_COLUMNS) {}

    Index size() const { return TILE_COLUMNS * panels * (width + TILE_COLUMNS * parts + TILE_ROWS); }

    void work_in(float* workspace) {
        keys = workspace;
        values = keys + TILE_COLUMNS * panels * width;
        powers = values + TILE_COLUMNS * panels * TILE_COLUMNS * parts;  // (panels, TILE_ROWS, TILE_COLUMNS)
    }

    // Zeros after the last step: what is never seen must not be NaN.
    void take(const float* key, const float* value, Index steps, Index stride, float scale) {
        std::memset(keys + (panels - 1) * width * TILE_COLUMNS, 0, sizeof(float) * width * TILE_COLUMNS);
        for (Index part = 0; part < parts; ++part)
            std::memset(values + (part * panels * TILE_COLUMNS + steps) * TILE_COLUMNS, 0,
                        sizeof(float) * (panels * TILE_COLUMNS - steps) * TILE_COLUMNS);
        for (Index step = 0; step < steps; ++step) {
            float* panel = keys + step / TILE_COLUMNS * width * TILE_COLUMNS + step % TILE_COLUMNS;
            for (Index at = 0; at < width; ++at) panel[at * TILE_COLUMNS] = key[step * stride + at] * scale;
            for (Index part = 0; part < parts; ++part)
                std::memcpy(values + (part * panels * TILE_COLUMNS + step) * TILE_COLUMNS,
                            value + step * stride + part * TILE_COLUMNS,
                            sizeof(float) * least(TILE_COLUMNS, width - part * TILE_COLUMNS));
        }
    }

    // What `count` queries from step `first` on see of all steps up to themselves.
    void mix(const float* query, Index first, Index count, Index stride, float* to) {
        const Index seen = (first + count - 1) / TILE_COLUMNS + 1;
        for (Index panel = 0; panel < seen; ++panel) {
            Tile tile = {};
            tile.add_product(width, query, stride, 1, keys + panel * width * TILE_COLUMNS);
            tile.store(powers + panel * TILE_ROWS * TILE_COLUMNS);
        }
        float shares[TILE_ROWS];
        for (Index row = 0; row < count; ++row) {
            for (Index later = first + row + 1; later < seen * TILE_COLUMNS; ++later)
                powers[(later / TILE_COLUMNS * TILE_ROWS + row) * TILE_COLUMNS + later % TILE_COLUMNS] = UNSEEN;
            shares[row] = to_powers(powers + row * TILE_COLUMNS, seen, TILE_ROWS * TILE_COLUMNS);
        }
        for (Index part = 0; part < parts; ++part) {
            Tile tile = {};
            for (Index panel = 0; panel < seen; ++panel)
                tile.add_product(TILE_COLUMNS, powers + panel * TILE_ROWS * TILE_COLUMNS, TILE_COLUMNS, 1,
                                 values + (part * panels + panel) * TILE_COLUMNS * TILE_COLUMNS);
            const Index columns = least(TILE_COLUMNS, width - part * TILE_COLUMNS);
            for (Index row = 0; row < count; ++row) {
                float mixed[TILE_COLUMNS];
                for (Index half = 0; half < 2; ++half) store(tile.sums[row][half] * shares[row], mixed + half * LANES);
                std::memcpy(to + row * stride + part * TILE_COLUMNS, mixed, sizeof(float) * columns);
            }
        }
    }
};

}  // namespace
