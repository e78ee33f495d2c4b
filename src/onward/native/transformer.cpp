// States of histories by the blocks of SASRec and eSASRec, without gradients, in float32 on a processor.
//
// Histories lie one after the other without padding; dense layers take a group of them at once, whose activations stay
// in the cache, and attention one history. The last block works for the newest steps alone, where only those are
// wanted. `transformer.py` packs the weights and calls it.
//
// Legend: B histories, N their steps, D width, S the same rounded up to whole tiles, H heads, E = D / H, I width of the
// feed-forward layer, rounded up like S. Rows are S (or I) floats apart, and zero after the first D of them.

#include <cmath>

#include "attention.h"
#include "model.h"
#include "tiles.h"

namespace {

constexpr Index GROUP_STEPS = 256;  // of short histories together
constexpr float EPSILON = 1e-5f;    // of norms

struct Linear {
    const float *weight, *bias;  // (columns / TILE_COLUMNS, inputs, TILE_COLUMNS), (columns,)
    Index inputs, columns;
};

struct Norm {
    const float *gain, *offset;  // (S,)
};

struct Block {
    Norm attention_norm, forward_norm;
    Linear query, key, value, project, attention_gate, widen, widen_value, narrow, forward_gate;
};

// What the last block needs instead of the first four, to work for some steps alone (`attention.fold`).
struct Folded {
    Linear query, mixed;  // D to H x S, H x S to D
};

struct Shape {
    Index width, heads, inner;
    bool gated;

    Index stride() const { return rounded_up(width, TILE_COLUMNS); }
    Index inner_stride() const { return rounded_up(inner, TILE_COLUMNS); }
};

// Weights in the order in which they were packed.
class Packed {
  public:
    explicit Packed(const float* first) : at(first) {}

    const float* take(Index floats) {
        const float* found = at;
        at += floats;
        return found;
    }

    Linear linear(Index inputs, Index outputs) {
        const Index columns = rounded_up(outputs, TILE_COLUMNS);
        const float* weight = take(inputs * columns);
        return {weight, take(columns), inputs, columns};
    }

    Norm norm(Index stride) {
        const float* gain = take(stride);
        return {gain, take(stride)};
    }

    Block block(const Shape& shape) {
        const Index width = shape.width;
        Block found = {};
        found.attention_norm = norm(shape.stride());
        found.query = linear(width, width);
        found.key = linear(width, width);
        found.value = linear(width, width);
        found.project = linear(width, width);
        found.forward_norm = norm(shape.stride());
        found.widen = linear(width, shape.inner);
        if (shape.gated) found.widen_value = linear(width, shape.inner);
        found.narrow = linear(shape.inner, width);
        if (shape.gated) found.attention_gate = linear(width, width), found.forward_gate = linear(width, width);
        return found;
    }

    Folded folded(const Shape& shape) {
        const Linear query = linear(shape.width, shape.heads * shape.stride());
        return {query, linear(shape.heads * shape.stride(), shape.width)};
    }

    const float* at;
};

Vector positive(Vector x) { return x < 0.0f ? -x : x; }

Vector sigmoid(Vector x) {
    const Vector power = power_of_two(positive(x) * -LOG2_E), share = 1.0f / (1.0f + power);
    return x < 0.0f ? power * share : share;
}

// x times the normal distribution up to x; erf as Abramowitz and Stegun, 7.1.26, to 1.5e-7.
Vector gelu(Vector x) {
    const Vector z = positive(x) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * z);
    Vector tail = 1.061405429f * t - 1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t - 0.284496736f;
    tail = tail * t + 0.254829592f;
    tail = 0.5f * tail * t * power_of_two(z * z * -LOG2_E);
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

// out = in weight + bias, or added to what is there. Rows are rounded up to whole tiles.
void multiply(const Linear& linear, const float* in, Index in_stride, Index rows, float* out, Index out_stride,
              bool add = false) {
    for (Index panel = 0; panel < linear.columns / TILE_COLUMNS; ++panel) {
        const float* weight = linear.weight + panel * linear.inputs * TILE_COLUMNS;
        const float* bias = linear.bias + panel * TILE_COLUMNS;
        for (Index row = 0; row < rows; row += TILE_ROWS) {
            Tile tile;
            for (auto& sums : tile.sums) sums[0] = load(bias), sums[1] = load(bias + LANES);
            tile.add_product(linear.inputs, in + row * in_stride, in_stride, 1, weight);
            float* to = out + row * out_stride + panel * TILE_COLUMNS;
            add ? tile.add_to(to, out_stride) : tile.store(to, out_stride);
        }
    }
}

void normalise(const Norm& norm, const float* in, Index rows, Index width, Index stride, float* out) {
    float ones[2 * LANES] = {};
    for (Index lane = 0; lane < LANES; ++lane) ones[lane] = 1.0f;
    for (Index row = 0; row < rows; ++row, in += stride, out += stride) {
        Vector total = {}, squares = {};
        for (Index at = 0; at < stride; at += LANES) total += load(in + at);
        const float mean = sum(total) / width;
        for (Index at = 0; at < width; at += LANES) {
            const Vector rest = (load(in + at) - mean) * load(ones + LANES - least(LANES, width - at));
            squares += rest * rest;
        }
        const float scale = 1.0f / std::sqrt(sum(squares) / width + EPSILON);
        for (Index at = 0; at < stride; at += LANES)
            store((load(in + at) - mean) * scale * load(norm.gain + at) + load(norm.offset + at), out + at);
    }
}

// Where a group of histories is worked on: of at most `steps` steps, the longest of `longest`.
struct Group {
    Shape shape;
    Index stride, inner_stride, steps;
    float *x, *normed, *first, *second, *third, *inner, *asked, *mixed;
    Head head;

    Group(const Shape& shape, Index most, Index longest)
        : shape(shape),
          stride(shape.stride()),
          inner_stride(shape.inner_stride()),
          steps(rounded_up(most, TILE_ROWS)),
          head(longest, shape.width / shape.heads) {}

    Index size() const {
        return steps * (stride * (5 + 2 * shape.heads) + inner_stride * (shape.gated ? 2 : 1)) + head.size();
    }

    void work_in(float* workspace) {
        float** const parts[] = {&x, &normed, &first, &second, &third};
        for (float** part : parts) *part = workspace, workspace += steps * stride;
        inner = workspace;
        asked = inner + steps * inner_stride * (shape.gated ? 2 : 1);
        mixed = asked + steps * stride * shape.heads;
        head.work_in(mixed + steps * stride * shape.heads);
    }

    float scale() const { return LOG2_E / std::sqrt(static_cast<float>(shape.width / shape.heads)); }

    void take(const float* vector, const float* position, Index step) {
        const float scale = std::sqrt(static_cast<float>(shape.width));
        float* to = x + step * stride;
        for (Index at = 0; at < shape.width; ++at) to[at] = vector[at] * scale + position[at];
        for (Index at = shape.width; at < stride; ++at) to[at] = 0.0f;
    }

    // A block for all of some histories' steps.
    void apply(const Block& block, const std::int64_t* lengths, Index histories, Index rows) {
        normalise(block.attention_norm, x, rows, shape.width, stride, normed);
        multiply(block.query, normed, stride, rows, first, stride);
        multiply(block.key, normed, stride, rows, second, stride);
        multiply(block.value, normed, stride, rows, third, stride);
        for (Index history = 0, begin = 0; history < histories; begin += lengths[history++])
            for (Index which = 0; which < shape.heads; ++which) {
                const Index from = begin * stride + which * head.width;
                head.panels = rounded_up(lengths[history], TILE_COLUMNS) / TILE_COLUMNS;
                head.take(second + from, third + from, lengths[history], stride, scale());
                for (Index step = 0; step < lengths[history]; step += TILE_ROWS)
                    head.mix(first + from + step * stride, step, least(TILE_ROWS, lengths[history] - step), stride,
                             normed + from + step * stride);
            }
        add(block, block.project, normed, stride, rows);
    }

    // The last block for the newest step of each history, which then lie one after the other.
    void apply_to_newest(const Block& block, const Folded& folded, const std::int64_t* lengths, Index histories,
                         Index rows) {
        normalise(block.attention_norm, x, rows, shape.width, stride, normed);
        for (Index history = 0, newest = -1; history < histories; ++history) {
            newest += lengths[history];
            std::memcpy(first + history * stride, normed + newest * stride, sizeof(float) * stride);
            std::memmove(x + history * stride, x + newest * stride, sizeof(float) * stride);
        }
        const Index wide = shape.heads * stride;
        multiply(folded.query, first, stride, histories, asked, wide);
        for (Index history = 0, begin = 0; history < histories; begin += lengths[history++])
            for (Index which = 0; which < shape.heads; ++which)
                mix_newest(asked + history * wide + which * stride, normed + begin * stride, lengths[history],
                           mixed + history * wide + which * stride);
        add(block, folded.mixed, mixed, wide, histories);
    }

    void mix_newest(const float* query, const float* steps, Index count, float* to) {
        float* const logits = head.powers;
        const float factor = scale();
        for (Index step = 0; step < count; ++step) {
            Vector product = {};
            for (Index at = 0; at < stride; at += LANES) product += load(query + at) * load(steps + step * stride + at);
            logits[step] = sum(product) * factor;
        }
        const Index pieces = rounded_up(count, TILE_COLUMNS) / TILE_COLUMNS;
        for (Index later = count; later < pieces * TILE_COLUMNS; ++later) logits[later] = UNSEEN;
        const float share = to_powers(logits, pieces, TILE_COLUMNS);
        for (Index at = 0; at < stride; at += LANES) {
            Vector total = {};
            for (Index step = 0; step < count; ++step) total += logits[step] * load(steps + step * stride + at);
            store(total * share, to + at);
        }
    }

    // What attention mixed, projected, and the feed-forward layer's part, each added to x.
    void add(const Block& block, const Linear& project, const float* what, Index what_stride, Index rows) {
        add_part(project, block.attention_gate, what, what_stride, rows);
        normalise(block.forward_norm, x, rows, shape.width, stride, normed);
        multiply(block.widen, normed, stride, rows, inner, inner_stride);
        if (shape.gated) {
            float* const values = inner + steps * inner_stride;
            multiply(block.widen_value, normed, stride, rows, values, inner_stride);
            for (Index at = 0; at < rows * inner_stride; at += LANES) {
                const Vector gate = load(inner + at);
                store(gate * sigmoid(gate) * load(values + at), inner + at);
            }
        } else {
            for (Index at = 0; at < rows * inner_stride; at += LANES) store(gelu(load(inner + at)), inner + at);
        }
        add_part(block.narrow, block.forward_gate, inner, inner_stride, rows);
    }

    void add_part(const Linear& linear, const Linear& gate, const float* what, Index what_stride, Index rows) {
        if (!shape.gated) return multiply(linear, what, what_stride, rows, x, stride, true);
        multiply(linear, what, what_stride, rows, first, stride);
        multiply(gate, x, stride, rows, second, stride);
        for (Index at = 0; at < rows * stride; at += LANES)
            store(load(x + at) + sigmoid(load(second + at)) * load(first + at), x + at);
    }
};

}  // namespace

extern "C" {

std::ptrdiff_t tile_columns() { return TILE_COLUMNS; }

Wrong transformer_states(const Model* model, const float* vectors, std::ptrdiff_t n_vectors, const std::int32_t* items,
                         std::ptrdiff_t steps, const std::int64_t* lengths, std::ptrdiff_t histories,
                         std::ptrdiff_t newest, float* states) {
    const Shape shape = {model->width, model->heads, model->inner, model->gated != 0};
    const Index stride = shape.stride();
    Index longest = 0, all = 0;
    for (Index history = 0; history < histories; all += lengths[history++]) {
        if (lengths[history] < 1 || lengths[history] > model->positions) return BAD_LENGTH;
        longest = longest < lengths[history] ? lengths[history] : longest;
    }
    if (all != steps) return BAD_LENGTH;
    Group group(shape, least(all, longest < GROUP_STEPS ? GROUP_STEPS : longest), longest);
    thread_local Workspace workspace;  // one request after the other would feel how long it takes to get memory
    if (!workspace.has(group.size())) return NO_MEMORY;
    group.work_in(workspace.begin());

    Index step = 0;
    for (Index first = 0, end = 0; first < histories; first = end) {
        Packed packed(model->weights);
        const float* position = packed.take(model->positions * stride);
        Index rows = 0;
        for (; end < histories && (end == first || rows + lengths[end] <= GROUP_STEPS); rows += lengths[end++])
            for (Index at = 0; at < lengths[end]; ++at, ++step) {
                const Index which = items ? items[step] : step;
                if (which < 0 || which >= n_vectors) return BAD_ITEM;
                group.take(vectors + which * shape.width, position + at * stride, rows + at);
            }
        for (Index block = 0; block < model->blocks; ++block) {
            const Block one = packed.block(shape);
            if (block < model->blocks - 1 || !newest)
                group.apply(one, lengths + first, end - first, rows);
            else
                group.apply_to_newest(one, packed.folded(shape), lengths + first, end - first, rows);
        }
        if (!newest) packed.folded(shape);
        if (newest) rows = end - first;
        normalise(packed.norm(stride), group.x, rows, shape.width, stride, group.normed);
        if (packed.at != model->weights + model->floats) return BAD_WEIGHTS;
        for (Index row = 0; row < rows; ++row, states += shape.width)
            std::memcpy(states, group.normed + row * stride, sizeof(float) * shape.width);
    }
    return NOTHING;
}

}  // extern "C"
