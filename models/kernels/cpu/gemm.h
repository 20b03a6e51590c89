#pragma once

// Matrix products; see vector.h for why all of it has internal linkage.
//
// C is computed in tiles of kTileRows x (1 to 3 vectors) that stay in registers while k runs. Both
// factors are first packed: A into panels [k][kLanes rows], B into panels [k][up to 3 vectors of
// columns], so that the inner loop reads memory in order and no power-of-two stride makes cache
// lines collide. An element of C is the sum over k in order within blocks of kGemmBlockK, and the
// blocks in order, whatever its tile: the bits depend on neither m nor n nor how threads share
// them.

#include "models/kernels/cpu/cpu_kernels.h"
#include "models/kernels/cpu/vector.h"

namespace enodia {
namespace {

#if defined(__AVX512F__)
constexpr int64_t kTileRows = 8;  // 24 sums, 3 vectors of B and a broadcast of 32 registers
#else
constexpr int64_t kTileRows = 4;  // 12 sums, 3 vectors of B and a broadcast of 16 registers
#endif
constexpr int64_t kTileVectors = 3;

inline int64_t lesser(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/// n rounded up to whole vectors.
inline int64_t padded(int64_t n) {
  return (n + kLanes - 1) / kLanes * kLanes;
}

/// One factor seen as [outer, k]: rows of A or columns of B.
struct Factor {
  const float* data;
  int64_t stride;
  bool k_is_contiguous;  ///< element (o, k) is data[o * stride + k], else data[k * stride + o]

  Factor at(int64_t outer, int64_t k) const {
    return {data + (k_is_contiguous ? outer * stride + k : k * stride + outer),
            stride,
            k_is_contiguous};
  }
};

#if defined(__AVX512F__)
inline Vec interleave_low(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Vec interleave_high(Vec a, Vec b) {
  return __builtin_shufflevector(
      a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#elif defined(__AVX2__)
inline Vec interleave_low(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
inline Vec interleave_high(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}
#else
inline Vec interleave_low(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
}
inline Vec interleave_high(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
}
#endif

/// Transposes a square of kLanes vectors: each round interleaves the first half with the second.
inline void transpose_square(Vec (&v)[kLanes]) {
  Vec w[kLanes];
#pragma GCC unroll 4
  for (int64_t round = 1; round < kLanes; round *= 2) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes / 2; ++i) {
      w[2 * i] = interleave_low(v[i], v[i + kLanes / 2]);
      w[2 * i + 1] = interleave_high(v[i], v[i + kLanes / 2]);
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) {
      v[i] = w[i];
    }
  }
}

/// Packs one vector's width: out[k * out_stride + lane] = factor(lane, k), zero from lane `outer`
/// on.
void pack_lanes(
    const Factor& factor, int64_t outer, int64_t depth, float* out, int64_t out_stride) {
  if (!factor.k_is_contiguous) {
    for (int64_t k = 0; k < depth; ++k) {
      const float* row = factor.data + k * factor.stride;
      store(out + k * out_stride, outer == kLanes ? load(row) : load(row, SomeLanes{outer}));
    }
    return;
  }
  for_lanes(0, depth, [&](int64_t k, auto lanes) {
    Vec square[kLanes];
#pragma GCC unroll 16
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      square[lane] = lane < outer ? load(factor.data + lane * factor.stride + k, lanes) : Vec{};
    }
    transpose_square(square);
    const int64_t valid = lesser(depth - k, kLanes);
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) {
      if (i < valid) {
        store(out + (k + i) * out_stride, square[i]);
      }
    }
  });
}

/// Packs `outer` lanes into consecutive panels of `vectors` vectors each.
void pack_panel(const Factor& factor, int64_t outer, int64_t depth, float* out, int64_t vectors) {
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t lanes = lesser(outer - v * kLanes, kLanes);
    pack_lanes(factor.at(v * kLanes, 0), lanes, depth, out + v * kLanes, vectors * kLanes);
  }
}

/// The next panel's vectors: three, but 2 + 2 instead of 3 + 1 at the end.
inline int64_t panel_vectors(int64_t columns) {
  const int64_t vectors = (columns + kLanes - 1) / kLanes;
  return vectors == 4 ? 2 : lesser(vectors, kTileVectors);
}

/// The left factor as tiles read it. Row r of a panel of kLanes rows begins at
/// data + panel * panel_size + r; a step in k is `stride`. With kRows, row r begins at
/// data + r * stride and a step in k is one element.
struct LeftFactor {
  const float* data;
  int64_t stride;
  int64_t panel_size;
};
enum class LeftLayout { kPanels, kRows };

inline LeftFactor packed_rows(const float* data, int64_t depth) {
  return {data, kLanes, kLanes * depth};
}
/// Element (row, k) is data[k * stride + row].
inline LeftFactor plain_columns(const float* data, int64_t stride) {
  return {data, stride, kLanes};
}

template <LeftLayout kLayout>
inline const float* tile_of(const LeftFactor& a, int64_t row) {
  return kLayout == LeftLayout::kRows ? a.data + row * a.stride
                                      : a.data + row / kLanes * a.panel_size + row % kLanes;
}

/// The whole tile [kTileRows, kVectors * kLanes] at c.
template <int64_t kVectors, LeftLayout kLayout>
void multiply_tile(const float* a,
                   int64_t a_stride,
                   const float* b,
                   int64_t depth,
                   float* c,
                   int64_t c_stride,
                   bool accumulate) {
  Vec sums[kTileRows][kVectors];
#pragma GCC unroll 8
  for (int64_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 3
    for (int64_t j = 0; j < kVectors; ++j) {
      sums[i][j] = Vec{};
    }
  }
  for (int64_t k = 0; k < depth; ++k, b += kVectors * kLanes) {
    Vec columns[kVectors];
#pragma GCC unroll 3
    for (int64_t j = 0; j < kVectors; ++j) {
      columns[j] = load(b + j * kLanes);
    }
#pragma GCC unroll 8
    for (int64_t i = 0; i < kTileRows; ++i) {
      const Vec row = broadcast(kLayout == LeftLayout::kRows ? a[i * a_stride] : a[i]);
#pragma GCC unroll 3
      for (int64_t j = 0; j < kVectors; ++j) {
        sums[i][j] += row * columns[j];
      }
    }
    a += kLayout == LeftLayout::kRows ? 1 : a_stride;
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 3
    for (int64_t j = 0; j < kVectors; ++j) {
      float* at = c + i * c_stride + j * kLanes;
      store(at, accumulate ? load(at) + sums[i][j] : sums[i][j]);
    }
  }
}

/// One row of a tile, for the rows that do not fill one.
template <int64_t kVectors>
void multiply_row(const float* a, const float* b, int64_t depth, float* c) {
  Vec sums[kVectors] = {};
  for (int64_t k = 0; k < depth; ++k, b += kVectors * kLanes) {
#pragma GCC unroll 3
    for (int64_t j = 0; j < kVectors; ++j) {
      sums[j] += broadcast(a[k]) * load(b + j * kLanes);
    }
  }
#pragma GCC unroll 3
  for (int64_t j = 0; j < kVectors; ++j) {
    store(c + j * kLanes, sums[j]);
  }
}

/// As multiply_tile, for a tile of which only `rows` x `columns` exist. Panels are padded, so that
/// the missing rows can be read; plain rows are not.
template <int64_t kVectors, LeftLayout kLayout>
void multiply_edge(const float* a,
                   int64_t a_stride,
                   const float* b,
                   int64_t depth,
                   float* c,
                   int64_t c_stride,
                   bool accumulate,
                   int64_t rows,
                   int64_t columns) {
  float tile[kTileRows * kVectors * kLanes];
  if (kLayout == LeftLayout::kRows && rows < kTileRows) {
    for (int64_t i = 0; i < rows; ++i) {
      multiply_row<kVectors>(a + i * a_stride, b, depth, tile + i * kVectors * kLanes);
    }
  } else {
    multiply_tile<kVectors, kLayout>(a, a_stride, b, depth, tile, kVectors * kLanes, false);
  }
  for (int64_t i = 0; i < rows; ++i) {
    float* out = c + i * c_stride;
    const float* in = tile + i * kVectors * kLanes;
    for_lanes(0, columns, [&](int64_t j, auto lanes) {
      const Vec sum = load(in + j, lanes);
      store(out + j, accumulate ? load(out + j, lanes) + sum : sum, lanes);
    });
  }
}

/// All rows of the left factor times one panel of packed B.
template <int64_t kVectors, LeftLayout kLayout>
void multiply_panel(const LeftFactor& a,
                    const float* b,
                    int64_t rows,
                    int64_t columns,
                    int64_t depth,
                    float* c,
                    int64_t c_stride,
                    bool accumulate) {
  for (int64_t i = 0; i < rows; i += kTileRows) {
    const float* tile_a = tile_of<kLayout>(a, i);
    float* tile_c = c + i * c_stride;
    if (rows - i >= kTileRows && columns == kVectors * kLanes) {
      multiply_tile<kVectors, kLayout>(tile_a, a.stride, b, depth, tile_c, c_stride, accumulate);
    } else {
      const int64_t tile_rows = lesser(rows - i, kTileRows);
      multiply_edge<kVectors, kLayout>(
          tile_a, a.stride, b, depth, tile_c, c_stride, accumulate, tile_rows, columns);
    }
  }
}

/// B packed by pack_columns, `packed_depth` deep; products may use fewer.
struct RightFactor {
  const float* data;
  int64_t packed_depth;
};

/// The left factor [rows, depth] times B [depth, columns].
template <LeftLayout kLayout = LeftLayout::kPanels>
void multiply_packed(const LeftFactor& a,
                     RightFactor b,
                     int64_t rows,
                     int64_t columns,
                     int64_t depth,
                     float* c,
                     int64_t c_stride,
                     bool accumulate) {
  while (columns > 0) {
    const int64_t vectors = panel_vectors(columns);
    const int64_t width = lesser(columns, vectors * kLanes);
    const auto multiply = vectors == 3   ? multiply_panel<3, kLayout>
                          : vectors == 2 ? multiply_panel<2, kLayout>
                                         : multiply_panel<1, kLayout>;
    multiply(a, b.data, rows, width, depth, c, c_stride, accumulate);
    b.data += vectors * kLanes * b.packed_depth;
    c += width;
    columns -= width;
  }
}

void pack_rows(const Factor& a, int64_t rows, int64_t depth, float* out) {
  for (int64_t i = 0; i < rows; i += kLanes) {
    pack_panel(a.at(i, 0), rows - i, depth, out + i * depth, 1);
  }
}

void pack_columns(const Factor& b, int64_t columns, int64_t depth, float* out) {
  for (int64_t j = 0; j < columns;) {
    const int64_t vectors = panel_vectors(columns - j);
    pack_panel(b.at(j, 0), columns - j, depth, out + j * depth, vectors);
    j += vectors * kLanes;
  }
}

void gemm(const GemmProblem& p, float* workspace) {
  const Factor a{p.a, p.a_stride, !p.a_transposed};
  const Factor b{p.b, p.b_stride, p.b_transposed};
  float* packed_b = workspace;
  float* packed_a = workspace + padded(lesser(p.n, kGemmBlockN)) * lesser(p.k, kGemmBlockK);
  if (p.k == 0 && !p.accumulate) {
    for (int64_t i = 0; i < p.m; ++i) {
      __builtin_memset(p.c + i * p.c_stride, 0, static_cast<size_t>(p.n) * sizeof(float));
    }
  }
  for (int64_t n = 0; n < p.n; n += kGemmBlockN) {
    const int64_t columns = lesser(kGemmBlockN, p.n - n);
    for (int64_t k = 0; k < p.k; k += kGemmBlockK) {
      const int64_t depth = lesser(kGemmBlockK, p.k - k);
      pack_columns(b.at(n, k), columns, depth, packed_b);
      for (int64_t m = 0; m < p.m; m += kGemmBlockM) {
        const int64_t rows = lesser(kGemmBlockM, p.m - m);
        pack_rows(a.at(m, k), rows, depth, packed_a);
        multiply_packed(packed_rows(packed_a, depth),
                        {packed_b, depth},
                        rows,
                        columns,
                        depth,
                        p.c + m * p.c_stride + n,
                        p.c_stride,
                        p.accumulate || k > 0);
      }
    }
  }
}

}  // namespace
}  // namespace enodia
