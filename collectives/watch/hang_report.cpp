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

/// The operations that ranks of the node wait for, each once.
std::vector<Operation> awaited_operations(std::span<const ObservedRank> ranks) {
  std::vector<Operation> awaited;
  for (const ObservedRank& rank : ranks) {
    const std::optional<Operation>& own = rank.status.waiting;
    if (own && std::none_of(awaited.begin(), awaited.end(), [&](const Operation& operation) {
          return operation.traffic == own->traffic && operation.sequence == own->sequence;
        })) {
      awaited.push_back(*own);
    }
  }
  return awaited;
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

std::string describe(const ObservedRank& rank, std::span<const Operation> awaited) {
  std::string line = "\n  rank " + std::to_string(rank.status.rank) + describe_process(rank) +
                     " is in " + place_of(rank.status) + " and " + describe_doing(rank.status);
  for (const Operation& operation : awaited) {
    if (!has_arrived(rank, operation)) {
      const Operation& last = rank.status.started[static_cast<size_t>(operation.traffic)];
      line += "; it has NOT arrived at " + operation.name() + " (its last there is " +
              (last.sequence > 0 ? last.name() : "none") + ")";
    }
  }
  return line + (rank.process == ProcessState::kRuns ? "" : "; it will finish nothing");
}

/// Where to look when no rank that can be seen is missing; empty otherwise.
std::string describe_missing_elsewhere(bool sees_all, bool is_whole_job) {
  if (!sees_all) {
    return "\n  other ranks of this node cannot be seen from here";
  }
  return is_whole_job ? "\n  all ranks have arrived there: a message is lost"
                      : "\n  all ranks of this node have arrived there: the missing one is on "
                        "another node, see what is said there";
}

}  // namespace

std::string hang_report(std::span<const ObservedRank> ranks,
                        size_t reporter,
                        int64_t seconds,
                        std::span<const int> nodes) {
  const RankStatus& own = ranks[reporter].status;
  const std::vector<Operation> awaited = awaited_operations(ranks);
  // A process may also be stopped inside an operation at which it has arrived.
  const auto is_missing = [&](const ObservedRank& rank) {
    return rank.process != ProcessState::kRuns ||
           !std::all_of(awaited.begin(), awaited.end(), [&](const Operation& operation) {
             return has_arrived(rank, operation);
           });
  };
  std::string missing;
  std::string missing_ranks;  // " for rank 1, 3"
  std::string others;
  bool sees_all = true;
  for (const ObservedRank& rank : ranks) {
    if (rank.status.rank < 0) {
      sees_all = false;
    } else {
      (is_missing(rank) ? missing : others) += describe(rank, awaited);
      if (is_missing(rank) && rank.status.rank != own.rank) {
        missing_ranks +=
            (missing_ranks.empty() ? " for rank " : ", ") + std::to_string(rank.status.rank);
      }
    }
  }
  std::string text = "rank " + std::to_string(own.rank) + " of " + std::to_string(nodes.size()) +
                     " has shown no sign of life for " + std::to_string(seconds) + " s in " +
                     place_of(own) + ", where it " + describe_doing(own) +
                     (own.waiting ? missing_ranks : "") + missing + others;
  if (own.waiting && missing.empty()) {
    text += describe_missing_elsewhere(sees_all, nodes.size() == ranks.size());
  }
  return text;
}

}  // namespace enodia
