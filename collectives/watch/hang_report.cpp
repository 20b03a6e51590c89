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

/// The operation that the others' arrival is judged by: what the reporter waits for, else what any
/// rank of the node waits for.
std::optional<Operation> awaited_operation(std::span<const ObservedRank> ranks, size_t reporter) {
  if (ranks[reporter].status.waiting) {
    return ranks[reporter].status.waiting;
  }
  for (const ObservedRank& rank : ranks) {
    if (rank.status.waiting) {
      return rank.status.waiting;
    }
  }
  return std::nullopt;
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

std::string describe(const ObservedRank& rank, const std::optional<Operation>& awaited) {
  std::string line = "  rank " + std::to_string(rank.status.rank) + describe_process(rank);
  if (awaited && !has_arrived(rank, *awaited)) {
    const Operation& last = rank.status.started[static_cast<size_t>(awaited->traffic)];
    line += " has NOT arrived at " + awaited->name() + ": its last there is " +
            (last.sequence > 0 ? last.name() : "none") + "; it is in " + place_of(rank.status) +
            " and " + describe_doing(rank.status);
  } else {
    line += " is in " + place_of(rank.status) + " and " + describe_doing(rank.status);
  }
  return line;
}

/// Where to look when nobody that can be seen is missing; empty otherwise.
std::string describe_missing_elsewhere(std::span<const ObservedRank> ranks,
                                       const std::optional<Operation>& awaited,
                                       std::span<const int> nodes) {
  const bool all_seen = std::all_of(
      ranks.begin(), ranks.end(), [](const ObservedRank& rank) { return rank.status.rank >= 0; });
  if (!all_seen) {
    return "\n  other ranks of this node cannot be seen from here";
  }
  if (!awaited || !std::all_of(ranks.begin(), ranks.end(), [&](const ObservedRank& rank) {
        return has_arrived(rank, *awaited);
      })) {
    return "";
  }
  if (nodes.size() == ranks.size()) {
    return "\n  all ranks have arrived at " + awaited->name() + ": a message is lost";
  }
  return "\n  all ranks of this node have arrived at " + awaited->name() +
         ": the missing one is on another node; see what its watchdog says";
}

}  // namespace

std::string hang_report(std::span<const ObservedRank> ranks,
                        size_t reporter,
                        int64_t seconds,
                        std::span<const int> nodes) {
  const RankStatus& own = ranks[reporter].status;
  const std::optional<Operation> awaited = awaited_operation(ranks, reporter);
  std::string text = "rank " + std::to_string(own.rank) + " of " + std::to_string(nodes.size()) +
                     " has shown no sign of life for " + std::to_string(seconds) + " s in " +
                     place_of(own) + ", where it " + describe_doing(own);
  std::string missing;
  std::string others;
  for (const ObservedRank& rank : ranks) {
    if (rank.status.rank >= 0) {
      const bool late = awaited && !has_arrived(rank, *awaited);
      (late ? missing : others) += "\n" + describe(rank, awaited);
    }
  }
  return text + missing + others + describe_missing_elsewhere(ranks, awaited, nodes);
}

}  // namespace enodia
