// A transformer as Python hands it over, and what its functions return. `transformer.py` has the same.

#pragma once

#include <cstddef>
#include <cstdint>

struct Model {
    const float* weights;  // as `transformer.py` packs them, so many
    std::ptrdiff_t floats, positions, width, heads, inner, blocks, gated;
};

// Vectors that are read and that states are scored by, each (items, width); biases (items,), -inf for what may not be
// recommended; tie_rank (items,): of two items with one score, the lower comes first.
struct Catalog {
    const float *read, *scored, *biases;
    const std::int32_t* tie_rank;
    std::ptrdiff_t items;
};

enum Wrong : int { NOTHING, NO_MEMORY, BAD_WEIGHTS, BAD_LENGTH, BAD_ITEM, NOT_A_NUMBER };

extern "C" {

// vectors (n_vectors, D), one a step, or, with items (N,), those of all items. lengths (B,). Written: states (B, D) after
// each history's newest step, or, without `newest`, (N, D) after every step.
Wrong transformer_states(const Model* model, const float* vectors, std::ptrdiff_t n_vectors, const std::int32_t* items,
                         std::ptrdiff_t steps, const std::int64_t* lengths, std::ptrdiff_t histories,
                         std::ptrdiff_t newest, float* states);

// The best items after one history, (events,), of which all are left out with `exclude`. Written: items and scores (k,),
// best first; 0 and -inf where there are fewer.
Wrong transformer_best(const Model* model, const Catalog* catalog, const std::int32_t* history, std::ptrdiff_t events,
                       std::ptrdiff_t exclude, std::ptrdiff_t k, std::int64_t* best, float* scores);

}  // extern "C"
