// Vectors of the instructions that this is compiled for, tiles of matrix products, and memory to work in.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <sys/mman.h>

namespace {

using Index = std::ptrdiff_t;

// A tile of the result, TILE_ROWS times TILE_COLUMNS sums, fills the registers. GCC and Clang make vectors of these.
#ifdef __AVX512F__
constexpr Index LANES = 16, TILE_ROWS = 12;
#else
constexpr Index LANES = 8, TILE_ROWS = 6;
#endif
constexpr Index TILE_COLUMNS = 2 * LANES;
constexpr float LOG2_E = 1.44269504f, LN_2 = 0.69314718f;

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef float Four __attribute__((vector_size(16)));
typedef std::int32_t Bits __attribute__((vector_size(4 * LANES)));

inline Vector load(const float* from) {
    Vector found;
    std::memcpy(&found, from, sizeof found);
    return found;
}

inline void store(Vector what, float* to) { std::memcpy(to, &what, sizeof what); }

inline Index rounded_up(Index size, Index step) { return (size + step - 1) / step * step; }

inline Index least(Index first, Index second) { return first < second ? first : second; }

// Floats to work in, in large pages where the system has them: of small ones a block has more than the processor keeps
// the addresses of.
class Workspace {
  public:
    Workspace() = default;

    Workspace(const Workspace&) = delete;

    ~Workspace() { let_go(); }

    // Whether there is room for so many floats; what was in it is lost where there wasn't before.
    bool has(Index floats) {
        const Index needed = rounded_up(floats * sizeof(float), PAGE) + PAGE;
        if (needed <= bytes) return true;
        let_go();
        mapped = mmap(nullptr, needed, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped == MAP_FAILED) return false;
        bytes = needed;
#ifdef MADV_HUGEPAGE
        madvise(mapped, bytes, MADV_HUGEPAGE);
#endif
        return true;
    }

    float* begin() const { return reinterpret_cast<float*>(rounded_up(reinterpret_cast<Index>(mapped), PAGE)); }

  private:
    static constexpr Index PAGE = 2 << 20;
    Index bytes = 0;
    void* mapped = nullptr;

    void let_go() {
        if (bytes) munmap(mapped, bytes);
        bytes = 0;
    }
};

struct Tile {
    Vector sums[TILE_ROWS][2];

    void load(const float* from, Index row_step = TILE_COLUMNS) {
        for (Index row = 0; row < TILE_ROWS; ++row)
            for (Index half = 0; half < 2; ++half) sums[row][half] = ::load(from + row * row_step + half * LANES);
    }

    void store(float* to, Index row_step = TILE_COLUMNS) const {
        for (Index row = 0; row < TILE_ROWS; ++row)
            for (Index half = 0; half < 2; ++half) ::store(sums[row][half], to + row * row_step + half * LANES);
    }

    void add_to(float* sum, Index row_step = TILE_COLUMNS) {
        Tile before;
        before.load(sum, row_step);
        for (Index row = 0; row < TILE_ROWS; ++row)
            for (Index half = 0; half < 2; ++half) sums[row][half] += before.sums[row][half];
        store(sum, row_step);
    }

    // Adds the product of `left`, whose rows and columns are so far apart, and of `depth` rows of `right`.
    void add_product(Index depth, const float* left, Index row_step, Index column_step, const float* right) {
        for (Index at = 0; at < depth; ++at) {
            const Vector first = ::load(right + at * TILE_COLUMNS), second = ::load(right + at * TILE_COLUMNS + LANES);
            for (Index row = 0; row < TILE_ROWS; ++row) {
                const float factor = left[row * row_step + at * column_step];
                sums[row][0] += factor * first;
                sums[row][1] += factor * second;
            }
        }
    }
};

// 2 ** x, to a rounding, for x of at most 0; below 2 ** -126.5 it is nothing. The polynomial is the one of degree 6
// that is least wrong, relatively, between -1/2 and 1/2, which is where rounding to whole numbers leaves x.
inline Vector power_of_two(Vector x) {
    const float whole = 12582912.0f + 127;  // 1.5 * 2 ** 23 rounds what is added to it, and 127 is the exponent of 1
    x = x < -127.0f ? Vector{} - 127.0f : x;
    const Vector rounded = x + whole, rest = x - (rounded - whole);
    Vector power = 1.5345812e-4f * rest + 1.3399901e-3f;
    power = power * rest + 9.6184891e-3f;
    power = power * rest + 5.5503286e-2f;
    power = power * rest + 2.4022646e-1f;
    power = power * rest + 6.9314718e-1f;
    power = power * rest + 1.0f;
    return power * reinterpret_cast<Vector>(reinterpret_cast<Bits>(rounded) << 23);
}

inline Vector larger(Vector first, Vector second) { return first < second ? second : first; }

inline float sum(Vector lanes) {  // in pairs, since one after the other would each wait for the one before
    Four parts[LANES / 4];
    std::memcpy(parts, &lanes, sizeof parts);
    for (Index part = 1; part < LANES / 4; ++part) parts[0] += parts[part];
    return (parts[0][0] + parts[0][2]) + (parts[0][1] + parts[0][3]);
}

inline float largest(Vector lanes) {
    float found = lanes[0];
    for (Index lane = 1; lane < LANES; ++lane) found = found < lanes[lane] ? lanes[lane] : found;
    return found;
}

}  // namespace
