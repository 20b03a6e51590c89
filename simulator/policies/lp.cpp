#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "common/error.h"
#include "common/file.h"
#include "parallel/placement/policies/division.h"
#include "parallel/placement/replica_search.h"

#include "simulator/policies/policies.h"
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace enodia {
namespace {

namespace fs = std::filesystem;

constexpr int kSeconds = 300;  // for a plan

/// A folder of its own, gone with it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "enodia_lp_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      throw FileError("cannot make a folder in " + fs::temp_directory_path().string() +
                      " for the integer program; set TMPDIR to where one can be made");
    }
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string name_of(char kind, int expert, int place) {
  return kind + std::to_string(expert) + "_" + std::to_string(place);
}

/// The cheapest plan as a mixed-integer program in the file format of CPLEX. Variables: h<e>_<r> =
/// 1 when rank r has a replica of expert e, q<e>_<r> the tokens that r computes of it, x<e>_<n>
/// those of node n that leave it, b what the slowest rank has beyond the goal.
class Program {
 public:
  Program(const RuleInput& input, const NodeCounts& counts)
      : input_(input),
        counts_(counts),
        prices_(input.extra_slots) {}

  std::string text() const {
    std::ostringstream text;
    text << "Minimize\n cost: " << prices_.straggling * ranks() << " b";
    for_each_replica([&](int expert, int32_t rank) {
      text << "\n + " << prices_.share * counts_.total() / 1000 << ' '
           << name_of('h', expert, rank);
    });
    for_each_cell([&](int expert, int node) {
      text << "\n + " << prices_.crossing << ' ' << name_of('x', expert, node);
    });
    text << "\nSubject To\n";
    divide_tokens(text);
    limit_ranks(text);
    text << "Binaries\n";
    for_each_replica(
        [&](int expert, int32_t rank) { text << ' ' << name_of('h', expert, rank) << '\n'; });
    text << "End\n";
    return text.str();
  }

 private:
  int ranks() const { return input_.topology.num_ranks(); }
  bool owns(int32_t rank, int expert) const { return input_.owners[expert] == rank; }

  /// Of those that there may be: use(expert, rank).
  template <typename Use>
  void for_each_replica(Use use) const {
    for (int expert = 0; expert < counts_.num_experts(); ++expert) {
      for (int32_t rank = 0; rank < ranks(); ++rank) {
        if (!owns(rank, expert)) {
          use(expert, rank);
        }
      }
    }
  }
  template <typename Use>
  void for_each_cell(Use use) const {
    for (int expert = 0; expert < counts_.num_experts(); ++expert) {
      for (int node = 0; node < counts_.num_nodes(); ++node) {
        use(expert, node);
      }
    }
  }

  void divide_tokens(std::ostream& text) const {
    for (int expert = 0; expert < counts_.num_experts(); ++expert) {
      for (int32_t rank = 0; rank < ranks(); ++rank) {
        text << " + " << name_of('q', expert, rank) << '\n';
      }
      text << " = " << counts_.of_expert(expert) << '\n';
    }
    for_each_replica([&](int expert, int32_t rank) {
      text << ' ' << name_of('q', expert, rank) << " - " << counts_.of_expert(expert) << ' '
           << name_of('h', expert, rank) << " <= 0\n";
    });
    for_each_cell([&](int expert, int node) {
      text << ' ' << name_of('x', expert, node);
      for (int rank = input_.topology.first_rank(node); rank < input_.topology.first_rank(node + 1);
           ++rank) {
        text << " + " << name_of('q', expert, rank) << '\n';
      }
      text << " >= " << counts_.of(node, expert) << '\n';
    });
  }

  void limit_ranks(std::ostream& text) const {
    for (int32_t rank = 0; rank < ranks(); ++rank) {
      for (int expert = 0; expert < counts_.num_experts(); ++expert) {
        text << " + " << name_of('q', expert, rank) << '\n';
      }
      text << " - b <= " << goal_of(prices_, counts_, input_.topology) << '\n';
      for (int expert = 0; expert < counts_.num_experts(); ++expert) {
        if (!owns(rank, expert)) {
          text << " + " << name_of('h', expert, rank) << '\n';
        }
      }
      text << " <= " << input_.extra_slots << '\n';
    }
  }

  const RuleInput& input_;
  const NodeCounts& counts_;
  PlanPrices prices_;
};

constexpr int kNoSuchProgram = 127;

/// Its exit code; -1 when a signal has ended it. It ends with this program.
int run_cbc(const fs::path& model, const fs::path& solution) {
  const std::string seconds = std::to_string(kSeconds);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int nothing = ::open("/dev/null", O_RDWR);
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      ::dup2(nothing, stream);
    }
    ::execlp("cbc",
             "cbc",
             model.c_str(),
             "sec",
             seconds.c_str(),
             "ratio",
             "0.0001",
             "solve",
             "solution",
             solution.c_str(),
             nullptr);
    ::_exit(kNoSuchProgram);
  }
  int status = 0;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// What variables of a program are at its optimum; zeros are left out. Throws UsageError.
std::map<std::string, double> solve(const std::string& program) {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "plan.lp";
  const fs::path solution = folder.path() / "solution.txt";
  write_file_atomically(model, program);
  if (run_cbc(model, solution) == kNoSuchProgram) {
    throw UsageError(
        "the policy lp needs the program cbc, which is not there; install the package "
        "coinor-cbc");
  }
  std::ifstream file(solution);
  std::string line;
  std::getline(file, line);
  if (!line.starts_with("Optimal")) {
    throw UsageError("cbc has not found the cheapest plan in " + std::to_string(kSeconds) + " s (" +
                     (line.empty() ? "no solution" : line) +
                     "); the policy lp is for small cases: take fewer ranks, experts or slots");
  }
  std::map<std::string, double> values;
  std::string index;
  std::string name;
  for (double value = 0, reduced = 0; file >> index >> name >> value >> reduced;) {
    values[name] = value;
  }
  return values;
}

/// Whole tokens of an expert on its ranks, what is left of them to the largest fractions.
std::vector<int64_t> whole(const std::vector<double>& quotas, int64_t tokens) {
  std::vector<int64_t> rounded;
  std::vector<std::pair<double, size_t>> fractions;
  for (size_t rank = 0; rank < quotas.size(); ++rank) {
    rounded.push_back(static_cast<int64_t>(quotas[rank] + 1e-6));
    if (quotas[rank] > 0) {
      fractions.emplace_back(static_cast<double>(rounded[rank]) - quotas[rank], rank);
    }
    tokens -= rounded[rank];
  }
  std::sort(fractions.begin(), fractions.end());
  for (size_t i = 0; tokens > 0; ++i, --tokens) {
    ++rounded[fractions[i % fractions.size()].second];
  }
  return rounded;
}

}  // namespace

LayerPlan plan_lp(const RuleInput& input, const LayerCounts& /*known*/, const LayerCounts& counts) {
  const NodeCounts on_nodes(counts, input.topology);
  const std::map<std::string, double> values = solve(Program(input, on_nodes).text());
  const auto value_of = [&](const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? 0.0 : found->second;
  };
  Holders holders = owners_alone(input.owners);
  Division division;
  for (int expert = 0; expert < counts.num_experts; ++expert) {
    std::vector<double> quotas;
    for (int32_t rank = 0; rank < input.topology.num_ranks(); ++rank) {
      if (input.owners[expert] != rank && value_of(name_of('h', expert, rank)) > 0.5) {
        holders[expert].push_back(rank);
      }
      quotas.push_back(holds(holders[expert], rank) ? value_of(name_of('q', expert, rank)) : 0.0);
    }
    std::sort(holders[expert].begin(), holders[expert].end());
    division.push_back(whole(quotas, on_nodes.of_expert(expert)));
  }
  LayerPlan plan = make_plan(input.owners, holders, division);
  plan.transfers = count_transfers(plan);
  return plan;
}

}  // namespace enodia
