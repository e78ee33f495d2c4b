// Cross-entropy over the whole catalog and its gradients, in float32 on a processor.
//
// The three matrix products of this loss and the powers between them are made for a few rows at a time, whose logits
// stay in the cache, from tables that lie as the products read them. `build.py` compiles this file once for each set of
// vector instructions; `softmax.py` alone calls it.
//
// Legend: S states, T targets, V items, D width. Matrices that come in and go out are dense, row by row.

#include <cmath>

#include "tiles.h"

namespace {

constexpr Index STRETCH = 256;  // items whose vectors stay in the first cache while all rows of a block pass
constexpr Index BLOCK_LOGITS = 330'000;  // of a block of rows: 1.3 MB
constexpr float NO_ITEM = -1e30f;  // bias of the columns that fill the last panel

// Sizes, rounded up to whole tiles, and where in the workspace everything is. A panel is TILE_COLUMNS items, a part as
// many columns of the table.
struct Layout {
    Index items, width, panels, columns, wide, rows;

    Layout(Index states, Index items, Index width)
        : items(rounded_up(items, TILE_COLUMNS)),
          width(width),
          panels(this->items / TILE_COLUMNS),
          columns(rounded_up(width, TILE_COLUMNS)),
          wide(rounded_up(width + 1, TILE_ROWS)) {
        const Index fitting = BLOCK_LOGITS / this->items;
        const Index most = fitting < 48 ? 48 : fitting > 192 ? 192 : fitting;
        rows = rounded_up(least(most, states), TILE_ROWS);
    }

    Index table_by_items() const { return 0; }                                   // (panels, D, TILE_COLUMNS)
    Index table_by_columns() const { return table_by_items() + items * width; }  // (parts, V, TILE_COLUMNS)
    Index bias() const { return table_by_columns() + items * columns; }          // (V,)
    Index gradient() const { return bias() + items; }                            // (panels, wide, TILE_COLUMNS)
    Index powers() const { return gradient() + items * wide; }                   // (panels, rows, TILE_COLUMNS)
    Index block() const { return powers() + items * rows; }                      // (rows / TILE_ROWS, D, TILE_ROWS)
    Index weighted() const { return block() + rows * width; }                    // (wide / TILE_ROWS, rows, TILE_ROWS)
    Index means() const { return weighted() + rows * wide; }                     // (parts, rows, TILE_COLUMNS)
    Index peaks() const { return means() + rows * columns; }                     // (rows, LANES)
    Index totals() const { return peaks() + rows * LANES; }                      // (rows, LANES)
    Index factors() const { return totals() + rows * LANES; }                    // (rows,)
    Index size() const { return factors() + rows; }
};

struct Softmax {
    Layout layout;
    Index width;
    float *by_items, *by_columns, *bias, *gradient, *powers, *block, *weighted, *means, *peaks, *totals, *factors;

    Softmax(const Layout& layout, float* workspace)
        : layout(layout),
          width(layout.width),
          by_items(workspace + layout.table_by_items()),
          by_columns(workspace + layout.table_by_columns()),
          bias(workspace + layout.bias()),
          gradient(workspace + layout.gradient()),
          powers(workspace + layout.powers()),
          block(workspace + layout.block()),
          weighted(workspace + layout.weighted()),
          means(workspace + layout.means()),
          peaks(workspace + layout.peaks()),
          totals(workspace + layout.totals()),
          factors(workspace + layout.factors()) {}

    float* power(Index row, Index item) const {
        return powers + (item / TILE_COLUMNS * layout.rows + row) * TILE_COLUMNS + item % TILE_COLUMNS;
    }

    float* mean(Index row, Index column) const {
        return means + (column / TILE_COLUMNS * layout.rows + row) * TILE_COLUMNS + column % TILE_COLUMNS;
    }

    float* state(Index row, Index column) const {
        return block + (row / TILE_ROWS * width + column) * TILE_ROWS + row % TILE_ROWS;
    }

    // Logits are made to the base of two.
    void take_table(const float* table, const float* offsets, Index items) {
        std::memset(by_items, 0, sizeof(float) * (layout.powers() - layout.table_by_items()));
        for (Index item = 0; item < layout.items; ++item) bias[item] = item < items ? offsets[item] * LOG2_E : NO_ITEM;
        for (Index item = 0; item < items; ++item)
            for (Index column = 0; column < width; ++column) {
                const Index panel = item / TILE_COLUMNS, place = item % TILE_COLUMNS;
                const float value = table[item * width + column];
                by_items[(panel * width + column) * TILE_COLUMNS + place] = value * LOG2_E;
                const Index part = column / TILE_COLUMNS, within = column % TILE_COLUMNS;
                by_columns[(part * layout.items + item) * TILE_COLUMNS + within] = value;
            }
    }

    void take_states(const float* states, Index rows) {
        for (Index row = 0; row < rounded_up(rows, TILE_ROWS); ++row)
            for (Index column = 0; column < width; ++column)
                *state(row, column) = row < rows ? states[row * width + column] : 0.0f;
    }

    // Logits of the block's rows in place of powers, and the largest of each row.
    void make_logits(Index rows) {
        for (Index at = 0; at < rows * LANES; ++at) peaks[at] = NO_ITEM;
        for (Index panel = 0; panel < layout.panels; ++panel)
            for (Index row = 0; row < rows; row += TILE_ROWS) {
                const float* offsets = bias + panel * TILE_COLUMNS;
                const float* vectors = by_items + panel * width * TILE_COLUMNS;
                Tile tile;
                for (auto& sums : tile.sums) sums[0] = load(offsets), sums[1] = load(offsets + LANES);
                tile.add_product(width, block + row * width, 1, TILE_ROWS, vectors);
                tile.store(powers + (panel * layout.rows + row) * TILE_COLUMNS);
                for (Index within = 0; within < TILE_ROWS; ++within) {
                    float* peak = peaks + (row + within) * LANES;
                    store(larger(load(peak), larger(tile.sums[within][0], tile.sums[within][1])), peak);
                }
            }
        for (Index row = 0; row < rows; ++row)
            peaks[row * LANES] = largest(load(peaks + row * LANES));
    }

    // Powers in place of logits, their sum by row (the first of its totals), and the item vectors weighted by them. A
    // stretch is summed before it is added to those before it: the rounding of a long sum grows with its parts.
    void make_powers_and_means(Index rows) {
        std::memset(totals, 0, sizeof(float) * rows * LANES);
        std::memset(means, 0, sizeof(float) * layout.rows * layout.columns);
        const Index stretch = STRETCH / TILE_COLUMNS;
        for (Index first = 0; first < layout.panels; first += stretch) {
            const Index end = least(first + stretch, layout.panels);
            for (Index row = 0; row < rows; ++row) {
                const float peak = peaks[row * LANES];
                Vector total = {};
                for (Index panel = first; panel < end; ++panel) {
                    float* logits = powers + (panel * layout.rows + row) * TILE_COLUMNS;
                    const Vector left = power_of_two(load(logits) - peak);
                    const Vector right = power_of_two(load(logits + LANES) - peak);
                    store(left, logits);
                    store(right, logits + LANES);
                    total += left + right;
                }
                store(load(totals + row * LANES) + total, totals + row * LANES);
            }
            for (Index part = 0; part < layout.columns / TILE_COLUMNS; ++part)
                for (Index row = 0; row < rows; row += TILE_ROWS) {
                    Tile tile = {};
                    for (Index panel = first; panel < end; ++panel) {
                        const float* vectors = by_columns + (part * layout.items + panel * TILE_COLUMNS) * TILE_COLUMNS;
                        const float* factors = powers + (panel * layout.rows + row) * TILE_COLUMNS;
                        tile.add_product(TILE_COLUMNS, factors, TILE_COLUMNS, 1, vectors);
                    }
                    tile.add_to(mean(row, part * TILE_COLUMNS));
                }
        }
        for (Index row = 0; row < rows; ++row)
            totals[row * LANES] = sum(load(totals + row * LANES));
    }

    void weight_states(Index rows) {
        for (Index column = 0; column < layout.wide; ++column)
            for (Index row = 0; row < rows; ++row) {
                const float value = column < width ? *state(row, column) : column == width ? 1.0f : 0.0f;
                weighted[(column / TILE_ROWS * rows + row) * TILE_ROWS + column % TILE_ROWS] = value * factors[row];
            }
    }

    void add_table_gradient(Index rows) {
        for (Index panel = 0; panel < layout.panels; ++panel)
            for (Index column = 0; column < layout.wide; column += TILE_ROWS) {
                float* sums = gradient + (panel * layout.wide + column) * TILE_COLUMNS;
                Tile tile;
                tile.load(sums);
                const float* shares = powers + panel * layout.rows * TILE_COLUMNS;
                tile.add_product(rows, weighted + column * rows, 1, TILE_ROWS, shares);
                tile.store(sums);
            }
    }

    void give_table_gradient(float* grad_table, float* grad_bias, Index items) const {
        for (Index item = 0; item < items; ++item) {
            const float* sums = gradient + item / TILE_COLUMNS * layout.wide * TILE_COLUMNS + item % TILE_COLUMNS;
            for (Index column = 0; column < width; ++column)
                grad_table[item * width + column] = sums[column * TILE_COLUMNS];
            grad_bias[item] = sums[width * TILE_COLUMNS];
        }
    }
};

float log_of_sum(float first, float second) {  // log(exp(first) + exp(second)), as PyTorch's logaddexp
    const float high = first < second ? second : first, low = first < second ? first : second;
    return high == -INFINITY ? high : high + std::log1p(std::exp(low - high));
}

}  // namespace

extern "C" {

// states (S, D), table (V, D), bias (V,), targets (T,): items. owners (T,): ascending, each target's state, or null
// where S = T and each has its own. weights (T,). asked and other (T,), or both null: a mixture, as in
// `losses.full_softmax`. Written: log_target (T,), the log-probability of each target; scale (T,), the weight of each
// target times what of its probability comes of the softmax; and the gradients of -sum(weights * log_target). Returns
// whether there was memory to work in.
bool softmax_loss(const float* states, std::ptrdiff_t n_states, const float* table, const float* bias,
                  std::ptrdiff_t items, std::ptrdiff_t width, const std::int64_t* targets, const std::int64_t* owners,
                  std::ptrdiff_t n_targets, const float* weights, const float* asked, const float* other,
                  float* log_target, float* scale, float* grad_states, float* grad_table, float* grad_bias) {
    const Layout layout(n_states, items, width);
    Workspace workspace;
    if (!workspace.has(layout.size())) return false;
    Softmax softmax(layout, workspace.begin());
    softmax.take_table(table, bias, items);
    Index target = 0;
    for (Index first = 0; first < n_states; first += layout.rows) {
        const Index count = least(layout.rows, n_states - first), rows = rounded_up(count, TILE_ROWS);
        const Index first_target = target;
        const auto row_of = [&](Index which) { return (owners ? owners[which] : which) - first; };
        softmax.take_states(states + first * width, count);
        softmax.make_logits(rows);
        for (; target < n_targets && row_of(target) < count; ++target) {
            const float peak = softmax.peaks[row_of(target) * LANES];
            log_target[target] = (*softmax.power(row_of(target), targets[target]) - peak) * LN_2;
        }
        softmax.make_powers_and_means(rows);

        std::memset(softmax.factors, 0, sizeof(float) * rows);  // weight of each row's softmax
        for (Index at = first_target; at < target; ++at) {
            scale[at] = weights[at];
            log_target[at] -= std::log(softmax.totals[row_of(at) * LANES]);
            if (asked) {
                const float from_softmax = asked[at] + log_target[at];
                log_target[at] = log_of_sum(from_softmax, other[at]);
                scale[at] *= std::exp(from_softmax - log_target[at]);
            }
            softmax.factors[row_of(at)] += scale[at];
        }
        // the gradient by a logit is its probability, less the target's share; powers are probabilities times totals
        for (Index at = first_target; at < target; ++at) {
            const Index row = row_of(at);
            if (softmax.factors[row] > 0)
                *softmax.power(row, targets[at]) -= softmax.totals[row * LANES] * (scale[at] / softmax.factors[row]);
        }
        // by a state it is the difference of the mean item vector and the target's, which is nothing where both are one
        std::memset(grad_states + first * width, 0, sizeof(float) * count * width);
        for (Index at = first_target; at < target; ++at) {
            const Index row = row_of(at);
            const float* vector = table + targets[at] * width;
            float* gradient = grad_states + (first + row) * width;
            for (Index column = 0; column < width; ++column) {
                const float mean = *softmax.mean(row, column) / softmax.totals[row * LANES];
                gradient[column] += scale[at] * (mean - vector[column]);
            }
        }
        for (Index row = 0; row < rows; ++row) softmax.factors[row] /= softmax.totals[row * LANES];
        softmax.weight_states(rows);
        softmax.add_table_gradient(rows);
    }
    softmax.give_table_gradient(grad_table, grad_bias, items);
    return true;
}

}  // extern "C"
