#include "collectives/diagnosis/link_probe.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <thread>

#include "collectives/diagnosis/link_judgement.h"
#include "collectives/diagnosis/point_to_point.h"

namespace enodia {
namespace {

using Clock = std::chrono::steady_clock;
using Pair = std::pair<int, int>;

constexpr int64_t kPingBytes = 8;
constexpr int64_t kFirstBytes = int64_t{64} << 10;
constexpr int64_t kMostBytes = int64_t{8} << 20;
/// A transfer that takes so long says enough of the bandwidth.
constexpr double kLongEnough = 0.030;
constexpr int kMostPings = 200, kRepeats = 3;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <typename T>
T median_of(std::vector<T> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

/// Waits without taking a core from the ranks that are being measured.
void wait_asleep(Work work) {
  while (!work.done()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  work.wait();
}

/// What rank 0 tells a rank: measure the link to `peer` as its leader, follow that leader, or end.
enum class Task : int64_t { kEnd, kLead, kFollow };
using Order = std::array<int64_t, 3>;        // task, peer, microseconds
using Figures = std::array<double, 4>;       // of a Link, seen from its leader, the low rank
using Instruction = std::array<int64_t, 2>;  // from leader to follower: what, how much

enum class Step : int64_t { kDone, kPing, kTake, kGive };

/// The leader of a pair decides what comes next and holds the stopwatch; the follower obeys.
class PairProbe {
 public:
  PairProbe(Communicator& communicator, int peer) : communicator_(communicator), peer_(peer) {}

  Figures lead(double seconds) {
    const auto start = Clock::now();
    measure_ping(3);  // opens the connection
    latency_ = measure_ping(10);
    const double affordable = 0.1 * seconds / std::max(2.0 * latency_, 1e-7);
    if (affordable > 10.0) {
      latency_ = measure_ping(static_cast<int64_t>(std::min<double>(kMostPings, affordable)));
    }
    const double half = (seconds - since(start)) / 2.0;
    const Figures figures{latency_ * 1e6,
                          quickest_ * 1e6,
                          measure_bandwidth(Step::kTake, half),
                          measure_bandwidth(Step::kGive, half)};
    instruct(Step::kDone, 0);
    return figures;
  }

  void follow() {
    Instruction instruction{};
    receive(communicator_, peer_, view_all(instruction)).wait();
    while (static_cast<Step>(instruction[0]) != Step::kDone) {
      obey(static_cast<Step>(instruction[0]), instruction[1]);
      receive(communicator_, peer_, view_all(instruction)).wait();
    }
  }

 private:
  void instruct(Step step, int64_t amount) {
    Instruction instruction{static_cast<int64_t>(step), amount};
    send(communicator_, peer_, view_all(instruction)).wait();
  }

  void obey(Step step, int64_t amount) {
    if (step == Step::kPing) {
      for (int64_t i = 0; i < amount; ++i) {
        receive(communicator_, peer_, memory(kPingBytes)).wait();
        send(communicator_, peer_, memory(kPingBytes)).wait();
      }
    } else if (step == Step::kTake) {
      receive(communicator_, peer_, memory(amount)).wait();
      send(communicator_, peer_, memory(kPingBytes)).wait();
    } else {
      receive(communicator_, peer_, memory(kPingBytes)).wait();
      send(communicator_, peer_, memory(amount)).wait();
    }
  }

  /// Half the median round trip, in seconds.
  double measure_ping(int64_t count) {
    instruct(Step::kPing, count);
    std::vector<double> trips;
    for (int64_t i = 0; i < count; ++i) {
      const auto start = Clock::now();
      send(communicator_, peer_, memory(kPingBytes)).wait();
      receive(communicator_, peer_, memory(kPingBytes)).wait();
      trips.push_back(since(start));
    }
    const double quickest = *std::min_element(trips.begin(), trips.end()) / 2.0;
    quickest_ = quickest_ > 0.0 ? std::min(quickest_, quickest) : quickest;
    return median_of(std::move(trips)) / 2.0;
  }

  /// Seconds for `bytes` one way: the transfer and a small message the other way, less that one.
  double time_transfer(Step step, int64_t bytes) {
    const Buffer payload = memory(bytes);
    instruct(step, bytes);
    const auto start = Clock::now();
    if (step == Step::kTake) {
      send(communicator_, peer_, payload).wait();
      receive(communicator_, peer_, memory(kPingBytes)).wait();
    } else {
      send(communicator_, peer_, memory(kPingBytes)).wait();
      receive(communicator_, peer_, payload).wait();
    }
    return std::max(since(start) - quickest_, 1e-9);
  }

  /// Grows the message until its transfer is long beside the noise, or the next size would take all
  /// the time that is left; then the best of three, since noise only ever slows a transfer down.
  double measure_bandwidth(Step step, double seconds) {
    const auto start = Clock::now();
    const double long_enough = std::max(kLongEnough, 10.0 * latency_);
    int64_t bytes = kFirstBytes;
    time_transfer(step, bytes);  // touches the memory
    double best = time_transfer(step, bytes);
    while (bytes < kMostBytes && best < long_enough &&
           since(start) + 4.0 * best + latency_ < seconds) {
      bytes = std::min(4 * bytes, kMostBytes);
      best = time_transfer(step, bytes);
    }
    for (int i = 1; i < kRepeats && since(start) + best + latency_ < seconds; ++i) {
      best = std::min(best, time_transfer(step, bytes));
    }
    return static_cast<double>(bytes) * 8e-6 / best;
  }

  Buffer memory(int64_t bytes) {
    if (static_cast<int64_t>(memory_.size()) < bytes) {
      memory_.resize(static_cast<size_t>(bytes));
    }
    return view_all(memory_).slice(0, bytes);
  }

  Communicator& communicator_;
  int peer_;
  double latency_ = 0.0, quickest_ = 0.0;  // seconds one way: the median and the best
  std::vector<uint8_t> memory_;
};

/// What every rank but 0 does: carry out orders until told to end.
void serve(Communicator& communicator) {
  while (true) {
    Order order{};
    wait_asleep(receive(communicator, 0, view_all(order)));
    const int peer = static_cast<int>(order[1]);
    Figures figures{};
    switch (static_cast<Task>(order[0])) {
      case Task::kEnd:
        return;
      case Task::kLead:
        figures = PairProbe(communicator, peer).lead(static_cast<double>(order[2]) * 1e-6);
        send(communicator, 0, view_all(figures)).wait();
        break;
      case Task::kFollow:
        PairProbe(communicator, peer).follow();
        break;
    }
  }
}

void give_order(Communicator& communicator, int rank, Task task, int peer, double seconds) {
  Order order{static_cast<int64_t>(task), peer, static_cast<int64_t>(seconds * 1e6)};
  send(communicator, rank, view_all(order)).wait();
}

/// Rank 0: has the pairs of a round measured. It leads its own pairs, being the lowest rank.
std::vector<Link> conduct(Communicator& communicator, std::span<const Pair> round, double seconds) {
  for (const auto& [low, high] : round) {
    give_order(communicator, high, Task::kFollow, low, seconds);
    if (low != 0) {
      give_order(communicator, low, Task::kLead, high, seconds);
    }
  }
  std::vector<Link> links;
  for (const auto& [low, high] : round) {  // its own first: the schedule puts rank 0 first
    Figures figures{};
    if (low == 0) {
      figures = PairProbe(communicator, high).lead(seconds);
    } else {
      wait_asleep(receive(communicator, low, view_all(figures)));
    }
    links.push_back({low, high, figures[0], figures[1], figures[2], figures[3]});
  }
  return links;
}

}  // namespace

Link better_of(const Link& a, const Link& b) {
  return {a.low,
          a.high,
          std::min(a.latency_us, b.latency_us),
          std::min(a.quickest_us, b.quickest_us),
          std::max(a.up_mbit, b.up_mbit),
          std::max(a.down_mbit, b.down_mbit)};
}

std::vector<std::vector<Pair>> schedule_pairs(std::span<const int> nodes, bool concurrent) {
  std::vector<Pair> left;
  const int ranks = static_cast<int>(nodes.size());
  for (int low = 0; low < ranks; ++low) {
    for (int high = low + 1; high < ranks; ++high) {
      left.emplace_back(low, high);
    }
  }
  std::vector<std::vector<Pair>> rounds;
  while (!left.empty()) {
    std::vector<bool> busy(nodes.size(), false);  // by node
    std::vector<Pair> round, later;
    for (const Pair& pair : left) {
      const int low = nodes[pair.first], high = nodes[pair.second];
      if (busy[low] || busy[high] || (!concurrent && !round.empty())) {
        later.push_back(pair);
      } else {
        busy[low] = busy[high] = true;
        round.push_back(pair);
      }
    }
    rounds.push_back(std::move(round));
    left = std::move(later);
  }
  return rounds;
}

std::vector<Link> measure_links(Communicator& communicator, const LinkProbeOptions& options) {
  if (communicator.rank() != 0) {
    serve(communicator);
    return {};
  }
  const auto rounds = schedule_pairs(communicator.nodes(), options.concurrent);
  const double count = static_cast<double>(std::max<size_t>(rounds.size(), 1));
  const double seconds = std::clamp(options.seconds / count, 0.020, 1.0);
  const auto report = [&](size_t done, size_t all, std::span<const Pair> pairs) {
    if (options.progress) {
      options.progress(done, all, pairs);
    }
  };
  std::vector<Link> links;
  for (size_t i = 0; i < rounds.size(); ++i) {
    report(i, rounds.size(), rounds[i]);
    const std::vector<Link> measured = conduct(communicator, rounds[i], seconds);
    links.insert(links.end(), measured.begin(), measured.end());
  }
  std::sort(links.begin(), links.end(), [](const Link& a, const Link& b) {
    return Pair(a.low, a.high) < Pair(b.low, b.high);
  });
  for (int again = 0; again < 2; ++again) {
    const auto start = Clock::now();
    for (const size_t index : suspicious_links(links, communicator.nodes())) {
      if (since(start) > options.seconds / 4.0) {
        break;  // so many bad links are no accident
      }
      const Pair pair(links[index].low, links[index].high);
      report(rounds.size(), rounds.size(), {&pair, 1});
      links[index] = better_of(links[index], conduct(communicator, {&pair, 1}, 2.0 * seconds)[0]);
    }
  }
  for (int rank = 1; rank < communicator.world_size(); ++rank) {
    give_order(communicator, rank, Task::kEnd, 0, 0.0);
  }
  return links;
}

}  // namespace enodia
