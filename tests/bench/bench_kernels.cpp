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
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>

#include "models/kernels/cpu/cpu_kernels.h"

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
  enodia::bench_set(enodia::InstructionSet::kAvx512, rounds);
  enodia::bench_set(enodia::InstructionSet::kAvx2, rounds);
  return 0;
}
