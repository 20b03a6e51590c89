#include "collectives/watch/hang_report.h"

#include <algorithm>
#include <optional>

namespace enodia {
namespace {

std::string place_of(const RankStatus& status) {
  const std::string section(name_of(status.section));
  if (status.step == 0) {
    return "section '" + section + "'";
  }
  const std::string step = std::to_string(status.step);
  return status.section == RunSection::kStep ? "step " + step
                                             : "section '" + section + "' at step " + step;
}

/// Adds the operations that ranks wait for, each once.
void add_awaited(std::span<const ObservedRank> ranks, std::vector<Operation>& awaited) {
  for (const ObservedRank& rank : ranks) {
    const std::optional<Operation>& own = rank.status.waiting;
    if (own && std::none_of(awaited.begin(), awaited.end(), [&](const Operation& operation) {
          return operation.traffic == own->traffic && operation.sequence == own->sequence;
        })) {
      awaited.push_back(*own);
    }
  }
}

bool has_arrived(const ObservedRank& rank, const Operation& awaited) {
  return rank.status.started[static_cast<size_t>(awaited.traffic)].sequence >= awaited.sequence;
}

std::string describe_process(const ObservedRank& rank) {
  const std::string process = " (process " + std::to_string(rank.status.process);
  switch (rank.process) {
    case ProcessState::kStopped:
      return process + ", stopped by a signal)";
    case ProcessState::kGone:
      return process + ", gone)";
    case ProcessState::kRuns:
      break;
  }
  return process + ")";
}

std::string describe_doing(const RankStatus& status) {
  if (status.waiting) {
    return "waits in " + status.waiting->name() + " (" + std::to_string(status.waiting->bytes) +
           " bytes)";
  }
  return "waits in no operation";
}

/// A process may also be stopped inside an operation at which it has arrived.
bool is_missing(const ObservedRank& rank, std::span<const Operation> awaited) {
  return rank.process != ProcessState::kRuns ||
         !std::all_of(awaited.begin(), awaited.end(), [&](const Operation& operation) {
           return has_arrived(rank, operation);
         });
}

/// `place`: " on node 3", or nothing for a rank of the reporter's node.
std::string describe(const ObservedRank& rank,
                     std::span<const Operation> awaited,
                     const std::string& place = "") {
  std::string line = "\n  rank " + std::to_string(rank.status.rank) + place +
                     describe_process(rank) + " is in " + place_of(rank.status) + " and " +
                     describe_doing(rank.status);
  for (const Operation& operation : awaited) {
    if (!has_arrived(rank, operation)) {
      const Operation& last = rank.status.started[static_cast<size_t>(operation.traffic)];
      line += "; it has NOT arrived at " + operation.name() + " (its last there is " +
              (last.sequence > 0 ? last.name() : "none") + ")";
    }
  }
  return line + (rank.process == ProcessState::kRuns ? "" : "; it will finish nothing");
}

/// The ranks of a node, "8, 9, 10, 11".
std::string ranks_of(int node, std::span<const int> nodes) {
  std::string text;
  for (size_t rank = 0; rank < nodes.size(); ++rank) {
    if (nodes[rank] == node) {
      text += (text.empty() ? "" : ", ") + std::to_string(rank);
    }
  }
  return text;
}

/// Ranks by whether others wait for them, and whether all could be seen.
struct Findings {
  std::string missing, others;
  std::string missing_ranks;  // " for rank 1, 3"
  std::string silent_nodes;
  bool sees_node = true;

  void add_missing(int rank) {
    missing_ranks += (missing_ranks.empty() ? " for rank " : ", ") + std::to_string(rank);
  }
};

void look_at_node(std::span<const ObservedRank> ranks,
                  int reporter,
                  std::span<const Operation> awaited,
                  Findings& findings) {
  for (const ObservedRank& rank : ranks) {
    if (rank.status.rank < 0) {
      findings.sees_node = false;
      continue;
    }
    const bool missing = is_missing(rank, awaited);
    (missing ? findings.missing : findings.others) += describe(rank, awaited);
    if (missing && rank.status.rank != reporter) {
      findings.add_missing(rank.status.rank);
    }
  }
}

void look_elsewhere(std::span<const ObservedNode> elsewhere,
                    std::span<const int> nodes,
                    std::span<const Operation> awaited,
                    Findings& findings) {
  for (const ObservedNode& node : elsewhere) {
    const std::string number = std::to_string(node.node);
    if (node.ranks.empty()) {
      findings.silent_nodes += "\n  node " + number + " (ranks " + ranks_of(node.node, nodes) +
                               ") does not answer: look whether it, or its link, is down";
    }
    for (const ObservedRank& rank : node.ranks) {
      if (rank.status.rank >= 0 && is_missing(rank, awaited)) {
        findings.missing += describe(rank, awaited, " on node " + number);
        findings.add_missing(rank.status.rank);
      }
    }
  }
}

/// Where to look when no rank that can be seen is missing.
std::string describe_nobody_missing(const Findings& findings, bool is_whole_job) {
  if (!findings.sees_node) {
    return "\n  other ranks of this node cannot be seen from here";
  }
  if (!findings.silent_nodes.empty()) {
    return "";
  }
  return is_whole_job ? "\n  all ranks have arrived there: a message is lost"
                      : "\n  all ranks of this node have arrived there: the missing one is on "
                        "another node, see what is said there";
}

}  // namespace

std::string hang_report(std::span<const ObservedRank> ranks,
                        size_t reporter,
                        int64_t seconds,
                        std::span<const int> nodes,
                        std::span<const ObservedNode> elsewhere) {
  const RankStatus& own = ranks[reporter].status;
  std::vector<Operation> awaited;
  add_awaited(ranks, awaited);
  size_t num_seen = ranks.size();
  for (const ObservedNode& node : elsewhere) {
    add_awaited(node.ranks, awaited);
    num_seen += node.ranks.size();
  }
  Findings findings;
  look_at_node(ranks, own.rank, awaited, findings);
  look_elsewhere(elsewhere, nodes, awaited, findings);
  std::string text = "rank " + std::to_string(own.rank) + " of " + std::to_string(nodes.size()) +
                     " has shown no sign of life for " + std::to_string(seconds) + " s in " +
                     place_of(own) + ", where it " + describe_doing(own) +
                     (own.waiting ? findings.missing_ranks : "") + findings.missing +
                     findings.silent_nodes + findings.others;
  if (own.waiting && findings.missing.empty()) {
    text += describe_nobody_missing(findings, nodes.size() == num_seen);
  }
  return text;
}

}  // namespace enodia
