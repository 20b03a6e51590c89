// Times the schedules of the sparse all-gather and reduce-scatter on MPI, against two other ways to
// have experts on several ranks: a broadcast (back: a reduction) of each expert among its holders,
// as published prototypes do, and FSEP's restore, in which every rank owns a share of each expert
// and an all-to-all rebuilds what is wanted. Start with mpirun on any ranks:
//
//   bench_sparse_collectives [--experts E] [--owners O] [--mb M] [--replicas R] [--nodes N]
//                            [--piece KIB] [--fan-out F] [--rounds K] [--thread] [--json]
//
// Each of the first O ranks (0 = all) owns E experts of M MB, and each is wanted on the R ranks
// that follow its owner. N cuts the ranks into so many nodes of equal size (0 = the real ones).
// Prints for each way the median and the quartiles of K rounds: the time of the slowest rank, the
// algorithm bandwidth (bytes that a rank wants, over the time), the bus bandwidth (bytes that leave
// the busiest node, or rank of one node, when its owners send each expert once to each other node,
// over the time: relays may exceed a link's), and how much crosses between nodes. The reduction an
// expert is an all-reduce of its holders.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "collectives/collectives.h"
#include "collectives/mpi/mpi_world.h"
#include "collectives/progress/communication_thread.h"
#include "collectives/sparse/sparse_collectives.h"

namespace enodia {
namespace {

struct Options {
  int experts = 2, owners = 0, replicas = 3, nodes = 0, fan_out = 1, rounds = 9;
  double megabytes = 1.0;
  int64_t piece_kib = 256;
  bool thread = false, json = false;
};

Options options_of(int argc, char** argv) {
  Options options;
  const std::map<std::string, std::function<void(const char*)>> values{
      {"--experts", [&](const char* text) { options.experts = std::atoi(text); }},
      {"--owners", [&](const char* text) { options.owners = std::atoi(text); }},
      {"--mb", [&](const char* text) { options.megabytes = std::atof(text); }},
      {"--replicas", [&](const char* text) { options.replicas = std::atoi(text); }},
      {"--nodes", [&](const char* text) { options.nodes = std::atoi(text); }},
      {"--piece", [&](const char* text) { options.piece_kib = std::atoi(text); }},
      {"--fan-out", [&](const char* text) { options.fan_out = std::atoi(text); }},
      {"--rounds", [&](const char* text) { options.rounds = std::atoi(text); }}};
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    options.thread = options.thread || name == "--thread";
    options.json = options.json || name == "--json";
    if (const auto found = values.find(name); found != values.end() && i + 1 < argc) {
      found->second(argv[++i]);
    }
  }
  return options;
}

/// Experts, who has them, and this rank's memory for all that it owns or holds.
class Bench {
 public:
  Bench(Communicator& communicator, const Options& options)
      : communicator_(communicator),
        options_(options),
        world_(communicator.world_size()),
        rank_(communicator.rank()),
        nodes_(communicator.nodes().begin(), communicator.nodes().end()) {
    for (int rank = 0; rank < world_ && options.nodes > 0; ++rank) {
      nodes_[rank] = rank * options.nodes / world_;
    }
    chunk_elements_ = static_cast<int64_t>(options.megabytes * (1 << 20) / sizeof(float));
    for (int owner = 0; owner < num_owners(); ++owner) {
      for (int i = 0; i < options.experts; ++i) {
        places_.owners.push_back(owner);
        places_.elements.push_back(chunk_elements_);
        auto& holders = places_.holders.emplace_back();
        for (int next = 1; next <= std::min(options.replicas, world_ - 1); ++next) {
          holders.push_back((owner + next) % world_);
        }
      }
    }
    for (int chunk = 0; chunk < num_chunks(); ++chunk) {
      if (wants(chunk, rank_) || places_.owners[chunk] == rank_) {
        memory_[chunk].assign(static_cast<size_t>(chunk_elements_), 1.0F);
      }
    }
  }

  void run() {
    const int64_t piece =
        std::max<int64_t>(1, options_.piece_kib * 1024 / static_cast<int64_t>(sizeof(float)));
    if (rank_ == 0 && !options_.json) {
      std::printf(
          "%d ranks on %d nodes, %d experts of %.2f MB each, %d replicas, pieces of %lld KiB%s\n",
          world_,
          num_nodes(),
          options_.experts,
          options_.megabytes,
          options_.replicas,
          static_cast<long long>(options_.piece_kib),
          options_.thread ? ", communication thread" : "");
      std::printf("%-32s %9s %19s %9s %9s %9s\n",
                  "",
                  "ms",
                  "(quartiles)",
                  "alg MB/s",
                  "bus MB/s",
                  "MB cross");
    }
    time_schedule("direct", direct_schedule(places_));
    time_schedule("node multicast", node_multicast_schedule(places_, nodes_, piece));
    time_schedule("relay", relay_schedule(places_, nodes_, piece, options_.fan_out));
    make_groups();
    report("gather, broadcast an expert", crossing_of_pairs(), [&] { broadcast_each(); });
    report("reduce, reduction an expert", 2 * crossing_of_pairs(), [&] { reduce_each(); });
    restore_and_report();
  }

 private:
  int num_chunks() const { return static_cast<int>(places_.owners.size()); }
  int num_owners() const { return options_.owners > 0 ? options_.owners : world_; }
  int num_nodes() const { return *std::max_element(nodes_.begin(), nodes_.end()) + 1; }
  int64_t chunk_bytes() const { return chunk_elements_ * static_cast<int64_t>(sizeof(float)); }
  bool wants(int chunk, int rank) const {
    const auto& holders = places_.holders[chunk];
    return std::find(holders.begin(), holders.end(), rank) != holders.end();
  }
  Buffer buffer(int32_t chunk) { return view(std::span<float>(memory_.at(chunk))); }

  /// The number of bytes that cross to other nodes.
  int64_t crossing_of(const SparseSchedule& schedule) const {
    int64_t elements = 0;
    for (const TransferRound& round : schedule.rounds) {
      for (const ChunkTransfer& transfer : round.transfers) {
        elements += nodes_[transfer.from] != nodes_[transfer.to] ? transfer.count : 0;
      }
    }
    return elements * static_cast<int64_t>(sizeof(float));
  }
  int64_t crossing_of_pairs() const { return crossing_of(direct_schedule(places_)); }

  /// What leaves the busiest node when owners send every expert once to each node; on one node, the
  /// busiest rank.
  int64_t bus_bytes() const {
    std::map<int, int64_t> leaving;
    for (int chunk = 0; chunk < num_chunks(); ++chunk) {
      const int owner = places_.owners[chunk];
      std::set<int> targets;
      for (const int32_t holder : places_.holders[chunk]) {
        targets.insert(num_nodes() > 1 ? nodes_[holder] : holder);
      }
      const int source = num_nodes() > 1 ? nodes_[owner] : owner;
      targets.erase(source);
      leaving[source] += static_cast<int64_t>(targets.size()) * chunk_bytes();
    }
    int64_t busiest = 0;
    for (const auto& [source, bytes] : leaving) {
      busiest = std::max(busiest, bytes);
    }
    return busiest;
  }

  void time_schedule(const std::string& name, const SparseSchedule& schedule) {
    const auto memory = [&](int32_t chunk) { return buffer(chunk); };
    report("gather, " + name, crossing_of(schedule), [&] {
      sparse_all_gather(communicator_, schedule, memory, memory).wait();
    });
    report("reduce, " + name, crossing_of(schedule), [&] {
      sparse_reduce_scatter(communicator_, schedule, memory, memory).wait();
    });
  }

  void report(const std::string& name, int64_t crossing, const std::function<void()>& operation) {
    std::vector<double> times;
    for (int round = 0; round <= options_.rounds; ++round) {
      communicator_.barrier();
      const auto start = std::chrono::steady_clock::now();
      operation();
      const std::chrono::duration<double> mine = std::chrono::steady_clock::now() - start;
      times.push_back(all_reduce_value(communicator_, mine.count(), ReduceOp::kMax));
    }
    times.erase(times.begin());  // a first round warms up
    std::sort(times.begin(), times.end());
    const auto quantile = [&](double q) {
      return times[static_cast<size_t>(q * static_cast<double>(times.size() - 1))];
    };
    const double median = quantile(0.5);
    const double arriving = static_cast<double>(options_.experts) *
                            std::min(options_.replicas, world_ - 1) *
                            static_cast<double>(chunk_bytes());
    if (rank_ == 0) {
      std::printf(options_.json
                      ? "{\"way\": \"%s\", \"ms\": %.3f, \"low_ms\": %.3f, \"high_ms\": %.3f, "
                        "\"algorithm_mb_s\": %.1f, \"bus_mb_s\": %.1f, \"crossing_mb\": %.2f}\n"
                      : "%-32s %9.2f (%8.2f-%8.2f) %9.1f %9.1f %9.2f\n",
                  name.c_str(),
                  median * 1e3,
                  quantile(0.25) * 1e3,
                  quantile(0.75) * 1e3,
                  arriving / median / 1e6,
                  static_cast<double>(bus_bytes()) / median / 1e6,
                  static_cast<double>(crossing) / 1e6);
      std::fflush(stdout);
    }
  }

  /// A communicator for each owner and those who want its experts.
  void make_groups() {
    for (int owner = 0; owner < num_owners(); ++owner) {
      const bool member = owner == rank_ || wants(owner * options_.experts, rank_);
      auto group = communicator_.split(member ? 0 : 1, owner == rank_ ? -1 : rank_);
      groups_.push_back(member ? std::move(group) : nullptr);
    }
  }

  void broadcast_each() {
    std::vector<Work> works;
    for (int chunk = 0; chunk < num_chunks(); ++chunk) {
      if (const auto& group = groups_[places_.owners[chunk]]) {
        works.push_back(group->broadcast(buffer(chunk), 0));
      }
    }
    for (Work& work : works) {
      work.wait();
    }
  }

  void reduce_each() {
    for (int chunk = 0; chunk < num_chunks(); ++chunk) {
      if (const auto& group = groups_[places_.owners[chunk]]) {
        group->all_reduce(buffer(chunk), ReduceOp::kSum).wait();
      }
    }
  }

  /// Every rank owns 1 / world of each expert and sends it to all who compute it, the former owner
  /// among them.
  void restore_and_report() {
    const int64_t share = chunk_elements_ / world_;
    std::vector<float> shares(static_cast<size_t>(share * num_chunks()), 1.0F);
    std::vector<Message> sends;
    std::vector<Message> receives;
    int64_t crossing = 0;
    for (int chunk = 0; chunk < num_chunks(); ++chunk) {
      for (int peer = 0; peer < world_; ++peer) {
        if (peer == rank_) {
          continue;
        }
        if (wants(chunk, peer) || places_.owners[chunk] == peer) {
          sends.push_back({peer, view(std::span(shares)).slice(chunk * share, share)});
          crossing += nodes_[peer] != nodes_[rank_] ? share * 4 : 0;
        }
        if (memory_.contains(chunk)) {
          receives.push_back({peer, buffer(chunk).slice(peer * share, share)});
        }
      }
    }
    crossing = all_reduce_value(communicator_, crossing, ReduceOp::kSum);
    report("gather, restore of shares", crossing, [&] {
      communicator_.exchange(sends, receives).wait();
    });
  }

  Communicator& communicator_;
  const Options options_;
  const int world_, rank_;
  std::vector<int> nodes_;
  ChunkPlaces places_;
  int64_t chunk_elements_ = 0;
  std::map<int32_t, std::vector<float>> memory_;
  std::vector<std::unique_ptr<Communicator>> groups_;
};

}  // namespace
}  // namespace enodia

int main(int argc, char** argv) {
  enodia::MpiWorld world(&argc, &argv);
  const enodia::Options options = enodia::options_of(argc, argv);
  if (options.thread) {
    enodia::CommunicationThread thread;
    const auto communicator =
        thread.take_over(world.make_communicator(), enodia::Traffic::kReplicas);
    enodia::Bench(*communicator, options).run();
  } else {
    enodia::Bench(world.communicator(), options).run();
  }
  return 0;
}
