#pragma once

// The row-wise kernels of CpuKernels; see vector.h for why all of it has internal linkage.

#include "models/kernels/cpu/cpu_kernels.h"
#include "models/kernels/cpu/vector.h"

namespace enodia {
namespace {

void rms_norm(
    const float* x, const float* w, float* y, float* rstd, int64_t rows, int64_t dim, float eps) {
  for (int64_t r = 0; r < rows; ++r, x += dim, y += dim) {
    Vec squares{};
    for_lanes(0, dim, [&](int64_t i, auto lanes) {
      const Vec v = load(x + i, lanes);
      squares += v * v;
    });
    const float mean = sum_lanes(squares) / static_cast<float>(dim);
    const float scale = 1.0F / __builtin_sqrtf(mean + eps);
    rstd[r] = scale;
    for_lanes(0, dim, [&](int64_t i, auto lanes) {
      store(y + i, load(x + i, lanes) * scale * load(w + i, lanes), lanes);
    });
  }
}

void rms_norm_backward(const float* grad_y,
                       const float* x,
                       const float* w,
                       const float* rstd,
                       float* grad_x,
                       float* grad_w,
                       int64_t rows,
                       int64_t dim) {
  for (int64_t r = 0; r < rows; ++r, grad_y += dim, x += dim, grad_x += dim) {
    const float scale = rstd[r];
    Vec along_x{};
    for_lanes(0, dim, [&](int64_t i, auto lanes) {
      const Vec product = load(grad_y + i, lanes) * load(x + i, lanes) * scale;
      along_x += product * load(w + i, lanes);
      store(grad_w + i, load(grad_w + i, lanes) + product, lanes);
    });
    const float mean = sum_lanes(along_x) / static_cast<float>(dim) * scale;
    for_lanes(0, dim, [&](int64_t i, auto lanes) {
      const Vec grad_normed = load(grad_y + i, lanes) * load(w + i, lanes);
      store(grad_x + i, (grad_normed - load(x + i, lanes) * mean) * scale, lanes);
    });
  }
}

void swiglu(
    const float* gate_up, const float* row_weight, float* act, int64_t rows, int64_t hidden) {
  for (int64_t r = 0; r < rows; ++r, gate_up += 2 * hidden, act += hidden) {
    const float weight = row_weight != nullptr ? row_weight[r] : 1.0F;
    for_lanes(0, hidden, [&](int64_t i, auto lanes) {
      const Vec gate = load(gate_up + i, lanes);
      const Vec up = load(gate_up + hidden + i, lanes);
      store(act + i, gate * sigmoid_of(gate) * up * weight, lanes);
    });
  }
}

void swiglu_backward(const float* grad_act,
                     const float* gate_up,
                     const float* row_weight,
                     float* grad_gate_up,
                     float* grad_row_weight,
                     int64_t rows,
                     int64_t hidden) {
  for (int64_t r = 0; r < rows; ++r) {
    const float weight = row_weight != nullptr ? row_weight[r] : 1.0F;
    Vec along_act{};
    for_lanes(0, hidden, [&](int64_t i, auto lanes) {
      const Vec gate = load(gate_up + i, lanes);
      const Vec up = load(gate_up + hidden + i, lanes);
      const Vec grad = load(grad_act + i, lanes);
      const Vec sigmoid = sigmoid_of(gate);
      const Vec silu = gate * sigmoid;
      along_act += grad * silu * up;
      const Vec weighted = grad * weight;
      store(grad_gate_up + i, weighted * up * (sigmoid + silu * (1.0F - sigmoid)), lanes);
      store(grad_gate_up + hidden + i, weighted * silu, lanes);
    });
    if (grad_row_weight != nullptr) {
      grad_row_weight[r] = sum_lanes(along_act);
    }
    grad_act += hidden;
    gate_up += 2 * hidden;
    grad_gate_up += 2 * hidden;
  }
}

void rotate(float* x,
            int64_t row_stride,
            const float* cos,
            const float* sin,
            int64_t rows,
            int64_t heads,
            int64_t half,
            float direction) {
  for (int64_t r = 0; r < rows; ++r, x += row_stride, cos += half, sin += half) {
    for (int64_t h = 0; h < heads; ++h) {
      float* left = x + h * 2 * half;
      float* right = left + half;
      for_lanes(0, half, [&](int64_t i, auto lanes) {
        const Vec c = load(cos + i, lanes);
        const Vec s = load(sin + i, lanes) * direction;
        const Vec a = load(left + i, lanes);
        const Vec b = load(right + i, lanes);
        store(left + i, a * c - b * s, lanes);
        store(right + i, b * c + a * s, lanes);
      });
    }
  }
}

/// Replaces a row by e^(x - largest) when `write` is set; returns the sum of those.
float exponentials(float* row, int64_t n, float largest, bool write) {
  Vec sum{};
  for_lanes(0, n, [&](int64_t i, auto lanes) {
    const Vec e = exp_of(load(row + i, lanes) - largest);
    sum += fill_rest(e, lanes, 0.0F);
    if (write) {
      store(row + i, e, lanes);
    }
  });
  return sum_lanes(sum);
}

float largest_of(const float* row, int64_t n) {
  Vec largest = broadcast(-__builtin_inff());
  for_lanes(0, n, [&](int64_t i, auto lanes) {
    largest = max_of(fill_rest(load(row + i, lanes), lanes, -__builtin_inff()), largest);
  });
  return max_lanes(largest);
}

void multiply(float* row, int64_t n, float factor) {
  for_lanes(
      0, n, [&](int64_t i, auto lanes) { store(row + i, load(row + i, lanes) * factor, lanes); });
}

double cross_entropy(
    float* logits, const int64_t* labels, int64_t rows, int64_t vocab, float scale) {
  const bool write = scale != 0.0F;
  double total = 0;
  for (int64_t r = 0; r < rows; ++r, logits += vocab) {
    const int64_t label = labels[r];
    if (label < 0) {
      if (write) {
        __builtin_memset(logits, 0, static_cast<size_t>(vocab) * sizeof(float));
      }
      continue;
    }
    const float largest = largest_of(logits, vocab);
    const double target = logits[label];
    const float sum = exponentials(logits, vocab, largest, write);
    total += __builtin_log(static_cast<double>(sum)) + (static_cast<double>(largest) - target);
    if (write) {
      multiply(logits, vocab, scale / sum);
      logits[label] -= scale;
    }
  }
  return total;
}

void gather_sum(
    const float* x, const int64_t* index, float* out, int64_t rows, int64_t per_row, int64_t dim) {
  const auto row_bytes = static_cast<size_t>(dim) * sizeof(float);
  for (int64_t r = 0; r < rows; ++r, out += dim, index += per_row) {
    bool empty = true;
    for (int64_t k = 0; k < per_row; ++k) {
      if (index[k] < 0) {
        continue;
      }
      const float* row = x + index[k] * dim;
      if (empty) {
        __builtin_memcpy(out, row, row_bytes);
      } else {
        for_lanes(0, dim, [&](int64_t i, auto lanes) {
          store(out + i, load(out + i, lanes) + load(row + i, lanes), lanes);
        });
      }
      empty = false;
    }
    if (empty) {
      __builtin_memset(out, 0, row_bytes);
    }
  }
}

void scatter_add(float* w,
                 const int64_t* index,
                 const float* x,
                 int64_t rows,
                 int64_t dim,
                 int64_t begin,
                 int64_t end) {
  for (int64_t r = 0; r < rows; ++r, x += dim) {
    float* row = w + index[r] * dim;
    for_lanes(begin, end, [&](int64_t i, auto lanes) {
      store(row + i, load(row + i, lanes) + load(x + i, lanes), lanes);
    });
  }
}

void column_sums(
    const float* x, float* out, int64_t rows, int64_t dim, int64_t begin, int64_t end) {
  for (int64_t r = 0; r < rows; ++r, x += dim) {
    for_lanes(begin, end, [&](int64_t i, auto lanes) {
      store(out + i, load(out + i, lanes) + load(x + i, lanes), lanes);
    });
  }
}

}  // namespace
}  // namespace enodia
