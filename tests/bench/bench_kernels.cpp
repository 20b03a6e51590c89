// Times the CPU kernels against ATen in one process, turn by turn: prints the medians and the
// median of the paired ratios (above 1 = ours is faster). Usage: OMP_NUM_THREADS=1 bench_kernels
// [rounds]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include "models/kernels/cpu/cpu_kernels.h"
#include "models/memory/tensor_memory.h"
#include "models/ops.h"
#include "models/ops_reference.h"

#include <time.h>

namespace enodia {
namespace {

/// CPU time of this thread, which other programs on the machine disturb less than the wall clock.
double now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds(const std::function<void()>& work) {
  const double start = now();
  work();
  return now() - start;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// `amount` is FLOPs or bytes of one call, printed per nanosecond.
void compare(const std::string& what,
             double amount,
             int rounds,
             const std::function<void()>& aten,
             const std::function<void()>& ours) {
  aten();
  ours();
  std::vector<double> aten_times, our_times, ratios;
  for (int round = 0; round < rounds; ++round) {
    aten_times.push_back(seconds(aten));
    our_times.push_back(seconds(ours));
    ratios.push_back(aten_times.back() / our_times.back());
  }
  std::printf("%-44s aten %8.3f ms %6.1f G/s   ours %8.3f ms %6.1f G/s   ratio %.2f\n",
              what.c_str(),
              median(aten_times) * 1e3,
              amount / median(aten_times) * 1e-9,
              median(our_times) * 1e3,
              amount / median(our_times) * 1e-9,
              median(ratios));
}

enum class Transpose { kNT, kNN, kTN };

void bench_gemm(
    const CpuKernels& kernels, Transpose kind, int64_t m, int64_t n, int64_t k, int rounds) {
  const at::Tensor a = kind == Transpose::kTN ? at::randn({k, m}) : at::randn({m, k});
  const at::Tensor b = kind == Transpose::kNT ? at::randn({n, k}) : at::randn({k, n});
  const at::Tensor c = at::randn({m, n});
  at::Tensor d = c.clone();
  const at::Tensor workspace = at::empty({gemm_workspace(m, n, k)});
  const bool accumulate = kind == Transpose::kTN;
  const GemmProblem problem{m,
                            n,
                            k,
                            a.const_data_ptr<float>(),
                            a.stride(0),
                            kind == Transpose::kTN,
                            b.const_data_ptr<float>(),
                            b.stride(0),
                            kind == Transpose::kNT,
                            c.data_ptr<float>(),
                            n,
                            accumulate};
  const at::Tensor left = kind == Transpose::kTN ? a.t() : a;
  const at::Tensor right = kind == Transpose::kNT ? b.t() : b;
  const char* name = kind == Transpose::kNT ? "NT" : kind == Transpose::kNN ? "NN" : "TN+=";
  char what[80];
  std::snprintf(what, sizeof(what), "gemm %s %s m%ld n%ld k%ld", kernels.name, name, m, n, k);
  compare(
      what,
      2.0 * static_cast<double>(m * n * k),
      rounds,
      [&] {
        if (accumulate) {
          d.addmm_(left, right);
        } else {
          at::mm_out(d, left, right);
        }
      },
      [&] { kernels.gemm(problem, workspace.data_ptr<float>()); });
}

/// Forward, input gradient and weight gradient of a linear layer on `rows` rows.
void bench_linear(const CpuKernels& kernels, int64_t rows, int64_t in, int64_t out, int rounds) {
  bench_gemm(kernels, Transpose::kNT, rows, out, in, rounds);
  bench_gemm(kernels, Transpose::kNN, rows, in, out, rounds);
  bench_gemm(kernels, Transpose::kTN, out, in, rows, rounds);
}

SequenceLayout equal_segments(int64_t count, int64_t length) {
  SequenceLayout layout{{0}, {}, {}};
  for (int64_t s = 0; s < count; ++s) {
    layout.cu_seqlens.push_back(static_cast<int32_t>((s + 1) * length));
  }
  return layout;
}

/// Forward and backward against ATen's flash attention for the CPU, on strided views of one qkv.
void bench_attention(int64_t segments, int64_t length, int64_t heads, int64_t dim, int rounds) {
  const int64_t tokens = segments * length;
  const at::Tensor qkv = at::randn({tokens, 3 * heads * dim});
  const at::Tensor grad_out = at::randn({tokens, heads * dim});
  const SequenceLayout layout = equal_segments(segments, length);
  const auto views = qkv.view({segments, length, 3, heads, dim}).permute({2, 0, 3, 1, 4});
  const at::Tensor grad_view = grad_out.view({segments, length, heads, dim}).transpose(1, 2);
  const auto flash = at::_scaled_dot_product_flash_attention_for_cpu(
      views[0], views[1], views[2], 0.0, /*is_causal=*/true);
  const auto ours = ops::attention(qkv, layout, heads, heads, dim);
  char what[80];
  std::snprintf(
      what, sizeof(what), "attention forward s%ld l%ld h%ld d%ld", segments, length, heads, dim);
  const double flops = 2.0 * static_cast<double>(segments * heads * length * length * dim);
  compare(
      what,
      flops,
      rounds,
      [&] {
        at::_scaled_dot_product_flash_attention_for_cpu(views[0], views[1], views[2], 0.0, true);
      },
      [&] { ops::attention(qkv, layout, heads, heads, dim); });
  std::snprintf(
      what, sizeof(what), "attention backward s%ld l%ld h%ld d%ld", segments, length, heads, dim);
  compare(
      what,
      2.5 * flops,
      rounds,
      [&] {
        at::_scaled_dot_product_flash_attention_for_cpu_backward(grad_view,
                                                                 views[0],
                                                                 views[1],
                                                                 views[2],
                                                                 std::get<0>(flash),
                                                                 std::get<1>(flash),
                                                                 0.0,
                                                                 true);
      },
      [&] { ops::attention_backward(grad_out, qkv, ours, layout, heads, heads, dim); });
}

/// Row-wise functions against their plain ATen twins, in bytes read and written once.
void bench_rows(int rounds) {
  const int64_t rows = 1024, dim = 192, hidden = 256, vocab = 4096;
  const at::Tensor x = at::randn({rows, dim}), w = at::randn({dim}), grad = at::randn({rows, dim});
  const at::Tensor gate_up = at::randn({rows, 2 * hidden}), weight = at::randn({rows});
  const at::Tensor grad_act = at::randn({rows, hidden});
  const auto bytes = [](int64_t floats) { return 4.0 * static_cast<double>(floats); };
  at::Tensor grad_w = at::randn({dim});
  const auto norm = ops::rms_norm(x, w, 1e-6);
  compare(
      "rms_norm",
      bytes(2 * rows * dim),
      rounds,
      [&] { ops::reference::rms_norm(x, w, 1e-6); },
      [&] { ops::rms_norm(x, w, 1e-6); });
  compare(
      "rms_norm_backward",
      bytes(3 * rows * dim),
      rounds,
      [&] { ops::reference::rms_norm_backward(grad, x, w, norm.rstd, grad_w); },
      [&] { ops::rms_norm_backward(grad, x, w, norm.rstd, grad_w); });
  compare(
      "swiglu",
      bytes(3 * rows * hidden),
      rounds,
      [&] { ops::reference::swiglu(gate_up, weight); },
      [&] { ops::swiglu(gate_up, weight); });
  compare(
      "swiglu_backward",
      bytes(5 * rows * hidden),
      rounds,
      [&] { ops::reference::swiglu_backward(grad_act, gate_up, weight); },
      [&] { ops::swiglu_backward(grad_act, gate_up, weight); });
  const at::Tensor logits = at::randn({512, vocab});
  const at::Tensor labels = at::randint(0, vocab, {512}, at::kLong);
  compare(
      "cross_entropy",
      bytes(2 * 512 * vocab),
      rounds,
      [&] { ops::reference::cross_entropy(logits, labels, 1); },
      [&] { ops::cross_entropy(logits, labels, 1); });
  const at::Tensor index = at::randint(0, rows, {rows * 2}, at::kLong);
  compare(
      "gather_rows",
      bytes(4 * rows * dim),
      rounds,
      [&] { ops::reference::gather_rows(x, index); },
      [&] { ops::gather_rows(x, index); });
  const at::Tensor tokens = at::randint(0, vocab, {rows}, at::kLong);
  const at::Tensor table = at::randn({vocab, dim});
  compare(
      "scatter_add_rows",
      bytes(3 * rows * dim),
      rounds,
      [&] { ops::reference::scatter_add_rows(table, tokens, x); },
      [&] { ops::scatter_add_rows(table, tokens, x); });
}

void bench_set(InstructionSet set, int rounds) {
  const CpuKernels* kernels = cpu_kernels_of(set);
  if (kernels == nullptr) {
    return;
  }
  bench_linear(*kernels, 1024, 192, 576, rounds);
  bench_linear(*kernels, 1024, 192, 192, rounds);
  bench_linear(*kernels, 256, 192, 512, rounds);
  bench_linear(*kernels, 256, 256, 192, rounds);
  bench_linear(*kernels, 512, 192, 4096, rounds);
  bench_linear(*kernels, 512, 512, 8192, rounds / 4 + 1);
}

}  // namespace
}  // namespace enodia

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 41;
  if (argc > 2 && std::string(argv[2]) == "pool") {
    enodia::keep_tensors_in_block_pool();
  }
  enodia::bench_rows(rounds);
  enodia::bench_attention(8, 128, 6, 32, rounds);
  enodia::bench_attention(16, 128, 6, 32, rounds);
  enodia::bench_attention(4, 512, 8, 64, rounds);
  enodia::bench_set(enodia::InstructionSet::kAvx512, rounds);
  enodia::bench_set(enodia::InstructionSet::kAvx2, rounds);
  return 0;
}
