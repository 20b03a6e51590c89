// Every wait of the NCCL backend is needed: a mixed workload notices the loss of any single one.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/backend.h"
#include "collectives/loopback/loopback.h"
#include "collectives/nccl/nccl_communicator.h"
#include "tests/collectives/device_array.h"
#include "tests/collectives/nccl_double/nccl_double.h"

namespace enodia {
namespace {

using ::testing::IsEmpty;

constexpr int kRanks = 3;

/// One rank's part of the workload. Each step ends with a use of its result that only the step's
/// waits put in order; results are compared at the end.
class Workload {
 public:
  Workload(NcclDouble& fakes,
           Communicator& host,
           DeviceArrays<int64_t>& arrays,
           DeviceArrays<float>& floats)
      : fakes_(fakes),
        rank_(host.rank()),
        arrays_(arrays),
        floats_(floats),
        device_(NcclDouble::cuda(), rank_),
        compute_stream_(device_),
        side_stream_(device_),
        compute_(compute_stream_.queue()),
        side_(side_stream_.queue()) {
    const NcclTable nccl = NcclDouble::nccl();
    {
      const auto world = make_nccl_communicator(nccl, device_, enqueuer_, host.split(0, 0));
      exchange_and_overwrite(*world);
      const auto half = world->split(0, 0);  // while the exchange may be under way
      sum_from_one_queue_to_the_other(*half);
      broadcast_to_the_other_queue(*world);
      copy_between_queues();
      wait_on_the_host(*world);
      pass_a_barrier(*world);
      minimum_of_floats(*half);
      end_while_operations_are_under_way(*world, *half);
    }
    finish();
  }

  int wrong() const { return wrong_; }

 private:
  int next() const { return (rank_ + 1) % kRanks; }
  int previous() const { return (rank_ + kRanks - 1) % kRanks; }

  void expect(const std::vector<int64_t>& got, std::vector<int64_t> content) {
    expected_.emplace_back(&got, std::move(content));
  }
  static std::vector<int64_t> sum_of(int purpose) {
    std::vector<int64_t> sum = content_of<int64_t>(0, purpose);
    for (int rank = 1; rank < kRanks; ++rank) {
      const auto content = content_of<int64_t>(rank, purpose);
      std::transform(sum.begin(), sum.end(), content.begin(), sum.begin(), std::plus<>());
    }
    return sum;
  }

  /// This rank's content to the next rank; the array that the previous rank's comes to.
  std::pair<Work, DeviceArray<int64_t>> start_ring(Communicator& world,
                                                   const DeviceArray<int64_t>& out,
                                                   const Queue& after) {
    const auto in = arrays_.make(after, out.count);
    return {world.exchange(std::vector<Message>{{next(), out.buffer()}},
                           std::vector<Message>{{previous(), in.buffer()}},
                           after),
            in};
  }

  void exchange_and_overwrite(Communicator& world) {
    const auto out = arrays_.upload(compute_, content_of<int64_t>(rank_, 1));
    const auto in = arrays_.make(compute_, out.count);
    const auto own = arrays_.make(compute_, out.count);
    world
        .exchange(std::vector<Message>{{next(), out.buffer()}, {rank_, out.buffer()}},
                  std::vector<Message>{{rank_, own.buffer()}, {previous(), in.buffer()}},
                  compute_)
        .wait(compute_);
    arrays_.fill(compute_, out, content_of<int64_t>(rank_, 99));
    expect(arrays_.download(compute_, in), content_of<int64_t>(previous(), 1));
    expect(arrays_.download(compute_, own), content_of<int64_t>(rank_, 1));
  }

  void sum_from_one_queue_to_the_other(Communicator& half) {
    const auto values = arrays_.upload(side_, content_of<int64_t>(rank_, 2));
    half.all_reduce(values.buffer(), ReduceOp::kSum, side_).wait(compute_);
    expect(arrays_.download(compute_, values), sum_of(2));
  }

  void broadcast_to_the_other_queue(Communicator& world) {
    const auto values = arrays_.upload(compute_, content_of<int64_t>(rank_, 3));
    world.broadcast(values.buffer(), 1, compute_).wait(side_);
    expect(arrays_.download(side_, values), content_of<int64_t>(1, 3));
  }

  void copy_between_queues() {
    const auto from = arrays_.upload(compute_, content_of<int64_t>(rank_, 4));
    const auto to = arrays_.make(side_, from.count);
    QueueEvent(compute_).wait(side_);
    side_.copy(to.memory.get(), from.memory.get(), from.bytes());
    expect(arrays_.download(side_, to), content_of<int64_t>(rank_, 4));
  }

  void wait_on_the_host(Communicator& world) {
    const auto out = arrays_.upload(side_, content_of<int64_t>(rank_, 5));
    auto [work, in] = start_ring(world, out, side_);
    work.wait();
    expect(arrays_.download(compute_, in), content_of<int64_t>(previous(), 5));
  }

  void pass_a_barrier(Communicator& world) {
    const auto out = arrays_.upload(compute_, content_of<int64_t>(rank_, 6));
    auto [work, in] = start_ring(world, out, compute_);
    work.wait(side_);
    expect(arrays_.download(side_, in), content_of<int64_t>(previous(), 6));
    world.barrier();  // also waits for what was launched before
    fakes_.check_host_reads(in.memory.get(), in.bytes());
    expect(arrays_.download(compute_, in), content_of<int64_t>(previous(), 6));
  }

  void minimum_of_floats(Communicator& half) {
    std::vector<float> values = content_of<float>(kRanks - rank_, 7);  // rank 0 has the largest
    const auto array = floats_.upload(compute_, values);
    half.all_reduce(array.buffer(), ReduceOp::kMin, compute_).wait(side_);
    expected_floats_ = content_of<float>(1, 7);
    floats_got_ = &floats_.download(side_, array);
  }

  void end_while_operations_are_under_way(Communicator& world, Communicator& half) {
    const auto first = arrays_.upload(side_, content_of<int64_t>(rank_, 8));
    half.all_reduce(first.buffer(), ReduceOp::kSum, side_).wait(compute_);
    expect(arrays_.download(compute_, first), sum_of(8));
    const auto quarter = half.split(0, 0);
    const auto second = arrays_.upload(side_, content_of<int64_t>(rank_, 9));
    const auto third = arrays_.upload(side_, content_of<int64_t>(rank_, 10));
    const auto fourth = arrays_.upload(side_, content_of<int64_t>(rank_, 11));
    half.all_reduce(second.buffer(), ReduceOp::kSum, side_).wait(compute_);
    quarter->all_reduce(third.buffer(), ReduceOp::kSum, side_).wait(compute_);
    auto [work, in] = start_ring(world, fourth, side_);
    work.wait(compute_);
    expect(arrays_.download(compute_, second), sum_of(9));
    expect(arrays_.download(compute_, third), sum_of(10));
    expect(arrays_.download(compute_, in), content_of<int64_t>(previous(), 11));
  }

  void finish() {
    const auto last = arrays_.upload(side_, content_of<int64_t>(rank_, 12));
    expect(arrays_.download(side_, last), content_of<int64_t>(rank_, 12));
    synchronize(compute_);
    synchronize(side_);
    for (const auto& [got, content] : expected_) {
      fakes_.check_host_reads(got->data(), got->size() * sizeof(int64_t));
      wrong_ += *got != content;
    }
    wrong_ += *floats_got_ != expected_floats_;
    arrays_.clear();
    floats_.clear();
  }

  NcclDouble& fakes_;
  int rank_;
  DeviceArrays<int64_t>& arrays_;
  DeviceArrays<float>& floats_;
  CudaDevice device_;
  CudaStream compute_stream_;
  CudaStream side_stream_;
  Queue compute_;
  Queue side_;
  NcclEnqueuer enqueuer_;
  std::vector<std::pair<const std::vector<int64_t>*, std::vector<int64_t>>> expected_;
  std::vector<float> expected_floats_;
  const std::vector<float>* floats_got_ = nullptr;
  int wrong_ = 0;
};

struct WorkloadOutcome {
  std::vector<std::string> errors;  // that the double found
  int wrong = 0;                    // results that differ
  std::vector<int> waits;           // of each rank
  std::string leftovers;
};

/// Runs the workload; rank `rank`'s wait number `number` is not heeded (0 = all are).
WorkloadOutcome run_workload(int rank, int number) {
  std::deque<DeviceArrays<int64_t>> arrays;  // outlive the double, whose copies may come late
  std::deque<DeviceArrays<float>> floats;
  for (int r = 0; r < kRanks; ++r) {
    arrays.emplace_back(r);
    floats.emplace_back(r);
  }
  NcclDouble fakes({.seed = 5, .max_delay_us = 300});
  fakes.ignore_wait(rank, number);
  std::atomic<int> wrong = 0;
  run_loopback(kRanks, [&](Communicator& host) {
    const Workload workload(fakes, host, arrays[host.rank()], floats[host.rank()]);
    wrong += workload.wrong();
  });
  WorkloadOutcome outcome{fakes.errors(), wrong, {}, fakes.leftovers()};
  for (int r = 0; r < kRanks; ++r) {
    outcome.waits.push_back(fakes.waits(r));
  }
  return outcome;
}

TEST(NcclWaits, TheWorkloadIsRightWithAll) {
  const WorkloadOutcome outcome = run_workload(0, 0);
  EXPECT_THAT(outcome.errors, IsEmpty());
  EXPECT_EQ(outcome.wrong, 0);
  EXPECT_EQ(outcome.leftovers, "");
}

TEST(NcclWaits, NoneCanBeLeftOut) {
  const std::vector<int> waits = run_workload(0, 0).waits;
  int removed = 0;
  int seen_by_order = 0;
  int seen_by_data = 0;
  for (int rank = 0; rank < kRanks; ++rank) {
    for (int number = 1; number <= waits[rank]; ++number) {
      const WorkloadOutcome outcome = run_workload(rank, number);
      ++removed;
      seen_by_order += !outcome.errors.empty();
      seen_by_data += outcome.wrong > 0;
      EXPECT_TRUE(!outcome.errors.empty() || outcome.wrong > 0)
          << "nobody misses wait " << number << " of " << waits[rank] << " on rank " << rank;
    }
  }
  EXPECT_GT(removed, 20 * kRanks);
  std::printf("%d waits removed one by one; %d seen by the order of accesses, %d by wrong data\n",
              removed,
              seen_by_order,
              seen_by_data);
}

}  // namespace
}  // namespace enodia
