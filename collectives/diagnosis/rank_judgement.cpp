#include "collectives/diagnosis/rank_judgement.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace enodia {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kSharedMemoryOfRank = 4 * kMiB;  // Open MPI's vader, measured
constexpr int64_t kLeastMemory = int64_t{512} << 20;
constexpr int64_t kLeastFiles = 256;  // sockets to every peer, and the data set's files
constexpr double kClocksApart = 0.050, kClockMoved = 0.005;

using Ranks = std::vector<size_t>;

/// "rank 3", "ranks 0, 1, 5 and 12 more".
std::string name_ranks(const Ranks& ranks) {
  constexpr size_t kMost = 8;
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < std::min(ranks.size(), kMost); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
  }
  return ranks.size() > kMost ? text + " and " + std::to_string(ranks.size() - kMost) + " more"
                              : text;
}

std::string count_text(int64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string mib_text(int64_t bytes) {
  return std::to_string(bytes / kMiB) + " MiB";
}

std::vector<Ranks> ranks_by_node(std::span<const int> nodes) {
  std::vector<Ranks> by_node;
  for (size_t rank = 0; rank < nodes.size(); ++rank) {
    by_node.resize(std::max(by_node.size(), static_cast<size_t>(nodes[rank]) + 1));
    by_node[static_cast<size_t>(nodes[rank])].push_back(rank);
  }
  return by_node;
}

template <typename Fact>
Ranks ranks_unlike_first(std::span<const RankFacts> facts, const Fact& fact) {
  Ranks ranks;
  for (size_t rank = 1; rank < facts.size(); ++rank) {
    if (fact(facts[rank]) != fact(facts[0])) {
      ranks.push_back(rank);
    }
  }
  return ranks;
}

bool contains(const std::vector<int>& all, const std::vector<int>& some) {
  return std::includes(all.begin(), all.end(), some.begin(), some.end());
}

/// The threads of a node's ranks that may run on `cores` only.
std::pair<int64_t, Ranks> confined_to(const std::vector<int>& cores,
                                      std::span<const RankFacts> facts,
                                      const Ranks& ranks) {
  int64_t threads = 0;
  Ranks confined;
  for (const size_t rank : ranks) {
    if (contains(cores, facts[rank].bound_cores)) {
      threads += facts[rank].threads;
      confined.push_back(rank);
    }
  }
  return {threads, confined};
}

/// Sets of cores of one node on which more threads must run than there are cores, although the
/// node has room for all; the smallest sets only.
void judge_binding(std::span<const RankFacts> facts,
                   const Ranks& ranks,
                   std::vector<Finding>& findings) {
  std::set<std::pair<size_t, std::vector<int>>> masks;  // small ones first
  for (const size_t rank : ranks) {
    masks.emplace(facts[rank].bound_cores.size(), facts[rank].bound_cores);
  }
  std::vector<std::vector<int>> named;
  for (const auto& [size, cores] : masks) {
    const auto [threads, confined] = confined_to(cores, facts, ranks);
    const bool covers_named = std::any_of(
        named.begin(), named.end(), [&cores = cores](const auto& n) { return contains(cores, n); });
    if (size > 0 && threads > static_cast<int64_t>(size) && !covers_named) {
      named.push_back(cores);
      findings.push_back(
          {Severity::kWarning,
           "binding",
           name_ranks(confined) + " of node " + facts[confined[0]].host + " may run on " +
               (size == 1 ? "core " : "cores ") + core_list_text(cores) +
               " only: " + count_text(threads, "thread") + " on " +
               count_text(static_cast<int64_t>(size), "core") + ", while the node has " +
               count_text(static_cast<int64_t>(facts[confined[0]].usable_cores.size()), "core"),
           "start with mpirun --bind-to none (scripts/enodia-run does), or --map-by "
           "slot:PE=" +
               std::to_string(facts[confined[0]].threads)});
    }
  }
}

void judge_node_cores(std::span<const RankFacts> facts,
                      const Ranks& ranks,
                      std::vector<Finding>& findings) {
  const RankFacts& first = facts[ranks[0]];
  const auto cores = static_cast<int64_t>(first.usable_cores.size());
  int64_t threads = 0;
  for (const size_t rank : ranks) {
    threads += facts[rank].threads;
  }
  if (threads > cores) {
    const auto local = static_cast<int64_t>(ranks.size());
    findings.push_back({Severity::kWarning,
                        "cores",
                        "node " + first.host + " runs " + count_text(threads, "thread") + " of " +
                            count_text(local, "rank") + " on " + count_text(cores, "core"),
                        local <= cores ? "set OMP_NUM_THREADS=" + std::to_string(cores / local)
                                       : "start at most " + count_text(cores, "rank") +
                                             " on it, with OMP_NUM_THREADS=1"});
  } else {
    judge_binding(facts, ranks, findings);
  }
  if (first.core_quota > 0.0 && first.core_quota < static_cast<double>(std::min(threads, cores))) {
    findings.push_back({Severity::kWarning,
                        "cores",
                        "the container of node " + first.host + " allows " +
                            std::to_string(first.core_quota).substr(0, 4) +
                            " cores' worth of time to " + count_text(threads, "thread"),
                        "raise its limit (docker --cpus), or start fewer ranks or threads"});
  }
  if (first.governor == "powersave" || first.governor == "conservative") {
    findings.push_back(
        {Severity::kWarning,
         "cores",
         "the cores of node " + first.host + " run under the frequency governor " + first.governor,
         "as root: cpupower frequency-set -g performance (with intel_pstate, "
         "powersave is often as good)"});
  }
  if (!first.clock_source.empty() && first.clock_source != "tsc" &&
      first.clock_source != "kvm-clock" && first.clock_source != "hyperv_clocksource_tsc_page" &&
      first.clock_source != "arch_sys_counter") {
    findings.push_back({Severity::kWarning,
                        "clock",
                        "node " + first.host + " reads its time from " + first.clock_source +
                            ", which is slow and may be coarse",
                        "let its kernel use the tsc clock source, if it is stable there"});
  }
}

void judge_node_memory(std::span<const RankFacts> facts,
                       const Ranks& ranks,
                       std::vector<Finding>& findings) {
  const RankFacts& first = facts[ranks[0]];
  const auto local = static_cast<int64_t>(ranks.size());
  const int64_t needed = local * kSharedMemoryOfRank;
  if (local > 1 && first.shared_memory_free_bytes >= 0 &&
      first.shared_memory_free_bytes < 2 * needed) {
    const bool too_small = first.shared_memory_free_bytes < needed;
    findings.push_back(
        {too_small ? Severity::kError : Severity::kWarning,
         "shared-memory",
         first.shared_memory + " of node " + first.host + " has " +
             mib_text(first.shared_memory_free_bytes) + " free of " +
             mib_text(first.shared_memory_bytes) + "; " + count_text(local, "rank") + " need " +
             mib_text(needed) + (too_small ? ", or end in a bus error" : " of it"),
         "enlarge it (docker run --shm-size=1g), clear out what is left in it, or use another "
         "folder: --mca btl_vader_backing_directory /tmp"});
  }
  Ranks blocked;
  std::copy_if(ranks.begin(), ranks.end(), std::back_inserter(blocked), [&](size_t rank) {
    return blocks_shared_memory(facts[rank]);
  });
  if (!blocked.empty()) {
    findings.push_back({Severity::kError,
                        "shared-memory",
                        name_ranks(blocked) + " on node " + first.host +
                            " may not read the memory of their neighbors (process_vm_readv): large "
                            "messages inside the node would fail",
                        "start with --mca btl_vader_single_copy_mechanism none (scripts/enodia-run "
                        "does), or allow it: docker run --cap-add SYS_PTRACE"});
  }
  if (first.memory_free_bytes >= 0 && first.memory_free_bytes < local * kLeastMemory) {
    findings.push_back({Severity::kWarning,
                        "memory",
                        "node " + first.host + " has " + mib_text(first.memory_free_bytes) +
                            " of memory left for " + count_text(local, "rank"),
                        "end other programs on it, or start fewer ranks"});
  }
  if (first.swap_used_bytes > 64 * kMiB && first.memory_free_bytes < first.memory_bytes / 10) {
    findings.push_back({Severity::kWarning,
                        "memory",
                        "node " + first.host + " swaps: " + mib_text(first.swap_used_bytes) +
                            " are on disk and memory is nearly full",
                        "end other programs on it; a rank that swaps slows down all"});
  }
  if (first.open_files >= 0 && first.open_files < kLeastFiles) {
    findings.push_back(
        {Severity::kWarning,
         "limits",
         "a process may open " + std::to_string(first.open_files) + " files on node " + first.host,
         "ulimit -n 1024 or more before the start"});
  }
}

}  // namespace

bool blocks_shared_memory(const RankFacts& facts) {
  const auto mechanism = facts.transports.find("btl_vader_single_copy_mechanism");
  return !facts.may_read_neighbors && mechanism != facts.transports.end() && *mechanism == "cma";
}

std::vector<Finding> judge_agreement(std::span<const RankFacts> facts) {
  std::vector<Finding> findings;
  const auto compare =
      [&](const char* noun, const auto& fact, Severity severity, const char* remedy) {
        const Ranks ranks = ranks_unlike_first(facts, fact);
        if (!ranks.empty()) {
          findings.push_back({severity,
                              "agreement",
                              name_ranks(ranks) + " (" + facts[ranks[0]].host + ") " +
                                  (ranks.size() == 1 ? "has " : "have ") + "another " + noun +
                                  " than rank 0 (" + facts[0].host + "): " + fact(facts[ranks[0]]) +
                                  " instead of " + fact(facts[0]),
                              remedy});
        }
      };
  compare(
      "program",
      [](const RankFacts& f) { return f.program; },
      Severity::kError,
      "install the same build of enodia on all nodes");
  compare(
      "MPI library",
      [](const RankFacts& f) { return f.mpi_library; },
      Severity::kError,
      "install the same MPI on all nodes and check PATH and LD_LIBRARY_PATH there");
  compare(
      "processor",
      [](const RankFacts& f) {
        std::string text = f.cpu + " with";
        for (const std::string& flag : f.cpu_flags) {
          text += " " + flag;
        }
        return text;
      },
      Severity::kWarning,
      "the slowest rank sets the pace, and other instructions round otherwise: results may "
      "depend on which node does what");
  return findings;
}

std::vector<Finding> judge_cores(std::span<const RankFacts> facts, std::span<const int> nodes) {
  std::vector<Finding> findings;
  for (const Ranks& ranks : ranks_by_node(nodes)) {
    judge_node_cores(facts, ranks, findings);
  }
  return findings;
}

std::vector<Finding> judge_memory(std::span<const RankFacts> facts, std::span<const int> nodes) {
  std::vector<Finding> findings;
  for (const Ranks& ranks : ranks_by_node(nodes)) {
    judge_node_memory(facts, ranks, findings);
  }
  return findings;
}

std::vector<Finding> judge_clocks(std::span<const ClockOffset> before,
                                  std::span<const ClockOffset> after,
                                  std::span<const RankFacts> facts) {
  std::vector<Finding> findings;
  for (size_t rank = 0; rank < after.size(); ++rank) {
    const double apart = after[rank].seconds;
    const double moved = apart - before[rank].seconds;
    const double error = after[rank].error + before[rank].error;
    char text[64];
    if (std::abs(moved) > kClockMoved + error) {
      std::snprintf(text, sizeof(text), "%.1f ms", moved * 1e3);
      findings.push_back(
          {Severity::kWarning,
           "clock",
           "the clock of rank " + std::to_string(rank) + " (" + facts[rank].host + ") moved by " +
               text + " against rank 0's during this check",
           "something sets the clock of one of them: leave that to one NTP service"});
    } else if (std::abs(apart) > kClocksApart + error) {
      std::snprintf(
          text, sizeof(text), "%.3f s %s", std::abs(apart), apart > 0 ? "ahead" : "behind");
      findings.push_back(
          {Severity::kWarning,
           "clock",
           "the clock of rank " + std::to_string(rank) + " (" + facts[rank].host + ") is " + text,
           "run an NTP service (chrony) on every node; lines of different logs do "
           "not fit together otherwise"});
    }
  }
  return findings;
}

}  // namespace enodia
