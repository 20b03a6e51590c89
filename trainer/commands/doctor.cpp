#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>

#include "collectives/collectives.h"
#include "collectives/diagnosis/diagnosis.h"
#include "collectives/diagnosis/link_judgement.h"
#include "collectives/diagnosis/patience.h"
#include "collectives/diagnosis/rank_judgement.h"
#include "collectives/mpi/mpi_build.h"
#include "collectives/mpi/mpi_world.h"
#include "collectives/run_together.h"
#include "trainer/commands/commands.h"

#include <unistd.h>

namespace enodia {
namespace {

using Pairs = std::span<const std::pair<int, int>>;

/// A rank that nothing is heard of for so long is not reached at all.
constexpr std::chrono::seconds kPatience{60};

/// Nobody is left to talk to over MPI: mpirun ends the other ranks when this one exits.
[[noreturn]] void give_up(const std::string& stage) {
  std::fprintf(stderr,
               "enodia: nothing was heard for %d s while %s; check that every node reaches every "
               "other one over the network that btl_tcp_if_include names, and its firewall\n",
               static_cast<int>(kPatience.count()),
               stage.c_str());
  std::_Exit(static_cast<int>(ExitCode::kCommunication));
}

/// Every rank tries to read a word in the memory of the next rank of its node.
bool may_read_next(Communicator& world) {
  const uint64_t word = 1;
  const std::vector<std::string> places = all_gather_text(
      world, std::to_string(getpid()) + " " + std::to_string(reinterpret_cast<uint64_t>(&word)));
  const auto nodes = world.nodes();
  const int size = world.world_size();
  int next = world.rank();
  do {
    next = (next + 1) % size;
  } while (nodes[next] != nodes[world.rank()]);
  const std::string& place = places[static_cast<size_t>(next)];
  const bool may = may_read_memory_of(std::stoi(place), std::stoull(place.substr(place.find(' '))));
  world.barrier();  // the word stays until all have read
  return may;
}

std::vector<RankFacts> gather_facts(Communicator& world) {
  MpiBuild build = describe_mpi_build();
  const std::string folder = build.transports["btl_vader_backing_directory"];
  RankFacts mine = read_rank_facts(folder.empty() ? "/dev/shm" : folder);
  mine.mpi_library = build.library;
  mine.thread_level = build.thread_level;
  mine.gpu_aware_mpi = build.gpu_aware;
  mine.transports = build.transports;
  mine.threads = at::get_num_threads();
  mine.may_read_neighbors = may_read_next(world);
  std::vector<RankFacts> facts;
  for (const std::string& text :
       all_gather_text(world, to_json(mine).dump(-1, ' ', false, Json::error_handler_t::replace))) {
    facts.push_back(facts_from_json(parse_json(text, "the facts of a rank")));
  }
  return facts;
}

/// Whether pairs of ranks on other nodes leave a measurement alone: a node with one core a rank
/// has none left for what the system does meanwhile.
bool has_cores_to_spare(const std::vector<RankFacts>& facts) {
  return std::all_of(facts.begin(), facts.end(), [](const RankFacts& rank) {
    return rank.usable_cores.size() >= 4 && rank.bound_cores.size() >= 2;
  });
}

std::vector<std::string> hosts_of(const std::vector<RankFacts>& facts) {
  std::vector<std::string> hosts;
  for (const RankFacts& rank : facts) {
    hosts.push_back(rank.host);
  }
  return hosts;
}

void append(std::vector<Finding>& all, std::vector<Finding> more) {
  all.insert(all.end(), more.begin(), more.end());
}

std::vector<Link> measure(Communicator& world,
                          const std::vector<RankFacts>& facts,
                          bool terminal,
                          Patience& patience) {
  LinkProbeOptions options;
  options.concurrent = has_cores_to_spare(facts);
  options.progress = [&](size_t done, size_t all, Pairs pairs) {
    std::string names;
    for (const auto& [low, high] : pairs) {
      names += (names.empty() ? "ranks " : "; ranks ") + std::to_string(low) + " (" +
               facts[low].host + ") and " + std::to_string(high) + " (" + facts[high].host + ")";
    }
    patience.expect("measuring between " + names);
    if (terminal) {
      std::fprintf(stderr,
                   "\r\x1b[Kmeasuring links: %zu of %zu rounds, at most %.0f s in all",
                   done,
                   all,
                   std::min(options.seconds, static_cast<double>(all)) * 1.5);
    }
  };
  std::vector<Link> links = measure_links(world, options);
  if (terminal && world.rank() == 0) {
    std::fputs("\r\x1b[K", stderr);
  }
  return links;
}

Diagnosis diagnose(Communicator& world, bool terminal) {
  Patience patience(kPatience, give_up);
  patience.expect(world.rank() == 0 ? "gathering facts from all ranks" : "");
  Diagnosis diagnosis{
      gather_facts(world), {world.nodes().begin(), world.nodes().end()}, {}, {}, {}};
  const std::vector<RankFacts>& facts = diagnosis.ranks;
  append(diagnosis.findings, judge_agreement(facts));
  append(diagnosis.findings, judge_cores(facts, diagnosis.nodes));
  append(diagnosis.findings, judge_memory(facts, diagnosis.nodes));
  const std::vector<ClockOffset> before = measure_clocks(world);
  if (std::none_of(facts.begin(), facts.end(), blocks_shared_memory)) {
    diagnosis.links = measure(world, facts, terminal, patience);
    append(diagnosis.findings, judge_links(diagnosis.links, diagnosis.nodes, hosts_of(facts)));
  }
  patience.expect(world.rank() == 0 ? "reading the clocks" : "");
  diagnosis.clocks = measure_clocks(world);
  append(diagnosis.findings, judge_clocks(before, diagnosis.clocks, facts));
  return diagnosis;
}

/// Processes that mpirun started together but that do not find each other.
Finding lonely_ranks(int launched) {
  return {Severity::kError,
          "mpi",
          std::to_string(launched) +
              " processes were started together, but each is a world of its "
              "own: this program uses another MPI than the launcher",
          "use the mpirun of the MPI library named above, and check LD_LIBRARY_PATH (ldd "
          "build/enodia | grep mpi)"};
}

}  // namespace

void doctor(Communicator& world, const DoctorArguments& arguments) {
  Diagnosis diagnosis = diagnose(world, arguments.terminal && !arguments.json);
  const LaunchedRank launched = launched_rank();
  if (launched.world_size > 1 && world.world_size() == 1) {
    diagnosis.findings.push_back(lonely_ranks(launched.world_size));
    if (launched.rank != 0) {
      return;
    }
  }
  if (world.rank() == 0) {
    const std::string text =
        arguments.json
            ? to_json(diagnosis).dump(1, ' ', false, Json::error_handler_t::replace) + "\n"
            : to_text(diagnosis);
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  }
  const int64_t errors =
      all_reduce_value(world, count_findings(diagnosis, Severity::kError), ReduceOp::kMax);
  if (errors > 0) {
    throw SharedError("doctor found " + std::to_string(errors) +
                          (errors == 1 ? " error" : " errors") +
                          "; do what its remedy says before training",
                      ExitCode::kCommunication);
  }
}

}  // namespace enodia
